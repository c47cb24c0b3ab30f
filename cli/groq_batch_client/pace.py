"""How fast a job goes, and how long the rest takes.

These are guesses. None is made before there is ground for one: batches stand still, begin slowly
and end at once, so that the first few answers say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from groq_batch.domain.pace import LEAST_SECONDS, current_attempt, mean_pace
from groq_batch_client.text import rough_duration

__all__ = ["Look", "Pace", "current_attempt", "pace_of_looks", "pace_of_report"]

Report = Mapping[str, Any]

_LEAST_LOOKS = 3
_LATEST_LOOKS = 5
_LATEST_SECONDS = 120.0
"""The pace of late counts: of the last reports, and of all those of the last two minutes."""

_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast requests get their outcomes.

    Attributes:
        rate: Requests per second.
        seconds_left: How long those without an outcome take at that rate, counted from the moment
            at which the report was written.
    """

    rate: float
    seconds_left: float

    @property
    def rate_text(self) -> str:
        """The rate in words; a slow one per minute."""
        if self.rate < 1:
            return f"{_MINUTE * self.rate:.1f}/min"
        return f"{self.rate:,.1f}/s" if self.rate < 10 else f"{self.rate:,.0f}/s"  # noqa: PLR2004

    def seconds_left_after(self, seconds: float) -> float | None:
        """Return how long it still takes some time after the report; None when that has passed."""
        left = self.seconds_left - max(seconds, 0.0)
        return left if left >= 1 else None

    def left_text(self, seconds: float) -> str:
        """Return the same in words; empty when that time has passed."""
        left = self.seconds_left_after(seconds)
        return f"~{rough_duration(left)}" if left is not None else ""


@dataclass(frozen=True, slots=True)
class Look:
    """How far a job was when a report was written.

    Attributes:
        at: When that was, in seconds since 1970.
        done: Requests with an outcome.
    """

    at: float
    done: int


def pace_of_report(report: Report | None, written_at: datetime | None) -> Pace | None:
    """Return the mean pace of the attempt under way; None when there is no ground for a guess.

    Args:
        report: The report of a running job.
        written_at: When it was written.
    """
    if report is None or written_at is None:
        return None
    found = mean_pace(report, written_at)
    return Pace(*found) if found is not None else None


def pace_of_looks(looks: Sequence[Look], total: int) -> Pace | None:
    """Return the pace of late; None when the reports are too few to tell.

    Args:
        looks: How far the job was, from report to report of one attempt.
        total: Requests that are to have an outcome.
    """
    # While a batch waits for its turn nothing moves, which says nothing of the time after that.
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
    if len(recent) < _LEAST_LOOKS or seconds < LEAST_SECONDS or done <= 0:
        return None
    rate = done / seconds
    return Pace(rate, max(total - last.done, 0) / rate)
