"""When a list may be taken for one that comes newest first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.listing_order import NewestFirst


def watch(*pages: list[int | None]) -> NewestFirst:
    order = NewestFirst()
    for page in pages:
        order.add(page)
    return order


@pytest.mark.parametrize("pages", [([5, 4],), ([5, 5, 4, 4],), ([5], [4]), ([5, 4], [4], [3])])
def test_dates_that_fall_show_the_order(pages: tuple[list[int | None], ...]) -> None:
    assert watch(*pages).is_shown


@pytest.mark.parametrize(
    "pages",
    [
        (),
        ([],),
        ([5],),
        ([5, 5, 5],),  # Of one second: any order.
        ([4, 5],),
        ([5, 4, 5],),
        ([5, 4], [5]),
        ([5, None, 4],),
        ([5, 4], [None]),
    ],
)
def test_dates_that_do_not_fall_throughout_show_nothing(
    pages: tuple[list[int | None], ...],
) -> None:
    assert not watch(*pages).is_shown


@given(st.lists(st.integers(0, 9), min_size=2), st.integers(1, 5))
def test_oldest_first_is_never_taken_for_newest_first(dates: list[int], size: int) -> None:
    order = NewestFirst()
    dates.sort()
    for start in range(0, len(dates), size):
        order.add(dates[start : start + size])
        assert not order.is_shown
