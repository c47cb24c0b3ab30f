"""When a step for an only shard is called again, and by whom it is known at all."""

from __future__ import annotations

import pytest

from groq_batch.domain.object_keys import WorkKeys
from groq_batch.domain.only_shard import MAX_CHECKS, MAX_TRIES, StepAnswer

KEYS = WorkKeys("a-0123")


@pytest.mark.parametrize(
    ("event", "shards", "key"),
    [
        ({}, [1], ""),
        ({"machine": 1}, [1], ""),
        ({"machine": 2}, [7], KEYS.shard(3, 7)),
        ({"machine": 2}, [1, 2], ""),
        ({"machine": 2}, [], ""),
    ],
)
def test_key_of_tells_one_shard_to_definitions_that_know_it(
    event: dict[str, int], shards: list[int], key: str
) -> None:
    assert StepAnswer.of_event(event).key_of(KEYS, 3, shards) == key


def test_of_event_reads_numbers_as_expressions_give_them() -> None:
    event = {"machine": 2.0, "outcome": "wait", "wait_seconds": "60", "tries": 3.0}
    found = StepAnswer.of_event(event)
    assert (found.outcome, found.wait_seconds, found.tries) == ("wait", 60, 3)


@pytest.mark.parametrize(
    ("outcome", "tries", "polls", "expected"),
    [
        ("wait", 0, 1, True),
        ("wait", MAX_TRIES - 2, 1, True),
        ("wait", MAX_TRIES - 1, 1, False),
        ("wait", 0, MAX_CHECKS, True),
        ("wait", 0, MAX_CHECKS + 1, False),
        ("settled", 0, 1, False),
        ("deferred", 0, 1, False),
        ("again", 0, 1, False),
        ("", 0, 1, False),
    ],
)
def test_asks_for_more_as_long_as_tries_and_history_allow(
    outcome: str, tries: int, polls: int, expected: bool
) -> None:
    assert StepAnswer(outcome=outcome, tries=tries).asks_for_more(polls) is expected


def test_seconds_left_are_those_that_a_step_asked_for() -> None:
    assert StepAnswer(outcome="wait", wait_seconds=90).seconds_left == 90
    assert StepAnswer(outcome="settled", wait_seconds=5).seconds_left == 0
