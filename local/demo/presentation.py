"""Shows how a job ended: its status, some answers, and where its files are."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from groq_batch.bucket.storage import Storage
from groq_batch_cli.failures import error_codes
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text_table import aligned
from groq_batch_cli.verbs.status import status_lines
from groq_batch_client.answers import Answer, read_answer
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.job_files import Fetched
from groq_batch_client.text import one_line, shorten

SHOWN = 5
_LONGEST_ID = 28
_PIPE_WIDTH = 100

_CONTENTS = {
    "results": "one row for each request, in order",
    "failed": "the request lines to run again",
    "invalid": "the problems of the file, each with its line and what to do",
    "report": "the report: counts, batches, cost, times",
    "page": "the report as a page: open it in a browser",
}


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some rows of a result file, as pairs of ``custom_id`` and text."""

    answers: list[tuple[str, str]]
    failures: list[tuple[str, str]]


def present(terminal: Terminal, storage: Storage, job: FoundJob, files: Fetched) -> None:
    """Show how a job ended.

    Args:
        terminal: Where to write.
        storage: The bucket.
        job: The job, with its final report.
        files: Its files on this machine.
    """
    terminal.print()
    for line in status_lines(job, terminal, datetime.now(UTC), error_codes(storage, job)):
        terminal.print(line)
    if files.results is not None and job.report is not None:
        excerpt = read_excerpt(files.results, job.report["requests"]["total"])
        _table(terminal, "Some answers", excerpt.answers)
        _table(terminal, "Without an answer", excerpt.failures)
    named = {name: path for name in _CONTENTS if (path := getattr(files, name)) is not None}
    rows = [(path.name, _CONTENTS[name]) for name, path in named.items()]
    _table(terminal, f"Files in {shown_path(files.report.parent)}", rows)


def _table(terminal: Terminal, title: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        terminal.print()
        terminal.print(terminal.styled(title, "bold"))
        for line in aligned(rows):
            terminal.print("  " + shorten(line, (terminal.width or _PIPE_WIDTH) - 2))


def read_excerpt(path: Path, total: int) -> Excerpt:
    """Return an excerpt of a result file.

    Args:
        path: The file; compressed when its name ends in ``.gz``.
        total: How many rows it has.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as rows:
        return choose(rows, total)


def choose(rows: Iterable[bytes], total: int) -> Excerpt:
    """Return answers from the whole file, and the first rows without success."""
    excerpt = Excerpt([], [])
    for number, line in enumerate(islice(rows, total)):
        row = read_answer(line)
        name = shorten(one_line(row.custom_id or ""), _LONGEST_ID)
        if row.error_code is None:
            due = len(excerpt.answers) * total // SHOWN
            if len(excerpt.answers) < SHOWN and number >= due:
                excerpt.answers.append((name, answer_text(row)))
        elif len(excerpt.failures) < SHOWN:
            excerpt.failures.append((name, one_line(f"{row.error_code}: {row.error_message}")))
    return excerpt


def answer_text(answer: Answer) -> str:
    """Return an answer in one line: what was said, or the tool that was called."""
    if not answer.value and answer.tool_calls:
        call = answer.tool_calls[0]
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            return one_line(f"calls {function.get('name')} with {function.get('arguments')}")
    return one_line(str(answer.value or "")) or "(no text)"


def shown_path(path: Path) -> str:
    """Return a path as it is shortest from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
