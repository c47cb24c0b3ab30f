"""Align rows of texts in columns."""

from __future__ import annotations

from collections.abc import Sequence

from groq_batch_client.text import columns

_GAP = "  "


def aligned(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Return a line for each row.

    Args:
        rows: Rows of the same length.
        right: The columns, from 0, to align right, as for numbers.
    """
    widths = (
        [max(columns(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    )
    lines = []
    for row in rows:
        cells = []
        for place, text in enumerate(row):
            fill = " " * (widths[place] - columns(text))
            cells.append(fill + text if place in right else text + fill)
        lines.append(_GAP.join(cells).rstrip())
    return lines
