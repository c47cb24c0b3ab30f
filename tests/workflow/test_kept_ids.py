"""The ids that are kept beside the shards, whose lines are then read for failures alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import msgspec
import pytest
from botocore.exceptions import ClientError

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records.attempt import StoredAttempt
from groq_batch.steps.download_results.download import download_shard
from tests.harness.invocations import Invocation, Trouble
from tests.harness.jobs import Line, Upload, bad_line, check_end, good_line, good_lines, put
from tests.harness.world import World

SMALL_SHARDS = {"MAX_REQUESTS_PER_BATCH": "4"}


def reads_of_shards(world: World) -> list[str]:
    """Return the shards that were read when answers were collected, each time by its name."""
    calls = [
        label
        for invocation in world.invocations
        if invocation.function == "download_results"
        for label in invocation.trace
    ]
    assert calls
    return [
        label.split("/shards/", 1)[1].split()[0]
        for label in calls
        if "get_object" in label and "/shards/" in label
    ]


def keys_of(world: World, upload: Upload) -> object_keys.WorkKeys:
    return object_keys.WorkKeys(upload.job_id(world.s3.bucket))


def written(world: World, key: str) -> bytes:
    """Return what was written at a key that may have been removed by now."""
    data = world.s3.history(key)[0]
    assert data is not None
    return data


def collect_shard(world: World, upload: Upload) -> None:
    """Collect the first shard, as the function would."""
    download_shard(
        storage=Storage(s3=world.s3.client(), bucket=world.s3.bucket),
        client=world.groq.client(),
        job_id=upload.job_id(world.s3.bucket),
        shard_key=keys_of(world, upload).shard(1, 1),
        tries=1,
    )


def before_the_first_collection(act: Callable[[World], None]) -> Callable[[World], None]:
    """Return what lets something happen when a job's answers are about to be collected."""

    def prepare(world: World) -> None:
        done: list[int] = []

        def director(invocation: Invocation) -> Sequence[Trouble]:
            if invocation.function == "download_results" and not done:
                done.append(invocation.number)
                act(world)
            return ()

        world.director = director

    return prepare


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
@pytest.mark.parametrize("range_bytes", ["1073741824", "500"], ids=["alone", "by ranges"])
def test_a_shard_of_answers_alone_is_not_read(ending: str, range_bytes: str) -> None:
    lines = [*good_lines(5), bad_line("bad"), *good_lines(6, 'ü\u2028\\"')]
    with World({**SMALL_SHARDS, "MAX_BYTES_PER_RANGE": range_bytes}) as world:
        upload = put(world, f"input/a.{ending}", lines, on_invalid_line="skip")
        world.settle()
        (report,) = check_end(world, upload)
        assert reads_of_shards(world) == []
    assert report["requests"] == {"total": 12, "succeeded": 11, "failed": 0, "invalid": 1}


@pytest.mark.parametrize("range_bytes", ["1073741824", "900"], ids=["alone", "by ranges"])
@pytest.mark.parametrize(
    ("failing", "skipped"),
    [
        (["r0"], []),
        (["r3"], [0]),
        (["r2", "r3"], [4]),
        (["r0", "r7"], [1, 2, 7]),
        (["r9", "r5"], [0, 5, 6, 10]),
    ],
)
def test_each_failure_has_its_line(
    failing: list[str], skipped: list[int], range_bytes: str
) -> None:
    """The first failing request may succeed later, the others never do."""
    lines: list[Line] = good_lines(10)
    for place in skipped:
        lines.insert(place, bad_line(f"bad{place}"))
    data = {line.custom_id: line.data + b"\n" for line in lines}
    with World({**SMALL_SHARDS, "MAX_BYTES_PER_RANGE": range_bytes}) as world:
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": failing[0]}, times=1)
        for custom_id in failing[1:]:
            world.simulator.add_rule("fail", match={"custom_id": custom_id})
        upload = put(world, "input/a.jsonl", lines, on_invalid_line="skip")
        world.settle()
        (report,) = check_end(world, upload)
        assert report["requests"]["failed"] == len(failing) - 1
        work = keys_of(world, upload)
        again = [shard["shard"] for shard in report["batches"] if shard["attempt"] == 2]
        assert len(again) == 1
        assert written(world, work.shard(2, again[0])) == data[failing[0]]
        reads = [name for name in reads_of_shards(world) if name.startswith("attempt-1/")]
        failed_in = {
            number
            for number in {shard["shard"] for shard in report["batches"]}
            for custom_id in failing
            if data[custom_id] in written(world, work.shard(1, number))
        }
        assert set(reads) == {f"attempt-1/{number:05}.jsonl" for number in failed_in}


def without_ids(world: World) -> None:
    """Make all records those of jobs that were prepared before ids were kept, and drop the ids."""
    client = world.s3.client()
    for key in world.s3.keys("work/"):
        if key.endswith("/job.json"):
            record = json.loads(world.s3.read(key) or b"")
            del record["ids"]
            body = json.dumps(record).encode()
            client.put_object(Bucket=world.s3.bucket, Key=key, Body=body)
        if "/ids/" in key:
            world.delete(key)


def test_a_job_that_was_prepared_before_ids_were_kept_goes_on() -> None:
    lines = [bad_line("bad"), *good_lines(9)]
    with World(SMALL_SHARDS) as world:
        before_the_first_collection(without_ids)(world)
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r3"}, times=1)
        world.simulator.add_rule("fail", match={"custom_id": "r7"})
        upload = put(world, "input/a.jsonl", lines, on_invalid_line="skip")
        world.settle()
        (report,) = check_end(world, upload)
        assert {f"attempt-1/{number:05}.jsonl" for number in (1, 2, 3)} <= set(
            reads_of_shards(world)
        )
    assert report["requests"] == {"total": 10, "succeeded": 8, "failed": 1, "invalid": 1}


@pytest.mark.parametrize("skipped", [False, True])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda ids: ids[: ids.rindex(b'"r8"')], "has 8 ids for shard 1, not 9"),
        (lambda ids: ids[:-6], "has 8 ids for shard 1, not 9"),
        (lambda ids: ids.replace(b'7"\n"r8"', b'"\n""\n""'), "has fewer lines than its plan"),
        (lambda ids: ids[:-2], "truncated"),
        (lambda ids: ids.replace(b"\n", b" ", 6), "trailing characters"),
        (lambda ids: b"", "InvalidRange"),
    ],
    ids=["one is missing", "cut between two", "one more", "cut within one", "joined", "empty"],
)
def test_ids_that_do_not_fit_the_plan_settle_nothing(
    damage: Callable[[bytes], bytes], message: str, skipped: bool
) -> None:
    lines: list[Line] = [*good_lines(9), *([bad_line("bad")] if skipped else [])]
    seen: list[bool] = []

    def collect(world: World) -> None:
        work = keys_of(world, upload)
        kept = world.s3.read(work.custom_ids(1))
        assert kept is not None
        world.s3.client().put_object(
            Bucket=world.s3.bucket, Key=work.custom_ids(1), Body=damage(kept)
        )
        with pytest.raises((ValueError, msgspec.DecodeError, ClientError), match=message):
            collect_shard(world, upload)
        seen.append(True)
        for key in (work.summary(1, 1), work.results(1, 1), work.failed(1, 1), work.shard(2, 1)):
            assert world.s3.read(key) is None
        assert world.s3.open_uploads == []
        # What stands is what was there before the damage, so that the job can end.
        world.s3.client().put_object(Bucket=world.s3.bucket, Key=work.custom_ids(1), Body=kept)

    with World({"MAX_REQUESTS_PER_BATCH": "9"}) as world:
        before_the_first_collection(collect)(world)
        upload = put(world, "input/a.jsonl", lines, on_invalid_line="skip")
        world.settle()
        check_end(world, upload)
    assert len(seen) == 1


def test_ids_that_are_gone_are_read_from_the_lines() -> None:
    def collect(world: World) -> None:
        world.delete(keys_of(world, upload).custom_ids(1))

    with World({"MAX_REQUESTS_PER_BATCH": "3"}) as world:
        world.simulator.add_rule("fail", match={"custom_id": "r2"})
        before_the_first_collection(collect)(world)
        upload = put(world, "input/a.jsonl", good_lines(5))
        world.settle()
        (report,) = check_end(world, upload)
    assert report["requests"] == {"total": 5, "succeeded": 4, "failed": 1, "invalid": 0}
    assert report["status"] == "partial"


def test_the_last_resort_asks_no_ids_that_are_damaged() -> None:
    """Whatever is wrong with them, a job that nobody waits for any more gets its rows."""

    def collect(world: World) -> None:
        keys = keys_of(world, upload)
        world.s3.client().put_object(Bucket=world.s3.bucket, Key=keys.custom_ids(1), Body=b'"r')
        storage = Storage(s3=world.s3.client(), bucket=world.s3.bucket)
        found = StoredAttempt.load(storage, keys, 1)
        assert found is not None
        found.state.gave_up = True
        found.save(storage, keys)

    with World() as world:
        before_the_first_collection(collect)(world)
        upload = put(world, "input/a.jsonl", good_lines(5))
        world.settle()
        (report,) = check_end(world, upload)
    assert report["status"] == "succeeded"


def test_a_shard_shorter_than_its_plan_settles_nothing() -> None:
    def collect(world: World) -> None:
        work = keys_of(world, upload)
        kept = world.s3.read(work.shard(1, 1))
        assert kept is not None
        shorter = kept[: kept.rindex(b"\n", 0, -1) + 1]
        world.s3.client().put_object(Bucket=world.s3.bucket, Key=work.shard(1, 1), Body=shorter)
        with pytest.raises(ValueError, match=r"00001\.jsonl has fewer lines than its plan says"):
            collect_shard(world, upload)
        assert world.s3.read(work.summary(1, 1)) is None
        world.s3.client().put_object(Bucket=world.s3.bucket, Key=work.shard(1, 1), Body=kept)
        ended.append(True)

    ended: list[bool] = []
    with World() as world:
        world.simulator.add_rule("fail", match={"custom_id": "r4"})
        before_the_first_collection(collect)(world)
        upload = put(world, "input/a.jsonl", [*good_lines(4), good_line("r4")])
        world.settle()
        check_end(world, upload)
    assert ended
