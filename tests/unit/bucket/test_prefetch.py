"""Reading ahead: the same pieces in the same order, a few in advance, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing

import pytest

from groq_batch.bucket.prefetch import prefetch


def numbered(count: int, taken: list[int], closed: list[bool]) -> Generator[bytes]:
    try:
        for number in range(count):
            taken.append(number)
            yield b"%d" % number
    finally:
        closed.append(True)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_all_pieces_come_in_order(count: int) -> None:
    closed: list[bool] = []
    pieces = list(prefetch(numbered(count, [], closed)))
    assert pieces == [b"%d" % number for number in range(count)]
    assert closed == [True]


def test_only_a_few_are_fetched_in_advance() -> None:
    taken: list[int] = []
    with closing(prefetch(numbered(1000, taken, []))) as pieces:
        next(pieces)
        next(pieces)
    assert len(taken) <= 7


def test_whoever_stops_early_leaves_no_thread_and_no_open_source() -> None:
    closed: list[bool] = []
    before = threading.active_count()
    with closing(prefetch(numbered(1000, [], closed))) as pieces:
        next(pieces)
    assert closed == [True]
    assert threading.active_count() == before


def test_a_failure_comes_in_its_place() -> None:
    def failing() -> Generator[bytes]:
        yield b"a"
        yield b"b"
        raise ConnectionError("cut")

    pieces = prefetch(failing())
    assert [next(pieces), next(pieces)] == [b"a", b"b"]
    with pytest.raises(ConnectionError, match="cut"):
        next(pieces)
