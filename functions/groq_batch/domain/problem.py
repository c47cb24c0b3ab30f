"""Problems of the input: what was expected, what was found, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

MAX_SHOWN_CHARACTERS = 512
"""Longer ids are cut where they are shown, in reports."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the input.

    Attributes:
        line: Physical line, from 1; None when it concerns the whole file.
        custom_id: The line's id where it could be read, in full.
        code: What is wrong, for programs.
        message: What was expected, what was found, what to do; never content of a request.
    """

    line: int | None
    custom_id: str | None
    code: str
    message: str


def problem_row(problem: Problem) -> bytes:
    """Return a problem as a row of ``invalid/``, with its line end."""
    row = {
        "line": problem.line,
        "custom_id": problem.custom_id,
        "code": problem.code,
        "message": problem.message,
    }
    return msgspec.json.encode(row) + b"\n"


def shown(text: str | None) -> str | None:
    """Return a text cut to what is shown of it."""
    if text is None or len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    return text[:MAX_SHOWN_CHARACTERS] + "…"


MAX_MESSAGE_LENGTH = 500
"""Characters kept of a text that the API sent."""


def problem_json(problem: Problem) -> dict[str, Any]:
    """Return a problem as it stands in ``invalid/`` and in reports."""
    return {
        "line": problem.line,
        "custom_id": problem.custom_id,
        "code": problem.code,
        "message": problem.message,
    }
