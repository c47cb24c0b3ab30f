"""Report the end of a job and fetch its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from groq_batch.bucket.storage import Storage
from groq_batch.domain.error_code import ErrorCode
from groq_batch_cli.aws import Stack
from groq_batch_cli.failures import error_codes
from groq_batch_cli.progress_bar import ByteProgress
from groq_batch_cli.terminal import Terminal
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.job_files import Fetched, fetch
from groq_batch_client.job_view import GOOD, cost_so_far, headline, reason, style_of
from groq_batch_client.stored_reports import Report
from groq_batch_client.text import duration, listed, one_line

SHOWN_PROBLEMS = 10
"""How many different problems of a file are shown."""

SHOWN_LINES = 5
"""How many line numbers of one problem are shown."""


def end_line(name: str, report: Report, terminal: Terminal) -> str:
    """Return the summary line of a job that has ended."""
    status = terminal.styled(report["status"], style_of(report["status"]))
    has_failed = report["status"] == "failed"
    words = [] if has_failed else [headline(report)]
    if cost_so_far(report):
        words.append(cost_so_far(report))
    if report["timing"]["seconds"] is not None:
        words.append(duration(report["timing"]["seconds"]))
    # The headline of a failed job is one or more sentences, so it comes last.
    why = f": {headline(report)}" if has_failed else ""
    return f"{name}: {', '.join([status, *words])}{why}"


def problem_lines(report: Report) -> Iterator[str]:
    """Yield the first problems of a job's input file; lines with the same problem share one."""
    groups: dict[tuple[str, str], list[int | None]] = {}
    for error in report["errors"]:
        if _is_of_input(error):
            problem = (error["code"], one_line(error["message"]))
            groups.setdefault(problem, []).append(error["line"])
    shown = list(groups.items())[:SHOWN_PROBLEMS]
    for (code, message), lines in shown:
        yield f"  {_place(lines)}: {code} {message}"
    rest = report["errors_total"] - sum(len(lines) for _, lines in shown)
    if rest > 0 and shown:
        yield f"  and {rest:,} more"


def _place(lines: Sequence[int | None]) -> str:
    """Return which lines have a problem; it is one of the whole file if a line is None."""
    numbers = [f"{line:,}" for line in lines if line is not None]
    if len(numbers) < len(lines):
        return "the file"
    return f"{'line' if len(numbers) == 1 else 'lines'} {listed(numbers, SHOWN_LINES)}"


def _is_of_input(error: Report) -> bool:
    return error["line"] is not None or error["custom_id"] is None


def end(
    stack: Stack,
    job: FoundJob,
    name: str,
    folder: Path,
    terminal: Terminal,
    say: Callable[[str], None],
) -> Fetched:
    """Fetch the files of a job, then print its outcome and the next step.

    Args:
        stack: The stack.
        job: The job, with its final report.
        name: The name of the job in the output.
        folder: The output directory.
        terminal: Where to write.
        say: Called with each line of the result.

    Raises:
        CommandError: The files cannot be fetched. Nothing has been printed in that case.
    """
    report = job.report or {}
    # Print success only after the results have arrived.
    fetched = fetch_files(stack.storage, job, folder, terminal)
    say(end_line(name, report, terminal))
    if report["status"] == "rejected":
        for line in problem_lines(report):
            say(line)
    elif report["status"] == "partial":
        why = reason(report)
        if why is not None:
            say(f"  {why}")
        codes = error_codes(stack.storage, job)
        if codes.codes:
            say(f"  not answered: {codes.text()}")
    for path in (fetched.results, fetched.failed, fetched.invalid, fetched.report, fetched.page):
        if path is not None:
            say(f"  {path}")
    if fetched.failed is not None and not job.is_replaced and _can_retry_help(report):
        say(f"  to run the failed ones again: {stack.target.command('retry', job.path)}")
    return fetched


def _can_retry_help(report: Report) -> bool:
    """Tell whether a job has failed requests that need not be corrected first."""
    # Invalid lines are not among these.
    has_failed = report["status"] != GOOD and report["requests"]["failed"] > 0
    return has_failed and not any(
        one["code"] == ErrorCode.CANARY_FAILED for one in report["errors"][:1]
    )


def fetch_files(storage: Storage, job: FoundJob, folder: Path, terminal: Terminal) -> Fetched:
    """Fetch the files of a job and show the progress."""

    def begin(name: str, total: int) -> Callable[[int], None]:
        return ByteProgress(terminal, f"Fetching {name}", total).add

    try:
        return fetch(storage, job, folder, begin=begin, warn=terminal.warn)
    finally:
        terminal.clear()
