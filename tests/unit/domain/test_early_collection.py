"""When a round for the shards that have ended is worth its price, before the others have."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.early_collection import SIDE_BY_SIDE, is_worth_a_round, round_seconds
from local.asl import MACHINE

LONG = 900.0


def test_side_by_side_is_what_the_definition_says() -> None:
    states = json.loads(MACHINE.read_text(encoding="utf-8"))["States"]
    assert states["DownloadResults"]["MaxConcurrency"] == SIDE_BY_SIDE


@pytest.mark.parametrize(
    ("ended", "running", "expected"),
    [
        (0, 3, False),
        (1, 1, True),
        (1, 2, False),
        (2, 2, True),
        # One turn of the Map less.
        (1, 10, True),
        (1, 11, False),
        (9, 11, False),
        (10, 30, True),
        (9, 91, False),
        (10, 90, True),
        (500, 500, True),
    ],
)
def test_is_worth_a_round_that_halves_the_rest_or_saves_a_turn(
    ended: int, running: int, expected: bool
) -> None:
    assert is_worth_a_round(ended=ended, running=running, wait_seconds=LONG) is expected


@pytest.mark.parametrize(("ended", "seconds"), [(1, 7), (2, 12), (10, 12), (11, 19), (100, 75)])
def test_is_worth_a_round_only_in_a_wait_that_is_as_long(ended: int, seconds: int) -> None:
    assert round_seconds(ended) == seconds
    assert is_worth_a_round(ended=ended, running=1, wait_seconds=seconds)
    assert not is_worth_a_round(ended=ended, running=1, wait_seconds=seconds - 1)


@given(ends=st.lists(st.integers(1, 40), min_size=1, max_size=200))
def test_rounds_of_an_attempt_are_few(ends: list[int]) -> None:
    """However its shards end, there is a round for each turn that is saved, and four more."""
    shards = running = sum(ends) + 1
    ended = rounds = 0
    for number in ends:
        ended, running = ended + number, running - number
        if is_worth_a_round(ended=ended, running=running, wait_seconds=10_000.0):
            ended, rounds = 0, rounds + 1
    assert rounds <= shards / SIDE_BY_SIDE + 5
