"""Small pieces of Markdown: tables, code, anchors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

_RIGHT = "---:"
_LEFT = "---"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Return a table.

    Args:
        heads: The heads of the columns.
        rows: The cells, in Markdown; a pipe in them is escaped, a line end becomes a space.
        right: The columns (from 0) that are aligned to the right, such as numbers.
    """
    rights = set(right)
    rule = [_RIGHT if place in rights else _LEFT for place in range(len(heads))]
    lines = [_row(heads), "|" + "|".join(rule) + "|"]
    lines += [_row(row) for row in rows]
    return "\n".join(lines)


def code(text: str) -> str:
    """Return a text as inline code, whatever its content; an empty text stays empty."""
    if not text:
        return ""
    longest = max((len(found) for found in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def fenced(text: str, language: str = "") -> str:
    """Return lines of code as a block."""
    return f"```{language}\n{text.rstrip()}\n```"


def json_block(data: Any) -> str:
    """Return data as an indented block of JSON."""
    return fenced(json.dumps(data, indent=2, ensure_ascii=False), "json")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))
