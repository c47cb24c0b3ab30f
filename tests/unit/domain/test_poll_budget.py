"""The budget of status checks against the worst progress that an API can tell.

Where the end always seems near, the interval is short: one more request done at every look, the
rest about to follow. A job of many attempts of a week could so use up the events of its execution.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groq_batch.domain.polling import POLL_BUDGET, wait_seconds

DAY = 24 * 3_600
EVENTS_OF_A_CHECK = 9
TOTAL = 50_000
MANY = 2 * POLL_BUDGET


def worst_checks(*, attempts: int, window: float, shortest: int, longest: int) -> int:
    """Return the checks of a job each of whose attempts takes its window and seems to end soon."""
    polls = 0
    for attempt in range(attempts):
        elapsed, done = 1.0, TOTAL - 1_000
        while elapsed < window + DAY and polls < MANY:
            polls += 1
            done = min(done + 1, TOTAL - 1)
            elapsed += wait_seconds(
                elapsed_seconds=elapsed,
                idle_seconds=0.0,
                done=done,
                total=TOTAL,
                polls=polls,
                remaining_seconds=window + DAY - elapsed + (attempts - attempt - 1) * window,
                planned_seconds=attempts * window,
                attempts=attempts,
                shortest=shortest,
                longest=longest,
            )
    return polls


@pytest.mark.parametrize(
    ("attempts", "days", "shortest", "longest"),
    [(10, 7, 1, 300), (10, 7, 5, 900), (3, 7, 5, 900), (10, 1, 1, 300), (1, 7, 1, 300)],
)
def test_an_end_that_always_seems_near(
    attempts: int, days: int, shortest: int, longest: int
) -> None:
    checks = worst_checks(attempts=attempts, window=days * DAY, shortest=shortest, longest=longest)
    # The grace of attempts before the last is not planned for: each may take some checks more.
    assert checks <= POLL_BUDGET * 1.1
    assert checks * EVENTS_OF_A_CHECK < 20_000


@settings(max_examples=40, deadline=None)
@given(
    attempts=st.integers(1, 10),
    hours=st.integers(24, 7 * 24),
    shortest=st.integers(1, 3_600),
    longest=st.integers(300, DAY),
)
def test_no_permitted_setting_reaches_the_limit(
    attempts: int, hours: int, shortest: int, longest: int
) -> None:
    checks = worst_checks(
        attempts=attempts, window=hours * 3_600, shortest=shortest, longest=longest
    )
    assert checks * EVENTS_OF_A_CHECK < 20_000
