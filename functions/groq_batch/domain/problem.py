"""Problems of the input: what was expected, what was found, what to do."""

from __future__ import annotations

from typing import Self

import msgspec

MAX_SHOWN_CHARACTERS = 512
"""Longer ids are truncated in reports."""
MAX_MESSAGE_LENGTH = 500
"""Maximum number of characters kept of a text from the API."""


class Problem(msgspec.Struct, frozen=True):
    """Something wrong with the input; its fields are those of ``invalid/`` and of reports.

    Attributes:
        line: Physical line, from 1; None when it concerns the whole file.
        custom_id: The line's id in full, if it could be read.
        code: Error code, for programs.
        message: What was expected, what was found, what to do; never the content of a request.
    """

    line: int | None
    custom_id: str | None
    code: str
    message: str

    @classmethod
    def of_file(cls, code: str, message: str) -> Self:
        """Return a problem that concerns the whole file."""
        return cls(line=None, custom_id=None, code=code, message=message)


def problem_row(problem: Problem) -> bytes:
    """Return a problem as a row of ``invalid/``, with its line end."""
    return msgspec.json.encode(problem) + b"\n"


def shown(text: str | None) -> str | None:
    """Truncate text for display."""
    if text is None or len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    return text[:MAX_SHOWN_CHARACTERS] + "…"
