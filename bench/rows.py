"""Whether answers are right: one for each request, in order, and exactly the one that was given."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.inputs import expected_answers


@dataclass(frozen=True, slots=True)
class Check:
    """What came of a comparison.

    Attributes:
        expected: Requests.
        right: Answers that are the right ones, whatever their place.
        in_order: Whether the rows are in the order of the requests.
    """

    expected: int
    right: int
    in_order: bool


def check_rows(source: Path, lines: Iterable[bytes]) -> Check:
    """Compare rows with what the simulator answers.

    Args:
        source: The requests.
        lines: Rows of the API, or objects with ``custom_id`` and ``text``.
    """
    expected = dict(expected_answers(source))
    order = list(expected)
    found: dict[str, str | None] = {}
    in_order, count = True, 0
    for number, line in enumerate(lines):
        custom_id, text = _answer(json.loads(line))
        in_order = in_order and number < len(order) and order[number] == custom_id
        found[custom_id] = text
        count += 1
    right = sum(found.get(custom_id) == text for custom_id, text in expected.items())
    return Check(len(expected), right, in_order and count == len(order))


def _answer(row: dict[str, Any]) -> tuple[str, str | None]:
    if "text" in row:
        return row["custom_id"], row["text"]
    response = row.get("response") or {}
    choices = (response.get("body") or {}).get("choices") or [{}]
    return row["custom_id"], (choices[0].get("message") or {}).get("content")
