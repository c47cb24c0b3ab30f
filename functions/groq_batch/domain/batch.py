"""Batches and files of the API, with tolerant types.

Unknown fields are ignored, missing ones are None. The API's documentation, SDKs and recorded
responses disagree in places, and none of this may cause an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import msgspec
from msgspec.structs import replace

TERMINAL_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})
"""Final statuses (https://console.groq.com/docs/batch). An unknown status is not one of them."""
UNKNOWN_STATUS = "unknown"
"""Replaces a status that is missing or not a string."""


class BatchCounts(msgspec.Struct, frozen=True):
    """The API's request counts: zeros during validation, and not reliable for successes."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchIssue(msgspec.Struct, frozen=True):
    """One entry of a batch's ``errors``; ``line`` counts from 1."""

    code: str | None
    message: str | None
    line: int | None
    param: str | None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
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

    def with_dates_between(self, earliest: float, latest: float) -> Self:
        """Return the batch without its dates if it cannot have been created then.

        An API whose clock is wrong, or that answers with a fixed date, must not make a new batch
        seem to have expired.

        Args:
            earliest: The earliest time at which it can have been created, in Unix seconds.
            latest: The latest such time.
        """
        first_date = self.created_at if self.created_at is not None else self.expires_at
        is_too_late = self.created_at is not None and self.created_at > latest
        if first_date is None or (first_date >= earliest and not is_too_late):
            return self
        return replace(self, created_at=None, expires_at=None)


class GroqFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file at Groq. ``bytes`` is its size, ``created_at`` Unix seconds."""

    id: str
    filename: str | None = None
    bytes: int | None = None
    created_at: int | None = None
    purpose: str | None = None


CHAT_URL = "/v1/chat/completions"
"""URL of a request for a chat completion."""
ENDPOINT = CHAT_URL
"""The only batch endpoint in Groq's API reference; lines may have other URLs.

See https://console.groq.com/docs/api-reference#batches-create. Other APIs of this kind require the
lines' own URL; a shard with one audio URL is sent that way if this endpoint is refused."""
