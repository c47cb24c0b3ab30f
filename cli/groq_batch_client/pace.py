"""Estimate the pace and the remaining time of a job.

There is no estimate without enough data: batches pause, start slowly and end suddenly, so the first
few answers say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from groq_batch.domain.pace import MIN_SECONDS, MeanPace, current_attempt, mean_pace
from groq_batch_client.text import rough_duration

__all__ = ["Look", "Pace", "current_attempt", "pace_of_looks", "pace_of_report"]

Report = Mapping[str, Any]

_MIN_LOOKS = 3
_LATEST_LOOKS = 5
_LATEST_SECONDS = 120.0
"""The recent pace uses the last few reports and all reports of the last two minutes."""

_MINUTE = 60


class Pace(MeanPace):
    """Pace at which requests get outcomes, also as text."""

    __slots__ = ()

    @property
    def rate_text(self) -> str:
        """The rate as text; a slow one is per minute."""
        if self.rate < 1:
            return f"{_MINUTE * self.rate:.1f}/min"
        return f"{self.rate:,.1f}/s" if self.rate < 10 else f"{self.rate:,.0f}/s"  # noqa: PLR2004

    def left_text(self, seconds: float) -> str:
        """Return the time left as text; empty if that time has passed."""
        left = self.seconds_left_after(seconds)
        return f"~{rough_duration(left)}" if left is not None else ""


@dataclass(frozen=True, slots=True)
class Look:
    """Progress of a job at the time of a report.

    Attributes:
        at: That time, in seconds since 1970.
        done: Requests with an outcome.
    """

    at: float
    done: int


def pace_of_report(report: Report | None, written_at: datetime | None) -> Pace | None:
    """Return the mean pace of the current attempt; None if there is too little data.

    Args:
        report: The report of a running job.
        written_at: When it was written.
    """
    if report is None or written_at is None:
        return None
    found = mean_pace(report, written_at)
    return Pace(*found) if found is not None else None


def pace_of_looks(looks: Sequence[Look], total: int) -> Pace | None:
    """Return the recent pace; None if there are too few reports.

    Args:
        looks: Progress in successive reports of one attempt.
        total: Total number of requests.
    """
    # A waiting batch makes no progress, which says nothing about the pace afterwards.
    moving = [look for look in looks if look.done > looks[0].done]
    if not moving:
        return None
    last = moving[-1]
    recent = [
        look
        for place, look in enumerate(reversed(moving))
        if place < _LATEST_LOOKS or last.at - look.at <= _LATEST_SECONDS
    ]
    first = recent[-1]
    seconds, done = last.at - first.at, last.done - first.done
    if len(recent) < _MIN_LOOKS or seconds < MIN_SECONDS or done <= 0:
        return None
    rate = done / seconds
    return Pace(rate, max(total - last.done, 0) / rate)
