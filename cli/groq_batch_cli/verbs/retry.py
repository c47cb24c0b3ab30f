"""``groq-batch retry``: rerun failed requests and merge the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from groq_batch_cli import uploads
from groq_batch_cli.aws import Stack, Target, connect
from groq_batch_cli.ending import end
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM, CommandError
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.job_progress import Follower
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
from groq_batch_cli.verbs.run import leave
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
    known, free_number = retries.existing_retry(stack.storage, found.path)
    beginning = _Beginning(stack, terminal, found, metadata)
    if known is None or again:
        followed = beginning.upload(free_number, everything=everything)
    elif everything and known.left_out and is_final(known.job.report):
        followed = beginning.upload(free_number, after=known, everything=True)
    else:
        followed = _known(known, terminal, asks_for_all=everything)
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


def _known(known: retries.Retry, terminal: Terminal, *, asks_for_all: bool) -> Followed:
    """Return the existing retry, and tell the user about it."""
    name = one_line(known.job.path)
    if is_final(known.job.report):
        terminal.note(f"A retry has run already: {name}. To pay for another one: --again")
    else:
        later = ""
        if asks_for_all and known.left_out:
            later = f" It skips {counted(known.left_out, 'line')}; use --all when it has ended."
        terminal.note(f"A retry is running already: {name}.{later} To pay for another one: --again")
    return Followed(name, known.job)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """Uploads a new retry of a job.

    Attributes:
        stack: The stack.
        terminal: Where to write.
        job: The job.
        metadata: The options of the retry.
    """

    stack: Stack
    terminal: Terminal
    job: FoundJob
    metadata: dict[str, str]

    def upload(
        self, number: int, *, after: retries.Retry | None = None, everything: bool
    ) -> Followed:
        """Upload the requests worth retrying.

        Args:
            number: The number of the retry.
            after: An earlier retry, whose answers count.
            everything: Whether to send final errors and unknown outcomes too.

        Raises:
            CommandError: There is nothing to send.
        """
        storage = self.stack.storage
        size = retries.results_size(storage, self.job)
        with ByteProgress(self.terminal, "Reading the results", size) as progress:
            upload, found = retries.upload_retry(
                storage,
                self.job,
                number,
                after=after,
                everything=everything,
                metadata=self.metadata,
                progress=progress.add,
            )
        if upload is None:
            raise CommandError(self._nothing(found))
        path = upload.path
        self.terminal.print(
            f"{one_line(path)}: {counted(found.number, 'failed request')} of "
            f"{one_line(self.job.path)}"
        )
        if found.left_out:
            self.terminal.print(f"  skipped: {found.left_out_text}")
            self.terminal.note(f"  to send them too: {self._command('--all')}")
        return Followed(one_line(path), FoundJob(path=path, job_id=upload.job_id))

    def _nothing(self, found: Leftovers) -> str:
        name = one_line(self.job.path)
        if not found.left_out:
            return f"{name} has no failed requests left: its retries have answered all of them."
        return (
            f"No failed request of {name} is worth sending again: {found.left_out_text}. To send "
            f"them anyway: {self._command('--all')}"
        )

    def _command(self, option: str) -> str:
        return self.stack.target.command("retry", self.job.path, option)


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
