"""Preparing a job while things fail: deaths, lost answers, concurrent runs, on a double of S3."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch.domain.reason import Reason
from groq_batch.records.job import JobRecord, Stop
from groq_batch.settings import Settings
from groq_batch.steps.prepare_input.prepare import Preparation, prepare_input
from tests.fakes.calls import Call, Wire, instead, plain_wire
from tests.fakes.s3 import client_error, refusing
from tests.fakes.streams import BreakingBody
from tests.integration.preparation import (
    GOOD,
    INPUT,
    SETTINGS,
    Calls,
    Death,
    PreparedBucket,
    bad,
    file_of,
    request,
)

JOB = upload_job_id(bucket="bucket", key=INPUT, version_id="v")
KEYS = object_keys.WorkKeys(JOB)
PLAN = f"{KEYS.prefix}plan.json"
LARGER_SHARDS = dataclasses.replace(SETTINGS, max_requests_per_batch=50)
STRICT = dataclasses.replace(
    SETTINGS,
    max_requests_per_batch=2,
    default_options=dataclasses.replace(SETTINGS.default_options, skip_invalid_lines=False),
)
LINES = [GOOD[0], bad("x"), GOOD[1], GOOD[2], b"[]"]


class Bucket(PreparedBucket):
    """A bucket with one upload and its job, which one invocation prepares."""

    def __init__(self, *lines: bytes) -> None:
        super().__init__(JOB, file_of(*lines))

    def prepare(
        self,
        wire: Wire = plain_wire,
        settings: Settings = SETTINGS,
        sleep: Callable[[float], None] | None = None,
    ) -> Preparation:
        return prepare_input(
            storage=self.storage(wire),
            settings=settings,
            job_id=JOB,
            sleep=sleep or pytest.fail,
        )

    @property
    def report(self) -> dict[str, Any]:
        data = self.s3.read("reports/a.jsonl.json")
        assert data is not None
        report: dict[str, Any] = json.loads(data)
        return report

    def check(self, answer: Preparation) -> None:
        """See that record, shards and problems are those of one plan, each written once."""
        record = self.record
        assert answer == Preparation(
            accepted=record.accepted, attempt=1, shards_prefix=KEYS.shards(1)
        )
        expected = [KEYS.shard(1, shard.number) for shard in record.shards]
        assert self.s3.keys(KEYS.shards(1)) == expected
        for shard in record.shards:
            data = self.s3.read(KEYS.shard(1, shard.number))
            assert data is not None
            assert (len(data), data.count(b"\n")) == (shard.bytes, shard.requests)
            for key in (KEYS.skipped_index(shard.number), KEYS.skipped_raw(shard.number)):
                kept = self.s3.read(key)
                assert (kept is not None) is (shard.skipped > 0)
        sent = b"".join(self.s3.read(key) or b"" for key in expected)
        assert sent == (file_of(*GOOD[:3]) if record.accepted else b"")
        rows = self.s3.read(KEYS.invalid)
        assert rows is not None
        assert rows.count(b"\n") == record.problems_total == 2
        for key in self.s3.keys(KEYS.prefix):
            assert len(self.s3.history(key)) == 1, f"{key} was written more than once"
        assert self.report["status"] == "running"
        assert self.report["requests"]["total"] == 5
        assert self.report["progress"]["total"] == 3


def calls_of_a_run(settings: Settings = SETTINGS) -> range:
    """Return the numbers of the calls that a preparation makes."""
    calls = Calls(None, lambda _, act: act())
    Bucket(*LINES).prepare(calls, settings)
    return range(1, calls.count + 1)


def test_calls_of_a_run_are_enough_to_fail_at() -> None:
    assert len(calls_of_a_run()) > 30
    assert len(calls_of_a_run(STRICT)) > 15


SHARDS = {id(SETTINGS): [1, 1, 1], id(LARGER_SHARDS): [3], id(STRICT): []}
"""Requests of the shards that each settings make of the lines."""

TWO_SETTINGS = pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(SETTINGS, SETTINGS, id="equal settings"),
        pytest.param(SETTINGS, LARGER_SHARDS, id="larger shards later"),
        pytest.param(SETTINGS, STRICT, id="rejected later"),
        pytest.param(STRICT, SETTINGS, id="rejected first"),
    ],
)


@TWO_SETTINGS
@pytest.mark.parametrize("acts", [False, True], ids=["before it", "after it"])
def test_prepare_after_death_at_any_call_completes(
    acts: bool, first: Settings, second: Settings
) -> None:
    """Whatever was done by then: a plan that stands is carried out, otherwise a new one is made."""
    for at in calls_of_a_run(first):
        bucket = Bucket(*LINES)

        def dies(calls: Calls, act: Callable[[], Any]) -> None:
            if acts:
                with contextlib.suppress(ClientError):
                    act()
            calls.die()

        with pytest.raises(Death):
            bucket.prepare(Calls(at, dies), first)
        stands = bucket.s3.read(PLAN) is not None
        reads: list[bool] = []

        def read(act: Callable[[], Any], reads: list[bool] = reads) -> Any:
            reads.append(True)
            return act()

        bucket.check(bucket.prepare(instead(read, "get_object", INPUT), second))
        settings = first if stands else second
        assert [shard.requests for shard in bucket.record.shards] == SHARDS[id(settings)]
        assert len(reads) == (0 if stands else 1), "a plan that stands needs no second look"


@TWO_SETTINGS
def test_prepare_twice_at_the_same_time_stores_one_plan(first: Settings, second: Settings) -> None:
    """The second one runs from beginning to end within any call of the first."""
    for at in calls_of_a_run(first):
        bucket = Bucket(*LINES)
        answers: list[Preparation] = []

        def another_runs(
            _: Calls,
            act: Callable[[], Any],
            bucket: Bucket = bucket,
            answers: list[Preparation] = answers,
        ) -> Any:
            settings = first if bucket.s3.read(PLAN) is not None else second
            answers.append(bucket.prepare(settings=second))
            bucket.check(answers[0])
            assert [shard.requests for shard in bucket.record.shards] == SHARDS[id(settings)]
            return act()

        answers.append(bucket.prepare(Calls(at, another_runs), first))
        assert answers[0] == answers[1]
        bucket.check(answers[0])
        assert bucket.s3.open_uploads == []


def test_prepare_with_lost_response_retries_safely() -> None:
    """As boto3 does after a time-out: the first try has been carried out, also of the plan."""
    for at in calls_of_a_run():
        bucket = Bucket(*LINES)

        def twice(_: Calls, act: Callable[[], Any]) -> Any:
            with contextlib.suppress(ClientError):
                act()
            return act()

        bucket.check(bucket.prepare(Calls(at, twice)))
        assert bucket.record.accepted


@pytest.mark.parametrize("settings", [SETTINGS, STRICT], ids=["accepted", "rejected"])
def test_prepare_failing_before_its_plan_leaves_no_upload(settings: Settings) -> None:
    """Where the plan may stand the uploads must stay: S3 drops those that nobody completes."""
    failures = 0
    for at in calls_of_a_run(settings):
        bucket = Bucket(*LINES)
        failed: list[Call] = []

        def wire(
            call: Call, act: Callable[[], Any], at: int = at, seen: list[Call] = failed
        ) -> Any:
            seen.append(call)
            if len(seen) == at:
                raise ReadTimeoutError(endpoint_url="https://s3")
            return act()

        try:
            bucket.prepare(wire, settings)
        except ReadTimeoutError:
            failures += 1
        if bucket.s3.read(PLAN) is None and failed[at - 1].target != PLAN:
            assert bucket.s3.open_uploads == []
        bucket.check(bucket.prepare(settings=settings))
    assert failures > 15


class TestStopped:
    def stop(self, bucket: Bucket) -> None:
        stop = Stop(status="cancelled", code="cancelled", message="Stopped.", at="now")
        stop.write(bucket.storage(), KEYS)

    def test_prepare_stopped_while_reading_writes_no_record(self) -> None:
        """Whoever stopped the job has found none, and ends it with a report alone."""
        bucket = Bucket(*LINES)

        def stop(act: Callable[[], Any]) -> Any:
            self.stop(bucket)
            return act()

        assert bucket.prepare(instead(stop, "get_object", INPUT)).accepted is False
        assert JobRecord.load(bucket.storage(), KEYS) is None
        assert bucket.s3.open_uploads == []

    def test_prepare_stopped_after_the_record_returns_the_same(self) -> None:
        bucket = Bucket(*LINES)
        first = bucket.prepare()
        self.stop(bucket)
        assert bucket.prepare() == first


class TestUnreadable:
    def failure_of(
        self, bucket: Bucket, wire: Wire = plain_wire, settings: Settings = SETTINGS
    ) -> Reason:
        pauses: list[float] = []
        assert bucket.prepare(wire, settings, pauses.append).accepted is False
        assert 0 < sum(pauses) < 20 or not pauses
        failure = bucket.record.failure
        assert failure is not None
        assert bucket.record.problems_total == 0
        assert bucket.s3.keys(KEYS.shards(1)) == bucket.s3.open_uploads == []
        return failure

    def test_prepare_of_deleted_version_rejects_as_unreadable(self) -> None:
        bucket = Bucket(*LINES)
        gone = dataclasses.replace(bucket.request, version_id="gone")
        bucket.record_request(gone)
        failure = self.failure_of(bucket)
        assert failure.code == "input_unreadable"
        assert "deleted before it could be read. Upload it again." in str(failure.message)

    def test_prepare_waits_for_version_that_is_visible_late(self) -> None:
        bucket = Bucket(*LINES)
        pauses: list[float] = []

        def look(act: Callable[[], Any]) -> Any:
            if len(pauses) < 3:
                raise client_error("head_object", 404, "404", "Not Found")
            return act()

        late = instead(look, "head_object", INPUT)
        bucket.check(bucket.prepare(late, sleep=pauses.append))
        assert len(pauses) == 3

    @pytest.mark.parametrize(
        ("operation", "code"), [("head_object", "403"), ("get_object", "AccessDenied")]
    )
    def test_prepare_of_denied_object_rejects_as_unreadable(
        self, operation: str, code: str
    ) -> None:
        failure = self.failure_of(Bucket(*LINES), refusing(operation, 403, code, INPUT))
        assert failure.code == "input_unreadable"
        assert "kms:Decrypt" in str(failure.message)

    def test_prepare_of_object_deleted_while_reading_rejects_as_unreadable(self) -> None:
        bucket = Bucket(*LINES)
        gone = refusing("get_object", 404, "NoSuchVersion", INPUT)
        assert self.failure_of(bucket, gone).code == "input_unreadable"
        assert bucket.report["input"]["bytes"] == len(file_of(*LINES))


COPIED = [request(f"c-{number}", "x" * 100_000) for number in range(70)]
ONE_SHARD = dataclasses.replace(SETTINGS, max_requests_per_batch=100, max_bytes_per_batch=2**27)


class TestUncopied:
    """What may become of an input between its reading and its copying."""

    @pytest.mark.parametrize(
        ("code", "status", "text"),
        [("NoSuchVersion", 404, "deleted before"), ("AccessDenied", 403, "kms:Decrypt")],
    )
    def test_prepare_when_copy_is_denied_rejects_as_unreadable(
        self, code: str, status: int, text: str
    ) -> None:
        denied = refusing("upload_part_copy", status, code)
        failure = TestUnreadable().failure_of(Bucket(*COPIED), denied, ONE_SHARD)
        assert failure.code == "input_unreadable"
        assert text in str(failure.message)

    @pytest.mark.parametrize("acts", [False, True], ids=["before it", "after it"])
    def test_prepare_after_death_while_copying_completes(self, acts: bool) -> None:
        bucket = Bucket(*COPIED)

        def break_off(act: Callable[[], Any]) -> Any:
            if acts:
                act()
            raise ReadTimeoutError(endpoint_url="https://s3")

        with pytest.raises(ReadTimeoutError):
            bucket.prepare(instead(break_off, "upload_part_copy"), ONE_SHARD)
        assert bucket.s3.open_uploads == []
        assert bucket.s3.keys(KEYS.prefix) == []
        assert bucket.prepare(settings=ONE_SHARD).accepted is True
        assert bucket.s3.read(KEYS.shard(1, 1)) == file_of(*COPIED)

    def test_prepare_without_version_sends_the_bytes(self) -> None:
        """It might be another object by the time of the copy."""
        bucket = Bucket(*COPIED)
        versionless = dataclasses.replace(bucket.request, version_id=None)
        bucket.record_request(versionless)
        copies = instead(lambda _: pytest.fail("it is copied"), "upload_part_copy")
        assert bucket.prepare(copies, ONE_SHARD).accepted is True
        assert bucket.s3.read(KEYS.shard(1, 1)) == file_of(*COPIED)


def breaking(streams: list[int], gives: int) -> Wire:
    """Return a wire on which every stream of the input breaks after so many bytes."""

    def begin(act: Callable[[], Any]) -> Any:
        answer = act()
        streams.append(int(answer["ContentLength"]))
        return {**answer, "Body": BreakingBody(answer["Body"], gives=gives)}

    return instead(begin, "get_object", INPUT)


@pytest.mark.parametrize("gives", [100, len(file_of(*LINES)) // 2, len(file_of(*LINES))])
def test_prepare_resumes_a_broken_stream(gives: int) -> None:
    bucket = Bucket(*LINES)
    streams: list[int] = []
    bucket.check(bucket.prepare(breaking(streams, gives)))
    size = len(file_of(*LINES))
    assert streams == list(range(size, 0, -gives))


def test_prepare_skips_bytes_when_s3_ignores_the_range() -> None:
    """As RFC 9110 allows a server, and some that speak S3's language do."""
    bucket = Bucket(*LINES)
    streams: list[int] = []
    breaks = breaking(streams, 100)

    def wire(call: Call, act: Callable[[], Any]) -> Any:
        if "Range" not in call.arguments:
            return breaks(call, act)
        answer = bucket.s3.client().get_object(Bucket="bucket", Key=call.target)
        assert "ContentRange" not in answer
        return answer

    bucket.check(bucket.prepare(wire))
    assert len(streams) == 1


def test_prepare_gives_up_a_stream_without_bytes() -> None:
    bucket = Bucket(*LINES)
    streams: list[int] = []
    with pytest.raises(ReadTimeoutError):
        bucket.prepare(breaking(streams, 0))
    assert len(streams) == 4
    assert bucket.s3.open_uploads == []
    assert bucket.s3.keys(KEYS.prefix) == []
    bucket.check(bucket.prepare())


def test_prepare_writes_the_report_before_reading() -> None:
    bucket = Bucket(*LINES)
    seen: list[dict[str, Any]] = []

    def wire(call: Call, act: Callable[[], Any]) -> Any:
        if call.operation in ("head_object", "get_object") and call.target == INPUT:
            seen.append(bucket.report)
        return act()

    bucket.prepare(wire)
    assert [report["status"] for report in seen] == ["running", "running"]
    assert all(report["requests"]["total"] == 0 for report in seen)


def test_prepare_shows_no_shard_before_the_last_line_has_passed() -> None:
    bucket = Bucket(*LINES)

    def wire(call: Call, act: Callable[[], Any]) -> Any:
        if call.operation in ("create_multipart_upload", "upload_part"):
            assert bucket.s3.keys(KEYS.prefix) == []
        return act()

    bucket.check(bucket.prepare(wire))


def test_prepare_whose_record_nobody_could_write_is_repeated() -> None:
    """S3 answers 409 while another write is in progress, which may fail."""
    bucket = Bucket(*LINES)

    def conflict(call: Call, act: Callable[[], Any]) -> Any:
        if (call.operation, call.target) == ("put_object", KEYS.job_record):
            raise client_error("PutObject", 409, "ConditionalRequestConflict", "at the same time")
        return act()

    with pytest.raises(ConflictError):
        bucket.prepare(conflict)
    bucket.check(bucket.prepare())
