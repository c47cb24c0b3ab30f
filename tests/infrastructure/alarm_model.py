"""CloudWatch's judgement of an alarm, as it is documented, over data points of a failure.

Sources: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html (every
minute, over a window that slides) and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html (more
periods than asked for are read, and what is missing is filled in as seldom as possible).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MINUTE = 60.0
PUBLISHED_AFTER = 2 * MINUTE
"""From a log line or a service to its metric."""

MAX_EXTRA_PERIODS = 5
"""AWS does not say how many periods beyond those asked for it reads. Its examples read two more."""


@dataclass(frozen=True)
class Point:
    """A value of a metric."""

    at: float
    value: float


@dataclass(frozen=True)
class Alarm:
    """What a template says of an alarm.

    Attributes:
        statistic: What is made of the values of a period, such as ``Sum``.
        period: Length of a period in seconds.
        evaluation_periods: Periods that are judged (N).
        datapoints_to_alarm: How many of them must be above the threshold (M).
        threshold: The threshold.
        missing_is_bad: Whether a period without values counts as one above the threshold.
        extra_periods: Further periods that are read in case some have no values.
    """

    statistic: str
    period: int
    evaluation_periods: int
    datapoints_to_alarm: int
    threshold: float
    missing_is_bad: bool
    extra_periods: int

    @classmethod
    def read(cls, properties: Mapping[str, Any], *, extra_periods: int) -> Alarm:
        """Read an alarm's properties."""
        assert properties["ComparisonOperator"] == "GreaterThanThreshold"
        periods = int(properties["EvaluationPeriods"])
        return cls(
            statistic=properties["Statistic"],
            period=int(properties["Period"]),
            evaluation_periods=periods,
            datapoints_to_alarm=int(properties.get("DatapointsToAlarm", periods)),
            threshold=float(properties["Threshold"]),
            missing_is_bad={"breaching": True, "notBreaching": False}[
                properties["TreatMissingData"]
            ],
            extra_periods=extra_periods,
        )

    def rings(self, periods: Sequence[float | None]) -> bool:
        """Judge once.

        Args:
            periods: The value of each period that is read, the newest last; None where it has none.
        """
        existing = [one for one in periods if one is not None][-self.evaluation_periods :]
        bad = sum(one > self.threshold for one in existing)
        if self.missing_is_bad:
            bad += self.evaluation_periods - len(existing)
        return bad >= self.datapoints_to_alarm

    def ringing(self, points: Iterable[Point], *, begin: float, end: float) -> list[float]:
        """Return when the alarm goes on, each time, judged every minute.

        Args:
            points: The metric's values.
            begin: When it is judged first; it is off before.
            end: When it is judged last.
        """
        series = _Series(points)
        rung: list[float] = []
        is_on = False
        now = begin
        while now <= end:
            was_on, is_on = is_on, self.rings(self._read(series, now))
            if is_on and not was_on:
                rung.append(now)
            now += MINUTE
        return rung

    def _read(self, series: _Series, now: float) -> list[float | None]:
        count = self.evaluation_periods + self.extra_periods
        borders = [now - self.period * number for number in range(count, -1, -1)]
        return [
            series.value(self.statistic, *one, seen_at=now) for one in itertools.pairwise(borders)
        ]


class _Series:
    """A metric's values, summed up for any stretch of time."""

    def __init__(self, points: Iterable[Point]) -> None:
        found = sorted(points, key=lambda point: point.at)
        self._times = [point.at for point in found]
        self._values = [point.value for point in found]

    def value(self, statistic: str, begin: float, end: float, *, seen_at: float) -> float | None:
        """Return a period's value, or None when nothing was published in it by then."""
        first = bisect.bisect_right(self._times, begin)
        last = bisect.bisect_right(self._times, min(end, seen_at - PUBLISHED_AFTER))
        values = self._values[first:last]
        if not values:
            return None
        if statistic == "Average":
            return sum(values) / len(values)
        return {"Sum": sum, "Maximum": max, "Minimum": min}[statistic](values)
