"""Batches and files as the API describes them, read liberally.

Unknown fields are ignored, missing ones are None; the API's documents, SDKs and recorded answers
disagree in places, and nothing here may fail because of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from groq_batch.errors import MAX_MESSAGE_LENGTH

TERMINAL_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})
"""Statuses that do not change any more. An unknown status is not one of them."""

_LATEST_TIME = 253_402_300_799
"""The end of the year 9999, in Unix seconds; a larger number is no time (nor any count)."""

_END_FIELDS = ("completed_at", "failed_at", "expired_at", "cancelled_at")


def file_id(value: object) -> str | None:
    """Return a file's id; only a non-empty string is one (``""``, ``{}`` and null mean no file)."""
    return value if isinstance(value, str) and value else None


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
        """Return the fields as JSON data."""
        return asdict(self)

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

    @classmethod
    def from_api(cls, data: object) -> Self | None:
        """Read a batch of the API, or None when the data is not one (it has no id)."""
        if not isinstance(data, dict):
            return None
        identity = file_id(data.get("id"))
        if identity is None:
            return None
        counts = data.get("request_counts")
        counts = counts if isinstance(counts, dict) else {}
        metadata = data.get("metadata")
        return cls(
            id=identity,
            status=str(data.get("status") or "unknown").lower(),
            input_file_id=file_id(data.get("input_file_id")),
            output_file_id=file_id(data.get("output_file_id")),
            error_file_id=file_id(data.get("error_file_id")),
            counts=BatchCounts(
                *(_count(counts.get(name)) for name in ("total", "completed", "failed"))
            ),
            errors=_issues(data.get("errors")),
            metadata={str(name): str(value) for name, value in metadata.items()}
            if isinstance(metadata, dict)
            else {},
            created_at=_time(data.get("created_at")),
            expires_at=_time(data.get("expires_at")),
            ended_at=next(
                (found for name in _END_FIELDS if (found := _time(data.get(name))) is not None),
                None,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroqFile:
    """A file at Groq. ``bytes`` is its size, ``created_at`` Unix seconds."""

    id: str
    filename: str | None = None
    bytes: int | None = None
    created_at: int | None = None
    purpose: str | None = None

    @classmethod
    def from_api(cls, data: object) -> Self | None:
        """Read a file of the API, or None when the data is not one (it has no id)."""
        if not isinstance(data, dict) or (identity := file_id(data.get("id"))) is None:
            return None
        return cls(
            id=identity,
            filename=file_id(data.get("filename")),
            bytes=_time(data.get("bytes")),
            created_at=_time(data.get("created_at")),
            purpose=file_id(data.get("purpose")),
        )


def _issues(data: object) -> tuple[BatchIssue, ...]:
    """Read ``errors``: a bare array, an object with ``data``, one object, a text, or nothing."""
    if isinstance(data, dict):
        data = data.get("data", [data] if data else [])
    if isinstance(data, str) and data:
        data = [{"message": data}]
    if not isinstance(data, list):
        return ()
    return tuple(
        BatchIssue(
            code=_text(item.get("code")),
            message=_text(item.get("message")),
            line=_line(item.get("line")),
            param=_text(item.get("param")),
        )
        for item in data
        if isinstance(item, dict)
    )


def _text(value: object) -> str | None:
    return str(value)[:MAX_MESSAGE_LENGTH] if value is not None else None


def _line(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _count(value: object) -> int:
    return max(_time(value) or 0, 0)


def _time(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if abs(value) <= _LATEST_TIME else None  # False for NaN.
