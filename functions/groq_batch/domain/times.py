"""Format and parse times in records and reports."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(moment: datetime) -> str:
    """Format a time for records and reports: ISO 8601 in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timestamp_of(seconds: float) -> str:
    """Format a time given in seconds since 1970, like ``timestamp``."""
    return timestamp(datetime.fromtimestamp(seconds, UTC))


def optional_timestamp(seconds: float | None) -> str | None:
    """Format a time like ``timestamp_of``; None stays None."""
    return None if seconds is None else timestamp_of(seconds)


def parse_timestamp(text: str) -> datetime:
    """Parse a time written by ``timestamp``."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def seconds_of(text: str) -> float:
    """Return a time written by ``timestamp`` in seconds since 1970."""
    return parse_timestamp(text).timestamp()
