"""The helper for threads."""

from __future__ import annotations

import threading

import pytest

from groq_batch.domain.parallel import in_parallel


def test_in_parallel_returns_results_in_order_of_the_items() -> None:
    assert in_parallel(lambda number: number * 2, range(100), workers=7) == list(range(0, 200, 2))
    assert in_parallel(str, []) == []


def test_in_parallel_runs_as_many_at_once_as_it_may() -> None:
    """With one thread less the barrier would never open."""
    barrier = threading.Barrier(5)
    assert len(in_parallel(lambda _: barrier.wait(20), range(10), workers=5)) == 10


def test_in_parallel_raises_what_the_first_item_in_order_raised() -> None:
    second_has_failed = threading.Event()

    def work(number: int) -> None:
        if number == 1:
            second_has_failed.wait(20)
            raise LookupError(number)
        if number == 2:
            second_has_failed.set()
            raise LookupError(number)

    with pytest.raises(LookupError, match="1"):
        in_parallel(work, range(3), workers=3)
