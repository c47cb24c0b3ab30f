"""Batches and files as the API describes them, read liberally.

Unknown fields are ignored, missing ones are None; the API's documents, SDKs and recorded answers
disagree in places, and nothing here may fail because of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from groq_batch.errors import MAX_MESSAGE_LENGTH

TERMINAL_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})
"""Statuses that do not change any more. An unknown status is not one of them."""

UNKNOWN_STATUS = "unknown"
"""Stands for a status that is missing or no text."""

_SPELLINGS = {"canceled": "cancelled", "canceling": "cancelling"}

_LATEST_TIME = 253_402_300_799
"""The end of the year 9999, in Unix seconds; a larger number can only be milliseconds."""

_LARGEST_COUNT = 10**15
_DIGITS = re.compile("[0-9]{1,15}")

_END_FIELDS = ("completed_at", "failed_at", "expired_at", "cancelled_at")


def file_id(value: object) -> str | None:
    """Return a file's id; only a non-empty string is one (``""``, ``{}`` and null mean no file)."""
    return value if isinstance(value, str) and value.strip() else None


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What the API counts; zeros while it validates, and not to be trusted for success."""

    total: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class BatchIssue:
    """One entry of a batch's ``errors``; ``line`` counts from 1."""

    code: str | None
    message: str | None
    line: int | None
    param: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch. Times are Unix seconds."""

    id: str
    status: str
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    counts: BatchCounts = BatchCounts()
    errors: tuple[BatchIssue, ...] = ()
    metadata: Mapping[str, str] | None = None
    created_at: int | None = None
    expires_at: int | None = None
    ended_at: int | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the batch has ended."""
        return self.status in TERMINAL_STATUSES

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data, the same as is read again."""
        return asdict(self) | {"errors": [asdict(issue) for issue in self.errors]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data written by ``to_json``."""
        return cls(
            **{
                **data,
                "counts": BatchCounts(**data["counts"]),
                "errors": tuple(BatchIssue(**issue) for issue in data["errors"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroqFile:
    """A file at Groq. ``bytes`` is its size, ``created_at`` Unix seconds."""

    id: str
    filename: str | None = None
    bytes: int | None = None
    created_at: int | None = None
    purpose: str | None = None


def batch_of(data: object) -> Batch | None:
    """Read a batch of the API, or None when the data is not one (it has no id)."""
    if not isinstance(data, dict):
        return None
    identity = file_id(data.get("id"))
    if identity is None:
        return None
    counts = data.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    created_at, expires_at = _time(data.get("created_at")), _time(data.get("expires_at"))
    if created_at is not None and expires_at is not None and expires_at <= created_at:
        # A batch that seems to have expired is cancelled, so nonsense must not pass as a time.
        expires_at = None
    return Batch(
        id=identity,
        status=_status(data.get("status")),
        input_file_id=file_id(data.get("input_file_id")),
        output_file_id=file_id(data.get("output_file_id")),
        error_file_id=file_id(data.get("error_file_id")),
        counts=BatchCounts(
            *(_count(counts.get(name)) or 0 for name in ("total", "completed", "failed"))
        ),
        errors=_issues(data.get("errors")),
        metadata=_metadata(data.get("metadata")),
        created_at=created_at,
        expires_at=expires_at,
        ended_at=next(
            (found for name in _END_FIELDS if (found := _time(data.get(name))) is not None),
            None,
        ),
    )


def file_of(data: object) -> GroqFile | None:
    """Read a file of the API, or None when the data is not one (it has no id)."""
    if not isinstance(data, dict) or (identity := file_id(data.get("id"))) is None:
        return None
    return GroqFile(
        id=identity,
        filename=file_id(data.get("filename")),
        bytes=_count(data.get("bytes")),
        created_at=_time(data.get("created_at")),
        purpose=file_id(data.get("purpose")),
    )


def _status(value: object) -> str:
    """Return a status in lower case and in the spelling of Groq's documents."""
    text = value.strip().lower() if isinstance(value, str) else ""
    return _SPELLINGS.get(text, text) or UNKNOWN_STATUS


def _metadata(data: object) -> dict[str, str]:
    """Read metadata: texts by name; numbers become texts, anything else is left out."""
    if not isinstance(data, dict):
        return {}
    entries = ((str(name), _text(value)) for name, value in data.items())
    return {name: text for name, text in entries if text is not None}


def _issues(data: object) -> tuple[BatchIssue, ...]:
    """Read ``errors``: a bare array, an object with ``data``, one object, a text, or nothing."""
    if isinstance(data, dict):
        data = data.get("data", [data])
    items = data if isinstance(data, list) else [data]
    return tuple(issue for item in items if (issue := _issue(item)) is not None)


def _issue(item: object) -> BatchIssue | None:
    """Read one entry of ``errors``, or None when it says nothing."""
    if isinstance(item, str):
        item = {"message": item}
    if not isinstance(item, dict):
        return None
    issue = BatchIssue(
        code=_short_text(item.get("code")),
        message=_short_text(item.get("message")),
        line=_count(item.get("line")) or None,
        param=_short_text(item.get("param")),
    )
    return issue if issue.code or issue.message or issue.line else None


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value) if abs(value) <= _LARGEST_COUNT else None  # False for NaN.


def _short_text(value: object) -> str | None:
    text = _text(value)
    return text[:MAX_MESSAGE_LENGTH] if text else None


def _count(value: object) -> int | None:
    """Return a whole number from 0, also one given as ``3.0`` or ``"3"``, else None."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= _LARGEST_COUNT else None  # False for NaN.


def _time(value: object) -> int | None:
    """Return a time in Unix seconds, given as seconds, milliseconds or a text, else None.

    0 is no time: it is how some languages write an empty field.
    """
    seconds = _count(value)
    if seconds is None and isinstance(value, str):
        seconds = _count(_seconds_of_iso(value))
    elif seconds is not None and seconds > _LATEST_TIME:
        seconds //= 1000
    return seconds if seconds and seconds <= _LATEST_TIME else None


def _seconds_of_iso(text: str) -> float | None:
    """Read a time such as ``2026-01-31T12:00:00Z``; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
