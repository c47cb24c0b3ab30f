"""Whole jobs through the shipped state machine, in virtual time, with nothing going wrong."""

from __future__ import annotations

from itertools import groupby

import pytest

from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.domain import object_keys
from groq_batch.records.stored import MissingRecordError
from groq_batch.request_file.lines import READ_BYTES
from tests.harness.invocations import Hold
from tests.harness.jobs import (
    Line,
    Upload,
    bad_line,
    check_end,
    good_line,
    good_lines,
    put,
    report_of,
)
from tests.harness.world import World


def test_one_shard() -> None:
    with World() as world:
        upload = put(world, "input/team/a.jsonl", good_lines(3))
        world.settle()
        (report,) = check_end(world, upload)
    assert report["status"] == "succeeded"
    steps = [function for function, _ in groupby(one.function for one in world.invocations)]
    assert steps == [
        "start_job",
        # Asks for the models.
        "check_status",
        "prepare_input",
        "submit_batch",
        "check_status",
        "download_results",
        "check_status",
        "finish_job",
    ]


def test_several_shards_and_attempts() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "2"}) as world:
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=2)
        world.simulator.add_rule("fail", match={"custom_id": "r4"})
        upload = put(world, "input/a.jsonl.gz", good_lines(7))
        world.settle()
        (report,) = check_end(world, upload)
    assert report["status"] == "partial"
    assert report["requests"]["failed"] == 1
    assert [(one["shard"], one["attempt"]) for one in report["batches"]] == [
        (1, 1),
        (2, 1),
        (3, 1),
        (4, 1),
        (1, 2),
        (1, 3),
    ]


def test_a_large_input_is_prepared_range_by_range() -> None:
    lines = [*good_lines(9), bad_line("bad"), *good_lines(4, "s"), bad_line("bad2")]
    with World({"MAX_REQUESTS_PER_BATCH": "4", "MAX_BYTES_PER_RANGE": "500"}) as world:
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "s1"}, times=1)
        upload = put(world, "input/a.jsonl", lines, on_invalid_line="skip")
        world.settle()
        (report,) = check_end(world, upload)
    assert report["requests"] == {"total": 15, "succeeded": 13, "failed": 0, "invalid": 2}
    begun = [one.payload for one in world.invocations if one.function == "prepare_input"]
    tasks = {payload["task_key"] for payload in begun if "task_key" in payload}
    for phase in ("scan", "match", "cut"):
        assert sum(f"/ranges/{phase}/tasks/" in key for key in tasks) > 2
    assert len(begun) == len(tasks) + 4


def bulk_of(world: World, upload: Upload) -> dict[str, bool]:
    """Return which kinds of copies of requests and answers a job has left."""
    keys = object_keys.WorkKeys(upload.job_id("bucket"))
    return {prefix.split("/")[-2]: bool(world.s3.keys(prefix)) for prefix in keys.bulk}


def test_copies_are_removed_at_the_end_of_a_job_that_ends_by_itself() -> None:
    lines = [*good_lines(5), bad_line("bad")]
    with World({"MAX_REQUESTS_PER_BATCH": "2"}) as world:
        world.simulator.add_rule("fail", match={"custom_id": "r1"})
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r2"}, times=1)
        clean = put(world, "input/clean.jsonl", good_lines(3, "s"))
        partial = put(world, "input/partial.jsonl", lines, on_invalid_line="skip")
        world.settle()
        reports = check_end(world, clean, partial)
        kept = [world.s3.keys(object_keys.WorkKeys(clean.job_id("bucket")).prefix)]
        left = [bulk_of(world, clean), bulk_of(world, partial)]
    assert [one["status"] for one in reports] == ["succeeded", "partial"]
    assert not any(found for kinds in left for found in kinds.values()), left
    names = {key.split("/", 2)[2] for key in kept[0]}
    assert {"job.json", "plan.json", "closed", "summaries/attempt-1/00001.json"} <= names


def test_copies_that_cannot_be_removed_change_nothing() -> None:
    with World() as world:
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.denies = lambda operation, key: (
            operation == "delete_objects" and key.startswith("work/") and "/open/" not in key
        )
        world.settle()
        (report,) = check_end(world, upload)
        left = bulk_of(world, upload)
    assert report["status"] == "succeeded"
    assert left["shards"]
    assert left["results"]


def test_single_keys_that_s3_fails_to_remove_end_no_job() -> None:
    with World() as world:
        older = put(world, "input/a.jsonl", good_lines(3))
        world.settle()
        older.keeps_path = False
        world.s3.deletion_errors = ["InternalError", "SlowDown", "InternalError", "SlowDown"]
        newer = put(world, "input/a.jsonl", good_lines(2))
        world.settle()
        reports = check_end(world, older, newer)
        failed = [one.request_id for one in world.invocations if one.failure is not None]
    assert [one["status"] for one in reports] == ["succeeded", "succeeded"]
    assert failed == []


@pytest.mark.parametrize(
    "key", ["input/a\x01b.jsonl", "input/a\tb\r\nc.jsonl", "input/\x7f\x85.jsonl"]
)
def test_keys_with_control_characters_take_a_second_upload(key: str) -> None:
    with World() as world:
        older = put(world, key, good_lines(3))
        world.settle()
        older.keeps_path = False
        newer = put(world, key, [*good_lines(2), bad_line("bad")], on_invalid_line="skip")
        world.settle()
        check_end(world, older, newer)
        assert world.dead_letters == []


def test_copies_of_a_job_that_was_stopped_stay() -> None:
    with World() as world:
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.run_for(90)
        assert world.stop(upload.job_id("bucket"))
        world.settle()
        (report,) = check_end(world, upload)
        left = bulk_of(world, upload)
    assert report["status"] == "cancelled"
    assert left["shards"]


def test_bad_lines() -> None:
    lines = [*good_lines(3), bad_line("bad"), *good_lines(2, "s")]
    with World({"MAX_REQUESTS_PER_BATCH": "2"}) as world:
        rejected = put(world, "input/rejected.jsonl", lines)
        skipped = put(world, "input/skipped.jsonl", lines, on_invalid_line="skip")
        empty = put(world, "input/empty.jsonl", [])
        world.settle()
        reports = check_end(world, rejected, skipped, empty)
    assert [one["status"] for one in reports] == ["rejected", "partial", "rejected"]


def test_a_line_too_long_to_be_held_passes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    long_line = Line(good_line("long", "x" * 3 * READ_BYTES).data, None, "line_too_long")
    lines = [*good_lines(2), long_line, *good_lines(2, "s"), bad_line("bad")]
    written: list[int] = []
    write = ObjectWriter.write

    def watched(writer: ObjectWriter, data: bytes) -> None:
        if "/failed/" in writer.key:
            written.append(len(data))
        write(writer, data)

    monkeypatch.setattr(ObjectWriter, "write", watched)
    with World({"MAX_BYTES_PER_BATCH": "2000", "MAX_REQUESTS_PER_BATCH": "3"}) as world:
        upload = put(world, "input/a.jsonl", lines, on_invalid_line="skip")
        world.settle()
        (report,) = check_end(world, upload)
    assert report["requests"] == {"total": 6, "succeeded": 4, "failed": 0, "invalid": 2}
    assert sum(written) > 3 * READ_BYTES
    assert max(written) <= READ_BYTES


def test_stop_while_batches_run() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "2"}) as world:
        upload = put(world, "input/a.jsonl", good_lines(5))
        world.run_for(80)
        assert world.stop(upload.job_id("bucket"))
        world.settle()
        (report,) = check_end(world, upload)
    assert report["status"] == "cancelled"
    assert report["errors"][0]["code"] == "cancelled"
    assert 0 < report["requests"]["succeeded"] < 5


def test_lost_event_of_a_stop_is_made_up_for() -> None:
    with World() as world:
        world.tells_ends = lambda _: False
        upload = put(world, "input/a.jsonl", good_lines(5))
        world.run_for(50)
        world.stop(upload.job_id("bucket"))
        world.settle()
        (report,) = check_end(world, upload)
    assert report["status"] == "cancelled"


def test_newer_upload_overtakes() -> None:
    with World() as world:
        older = put(world, "input/a.jsonl", good_lines(3, "old"))
        world.run_for(50)
        newer = put(world, "input/a.jsonl", good_lines(2, "new"))
        older.keeps_path = False
        world.settle()
        reports = check_end(world, older, newer)
    assert [one["status"] for one in reports] == ["succeeded", "succeeded"]


def test_configuration_error_ends_the_job_within_a_minute() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "1"}) as world:
        world.groq.key = "gsk_wrong"
        upload = put(world, "input/a.jsonl", good_lines(30))
        world.run_for(60)
        data = world.s3.read("reports/a.jsonl.json")
        assert data is not None
        assert b'"status":"failed"' in data
        assert b'"code":"invalid_api_key"' in data
        world.settle()
        world.groq.key = "gsk_simulator_key"
        check_end(world, upload)


def test_status_check_of_an_attempt_that_has_not_begun_changes_nothing() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "2"}) as world:
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
        upload = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(30.0)
        job_id = upload.job_id(world.s3.bucket)
        world.deliver("check_status", {"job_id": job_id, "attempt": 2}, 0.0)
        world.run_for(5.0)
        by_hand = world.invocations[-1]
        assert (by_hand.function, by_hand.payload["attempt"]) == ("check_status", 2)
        assert isinstance(by_hand.exception, MissingRecordError)
        world.settle()
        report = report_of(world, "a.jsonl")
    assert (report["status"], report["requests"]["succeeded"]) == ("succeeded", 4)
    assert [(one["shard"], one["attempt"]) for one in report["batches"]] == [(1, 1), (2, 1), (1, 2)]


def test_running_report_keeps_its_batches_when_a_stale_invocation_goes_on() -> None:
    with World(simulator={"batch_seconds": 1_000.0}) as world:
        upload = put(world, "input/a.jsonl", good_lines(2))
        job_id = upload.job_id(world.s3.bucket)
        record = f"s3.put_object {object_keys.WorkKeys(job_id).job_record} #0"
        hold = Hold(at=record, after=True, seconds=200.0, lost="Lambda.SdkClientException")
        world.director = lambda one: (hold,) if one.number == 3 else ()
        world.run_for(150.0)
        assert len(report_of(world, "a.jsonl")["batches"]) == 1
        world.run_for(100.0)
        assert world.invocations[2].ended
        assert len(report_of(world, "a.jsonl")["batches"]) == 1
        world.settle()
        check_end(world, upload)
