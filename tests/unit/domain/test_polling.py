"""The cadence of the status checks."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.polling import PLATEAU_CHECKS, POLL_BUDGET, SHORT_CHECKS, wait_seconds

HOUR = 3_600
DAY = 24 * HOUR
EVENTS_OF_A_CHECK = 9


def check_times(
    duration: float,
    *,
    window: float,
    attempts: int = 3,
    shortest: int = 5,
    longest: int = 900,
    done_at: Callable[[float], int] = lambda _: 0,
    total: int = 1000,
    polls: int = 0,
) -> list[float]:
    """Return when a batch of some seconds is looked at, up to the look that finds it ended."""
    times: list[float] = []
    elapsed, seen, progress_at = 0.0, 0, 0.0
    while True:
        done = done_at(elapsed)
        if done != seen:
            seen, progress_at = done, elapsed
        elapsed += wait_seconds(
            elapsed_seconds=elapsed,
            idle_seconds=elapsed - progress_at,
            done=done,
            total=total,
            polls=polls + len(times) + 1,
            remaining_seconds=window + DAY - elapsed + (attempts - 1) * window,
            planned_seconds=attempts * window,
            attempts=attempts,
            shortest=shortest,
            longest=longest,
        )
        times.append(elapsed)
        if elapsed >= duration:
            return times


@given(
    elapsed=st.floats(0, 100 * DAY),
    idle=st.floats(0, 100 * DAY),
    done=st.integers(0, 50_000),
    total=st.integers(0, 50_000),
    polls=st.integers(0, 3_000),
    remaining=st.floats(0, 100 * DAY),
    planned=st.floats(DAY, 70 * DAY),
    attempts=st.integers(1, 10),
    shortest=st.integers(1, 3_600),
    longest=st.integers(300, DAY),
)
def test_wait_is_within_its_bounds(
    elapsed: float,
    idle: float,
    done: int,
    total: int,
    polls: int,
    remaining: float,
    planned: float,
    attempts: int,
    shortest: int,
    longest: int,
) -> None:
    wait = wait_seconds(
        elapsed_seconds=elapsed,
        idle_seconds=idle,
        done=done,
        total=total,
        polls=polls,
        remaining_seconds=remaining,
        planned_seconds=planned,
        attempts=attempts,
        shortest=shortest,
        longest=longest,
    )
    assert isinstance(wait, int)
    assert wait >= shortest
    ceiling = max(longest, shortest, planned / PLATEAU_CHECKS)
    budget = min(POLL_BUDGET, (planned + DAY) / ceiling + SHORT_CHECKS * attempts)
    assert wait <= max(ceiling, remaining / max(budget - polls, 1)) + 1


@given(
    attempts=st.integers(1, 10),
    window_days=st.integers(1, 7),
    shortest=st.integers(1, 3_600),
    longest=st.integers(300, DAY),
    stalls_at=st.integers(0, 1000),
)
def test_no_permitted_setting_exceeds_the_budget(
    attempts: int, window_days: int, shortest: int, longest: int, stalls_at: int
) -> None:
    """Every attempt takes its whole window and a day more, with progress that stalls somewhere."""
    polls = 0
    window = window_days * DAY
    for attempt in range(attempts):
        polls += len(
            check_times(
                window + DAY,
                window=window,
                attempts=attempts - attempt,
                shortest=shortest,
                longest=longest,
                done_at=lambda elapsed: min(int(elapsed), stalls_at),
                polls=polls,
            )
        )
    assert polls * EVENTS_OF_A_CHECK < 20_000


def test_three_attempts_of_seven_days_stay_below_5000_events() -> None:
    window = 7 * DAY
    polls = 3 * len(check_times(window, window=window))
    progressing = 3 * len(
        check_times(window, window=window, done_at=lambda elapsed: int(1000 * elapsed / window))
    )
    assert max(polls, progressing) * EVENTS_OF_A_CHECK < 5_000


@pytest.mark.parametrize("duration", [3, 60, 600, 2 * HOUR, 10 * HOUR, DAY])
def test_the_end_is_seen_in_proportion_to_the_duration(duration: float) -> None:
    blind = check_times(duration, window=DAY)[-1] - duration
    foreseen = check_times(
        duration, window=DAY, done_at=lambda elapsed: int(1000 * elapsed / duration)
    )
    # Waits are whole seconds: a bit more than the share.
    assert blind <= max(5, 0.235 * duration)
    assert foreseen[-1] - duration <= max(6, 0.11 * duration)
    assert len(foreseen) < 150


def test_half_of_all_ends_are_seen_within_a_tenth() -> None:
    """Of batches of more than a minute that tell no progress, whatever they take."""
    durations = [60 * 1.003**number for number in range(1_700)]
    assert durations[-1] > 2 * HOUR
    lags = [check_times(one, window=DAY)[-1] / one - 1 for one in durations]
    assert statistics.median(lags) <= 0.1
    assert max(lags) <= 0.235


def test_a_batch_of_ten_minutes_is_looked_at_sixteen_times() -> None:
    assert len(check_times(600, window=DAY)) <= 16


def test_a_batch_of_seconds_is_seen_after_as_many() -> None:
    for duration in range(5, 60):
        assert check_times(duration, window=DAY)[-1] <= 2 * duration


def test_the_first_look_is_soon_whatever_the_window() -> None:
    for window in (DAY, 7 * DAY):
        assert check_times(3, window=window) == [5]
