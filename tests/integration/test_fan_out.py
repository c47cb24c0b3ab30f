"""A large input, prepared by many invocations: the same as by one, at any range size."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gzip
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from groq_batch.bucket import copying_writer, multipart_writer
from groq_batch.domain import object_keys
from groq_batch.domain.shard import Shard
from groq_batch.records.job import JobRecord, Stop
from groq_batch.settings import Settings
from groq_batch.steps.prepare_input.prepare import Preparation, prepare_input
from groq_batch.steps.prepare_input.range_tasks import prepare_range
from tests.fakes.calls import Call, Wire, instead, plain_wire
from tests.fakes.s3 import SMALLEST_PART_BYTES, FakeS3, client_error, refusing
from tests.harness.invocations import do_pools_inline
from tests.integration.preparation import (
    INPUT,
    SETTINGS,
    Calls,
    Death,
    PreparedBucket,
    bad,
    request,
)
from tests.samples import job_request

JOB = "a-0123456789"
KEYS = object_keys.WorkKeys(JOB)
ALONE = dataclasses.replace(SETTINGS, max_requests_per_batch=3, max_bytes_per_batch=2_000)
"""Settings under which one invocation prepares every file of these tests."""


def strict(base: Settings) -> Settings:
    """Return settings under which a bad line rejects the file."""
    options = dataclasses.replace(base.default_options, skip_invalid_lines=False)
    return dataclasses.replace(base, default_options=options)


def by_many(base: Settings, range_bytes: int) -> Settings:
    return dataclasses.replace(base, max_bytes_per_range=range_bytes)


Step = Callable[[Wire], Preparation | None]


class Bucket(PreparedBucket):
    """A bucket with one upload and its job, which many invocations prepare."""

    def __init__(
        self, data: bytes, *, smallest_part_bytes: int = SMALLEST_PART_BYTES, **metadata: str
    ) -> None:
        super().__init__(JOB, data, FakeS3(smallest_part_bytes=smallest_part_bytes), **metadata)

    def begin(self, settings: Settings, wire: Wire = plain_wire) -> Preparation:
        return prepare_input(
            storage=self.storage(wire), settings=settings, job_id=JOB, sleep=pytest.fail
        )

    def work(self, task_key: str, wire: Wire = plain_wire) -> None:
        prepare_range(storage=self.storage(wire), job_id=JOB, task_key=task_key)

    def copy(self) -> Bucket:
        """Return another bucket that is like this one."""
        other = copy.copy(self)
        other.s3 = self.s3.copy()
        return other

    def steps(self, settings: Settings) -> Iterator[Step]:
        """Yield the steps that the state machine would take, until the input is prepared."""
        course = Course(self, settings)
        while not course.is_over:
            yield course.step
            course.go_on()

    def prepare(self, settings: Settings) -> Preparation:
        answer = None
        for step in self.steps(settings):
            answer = step(plain_wire) or answer
        assert answer is not None
        return answer

    def found(self) -> dict[str, Any]:
        """Return all that the further steps go on with, told without the cuts between shards."""
        record = self.record
        data = record.to_json()
        del data["prepared_at"], data["shards"], data["ids"]
        numbers = [shard.number for shard in record.shards]
        assert numbers == sorted(set(numbers))
        for attempt in (1, 2):
            assert self.s3.keys(KEYS.shards(attempt)) == [
                KEYS.shard(attempt, number)
                for number in numbers
                if record.attempt_of_request_lines(number) == attempt
            ]
        lines: list[Any] = []
        for shard in record.shards:
            assert shard.requests >= 1
            region = self.region(shard.number)
            self.check_ids(shard)
            assert len(region) == shard.requests + shard.skipped
            lines += region
        skipped = [*self.s3.keys(f"{KEYS.prefix}skipped/")]
        expected = {
            key
            for shard in record.shards
            if shard.skipped
            for key in (KEYS.skipped_index(shard.number), KEYS.skipped_raw(shard.number))
        }
        assert set(skipped) == expected
        return {
            "record": data,
            "lines": lines,
            "canary": self.sent(1) if record.has_canary else None,
            "invalid": (self.s3.read(KEYS.invalid) or b"").splitlines(),
        }

    def check_ids(self, shard: Shard) -> None:
        """See that the ids that are said to be a shard's are those of its lines, in order."""
        place = shard.ids
        kept = self.s3.read(KEYS.custom_ids(place.part)) or b""
        ids = kept[place.first : place.first + place.size]
        sent = self.sent(shard.number)
        expected = [json.loads(line)["custom_id"] for line in sent.split(b"\n")[:-1]]
        assert [json.loads(line) for line in ids.split(b"\n")[:-1]] == expected
        assert ids.endswith(b"\n")

    def sent(self, number: int) -> bytes:
        """Return the request lines of a shard."""
        return self.s3.read(KEYS.shard(self.record.attempt_of_request_lines(number), number)) or b""

    def region(self, number: int) -> list[Any]:
        """Return the lines of a shard's region in order, the bad ones with what is wrong."""
        sent = self.sent(number)
        assert len(sent) <= 2_000
        good = iter(sent.split(b"\n")[:-1])
        raw = self.s3.read(KEYS.skipped_raw(number)) or b""
        lines: list[Any] = []
        for row in map(json.loads, (self.s3.read(KEYS.skipped_index(number)) or b"").splitlines()):
            position = row.pop("position")
            while len(lines) < position:
                lines.append(next(good))
            size = row["bytes"]
            lines.append((raw[:size], row))
            assert raw[size : size + 1] == b"\n"
            raw = raw[size + 1 :]
        assert raw == b""
        return [*lines, *good]


@dataclasses.dataclass
class Course:
    """The way that the state machine takes, as far as it has come.

    Attributes:
        bucket: The bucket whose upload is prepared.
        settings: The settings of all invocations.
        tasks: The tasks of the phase that are still to do.
        answer: The last answer of the step that plans the next phase.
    """

    bucket: Bucket
    settings: Settings
    tasks: list[str] = dataclasses.field(default_factory=list)
    answer: Preparation | None = None

    @property
    def is_over(self) -> bool:
        return self.answer is not None and not self.answer.tasks_prefix

    @property
    def step(self) -> Step:
        """The next step, which may be taken more than once."""
        if self.tasks:
            task = self.tasks[0]
            return lambda wire: self.bucket.work(task, wire)
        return self._begin

    def _begin(self, wire: Wire) -> Preparation:
        self.answer = self.bucket.begin(self.settings, wire)
        return self.answer

    def go_on(self) -> None:
        """Leave the step behind."""
        if self.tasks:
            del self.tasks[0]
        elif self.answer is not None and self.answer.tasks_prefix:
            self.tasks = self.bucket.s3.keys(self.answer.tasks_prefix)

    def finish(self) -> None:
        """Take the step and all that follow."""
        while not self.is_over:
            self.step(plain_wire)
            self.go_on()

    def copy(self) -> Course:
        """Return another course that has come as far, for a life of its own from here."""
        return dataclasses.replace(self, bucket=self.bucket.copy(), tasks=list(self.tasks))


def one_pass(data: bytes, settings: Settings, **metadata: str) -> dict[str, Any]:
    bucket = Bucket(data, **metadata)
    answer = bucket.begin(by_many(settings, 2**30))
    assert answer.tasks_prefix == ""
    return bucket.found()


def assert_nothing_is_left_over(bucket: Bucket) -> None:
    assert bucket.s3.open_uploads == []


def assert_unreadable(bucket: Bucket, answer: Preparation | None, text: str) -> None:
    """The job is over, for its input could not be read, and has no shards."""
    assert answer is not None
    assert (answer.accepted, answer.tasks_prefix) == (False, "")
    failure = bucket.record.failure
    assert failure is not None
    assert failure.code == "input_unreadable"
    assert text in str(failure.message)
    assert bucket.s3.keys(KEYS.shards(1)) == []


IDS = [f"id-{number}" for number in range(12)]
LINES = st.one_of(
    st.sampled_from(IDS).map(request),
    st.integers(0, 10**6).map(lambda number: request(f"n{number}")),
    st.sampled_from(IDS).map(bad),
    st.integers(1, 700).map(lambda size: request("long", "ä" * size)),
    st.sampled_from([b"", b"  \r", b"[]", b"{", b"\xff\xfe", b"x" * 2_500, b"\xef\xbb\xbf{}"]),
)
FILES = st.builds(
    lambda bom, lines, end: bom + b"".join(line + cut for line, cut in lines) + end,
    st.sampled_from([b"", b"", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\n", b"\r\n"])), max_size=25),
    st.sampled_from([b"", request("last"), b"{"]),
)


@settings(max_examples=120, deadline=None)
@given(
    data=FILES,
    share=st.floats(0.01, 0.49),
    rejects=st.booleans(),
    cap=st.sampled_from(["0", "0.000001", "nonsense"]),
    canary=st.integers(0, 6),
)
def test_fan_out_gives_the_same_as_one_invocation(
    data: bytes, share: float, rejects: bool, cap: str, canary: int
) -> None:
    base = strict(ALONE) if rejects else ALONE
    metadata = {"max-job-cost-usd": cap, "canary-requests": str(canary)}
    bucket = Bucket(data, **metadata)
    range_bytes = max(1, len(data) // 8, int(len(data) * share))
    bucket.prepare(by_many(base, range_bytes))
    assert bucket.found() == one_pass(data, base, **metadata)
    assert_nothing_is_left_over(bucket)


@settings(max_examples=120, deadline=None)
@given(data=FILES, share=st.floats(0.01, 0.49), canary=st.integers(1, 8), most=st.integers(1, 9))
def test_fan_out_canary_is_the_first_valid_lines_up_to_a_batch(
    data: bytes, share: float, canary: int, most: int
) -> None:
    """Whoever cuts the file, it has the lines of one without a canary, in the same order."""
    base = dataclasses.replace(ALONE, max_requests_per_batch=most)
    range_bytes = max(1, len(data) // 8, int(len(data) * share))
    bucket = Bucket(data, **{"canary-requests": str(canary)})
    bucket.prepare(by_many(base, range_bytes))
    found, whole = bucket.found(), one_pass(data, base)
    record = bucket.record
    assert found["lines"] == whole["lines"]
    assert record.has_canary is (canary < record.good)
    if record.has_canary:
        good = [line + b"\n" for line in found["lines"] if isinstance(line, bytes)]
        first = found["canary"].splitlines(keepends=True)
        assert first == good[: len(first)]
        is_full = len(first) == most or len(b"".join(good[: len(first) + 1])) > 2_000
        assert len(first) == canary or is_full
        assert {shard.number for shard in record.shards} >= {1, 2}
    assert_nothing_is_left_over(bucket)


@settings(max_examples=60, deadline=None)
@given(
    data=FILES, share=st.floats(0.01, 0.49), smallest=st.integers(1, 900), largest=st.integers(1, 3)
)
def test_fan_out_with_and_without_copies_is_the_same(
    data: bytes, share: float, smallest: int, largest: int
) -> None:
    """With parts as small as these files need them S3 copies what it can, of every range."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying_writer, "SMALLEST_COPY_BYTES", smallest)
        patch.setattr(copying_writer, "LARGEST_COPY_BYTES", largest * smallest)
        patch.setattr(multipart_writer, "PART_BYTES", smallest)
        bucket = Bucket(data, smallest_part_bytes=smallest)
        bucket.prepare(by_many(ALONE, max(1, len(data) // 8, int(len(data) * share))))
    assert bucket.found() == one_pass(data, ALONE)
    assert_nothing_is_left_over(bucket)


def test_fan_out_copies_large_shards_of_many_ranges() -> None:
    """Three ranges of 7 MB, each of which is a shard: S3 has all of their bytes already."""
    lines = [request(f"large-{number}", "x" * 100_000) for number in range(210)]
    data = b"".join(line + b"\n" for line in lines)
    bucket = Bucket(data)
    calls: list[Call] = []

    def wire(call: Call, act: Callable[[], Any]) -> Any:
        calls.append(call)
        return act()

    base = dataclasses.replace(ALONE, max_requests_per_batch=100, max_bytes_per_batch=2**27)
    for step in bucket.steps(by_many(base, len(data) // 3 + 1000)):
        step(wire)
    assert bucket.s3.keys(KEYS.tasks("cut"))[2:]
    shards = bucket.s3.keys(KEYS.shards(1))
    assert b"".join(bucket.s3.read(key) or b"" for key in shards) == data
    copied = [call.target for call in calls if call.operation == "upload_part_copy"]
    assert copied == shards
    assert len(copied) == 3
    shard_parts = [call for call in calls if call.target in shards]
    assert "upload_part" not in {call.operation for call in shard_parts}
    assert [one.ids.part for one in bucket.record.shards] == [1, 2, 3]
    for shard in bucket.record.shards:
        bucket.check_ids(shard)
    assert_nothing_is_left_over(bucket)


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [("NoSuchVersion", 404, "deleted before"), ("AccessDenied", 403, "kms:Decrypt")],
)
def test_fan_out_when_copy_is_denied_rejects_as_unreadable(
    monkeypatch: pytest.MonkeyPatch, code: str, status: int, text: str
) -> None:
    monkeypatch.setattr(copying_writer, "SMALLEST_COPY_BYTES", 100)
    bucket = Bucket(FILE, smallest_part_bytes=100)
    for step in bucket.steps(RANGES):
        answer = step(refusing("upload_part_copy", status, code))
    assert_unreadable(bucket, answer, text)
    assert_nothing_is_left_over(bucket)


FILE = b"".join(
    line + b"\n"
    for line in [
        *(request(f"id-{number}") for number in range(6)),
        bad("x"),
        b"",
        request("id-2"),
        request("y"),
        b"[]",
        b"{}",
        b"not json",
        request("z"),
    ]
)
RANGES = by_many(ALONE, 650)


def test_fan_out_tests_have_many_ranges() -> None:
    bucket = Bucket(FILE)
    prefix = bucket.begin(RANGES).tasks_prefix
    assert prefix == KEYS.tasks("scan")
    assert len(bucket.s3.keys(prefix)) >= 3


def test_fan_out_duplicate_names_first_use_in_another_range() -> None:
    bucket = Bucket(FILE)
    bucket.prepare(RANGES)
    [problem] = [one for one in bucket.record.problems if one.code == "duplicate_custom_id"]
    assert (problem.line, problem.custom_id) == (9, "id-2")
    assert "line 3" in problem.message


@pytest.mark.parametrize(
    ("name", "version"), [("input/a.jsonl.gz", True), ("input/a.jsonl", False)]
)
def test_fan_out_is_not_used_for_gzip_or_without_version(name: str, version: bool) -> None:
    """Compressed files, and objects of a bucket whose versions are not on yet."""
    bucket = Bucket(FILE)
    data = gzip.compress(FILE) if name.endswith(".gz") else FILE
    uploaded = bucket.put(name, data)
    bucket.record_request(job_request(JOB, key=name, version_id=uploaded if version else None))
    answer = bucket.begin(by_many(ALONE, 20))
    assert answer.tasks_prefix == ""
    assert bucket.record.good == 8


def test_fan_out_keeps_its_range_plan_after_an_update() -> None:
    bucket = Bucket(FILE)
    bucket.begin(RANGES)
    bucket.prepare(dataclasses.replace(RANGES, max_requests_per_batch=1, max_bytes_per_range=900))
    assert max(shard.requests for shard in bucket.record.shards) == 3
    assert len(bucket.s3.keys(KEYS.outcomes("scan"))) == -(-len(FILE) // 650)


def test_fan_out_task_done_twice_changes_nothing() -> None:
    bucket = Bucket(FILE)
    for step in bucket.steps(RANGES):
        step(plain_wire)
        before = {key: len(bucket.s3.history(key)) for key in bucket.s3.keys(KEYS.outcomes("cut"))}
        with contextlib.suppress(StopIteration):
            step(plain_wire)
        after = {key: len(bucket.s3.history(key)) for key in before}
        assert before == after
    assert bucket.found() == one_pass(FILE, ALONE)
    assert_nothing_is_left_over(bucket)


@pytest.fixture
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the calls of a step the same every time, and in the same order."""
    do_pools_inline(monkeypatch)


@pytest.mark.usefixtures("_no_threads")
@pytest.mark.parametrize("base", [ALONE, strict(ALONE)], ids=["skip", "reject"])
@pytest.mark.parametrize("acts", [False, True], ids=["before it", "after it"])
def test_fan_out_after_death_at_any_call_completes(acts: bool, base: Settings) -> None:
    """At every call of every step, each in a life of its own; then the step is taken again."""

    def dies(calls: Calls, act: Callable[[], Any]) -> None:
        if acts:
            with contextlib.suppress(ClientError):
                act()
        calls.die()

    expected = one_pass(FILE, base)
    points = 0
    course = Course(Bucket(FILE), by_many(base, 650))
    while not course.is_over:
        for at in itertools.count(1):
            life = course.copy()
            try:
                life.step(Calls(at, dies))
            except Death:
                life.finish()
            else:
                break  # The step has no more calls.
            points += 1
            assert life.bucket.found() == expected
        course.step(plain_wire)
        course.go_on()
    assert points > 100


@pytest.mark.usefixtures("_no_threads")
def test_fan_out_with_two_of_each_step_at_once_stores_one_plan() -> None:
    """The second one runs from beginning to end within any call of the first."""
    expected = one_pass(FILE, ALONE)
    points = 0
    course = Course(Bucket(FILE), RANGES)
    while not course.is_over:
        for at in itertools.count(1):
            life = course.copy()
            twins: list[Any] = []

            def twin(
                _: Calls,
                act: Callable[[], Any],
                step: Step = life.step,
                twins: list[Any] = twins,
            ) -> Any:
                twins.append(step(plain_wire))
                return act()

            life.step(Calls(at, twin))
            if not twins:
                break  # The step has no more calls.
            life.go_on()
            life.finish()
            points += 1
            assert life.bucket.found() == expected
            assert_nothing_is_left_over(life.bucket)
        course.step(plain_wire)
        course.go_on()
    assert points > 100


class TestTrouble:
    def fails_on_input(self, range_number: int, code: str, status: int) -> tuple[Bucket, Wire]:
        reads = itertools.count(1)

        def read(act: Callable[[], Any]) -> Any:
            if next(reads) == range_number:
                raise client_error("get_object", status, code, "no")
            return act()

        return Bucket(FILE), instead(read, "get_object", INPUT)

    @pytest.mark.parametrize(
        ("code", "status", "text"),
        [("NoSuchVersion", 404, "deleted before"), ("AccessDenied", 403, "kms:Decrypt")],
    )
    @pytest.mark.parametrize("nth_read", [1, 3, 5])
    def test_fan_out_of_unreadable_input_rejects(
        self, code: str, status: int, text: str, nth_read: int
    ) -> None:
        bucket, wire = self.fails_on_input(nth_read, code, status)
        answer = None
        for step in bucket.steps(RANGES):
            answer = step(wire) or answer
        assert_unreadable(bucket, answer, text)

    def test_fan_out_of_stopped_job_does_nothing(self) -> None:
        bucket = Bucket(FILE)
        steps = bucket.steps(RANGES)
        next(steps)(plain_wire)
        task = next(steps)
        Stop(status="cancelled", code="cancelled", message="Stopped.", at="now").write(
            bucket.storage(), KEYS
        )
        task(plain_wire)
        assert bucket.s3.keys(KEYS.outcomes("scan")) == []
        answer = bucket.begin(RANGES)
        assert (answer.accepted, answer.tasks_prefix) == (False, "")
        assert JobRecord.load(bucket.storage(), KEYS) is None

    def test_fan_out_of_rejected_file_leaves_no_shard(self) -> None:
        bucket = Bucket(FILE.replace(b"{}", b""), **{"max-job-cost-usd": "0.000001"})
        bucket.prepare(RANGES)
        assert bucket.record.problems[0].code == "too_expensive"
        assert bucket.s3.keys(KEYS.shards(1)) == []
        assert_nothing_is_left_over(bucket)

    @pytest.mark.parametrize("key", ["work/a/shards/attempt-1/00001.jsonl", "work/a/ranges/x"])
    def test_fan_out_with_unknown_task_key_raises(self, key: str) -> None:
        with pytest.raises(ValueError, match="is not the key of a task"):
            Bucket(FILE).work(key)
