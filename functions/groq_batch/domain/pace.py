"""How fast a job goes, by its report alone.

It is a guess. None is made before there is ground for one: batches stand still, begin slowly and
end at once, so that the first few answers say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from groq_batch.domain.times import parse_timestamp

LEAST_SECONDS = 10.0
"""Time that a pace is measured over at least."""
_LEAST_SHARE = 0.05
"""A report tells the time left once this share of what was sent has an outcome."""


def mean_pace(report: Mapping[str, Any], written_at: datetime) -> tuple[float, float] | None:
    """Return the mean pace of the attempt under way; None when there is no ground for a guess.

    Args:
        report: The report of a job.
        written_at: When it was written.

    Returns:
        Requests per second, and the seconds that the rest takes at that pace from then on.
    """
    if report["status"] != "running":
        return None
    attempt = current_attempt(report)
    members = [batch for batch in report["batches"] if batch["attempt"] == attempt]
    created = [batch["created_at"] for batch in members if batch["created_at"] is not None]
    sent = sum(batch["requests"] for batch in members)
    done = sum(batch["succeeded"] + batch["failed"] for batch in members)
    if not created or not _LEAST_SHARE * sent <= done < sent or not done:
        return None
    seconds = (written_at - parse_timestamp(min(created))).total_seconds()
    if seconds < LEAST_SECONDS:
        return None
    rate = done / seconds
    return rate, (sent - done) / rate


def current_attempt(report: Mapping[str, Any]) -> int:
    """Return the attempt that is under way; 0 before there is one."""
    return max((batch["attempt"] for batch in report["batches"]), default=0)
