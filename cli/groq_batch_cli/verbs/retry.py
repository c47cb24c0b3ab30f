"""``groq-batch retry``: run again what has failed, and merge the results."""

from __future__ import annotations

from pathlib import Path

import click

from groq_batch_cli import retries, uploads
from groq_batch_cli.aws import Stack, Target, connect
from groq_batch_cli.endings import end
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM
from groq_batch_cli.following import Followed, Follower
from groq_batch_cli.job_lookup import FoundJob, find_job
from groq_batch_cli.job_view import GOOD, is_final
from groq_batch_cli.options import (
    max_attempts_option,
    max_cost_option,
    out_folder_option,
    stack_options,
    window_option,
)
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text import counted, one_line
from groq_batch_cli.upload_waits import reason_to_wait
from groq_batch_cli.verbs.run import leave


@click.command()
@click.argument("job")
@click.option(
    "--wait/--no-wait",
    default=True,
    help="Follow the retry, fetch and merge its results.  [default: wait]",
)
@out_folder_option
@window_option
@max_attempts_option
@max_cost_option
@click.option(
    "--again", is_flag=True, help="Run the failed lines again though a retry has answers."
)
@stack_options
@click.pass_obj
def command(
    terminal: Terminal,
    job: str,
    wait: bool,
    out: Path,
    window: str | None,
    max_attempts: int | None,
    max_cost: float | None,
    again: bool,
    target: Target,
) -> int:
    """Run again what has failed, and merge the results.

    The request lines of JOB without a success are run as NAME.retry.jsonl; nothing that was
    answered is sent again. When the retry has ended, NAME.merged.jsonl has all rows of the original
    results, in their order, with those of the retry in place. JOB is named as for status; a retry
    can be retried as well.

    \b
    Exit status: 0 when every line of the retry was answered, 1 when not.

    \b
    Example:
      groq-batch retry team/requests.jsonl --out results
    """
    stack = connect(target)
    storage = stack.storage
    found = find_job(storage, job)
    source = retries.failed_key(found)
    known, free_path = retries.existing_retry(storage, found.path)
    if known is not None and not again:
        state = "is running" if not is_final(known.report) else "has run"
        terminal.note(
            f"A retry {state} already: {one_line(known.path)}. To pay for another one: --again"
        )
        followed = Followed(one_line(known.path), known)
    else:
        followed = _begin(
            stack,
            found,
            source,
            free_path,
            uploads.option_metadata(
                window=window,
                # Bad lines of the original stand among the failed ones, and would reject the rest.
                skip_invalid=_has_bad_lines(found),
                max_attempts=max_attempts,
                max_cost=max_cost,
            ),
            terminal,
        )
    reason = reason_to_wait(stack)
    if reason is not None and followed.report is None:
        terminal.note(reason)
    if not wait:
        terminal.note(f"  come back with: {target.command('retry', found.path)}")
        return EXIT_FINE
    return _finish(stack, found, followed, out, terminal)


def _has_bad_lines(job: FoundJob) -> bool:
    return bool(job.report and job.report["requests"]["invalid"])


def _begin(
    stack: Stack,
    job: FoundJob,
    source: str,
    path: str,
    metadata: dict[str, str],
    terminal: Terminal,
) -> Followed:
    uploads.options_in_force(stack, metadata)
    upload = retries.copy_failed(stack.storage, source, path, metadata=metadata)
    number = job.report["requests"]["failed"] if job.report else 0
    terminal.print(f"{one_line(path)}: {counted(number, 'failed request')} of {one_line(job.path)}")
    return Followed(one_line(path), FoundJob(path=upload.path, job_id=upload.job_id))


def _finish(
    stack: Stack, original: FoundJob, followed: Followed, out: Path, terminal: Terminal
) -> int:
    """Follow a retry to its end, fetch and merge; returns the exit status."""
    storage = stack.storage
    try:
        Follower(storage, terminal).follow([followed], lambda _: None)
    except KeyboardInterrupt:
        return leave(terminal, stack.target, [followed])
    end(stack, followed.job, followed.name, out, terminal, terminal.print)
    report = followed.report or {}
    if report["outputs"]["results"] is None:
        return EXIT_PROBLEM
    jobs = [*retries.lineage(storage, original), followed.job]
    merged, counts = retries.write_merged(storage, jobs, out)
    terminal.print(f"  {merged}: {counts.text}")
    return EXIT_FINE if report["status"] == GOOD else EXIT_PROBLEM
