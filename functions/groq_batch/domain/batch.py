"""Batches and files as the API describes them, read liberally.

Unknown fields are ignored, missing ones are None; the API's documents, SDKs and recorded answers
disagree in places, and nothing here may fail because of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TERMINAL_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})
"""Statuses that do not change any more. An unknown status is not one of them."""
UNKNOWN_STATUS = "unknown"
"""Stands for a status that is missing or no text."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class GroqFile:
    """A file at Groq. ``bytes`` is its size, ``created_at`` Unix seconds."""

    id: str
    filename: str | None = None
    bytes: int | None = None
    created_at: int | None = None
    purpose: str | None = None


ENDPOINT = "/v1/chat/completions"
"""The one batch endpoint that Groq's API reference names; lines may carry other URLs.

See https://console.groq.com/docs/api-reference#batches-create. Other APIs of this shape want the
lines' own URL; a shard of one audio URL is sent so where this one is refused."""
