"""What the attempt's state and the bucket hold once an action was carried out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from groq_batch.bucket.storage import Storage
from groq_batch.domain.only_shard import StepAnswer
from groq_batch.domain.reason import Reason
from groq_batch.records.attempt import ShardState
from groq_batch.steps.check_status.carry_out import carry_out
from groq_batch.steps.check_status.decision import Action, Decision, NextStep, Round
from tests.fakes.s3 import FakeS3
from tests.unit.steps.situations import KEYS, known, sent

PROBLEM = Reason("spend_limit", "Pay.")


def download(*shards: int, begins: Round) -> Action:
    return Action(decision="download", shards=shards, begins=begins)


@pytest.mark.parametrize(
    ("begins", "decision", "counters", "problem"),
    [
        (Round.SENDING, "submit", (1, 0, 0), None),
        (Round.COLLECTING, "download", (0, 1, 0), None),
        (Round.DIVIDING, "download", (0, 0, 1), PROBLEM),
        (None, "wait", (0, 0, 0), PROBLEM),
    ],
)
def test_carry_out_counts_the_round_that_begins(
    storage: Storage,
    begins: Round | None,
    decision: NextStep,
    counters: tuple[int, int, int],
    problem: Reason | None,
) -> None:
    found = known(sent(), sent(), state={"account_error": PROBLEM})
    action = Action(decision=decision, shards=(1, 2), begins=begins)
    assert carry_out(storage, found, action) == Decision.of(action, found)
    state = found.state
    assert (state.submit_rounds, state.download_rounds, state.division_rounds) == counters
    assert state.account_error == problem


def test_carry_out_of_a_round_of_some_shards_names_them_for_the_map(
    s3: FakeS3, storage: Storage
) -> None:
    # The third shard is a part of the second.
    found = known(sent(), sent(), ShardState(origin=2), sent())
    action = download(1, 2, begins=Round.COLLECTING_EARLY)
    answer = carry_out(storage, found, action)
    assert answer.shards_prefix == KEYS.round_shards(1, 7)
    assert s3.keys() == [KEYS.round_shard(1, 7, number) for number in (1, 2)]
    tried = [number for number, entry in found.state.entries.items() if entry.tried_early]
    assert tried == [1, 2, 3]


def test_carry_out_names_no_shards_of_a_whole_attempt_nor_an_only_one(
    s3: FakeS3, storage: Storage
) -> None:
    whole = download(1, 2, begins=Round.COLLECTING)
    found = known(sent(), sent())
    assert carry_out(storage, found, whole).shards_prefix == KEYS.shards(1)
    only = download(2, begins=Round.COLLECTING)
    assert carry_out(storage, found, only).shard_key == KEYS.shard(1, 2)
    found = replace(found, step=StepAnswer(knows_only_shards=False))
    older = carry_out(storage, found, only)
    assert (older.shard_key, older.shards_prefix) == ("", KEYS.shards(1))
    assert not s3.keys()
