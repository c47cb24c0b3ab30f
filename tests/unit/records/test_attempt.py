"""The board of an attempt is written when it has changed, and never over a newer one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch
from groq_batch.domain.canary import CanaryVerdict
from groq_batch.domain.shard import Shard
from groq_batch.groq.decoding import batch_of
from groq_batch.records.attempt import AttemptState, ShardState, StoredAttempt
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.records.job import JobRecord
from groq_batch.records.stored import from_record, to_record
from groq_batch.records.submission import Stage
from tests.fakes.s3 import FakeS3
from tests.samples import OPTIONS

KEYS = object_keys.WorkKeys("a-job")


class Bucket:
    """A bucket that counts writes."""

    def __init__(self) -> None:
        self.s3 = FakeS3()
        self.storage = self.s3.storage()
        self.writes = 0
        write = self.storage.put_json

        def put_json(*args: object, **options: object) -> str:
            self.writes += 1
            return write(*args, **options)  # type: ignore[arg-type]

        self.storage.put_json = put_json  # type: ignore[method-assign]

    def load(self) -> StoredAttempt:
        found = StoredAttempt.load(self.storage, KEYS, 1)
        assert found is not None
        return found


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def state() -> AttemptState:
    batch = batch_of(
        {
            "id": "batch_1",
            "status": "in_progress",
            "request_counts": {"total": 3, "completed": 1, "failed": 0},
            "errors": {"data": [{"code": "c", "line": 3, "message": "m", "param": None}]},
            "metadata": {"job": "a-job"},
        }
    )
    entry = ShardState(
        stage=Stage.CREATED,
        file_id="file_1",
        requests=3,
        batch=batch,
        endpoint="/v1/audio/translations",
        origin=7,
    )
    return AttemptState(attempt=1, started_at=1.5, entries={1: entry, 2: ShardState()})


def test_a_new_state_is_written_once(bucket: Bucket) -> None:
    made = StoredAttempt(state())
    assert made.is_changed
    made.save(bucket.storage, KEYS)
    made.save(bucket.storage, KEYS)
    assert not made.is_changed
    assert bucket.writes == 1
    assert bucket.load() == made


def test_a_state_that_is_as_it_was_is_not_written(bucket: Bucket) -> None:
    StoredAttempt(state()).save(bucket.storage, KEYS)
    bucket.load().save(bucket.storage, KEYS)
    assert bucket.writes == 1


def test_a_state_that_changed_is_written(bucket: Bucket) -> None:
    StoredAttempt(state()).save(bucket.storage, KEYS)
    found = bucket.load()
    found.state.seen_done = 2
    found.save(bucket.storage, KEYS)
    assert bucket.writes == 2
    assert bucket.load().state.seen_done == 2
    found.state.seen_done = 3
    found.save(bucket.storage, KEYS)
    assert bucket.load().state.seen_done == 3


def test_a_newer_state_stays(bucket: Bucket) -> None:
    StoredAttempt(state()).save(bucket.storage, KEYS)
    early, late = bucket.load(), bucket.load()
    late.state.seen_done = 2
    late.save(bucket.storage, KEYS)
    early.state.seen_done = 1
    assert not early.save(bucket.storage, KEYS)
    assert bucket.load().state.seen_done == 2
    assert bucket.load().save(bucket.storage, KEYS)


def test_shards_that_were_tried_early_stay_so_and_older_states_have_none(bucket: Bucket) -> None:
    made = StoredAttempt(state())
    assert made.save(bucket.storage, KEYS)
    data = to_record(made.state)
    for shard in data["shards"].values():
        del shard["tried_early"]
    assert from_record(data, AttemptState) == made.state
    made.state.mark_tried_early([2])
    assert made.save(bucket.storage, KEYS)
    assert [number for number, one in bucket.load().state.entries.items() if one.tried_early] == [2]


def test_by_origin_puts_the_shards_of_an_origin_shard_together() -> None:
    entries = {5: ShardState(origin=1), 3: ShardState(origin=1), 2: ShardState(), 4: ShardState()}
    found = AttemptState(attempt=2, started_at=1.0, entries=entries).by_origin()
    assert found == {1: [3, 5], 2: [2], 4: [4]}


# Parts of divided shards


JOB = JobRecord(
    accepted=True,
    options=OPTIONS,
    shards=tuple(Shard(number=n, requests=1, bytes=3, skipped=0) for n in (1, 2)),
)


def planned(bucket: Bucket) -> None:
    """Divide the shard 1 into 4 and 5, and leave all three of them and the shard 2 in attempt 2."""
    AttemptPlan(attempt=2, divided={1: (4, 2)}, origins={4: 1, 5: 1}).write(bucket.storage, KEYS)
    for number in (1, 2, 4, 5):
        bucket.storage.put_bytes(KEYS.shard(2, number), b"{}\n")


def test_state_has_the_parts_of_a_divided_shard_and_not_the_shard(bucket: Bucket) -> None:
    planned(bucket)
    begun = AttemptState.begin(bucket.storage, KEYS, JOB, 2, started_at=1.0)
    assert sorted(begun.entries) == [2, 4, 5]
    assert [begun.origin_of(number) for number in (2, 4, 5, 9)] == [2, 1, 1, 9]
    assert (begun.shards_of(1), begun.shards_of(2), begun.shards_of(4)) == ([4, 5], [2], [])


def test_state_of_a_canary_that_is_alone_again_has_its_parts_only(bucket: Bucket) -> None:
    """The shards behind it stand where the second attempt looks for them."""
    planned(bucket)
    alone = replace(JOB, has_canary=True)
    assert sorted(AttemptState.begin(bucket.storage, KEYS, alone, 2, started_at=1.0).entries) == [
        4,
        5,
    ]
    verdict = CanaryVerdict(rest_attempt=2, requests=1, failed=0, passed=True)
    judged = replace(alone, verdict=verdict)
    assert sorted(AttemptState.begin(bucket.storage, KEYS, judged, 2, started_at=1.0).entries) == [
        2,
        4,
        5,
    ]


def test_load_of_an_older_state_takes_the_origins_of_the_plan(bucket: Bucket) -> None:
    planned(bucket)
    begun = AttemptState.begin(bucket.storage, KEYS, JOB, 2, started_at=1.0)
    data = to_record(begun)
    for name in ("refusal", "division_rounds"):
        del data[name]
    for entry in data["shards"].values():
        del entry["endpoint"], entry["region"]
    bucket.storage.put_json(KEYS.batches(2), data)
    found = AttemptState.load(bucket.storage, KEYS, 2)
    assert found == begun


@pytest.mark.parametrize(
    ("entry", "is_refused"),
    [
        (ShardState(), False),
        (ShardState(stage=Stage.UPLOADED), False),
        (ShardState(stage=Stage.REFUSED), True),
        (ShardState(stage=Stage.CREATED, batch=Batch(id="b", status="failed")), True),
        (ShardState(stage=Stage.CREATED, batch=Batch(id="b", status="expired")), False),
    ],
)
def test_shards_whose_batch_was_refused(entry: ShardState, is_refused: bool) -> None:
    found = AttemptState(attempt=1, started_at=0.0, entries={3: entry})
    assert found.refused_numbers == ([3] if is_refused else [])
