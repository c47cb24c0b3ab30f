"""Shows how a job ended: figures, answers, failures, and where the files are."""

from __future__ import annotations

from pathlib import Path

from local.demo.answers import read_excerpt
from local.demo.console import Console
from local.demo.job import Delivered
from local.demo.summary import (
    Report,
    excerpt_title,
    file_rows,
    headline,
    problem_rows,
    report_table,
    style_of,
    table,
)


def present(console: Console, report: Report, delivered: Delivered, *, is_simulated: bool) -> None:
    """Show how a job ended.

    Args:
        console: Where to write.
        report: The final report.
        delivered: The files.
        is_simulated: Whether the simulator answered.
    """
    console.line()
    console.line(console.styled(headline(report), style_of(report["status"])))
    counts = report["requests"]
    if counts["total"] and report["status"] != "rejected":
        console.line()
        _rows(console, "", report_table(report, is_simulated=is_simulated))
    if counts["invalid"] or report["status"] == "rejected":
        problems = problem_rows(report)
        total = counts["invalid"] or report["errors_total"]
        _rows(console, excerpt_title("Problems", len(problems), total), problems, wraps=True)
    if delivered.results is not None:
        _show_rows(console, report, delivered.results)
    _rows(console, f"Files in {shown_path(delivered.folder)}", file_rows(delivered, report))


def _show_rows(console: Console, report: Report, results: Path) -> None:
    counts = report["requests"]
    excerpt = read_excerpt(results, counts["total"])
    if excerpt.answers:
        title = excerpt_title("Answers", len(excerpt.answers), counts["succeeded"])
        _rows(console, title, excerpt.answers)
    if excerpt.failures:
        total = counts["total"] - counts["succeeded"]
        title = excerpt_title("Without an answer", len(excerpt.failures), total)
        _rows(console, title, excerpt.failures, style="red")


def _rows(
    console: Console,
    title: str,
    rows: list[tuple[str, str]],
    *,
    wraps: bool = False,
    style: str = "cyan",
) -> None:
    """Write a small table under a title."""
    if title:
        console.line()
        console.line(console.styled(title, "bold"))
    for label, text in table(rows, width=console.width, wraps=wraps):
        console.line(f"  {console.styled(label, style)}  {text}")


def shown_path(path: Path) -> str:
    """Return a path as it is shortest from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
