"""Table of the status checks that the rule of ``polling`` makes."""

from __future__ import annotations

from itertools import pairwise

from groq_batch.domain.polling import wait_seconds
from local.reference.markdown import table
from local.reference.parameters import default_of

_HOUR = 3600
_DURATIONS = (
    ("1 minute", 60),
    ("10 minutes", 600),
    ("1 hour", _HOUR),
    ("6 hours", 6 * _HOUR),
    ("24 hours", 24 * _HOUR),
    ("7 days", 168 * _HOUR),
)
_EVENTS_OF_A_CHECK = 9


def checks(duration: float, *, window_hours: int) -> list[float]:
    """Return the times of the status checks, in seconds, until the end of a batch is seen.

    The batch reports no progress, which is the worst case.

    Args:
        duration: When the batch ends.
        window_hours: Its completion window; one attempt is planned.
    """
    times: list[float] = []
    now = float(default_of("PollMinSeconds"))
    while True:
        times.append(now)
        if now >= duration:
            return times
        now += wait_seconds(
            elapsed_seconds=now,
            idle_seconds=now,
            done=0,
            total=0,
            polls=len(times),
            remaining_seconds=max((window_hours + 24) * _HOUR - now, 0),
            planned_seconds=window_hours * _HOUR,
            shortest=int(default_of("PollMinSeconds")),
            longest=int(default_of("PollMaxSeconds")),
        )


def cadence() -> str:
    """Return a table of the status checks for batches of various durations."""
    rows = []
    for name, duration in _DURATIONS:
        times = checks(duration, window_hours=168 if duration > 24 * _HOUR else 24)
        longest = max(after - before for before, after in pairwise(times))
        fixed = duration // 30
        rows.append(
            [
                name,
                f"{len(times):,}",
                _time(longest),
                f"{len(times) * _EVENTS_OF_A_CHECK:,}",
                f"{fixed:,}",
                f"{fixed * _EVENTS_OF_A_CHECK:,}",
            ]
        )
    heads = [
        "the batch takes",
        "checks",
        "longest wait",
        "history events",
        "checks every 30 s",
        "history events",
    ]
    return table(heads, rows, right=range(1, 6))


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"  # noqa: PLR2004
