"""What is decided about an attempt: numbers, pauses, endpoints; always the same, and only once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_options import _RETENTION_MARGIN_DAYS, MAX_ATTEMPTS_LIMIT
from groq_batch.records.attempt_plan import AttemptPlan, RefusedShard, pause_after_refusals
from groq_batch.steps.check_status.reasons import GRACE_SECONDS

KEYS = object_keys.WorkKeys("a-job")
NOW = 1_800_000_000.0
FIRST = AttemptPlan(attempt=1, highest=3)


def after(plan: AttemptPlan, **refused: int) -> AttemptPlan:
    """Return the plan after refusals, given as s1=2 for the shard 1 that makes two parts."""
    given_refusals = {int(name[1:]): RefusedShard(parts=parts) for name, parts in refused.items()}
    return plan.following(refused=given_refusals, by_url=(), now=NOW)


def test_parts_are_numbered_on_from_the_highest_in_order_of_the_shards() -> None:
    plan = after(FIRST, s3=2, s1=3)
    assert plan.attempt == 2
    assert list(plan.parts_of(1)) == [4, 5, 6]
    assert list(plan.parts_of(3)) == [7, 8]
    assert list(plan.parts_of(2)) == []
    assert plan.highest == 8
    assert [plan.origin_of(number) for number in range(1, 9)] == [1, 2, 3, 1, 1, 1, 3, 3]


def test_parts_of_a_part_come_from_its_region() -> None:
    plan = after(after(FIRST, s2=4), s7=3)
    assert plan.divided == {7: (8, 3)}
    assert plan.parts == [8, 9, 10]
    assert {plan.origin_of(number) for number in range(4, 11)} == {2}


def test_shard_of_one_kind_keeps_its_number() -> None:
    plan = after(FIRST, s1=1)
    assert (plan.divided, plan.origins, plan.highest) == ({}, {}, 3)
    assert plan.pause_seconds == 60


def test_pauses_double_with_each_refusal_of_the_same_requests() -> None:
    assert [pause_after_refusals(count) for count in range(1, 10)] == [60 * 2**n for n in range(9)]
    plan = after(after(FIRST, s1=2), s4=1)
    assert plan.pause_seconds == 120
    # Others that are refused for the first time do not wait longer for that, nor make others wait.
    assert after(plan, s5=1).pause_seconds == 120
    assert after(plan, s2=1).pause_seconds == 60
    assert after(plan, s2=1, s4=1).pause_seconds == 240
    assert after(plan).pause_seconds == 0


def test_pauses_of_a_job_fit_into_the_days_that_it_has_beside_its_windows() -> None:
    pauses = sum(pause_after_refusals(count) for count in range(1, MAX_ATTEMPTS_LIMIT))
    assert pauses + GRACE_SECONDS < _RETENTION_MARGIN_DAYS * 86_400


def test_endpoints_stay_with_shards_and_go_over_to_their_parts() -> None:
    refused = {1: RefusedShard(parts=2, by_url=True), 2: RefusedShard(parts=2), 3: RefusedShard()}
    plan = FIRST.following(refused=refused, by_url=[2], now=NOW)
    assert plan.by_url == (2, 4, 5, 6, 7)
    after_retry = plan.following(refused={}, by_url=[4], now=NOW)
    assert after_retry.by_url == (4,)


@given(
    rounds=st.lists(
        st.dictionaries(st.integers(0, 30), st.integers(1, 100), max_size=6), max_size=6
    )
)
def test_no_number_is_given_twice(rounds: list[dict[int, int]]) -> None:
    plan, alive, given_out = FIRST, {1, 2, 3}, {1, 2, 3}
    for chosen in rounds:
        shards = sorted(alive)
        refused = {
            shards[place % len(shards)]: RefusedShard(parts=parts)
            for place, parts in chosen.items()
        }
        plan = plan.following(refused=refused, by_url=(), now=NOW)
        assert not given_out & set(plan.parts)
        assert len(set(plan.parts)) == len(plan.parts)
        given_out |= set(plan.parts)
        # They follow each other without gaps.
        assert given_out == set(range(1, plan.highest + 1))
        alive = (alive - set(plan.divided)) | set(plan.parts)
        assert {plan.origin_of(number) for number in alive} <= {1, 2, 3}


def test_plan_is_read_as_it_was_written(storage: Storage) -> None:
    refused = {1: RefusedShard(parts=2, by_url=True)}
    plan = FIRST.following(refused=refused, by_url=[2], now=NOW)
    assert AttemptPlan.load(storage, KEYS, 2) is None
    assert plan.write(storage, KEYS) == plan
    assert AttemptPlan.load(storage, KEYS, 2) == plan


def test_first_plan_that_is_written_stands(storage: Storage) -> None:
    first = after(FIRST, s1=2).write(storage, KEYS)
    late = FIRST.following(refused={2: RefusedShard(parts=5)}, by_url=(), now=NOW + 9)
    assert late.write(storage, KEYS) == first
    assert AttemptPlan.load(storage, KEYS, 2) == first


def test_nothing_is_decided_about_the_first_attempt(storage: Storage) -> None:
    assert AttemptPlan.load(storage, KEYS, 1) is None
