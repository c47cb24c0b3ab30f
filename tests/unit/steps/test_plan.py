"""The first stored plan of a job is binding."""

from __future__ import annotations

import pytest

from groq_batch.bucket.pending_upload import PendingUpload
from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.problem import Problem
from groq_batch.domain.shard import Shard
from groq_batch.records.job import JobRecord
from groq_batch.steps.prepare_input.plan import Plan
from tests.fakes.s3 import FakeS3, refusing
from tests.samples import OPTIONS

KEYS = object_keys.WorkKeys("job")


def plan(*, good: int) -> Plan:
    record = JobRecord(
        accepted=True,
        options=OPTIONS,
        input_bytes=10,
        lines=5,
        total=4,
        good=good,
        invalid=1,
        shards=(Shard(number=1, requests=3, bytes=9, skipped=1),),
        problems=(Problem(2, "é", "invalid_url", "Do this."),),
        problems_total=1,
        estimated_cost_usd=None,
        prepared_at="2026-03-01T00:00:00.000Z",
    )
    return Plan(record=record, uploads=(PendingUpload("k", "u", ("e1", "e2"), 9),))


def test_propose_second_plan_returns_the_first(s3: FakeS3, storage: Storage) -> None:
    first, second = plan(good=3), plan(good=2)
    assert Plan.load(storage, KEYS) is None
    assert first.propose(storage, KEYS) == first
    assert second.propose(storage, KEYS) == first
    assert Plan.load(storage, KEYS) == first
    assert s3.keys() == ["work/job/plan.json"]
    assert len(s3.history("work/job/plan.json")) == 1


def test_propose_conflict_without_plan_raises(s3: FakeS3) -> None:
    """S3 answers 409 when another write was under way, which may not have come to its end."""
    conflict = refusing("put_object", 409, "ConditionalRequestConflict")
    with pytest.raises(ConflictError):
        plan(good=3).propose(s3.storage(conflict), KEYS)
