"""A job is overdue when the windows of its first batches and an hour have passed."""

from __future__ import annotations

import pytest

from groq_batch.domain.overdue import (
    FIRST_OVERDUE_SECONDS,
    LAST_OVERDUE_SECONDS,
    overdue_seconds,
)

HOUR = 3600


@pytest.mark.parametrize(
    ("window_hours", "has_canary", "hours"),
    [(24, False, 25), (24, True, 49), (168, False, 169), (168, True, 337)],
)
def test_overdue_seconds_of_a_window_is_that_window_per_batch_plus_an_hour(
    window_hours: int, has_canary: bool, hours: int
) -> None:
    found = overdue_seconds(window_hours * HOUR, has_canary=has_canary)
    assert found == hours * HOUR
    assert FIRST_OVERDUE_SECONDS <= found <= LAST_OVERDUE_SECONDS
