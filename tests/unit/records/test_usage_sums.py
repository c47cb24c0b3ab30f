"""The sums of usage records: each record counted once, whatever dies and whoever else counts."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.times import timestamp
from groq_batch.records import usage_sums
from groq_batch.records.usage import UsageRecord
from groq_batch.records.usage_sums import (
    MAX_ENDED,
    OTHER_FOLDERS,
    OVERLAP_SECONDS,
    UsageSums,
    days_since,
    first_day,
    update_sums,
)
from tests.fakes.calls import Call, Wire, plain_wire
from tests.fakes.s3 import FakeS3
from tests.index_samples import NOW, job_name, usage_record


class Bucket:
    """A bucket with usage records, and a clock that is S3's and that of who looks."""

    def __init__(self, **options: Any) -> None:
        self.now = NOW
        self.s3 = FakeS3(clock=self._clock, **options)
        self.written: list[UsageRecord] = []
        self.calls: Counter[str] = Counter()
        self._numbers = itertools.count()

    def _clock(self) -> float:
        return self.now.timestamp()

    def storage(self, wire: Wire = plain_wire) -> Storage:
        return self.s3.storage(wire)

    def end_job(self, *, days_ago: float = 0.0, **fields: Any) -> UsageRecord:
        """Write the record of a job that ended some days ago, now."""
        finished = self.now - timedelta(days=days_ago)
        given = {"started_at": timestamp(finished), "finished_at": timestamp(finished)}
        record = usage_record(next(self._numbers), **{**given, **fields})
        assert record.write(self.storage())
        self.written.append(record)
        return record

    def count(self, wire: Wire = plain_wire, **options: Any) -> UsageSums:
        """Look as the reconciler does."""
        storage = self.storage(wire)
        sums, etag = UsageSums.load(storage)

        def save(changed: UsageSums) -> None:
            nonlocal etag
            etag = changed.save(storage, over=etag)

        update_sums(storage, sums, now=self.now, on_progress=save, **options)
        return sums

    def counting(self, call: Call, act: Callable[[], Any]) -> Any:
        self.calls[call.operation] += 1
        return act()


def jobs(sums: UsageSums) -> int:
    return sum(one.jobs for day in sums.days.values() for one in day.folders.values())


def names(sums: UsageSums) -> set[str]:
    return {record.job_id for record in sums.ended}


def check(bucket: Bucket, sums: UsageSums) -> None:
    """Everything that was written is in the sums, once."""
    assert jobs(sums) == len(bucket.written)
    by_day = Counter((record.day, record.folder) for record in bucket.written)
    assert by_day == {
        (day, name): one.jobs
        for day, found in sums.days.items()
        for name, one in found.folders.items()
    }
    requests = sum(record.requests for record in bucket.written)
    counted = [one for day in sums.days.values() for one in day.folders.values()]
    assert sum(one.requests for one in counted) == requests
    cost = sum(record.actual_usd or 0 for record in bucket.written)
    assert sum(one.usd for one in counted) == pytest.approx(cost)
    assert len(names(sums)) == len(sums.ended)


def test_usage_sums_of_new_records_read_those_alone() -> None:
    bucket = Bucket()
    for _ in range(5):
        bucket.end_job()
    bucket.count()
    bucket.now += timedelta(minutes=15)
    for _ in range(3):
        bucket.end_job()
    sums = bucket.count(bucket.counting)
    check(bucket, sums)
    # Two days listed; the sums and three records read; the sums written.
    assert bucket.calls == {"list_objects_v2": 2, "get_object": 1 + 3, "put_object": 1}


def test_usage_sums_without_new_records_write_nothing() -> None:
    bucket = Bucket()
    bucket.end_job()
    bucket.count()
    bucket.count(bucket.counting)
    assert bucket.calls == {"list_objects_v2": 2, "get_object": 1}


def test_usage_sums_of_a_new_stack_are_empty() -> None:
    bucket = Bucket()
    sums = bucket.count()
    assert (jobs(sums), sums.ended, sums.complete_on) == (0, [], f"{NOW:%Y-%m-%d}")


@pytest.mark.parametrize("stored", [{}, {"days": 1}, {"days": {"2026-11-29": []}, "ended": [{}]}])
def test_usage_sums_that_cannot_be_read_are_counted_anew(stored: dict[str, Any]) -> None:
    bucket = Bucket()
    bucket.end_job()
    bucket.storage().put_json(object_keys.USAGE_SUMS_KEY, stored)
    check(bucket, bucket.count())
    check(bucket, bucket.count())


def test_usage_sums_count_a_record_that_came_days_late() -> None:
    """The record of a job whose end was repeated for days stands on the day of the end."""
    bucket = Bucket()
    bucket.end_job(days_ago=5)
    bucket.count()
    bucket.now += timedelta(minutes=30)
    bucket.end_job(days_ago=5)
    bucket.end_job(days_ago=1)
    assert jobs(bucket.count()) == 2, "yesterday's is counted at once"
    bucket.now += timedelta(hours=13)
    check(bucket, bucket.count())


def test_usage_sums_count_records_once_that_a_user_has_copied_in_place() -> None:
    bucket = Bucket()
    for _ in range(3):
        bucket.end_job()
        bucket.count()
        bucket.now += timedelta(seconds=2 * OVERLAP_SECONDS)
    storage = bucket.storage()
    for record in bucket.written[:2]:
        storage.put_bytes(record.object_key, bucket.s3.read(record.object_key) or b"")
    bucket.now += timedelta(days=1)
    bucket.end_job()
    sums = bucket.count()
    check(bucket, sums)
    assert len(sums.ended) == len(bucket.written)


def test_usage_sums_forget_what_is_older_than_thirty_days() -> None:
    bucket = Bucket()
    bucket.end_job(days_ago=29)
    bucket.end_job()
    assert jobs(bucket.count()) == 2
    bucket.now += timedelta(days=1)
    sums = bucket.count()
    assert jobs(sums) == 1
    assert len(sums.ended) == 2, "it is still one of those that ended last"


def test_usage_sums_know_the_jobs_that_ended_last_however_long_ago() -> None:
    bucket = Bucket()
    for days in range(0, 400, 40):
        bucket.end_job(days_ago=days)
    assert len(bucket.count().ended) == 10


def test_usage_sums_keep_no_more_jobs_than_are_shown() -> None:
    bucket = Bucket()
    for number in range(2 * MAX_ENDED + 50):
        bucket.end_job(days_ago=number / 1000)
    sums = bucket.count()
    latest = sorted(bucket.written, key=lambda one: one.finished_at)[-MAX_ENDED:]
    assert names(sums) == {record.job_id for record in latest}
    check(bucket, sums)


def test_usage_sums_of_too_many_folders_stay_small() -> None:
    bucket = Bucket()
    for number in range(300):
        bucket.end_job(folder=f"{number:03}" + "x" * 500)
    (day,) = bucket.count().days.values()
    assert len(day.folders) == 201
    assert day.folders[OTHER_FOLDERS].jobs == 100
    assert max(map(len, day.folders)) == 100


def test_usage_sums_leave_out_what_is_no_usage_record() -> None:
    bucket = Bucket()
    record = bucket.end_job()
    client = bucket.s3.client()
    put = lambda key, body: client.put_object(Bucket="bucket", Key=key, Body=body)  # noqa: E731
    put(f"{object_keys.usage_day_prefix(record.day)}notes.txt", b"hello")
    put("usage/readme.txt", b"hello")
    put("usage/elsewhere/x.json", b"{}")
    for number, body in enumerate((b"not JSON", b"[1]", b"{}", b'{"job_id": 1}')):
        put(object_keys.usage_key(record.day, job_name(900 + number)), body)
    sums = bucket.count()
    assert jobs(sums) == 1
    assert sums.unreadable == 4
    bucket.count(bucket.counting)
    assert bucket.calls["get_object"] == 1, "they are not read again"


def test_usage_sums_without_time_go_on_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_sums, "AT_ONCE", 3)
    bucket = Bucket()
    for number in range(20):
        bucket.end_job(days_ago=number / 4)
        bucket.now += timedelta(seconds=number % 3)
    looks = 0
    while bucket.count(has_time=iter([True, False, False]).__next__).complete_on is None:
        looks += 1
        assert looks < 20
    assert looks > 4
    check(bucket, bucket.count())


def test_usage_sums_of_two_that_count_at_once_are_right() -> None:
    bucket = Bucket()
    for _ in range(3):
        bucket.end_job()

    def meet(call: Call, act: Callable[[], Any]) -> Any:
        if call.operation == "put_object":
            bucket.count()
        return act()

    with pytest.raises(ConflictError):
        bucket.count(meet)
    check(bucket, bucket.count())


@pytest.mark.parametrize("after", [False, True])
def test_usage_sums_survive_a_death_at_every_call(
    after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_sums, "AT_ONCE", 2)

    class DiedError(Exception):
        pass

    def dying(at: int) -> Wire:
        numbers = itertools.count()

        def wire(call: Call, act: Callable[[], Any]) -> Any:
            is_last = next(numbers) == at
            if is_last and not after:
                raise DiedError
            try:
                return act()
            finally:
                if is_last:
                    raise DiedError

        return wire

    for at in itertools.count():
        bucket = Bucket()
        for number in range(5):
            bucket.end_job(days_ago=number / 3)
        try:
            bucket.count(dying(at))
        except DiedError:
            bucket.end_job()
            check(bucket, bucket.count())
        else:
            break
    assert at > 10


steps = st.lists(
    st.one_of(
        st.tuples(st.just("end"), st.integers(0, int(OVERLAP_SECONDS) - 1)),
        st.tuples(st.just("pass"), st.integers(0, 4000)),
        st.tuples(st.just("look"), st.integers(0, 2)),
    ),
    max_size=40,
)


@given(steps)
def test_usage_sums_count_every_record_once_in_whatever_order_dates_come(
    moves: Sequence[tuple[str, int]],
) -> None:
    """Objects that are written at the same time may be dated in another order than they appear."""
    bucket = Bucket()
    for move, number in moves:
        if move == "end":
            # It appears now, and was dated some seconds ago.
            bucket.now -= timedelta(seconds=number)
            bucket.end_job()
            bucket.now += timedelta(seconds=number)
        elif move == "pass":
            bucket.now += timedelta(seconds=number)
        else:
            bucket.count()
    sums = bucket.count()
    if not all(one.day >= first_day(bucket.now) for one in bucket.written):
        return
    if sums.complete_on and jobs(sums) < len(bucket.written):
        # What came late on a day that is over is counted on the next one.
        bucket.now += timedelta(days=1)
        sums = bucket.count()
    check(bucket, sums)


def test_days_since_a_day_go_back_to_it() -> None:
    moment = datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC)
    assert days_since("2026-02-27", moment) == ["2026-03-01", "2026-02-28", "2026-02-27"]
    assert first_day(moment) == "2026-01-31"
