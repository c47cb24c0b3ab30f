"""``groq-batch retry``: rerun failed requests and merge the results."""

from __future__ import annotations

from pathlib import Path

import click

from groq_batch_cli import uploads
from groq_batch_cli.aws import Stack, Target, connect
from groq_batch_cli.ending import end
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.job_progress import Follower, leave
from groq_batch_cli.options import (
    job_argument,
    out_folder_option,
    stack_options,
    upload_options,
)
from groq_batch_cli.output_guard import check_folder
from groq_batch_cli.progress_bar import ByteProgress
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.upload_waits import reason_to_wait
from groq_batch_client import retries
from groq_batch_client.follow import Followed
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.job_view import GOOD, is_final
from groq_batch_client.retry_selection import Leftovers
from groq_batch_client.text import counted, one_line


@click.command()
@job_argument
@click.option(
    "--wait/--no-wait",
    default=True,
    help="Follow the retry, then fetch and merge its results.  [default: wait]",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also send requests that would fail again or whose outcome is unknown.",
)
@out_folder_option
@upload_options(except_for="on_invalid_line")
@click.option(
    "--again", is_flag=True, help="Start another retry, and pay again, even if one has answers."
)
@stack_options
@click.pass_obj
def command(
    terminal: Terminal,
    job: str,
    wait: bool,
    everything: bool,
    out: Path,
    metadata: dict[str, str],
    again: bool,
    target: Target,
) -> int:
    """Rerun the failed requests of a job and merge the results.

    Runs the failed request lines of JOB as NAME.retry.jsonl. Answered requests are never sent
    again. Two kinds of failures are skipped: final errors, such as most 4xx statuses, and requests
    that may have been answered and paid for (outcome_unknown). When the retry has ended, the
    command writes NAME.merged.jsonl: all rows of the original results, in their order, with the new
    answers in place. Give JOB as for status. A retry can be retried too.

    \b
    Exit status: 0 if every line of the retry was answered, 1 if not, 130 after Ctrl-C.

    \b
    Example:
      groq-batch retry team/requests.jsonl --out results
    """
    if wait:
        check_folder(out)
    stack = connect(target)
    found = find_job(stack.storage, job)
    retries.failed_key(found)
    if _has_bad_lines(found):
        # failed/ also holds the invalid lines of the original, which would reject the rest.
        metadata["on-invalid-line"] = "skip"
    uploads.options_in_force(stack, metadata)
    size = retries.results_size(stack.storage, found)
    with ByteProgress(terminal, "Reading the results", size) as progress:
        retry, chosen = retries.begin_retry(
            stack.storage,
            found,
            everything=everything,
            again=again,
            metadata=metadata,
            send_anyway=target.command("retry", found.path, "--all"),
            progress=progress.add,
        )
    _tell(retry, chosen, found, terminal, stack.target, asks_for_all=everything)
    followed = Followed(one_line(retry.job.path), retry.job)
    reason = reason_to_wait(stack)
    if reason is not None and followed.report is None:
        terminal.note(reason)
    comes_back = target.command("retry", found.path, *(["--all"] if everything else []))
    if not wait:
        terminal.note(f"  come back with: {comes_back}")
        return EXIT_FINE
    return _finish(stack, followed, out, terminal, comes_back)


def _has_bad_lines(job: FoundJob) -> bool:
    return bool(job.report and job.report["requests"]["invalid"])


def _tell(
    retry: retries.Retry,
    chosen: Leftovers | None,
    job: FoundJob,
    terminal: Terminal,
    target: Target,
    *,
    asks_for_all: bool,
) -> None:
    """Tell the user which requests the retry sends, or that it existed before."""
    name = one_line(retry.job.path)
    if chosen is not None:
        failed = counted(chosen.number, "failed request")
        terminal.print(f"{name}: {failed} of {one_line(job.path)}")
        if chosen.left_out:
            terminal.print(f"  skipped: {chosen.left_out_text}")
            terminal.note(f"  to send them too: {target.command('retry', job.path, '--all')}")
    elif is_final(retry.job.report):
        terminal.note(f"A retry has run already: {name}. To pay for another one: --again")
    else:
        later = ""
        if asks_for_all and retry.left_out:
            later = f" It skips {counted(retry.left_out, 'line')}; use --all when it has ended."
        state = "uploaded" if retry.job.job_id is None else "running"
        terminal.note(f"A retry is {state} already: {name}.{later} To pay for another one: --again")


def _finish(
    stack: Stack, followed: Followed, out: Path, terminal: Terminal, comes_back: str
) -> int:
    """Follow a retry until it ends, then fetch and merge; return the exit status."""
    storage = stack.storage
    try:
        Follower(storage, terminal).follow([followed], lambda _: None)
    except KeyboardInterrupt:
        return leave(terminal, stack.target, [followed], fetch=lambda _: comes_back)
    end(stack, followed.job, followed.name, out, terminal, terminal.print)
    report = followed.report or {}
    if report["outputs"]["results"] is None:
        return EXIT_PROBLEM
    merged, counts = retries.write_merged(storage, retries.lineage(storage, followed.job), out)
    terminal.print(f"  {merged}: {counts.text}")
    return EXIT_FINE if report["status"] == GOOD else EXIT_PROBLEM
