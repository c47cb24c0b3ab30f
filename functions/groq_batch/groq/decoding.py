"""Decode successful responses; reject bodies that are not what was asked for."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from io import SEEK_END
from typing import Any, BinaryIO

from groq_batch.domain.batch import (
    UNKNOWN_STATUS,
    Batch,
    BatchCounts,
    BatchIssue,
    GroqFile,
)
from groq_batch.domain.problem import MAX_MESSAGE_LENGTH

_SPELLINGS = {"canceled": "cancelled", "canceling": "cancelling"}
_LATEST_TIME = 253_402_300_799
"""End of the year 9999 in Unix seconds; a larger number can only be milliseconds."""
_LARGEST_COUNT = 10**15
_DIGITS = re.compile("[0-9]{1,15}")
_END_FIELDS = ("completed_at", "failed_at", "expired_at", "cancelled_at")


def batch_of(data: object) -> Batch | None:
    """Decode a batch; None if the data is not one (it has no id)."""
    if not isinstance(data, dict):
        return None
    identity = _name(data.get("id"))
    if identity is None:
        return None
    counts = data.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    created_at, expires_at = _time(data.get("created_at")), _time(data.get("expires_at"))
    if created_at is not None and expires_at is not None and expires_at <= created_at:
        # A batch that seems to have expired is cancelled, so an invalid time must not be accepted.
        expires_at = None
    return Batch(
        id=identity,
        status=_status(data.get("status")),
        input_file_id=_name(data.get("input_file_id")),
        output_file_id=_name(data.get("output_file_id")),
        error_file_id=_name(data.get("error_file_id")),
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
    """Decode a file; None if the data is not one (it has no id)."""
    if not isinstance(data, dict) or (identity := _name(data.get("id"))) is None:
        return None
    return GroqFile(
        id=identity,
        filename=_name(data.get("filename")),
        bytes=_count(data.get("bytes")),
        created_at=_time(data.get("created_at")),
        purpose=_name(data.get("purpose")),
    )


def _name(value: object) -> str | None:
    """Return an id or a name; only a string that is not blank is one.

    The API writes ``""``, ``{}`` or null where there is no file.
    """
    return value if isinstance(value, str) and value.strip() else None


def _status(value: object) -> str:
    """Return a status in lower case and in the spelling of Groq's documentation."""
    text = value.strip().lower() if isinstance(value, str) else ""
    return _SPELLINGS.get(text, text) or UNKNOWN_STATUS


def _metadata(data: object) -> dict[str, str]:
    """Decode metadata: strings by name; numbers become strings, other values are dropped."""
    if not isinstance(data, dict):
        return {}
    entries = ((str(name), _text(value)) for name, value in data.items())
    return {name: text for name, text in entries if text is not None}


def _issues(data: object) -> tuple[BatchIssue, ...]:
    """Decode ``errors``: an array, an object with ``data``, one object, a string, or nothing."""
    if isinstance(data, dict):
        data = data.get("data", [data])
    items = data if isinstance(data, list) else [data]
    return tuple(issue for item in items if (issue := _issue(item)) is not None)


def _issue(item: object) -> BatchIssue | None:
    """Decode one entry of ``errors``; None if it has no content."""
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
    """Return an integer from 0 up, also one given as ``3.0`` or ``"3"``; otherwise None."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= _LARGEST_COUNT else None  # False for NaN.


def _time(value: object) -> int | None:
    """Return a time in Unix seconds, given as seconds, milliseconds or text; otherwise None.

    0 is not a time: some languages write it for an empty field.
    """
    seconds = _count(value)
    if seconds is None and isinstance(value, str):
        seconds = _count(_seconds_of_iso(value))
    elif seconds is not None and seconds > _LATEST_TIME:
        seconds //= 1000
    return seconds if seconds and seconds <= _LATEST_TIME else None


def _seconds_of_iso(text: str) -> float | None:
    """Decode a time such as ``2026-01-31T12:00:00Z``; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


_LARGEST_MESSAGE = 64 * 1024
_ROW_FIELDS = frozenset({"custom_id", "response", "error"})
"""Fields of which a row has at least one. A message such as ``{"detail": …}`` has none."""


class UnexpectedResponseError(Exception):
    """A response's JSON is not what was expected; the message continues "The answer …"."""


def read_file(data: object) -> GroqFile:
    """Decode a file's description.

    Raises:
        UnexpectedResponseError: It is not one.
    """
    file = file_of(data)
    if file is None:
        raise UnexpectedResponseError("names no file")
    return file


def read_batch(data: object, batch_id: str | None = None) -> Batch:
    """Decode a batch and check its id, if one is given.

    Raises:
        UnexpectedResponseError: It is not a batch, or another one.
    """
    batch = batch_of(data)
    if batch is None or (batch_id is not None and batch.id != batch_id):
        raise UnexpectedResponseError("is not about the batch asked for")
    return batch


def read_page(data: object, *, strict: bool) -> tuple[list[Any], str | None]:
    """Return the items of a list's page, and the cursor of the next page; None on the last page.

    The cursor is in ``paging``, as in Groq's documentation, or next to the items. A page in the
    format of other APIs, which announces more items without a way to request them, must not be
    taken for the last one.

    Raises:
        UnexpectedResponseError: It is not a list, or ``strict`` is set and there is a next page
            that cannot be requested.
    """
    items, places = data, []
    if isinstance(data, dict) and "data" in data and not data.get("error"):
        # Some languages write null for an empty list.
        items = [] if data["data"] is None else data["data"]
        places = [place for place in (data.get("paging"), data) if isinstance(place, dict)]
    if not isinstance(items, list):
        raise UnexpectedResponseError("is not a list")
    cursor = next((found for place in places if (found := place.get("next_cursor"))), None)
    if isinstance(cursor, int) and not isinstance(cursor, bool):
        cursor = str(cursor)
    if isinstance(cursor, str):
        return items, cursor
    if strict and (cursor or any(place.get("has_more") for place in places)):
        raise UnexpectedResponseError("names a next page in a form that is not known")
    return items, None


def begins_with_a_row(content: BinaryIO) -> bool:
    """Tell whether the content of a result file begins with a readable row.

    If a message were taken for a file of rows, every request of the batch would seem unanswered,
    and would be sent, and paid for, again. A file may contain broken rows, though.

    Raises:
        UnexpectedResponseError: It is a message instead of a file of rows.
    """
    content.seek(0)
    start = content.read(_LARGEST_MESSAGE + 1)
    content.seek(0, SEEK_END)
    rows = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_whole = len(start) <= _LARGEST_MESSAGE
    if rows[:1] not in b'{["' or (is_whole and _is_message(rows)):
        raise UnexpectedResponseError("is no file of rows")
    first, line_end, _ = rows.partition(b"\n")
    if not line_end and not is_whole:
        return True
    data = _json_of(first)
    return isinstance(data, dict) and not _ROW_FIELDS.isdisjoint(data)


def _is_message(content: bytes) -> bool:
    """Tell whether a content is one message, such as an error of the API, and not a row."""
    data = _json_of(content)
    if not isinstance(data, dict) or data.keys() & {"custom_id", "response"}:
        return False
    has_no_row = bool(data) and _ROW_FIELDS.isdisjoint(data)
    return bool(data.get("error")) or data.get("object") == "error" or has_no_row


def _json_of(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
