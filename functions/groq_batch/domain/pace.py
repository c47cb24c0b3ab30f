"""Estimate a job's remaining time from its report alone.

It is a rough estimate, and none is made too early: batches pause, start slowly and end suddenly, so
the first few answers are not representative.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from groq_batch.domain.job_status import RUNNING
from groq_batch.domain.times import parse_timestamp

MIN_SECONDS = 10.0
"""Minimum number of seconds over which a pace is measured."""
_MIN_SHARE = 0.05
"""Minimum share of the sent requests that must have an outcome before time left is estimated."""


class MeanPace(NamedTuple):
    """Pace at which requests get outcomes.

    Attributes:
        rate: Requests per second.
        seconds_left: Seconds that the remaining requests take at that rate, counted from the time
            at which the report was written.
    """

    rate: float
    seconds_left: float

    def seconds_left_after(self, seconds: float) -> float | None:
        """Return the seconds left some time after the report; None if that time has passed."""
        left = self.seconds_left - max(seconds, 0.0)
        return left if left >= 1 else None


def mean_pace(report: Mapping[str, Any], written_at: datetime) -> MeanPace | None:
    """Return the average pace of the current attempt; None if it cannot be estimated yet.

    Args:
        report: The report of a job.
        written_at: When it was written.
    """
    if report["status"] != RUNNING:
        return None
    attempt = current_attempt(report)
    members = [batch for batch in report["batches"] if batch["attempt"] == attempt]
    created = [batch["created_at"] for batch in members if batch["created_at"] is not None]
    sent = sum(batch["requests"] for batch in members)
    done = sum(batch["succeeded"] + batch["failed"] for batch in members)
    if not created or not _MIN_SHARE * sent <= done < sent or not done:
        return None
    seconds = (written_at - parse_timestamp(min(created))).total_seconds()
    if seconds < MIN_SECONDS:
        return None
    rate = done / seconds
    return MeanPace(rate, (sent - done) / rate)


def current_attempt(report: Mapping[str, Any]) -> int:
    """Return the current attempt; 0 before there is one."""
    return max((batch["attempt"] for batch in report["batches"]), default=0)
