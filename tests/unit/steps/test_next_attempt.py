"""What follows an attempt of which all rows are stored."""

from __future__ import annotations

from typing import Any

import pytest

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch, BatchIssue
from groq_batch.domain.shard import Shard
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.attempt_plan import AttemptPlan, RefusedShard
from groq_batch.records.job import JobRecord
from groq_batch.records.shard_result import ShardResult
from groq_batch.records.stored import from_record, to_record
from groq_batch.records.submission import Stage
from groq_batch.steps.check_status.next_attempt import NextAttempt, refusal_notice
from tests.samples import OPTIONS

KEYS = object_keys.WorkKeys("a-job")
NOW = 1_800_000_000.0
SPEECH = "/v1/audio/transcriptions"
JOB = JobRecord(
    accepted=True,
    options=OPTIONS,
    # Of an input that was prepared range by range: numbers may be left out.
    shards=tuple(Shard(number=n, requests=2, bytes=9, skipped=0) for n in (1, 2, 6)),
)


def ended(status: str = "completed", endpoint: str | None = None) -> ShardState:
    batch = Batch(id="b", status=status)
    return ShardState(stage=Stage.CREATED, batch=batch, endpoint=endpoint)


def state(attempt: int = 1, **entries: ShardState) -> AttemptState:
    numbered = {int(name[1:]): entry for name, entry in entries.items()}
    return AttemptState(attempt=attempt, started_at=0.0, entries=numbered)


def collected(storage: Storage, attempt: int, number: int, refused: dict[int, int]) -> None:
    """Store the summary of a region: how many parts its refused shards make."""
    summary = ShardResult(attempt=attempt, number=number)
    summary.refused = {shard: RefusedShard(parts=parts) for shard, parts in refused.items()}
    summary.write(storage, KEYS)


def after(storage: Storage, found: AttemptState, now: float = NOW) -> NextAttempt | None:
    return NextAttempt.after(storage, KEYS, JOB, found, now=now)


def test_next_attempt_without_left_overs_is_none(storage: Storage) -> None:
    assert after(storage, state(s1=ended(), s2=ended("expired"))) is None
    # Lines were named, and no others were there.
    collected(storage, 1, 1, {})
    assert after(storage, state(s1=ended("failed"))) is None
    assert AttemptPlan.load(storage, KEYS, 2) is None


def test_next_attempt_of_left_overs_starts_at_once_without_plan(storage: Storage) -> None:
    storage.put_bytes(KEYS.shard(2, 1), b"{}\n")
    following = after(storage, state(s1=ended("expired")))
    assert following == NextAttempt(plan=AttemptPlan(attempt=2))
    assert AttemptPlan.load(storage, KEYS, 2) is None


def test_refused_shards_follow_after_a_pause_when_their_parts_are_written(storage: Storage) -> None:
    collected(storage, 1, 1, {1: 2})
    collected(storage, 1, 2, {})
    collected(storage, 1, 6, {6: 1})
    entries = {"s1": ended("failed"), "s2": ended("failed"), "s6": ShardState(stage=Stage.REFUSED)}
    found = state(**entries)
    following = after(storage, found)
    assert following is not None
    assert following.plan.parts == [7, 8]
    assert following.missing == {7, 8}
    assert following.plan.pause_seconds == 60
    storage.put_bytes(KEYS.shard(2, 8), b"{}\n")
    # Who comes later finds the plan as it was made.
    later = after(storage, found, now=NOW + 999)
    assert later is not None
    assert later.plan == following.plan
    assert later.missing == {7}


def test_next_attempt_plan_continues_the_one_before(storage: Storage) -> None:
    before = AttemptPlan(attempt=2, highest=8, origins={7: 1, 8: 1}, refusals={7: 1, 8: 1})
    before.write(storage, KEYS)
    entries = {"s7": ended(), "s8": ShardState(stage=Stage.REFUSED)}
    for entry in entries.values():
        entry.origin = 1
    collected(storage, 2, 1, {8: 3})
    following = after(storage, state(2, **entries))
    assert following is not None
    assert following.plan.divided == {8: (9, 3)}
    assert following.plan.origin_of(11) == 1
    assert following.plan.pause_seconds == 120


def test_plan_is_carried_on_for_left_overs_of_parts(storage: Storage) -> None:
    AttemptPlan(attempt=2, highest=8, origins={7: 1, 8: 1}).write(storage, KEYS)
    storage.put_bytes(KEYS.shard(3, 7), b"{}\n")
    following = after(storage, state(2, s7=ended(), s8=ended()))
    assert following is not None
    assert following.plan.origin_of(7) == 1
    assert (following.plan.pause_seconds, following.missing) == (0, frozenset())
    assert AttemptPlan.load(storage, KEYS, 3) == following.plan


def test_plan_keeps_an_endpoint_for_left_overs(storage: Storage) -> None:
    storage.put_bytes(KEYS.shard(2, 1), b"{}\n")
    entries = {"s1": ended(endpoint=SPEECH), "s2": ended(endpoint="/v1/chat/completions")}
    following = after(storage, state(**entries))
    assert following is not None
    assert following.plan.by_url == (1,)


# What the report says


def issue(code: str, line: int | None = None) -> BatchIssue:
    return BatchIssue(code=code, message="No.", line=line, param=None)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"is_last": False}, "Requests that can be retried are sent in attempt 2, when the others"),
        (
            {"is_last": False, "not_before": NOW},
            "in attempt 2, not before 2027-01-15T08:00:00.000Z",
        ),
        ({"is_last": True}, "This is the last attempt, so their requests fail."),
    ],
)
def test_report_says_what_was_refused_and_when_it_is_sent_again(
    options: dict[str, Any], expected: str
) -> None:
    batch = Batch(id="b", status="failed", errors=(issue("named", 3), issue("all")))
    entries = {"s1": ended(), "s2": ShardState(stage=Stage.CREATED, batch=batch)}
    notice = refusal_notice(JOB, state(**entries), **options)
    assert notice is not None
    assert notice.code == "batch_failed"
    assert notice.message.startswith("Groq refused 1 of 2 batches of attempt 1. all: No. ")
    assert expected in notice.message


def test_report_says_nothing_where_nothing_was_refused() -> None:
    assert refusal_notice(JOB, state(s1=ended(), s2=ShardState()), is_last=False) is None


def test_summary_is_read_as_it_was_written_and_from_older_versions() -> None:
    summary = ShardResult(attempt=2, number=1, sent=5, batch_succeeded=4)
    summary.batches = {7: (3, 3), 8: (2, 1)}
    summary.refused = {8: RefusedShard(parts=2, by_url=True)}
    assert from_record(to_record(summary), ShardResult) == summary
    assert [summary.counts_of(shard) for shard in (7, 8, 9)] == [(3, 3), (2, 1), (0, 0)]
    old = {
        name: value
        for name, value in to_record(summary).items()
        if name not in ("batches", "refused")
    }
    assert from_record(old, ShardResult).counts_of(1) == (5, 4)
