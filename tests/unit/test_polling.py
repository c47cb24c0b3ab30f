"""The cadence of the status checks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from groq_batch.polling import POLL_BUDGET, wait_seconds

DAY = 86_400


@given(
    elapsed=st.floats(0, 100 * DAY),
    done=st.integers(0, 50_000),
    total=st.integers(0, 50_000),
    polls=st.integers(0, 3_000),
    remaining=st.floats(0, 100 * DAY),
    shortest=st.integers(1, 3_600),
    longest=st.integers(300, DAY),
)
def test_wait_is_within_its_bounds(
    elapsed: float,
    done: int,
    total: int,
    polls: int,
    remaining: float,
    shortest: int,
    longest: int,
) -> None:
    wait = wait_seconds(
        elapsed_seconds=elapsed,
        done=done,
        total=total,
        polls=polls,
        remaining_seconds=remaining,
        shortest=shortest,
        longest=longest,
    )
    assert isinstance(wait, int)
    assert wait >= shortest
    floor = remaining / max(POLL_BUDGET - polls, 1)
    assert wait <= max(longest, shortest, floor) + 1


@given(
    attempts=st.integers(1, 10),
    window_days=st.integers(1, 7),
    shortest=st.integers(1, 3_600),
    longest=st.integers(300, DAY),
)
def test_no_permitted_setting_exceeds_the_budget(
    attempts: int, window_days: int, shortest: int, longest: int
) -> None:
    """Every attempt takes its whole window and a day more, without ever showing progress."""
    polls = 0
    for attempt in range(attempts):
        elapsed, end = 0.0, (window_days + 1) * DAY
        while elapsed < end:
            polls += 1
            elapsed += wait_seconds(
                elapsed_seconds=elapsed,
                done=0,
                total=0,
                polls=polls,
                remaining_seconds=end - elapsed + (attempts - attempt - 1) * window_days * DAY,
                shortest=shortest,
                longest=longest,
            )
    assert polls * 9 < 20_000


def test_short_batches_are_seen_soon() -> None:
    def wait(elapsed: float, done: int = 0) -> int:
        return wait_seconds(
            elapsed_seconds=elapsed,
            done=done,
            total=100,
            polls=10,
            remaining_seconds=DAY,
            shortest=5,
            longest=900,
        )

    assert wait(0) <= 44
    assert wait(600) == 60
    assert wait(600, done=99) < 60
    assert wait(DAY) == 900
