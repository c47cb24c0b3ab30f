"""Tables as Markdown, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; the first column is on the left, all others on the right.

    Attributes:
        heads: Titles of the columns.
        rows: The rows, as many cells each.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return the table as Markdown that is readable as plain text."""
        lines = [self.heads, *self.rows]
        widths = [max(len(_escaped(line[n])) for line in lines) for n in range(len(self.heads))]
        rule = [
            "-" * max(width, 3) if number == 0 else "-" * (max(width, 3) - 1) + ":"
            for number, width in enumerate(widths)
        ]
        return "\n".join(
            ["| " + " | ".join(_cells(self.heads, widths)) + " |", "| " + " | ".join(rule) + " |"]
            + ["| " + " | ".join(_cells(row, widths)) + " |" for row in self.rows]
        )


def _cells(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        _escaped(cell).ljust(max(width, 3)) if number == 0 else _escaped(cell).rjust(max(width, 3))
        for number, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def digits(value: float | None, figures: int = 3) -> str:
    """Return a number with some significant figures, and a dash for none."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    magnitude = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if magnitude >= figures:
        return f"{value:,.0f}"
    if magnitude:
        return f"{value:,.{figures - magnitude}f}"
    return f"{value:.{figures}g}"


def megabytes(size: float | None) -> str:
    """Return bytes as megabytes (a million each)."""
    return "-" if size is None else f"{size / 1e6:,.0f}"


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return "never" if share == float("inf") else f"{digits(100 * share, 2)} %"


def usd(amount: float) -> str:
    """Return an amount of money that may be tiny."""
    return f"{amount:.4f}" if amount >= 0.00005 else f"{amount:.6f}"
