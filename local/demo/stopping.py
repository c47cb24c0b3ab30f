"""Cancels all batches at the real Groq API if the demo ends before its job."""

from __future__ import annotations

import time

from botocore.exceptions import BotoCoreError, ClientError

from groq_batch.groq.errors import GroqApiError
from groq_batch_cli.terminal import Terminal
from groq_batch_client.job_view import is_final
from groq_batch_client.text import batches, duration
from local.demo.groq_access import GroqAccess, cancel_batches
from local.demo.interrupts import Interrupts
from local.demo.job import Job

_PATIENCE_SECONDS = 660.0
"""Seconds that a stopped job has for its report; Groq can take ten minutes to cancel a batch."""

_START_SECONDS = 10.0
"""Seconds that an upload in progress has to become a job."""

_LOOK_SECONDS = 0.5


def stop_job(job: Job, access: GroqAccess, *, terminal: Terminal, interrupts: Interrupts) -> bool:
    """Stop a job, and make sure that none of its batches continues at Groq.

    The pipeline itself cancels the batches and collects what was answered. Should it not be able
    to, the batches are cancelled from here.

    Returns:
        Whether the job came to its final report in time.
    """
    terminal.print(
        "Stopping the job at Groq, to keep what is answered already; this may take minutes."
    )
    terminal.print("Ctrl-C once more cancels without waiting for the answers.")
    interrupts.allow_another()
    has_ended = False
    try:
        has_ended = _wait_for_end(job, terminal)
    except KeyboardInterrupt:
        terminal.print("Not waiting for the results.")
    except (BotoCoreError, ClientError):
        terminal.print("The emulated AWS does not answer any more.")
    interrupts.end()
    terminal.print(_end_at_groq(job, access))
    return has_ended


def _wait_for_end(job: Job, terminal: Terminal) -> bool:
    begun = time.monotonic()
    while (seconds := time.monotonic() - begun) < _PATIENCE_SECONDS:
        is_started = job.stop()
        if is_final(job.report()):
            return True
        if not is_started and seconds > _START_SECONDS:
            return False
        terminal.live([f"Waiting for the end of the job ... {duration(seconds)}"])
        time.sleep(_LOOK_SECONDS)
    return False


def _end_at_groq(job: Job, access: GroqAccess) -> str:
    """Cancel running batches at Groq; return a message about them."""
    if job.id is None:
        return "Nothing was sent to Groq."
    try:
        running = cancel_batches(access, job.id)
    except GroqApiError:
        return (
            "Groq did not say whether a batch is still running. Check "
            "https://console.groq.com/batches, and cancel what runs there."
        )
    ending = [batch for batch in running if not batch.is_terminal]
    if not ending:
        return "Nothing of the job runs at Groq any more."
    ids = ", ".join(batch.id for batch in ending)
    return (
        f"Groq is cancelling {batches(len(ending))} ({ids}), which may take it ten minutes. What "
        "was answered by then can be had from the Groq console."
    )
