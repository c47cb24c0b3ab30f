"""Summary of an ended job for people: a table, answers, failures, and the files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from groq_batch_client.text import batches, columns, counted, dollars, duration, one_line, shorten
from local.demo.job import Delivered

SHOWN_PROBLEMS = 10

_LONGEST_LABEL = 28
_STYLES = {"succeeded": "green", "partial": "yellow", "cancelled": "yellow"}

Report = Mapping[str, Any]


def style_of(status: str) -> str:
    """Return the style that a status is shown in."""
    return _STYLES.get(status, "red")


def headline(report: Report) -> str:
    """Return the outcome of a job in one sentence."""
    counts = report["requests"]
    requests = counted(counts["total"], "request")
    match report["status"]:
        case "succeeded":
            return f"Succeeded: {requests}, {counted(counts['succeeded'], 'answer')}"
        case "partial":
            without = counts["total"] - counts["succeeded"]
            return f"Partial: {counts['succeeded']:,} of {requests} answered, {without:,} not"
        case "rejected":
            problems = counted(report["errors_total"], "problem")
            return f"Rejected: the file has {problems}, nothing was sent to Groq"
        case "cancelled":
            return f"Cancelled: {counts['succeeded']:,} of {requests} answered"
    return f"Failed: {reason(report)}"


def reason(report: Report) -> str:
    """Return the sentence of a job that failed or was stopped."""
    first = next((error for error in report["errors"] if error["line"] is None), None)
    return one_line(first["message"]) if first else "the report names no reason"


def report_table(report: Report, *, is_simulated: bool) -> list[tuple[str, str]]:
    """Return the report's figures as labels and values.

    Args:
        report: A final report.
        is_simulated: Whether the simulator answered, so that nothing was paid.
    """
    counts, usage = report["requests"], report["usage"]
    parts = [f"{counts['succeeded']:,} answered", f"{counts['failed']:,} failed"]
    if counts["invalid"]:
        parts.append(f"{counts['invalid']:,} invalid")
    rows = [("Requests", f"{counts['total']:,}: {', '.join(parts)}")]
    rows += [(f"Attempt {number}", text) for number, text in _attempts(report)]
    rows.append(("Tokens", f"{usage['prompt_tokens']:,} in, {usage['completion_tokens']:,} out"))
    cost = report["cost_usd"]
    free = "; the simulator costs nothing" if is_simulated else ""
    rows.append(
        ("Cost", f"{dollars(cost['actual'])} (estimated {dollars(cost['estimated'])}){free}")
    )
    if report["timing"]["seconds"] is not None:
        rows.append(("Time", duration(report["timing"]["seconds"])))
    return rows


def _attempts(report: Report) -> Iterator[tuple[int, str]]:
    """Yield every attempt with the sums of its batches."""
    by_attempt: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for batch in report["batches"]:
        by_attempt[batch["attempt"]].append(batch)
    for attempt, members in sorted(by_attempt.items()):
        sent, succeeded, failed = (
            sum(batch[name] for batch in members) for name in ("requests", "succeeded", "failed")
        )
        text = f"{counted(sent, 'request')} in {batches(len(members))}: {succeeded:,} answered"
        yield attempt, text + (f", {failed:,} failed" if failed else "")


def problem_rows(report: Report) -> list[tuple[str, str]]:
    """Return the first problems of the input: where they are, and what to do."""
    return [
        (_place(error), f"{error['code']}: {one_line(error['message'])}")
        for error in report["errors"][:SHOWN_PROBLEMS]
    ]


def _place(error: Mapping[str, Any]) -> str:
    if error["line"] is None:
        return "the file"
    name = f" ({one_line(error['custom_id'])})" if error["custom_id"] else ""
    return f"line {error['line']:,}{name}"


def table(
    rows: Sequence[tuple[str, str]], *, width: int, wraps: bool = False
) -> list[tuple[str, str]]:
    """Return rows with labels of one width, and values that fit.

    Args:
        rows: Labels and values.
        width: Columns of a line.
        wraps: Whether a value that does not fit continues on the next line; otherwise it is cut.
    """
    label_width = min(max((columns(label) for label, _ in rows), default=0), _LONGEST_LABEL)
    room = max(width - label_width - 4, 20)
    lines: list[tuple[str, str]] = []
    for label, value in rows:
        first, *others = _wrapped(value, room) if wraps else [shorten(value, room)]
        lines.append((_pad(shorten(label, label_width), label_width), first))
        lines += [(" " * label_width, part) for part in others]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most ``width`` columns, broken between words."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and columns(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def file_rows(delivered: Delivered, report: Report) -> list[tuple[str, str]]:
    """Return the names of the files with their content."""
    counts = report["requests"]
    problems = counts["invalid"] or report["errors_total"]
    unsuccessful = counts["failed"] + counts["invalid"]
    described: list[tuple[Path | None, str]] = [
        (delivered.results, f"{counted(counts['total'], 'row')}, in the order of the requests"),
        (
            delivered.failed,
            f"{counted(unsuccessful, 'request line')} to run again",
        ),
        (delivered.invalid, f"{counted(problems, 'problem')}, each with its line and what to do"),
        (delivered.report, "the report: counts, batches, cost, times"),
        (delivered.page, "the report as a page: open it in a browser"),
    ]
    return [(path.name, text) for path, text in described if path is not None]


def excerpt_title(name: str, shown: int, total: int) -> str:
    """Return the title of a list that may be incomplete."""
    return f"{name} ({shown} of {total:,})" if shown < total else name


def _pad(text: str, width: int) -> str:
    """Fill a text with spaces to ``width`` columns of a terminal."""
    return text + " " * (width - columns(text))
