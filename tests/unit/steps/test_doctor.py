"""What the answer about the account tells of the order of its batches."""

from __future__ import annotations

import pytest

from groq_batch.steps.doctor import order_of


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        *((value, None) for value in ([], [5], [5, 5], [None, None])),
        ([5, 5, 4], "newest_first"),
        ([4, 5, 5, 7], "oldest_first"),
        ([4, 5, 4], "mixed"),
        ([5, None, 4], "mixed"),
    ],
)
def test_order_of_dates_is_described(dates: list[int | None], expected: str | None) -> None:
    assert order_of(dates) == expected
