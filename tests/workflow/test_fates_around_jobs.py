"""What changes around a job while it runs: its key, its input, its files, calls by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from groq_batch.domain import object_keys
from tests.harness.invocations import Invocation, Trouble
from tests.harness.jobs import (
    Upload,
    check_bucket,
    check_end,
    check_groq,
    good_lines,
    lines_of_models,
    put,
    report_of,
)
from tests.harness.world import World
from tests.workflow.fates import DAY, ENVIRONMENT, HOUR, WHILE_BATCHES_RUN, answered, check, later


def test_the_key_is_rotated_while_batches_run() -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(WHILE_BATCHES_RUN)
        world.simulator.set_keys({"gsk_rotated": "paid"})
        world.run_for(10 * HOUR)
        report = report_of(world, "a.jsonl")
        assert report["status"] == "running"
        assert report["errors"][0]["code"] == "invalid_api_key"
        world.groq.key = "gsk_rotated"
        world.settle()
        report = check(world, job)
    assert report["status"] == "succeeded"
    assert report["errors"] == []


def test_the_key_is_rotated_between_two_attempts() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "2"}) as world:
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
        rotated: list[bool] = []

        def director(invocation: Invocation) -> Sequence[Trouble]:
            key = invocation.payload.get("shard_key", "")
            is_second = invocation.function == "submit_batch" and "/attempt-2/" in key
            if is_second and not rotated:
                rotated.append(True)
                world.simulator.set_keys({"gsk_rotated": "paid"})
                world.spawn(later(lambda: setattr(world.groq, "key", "gsk_rotated")), after=HOUR)
            return ()

        world.director = director
        job = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, job)
        assert world.groq.key == "gsk_rotated"
    assert report["status"] == "succeeded"
    assert len(report["batches"]) == 3


@pytest.mark.parametrize("moment", [0.5, 30.0, WHILE_BATCHES_RUN])
@pytest.mark.parametrize("is_overwritten", [True, False], ids=["overwritten", "deleted"])
def test_the_input_changes_while_its_job_runs(moment: float, is_overwritten: bool) -> None:
    with World(ENVIRONMENT) as world:
        older = put(world, "input/a.jsonl", good_lines(4, "old"))
        world.run_for(moment)
        uploads = [older]
        if is_overwritten:
            older.keeps_path = False
            uploads.append(put(world, "input/a.jsonl", good_lines(3, "new")))
        else:
            world.delete("input/a.jsonl")
        world.settle()
        reports = check_end(world, *uploads)
    assert [one["status"] for one in reports] == ["succeeded"] * len(uploads)


def test_an_upload_is_never_run_twice_not_even_a_year_later() -> None:
    """Outputs and reports are tidied up, working files and names of executions are forgotten."""
    with World() as world:
        job = put(world, "input/a.jsonl", good_lines(3))
        world.settle()
        check(world, job)
        world.delete(*world.s3.keys("output/"), *world.s3.keys("reports/"), *world.s3.keys("work/"))
        world.states.executions.clear()
        world.run_for(400 * DAY)
        for _ in range(2):
            world.sweep()
            world.deliver("start_job", {"key": "input/a.jsonl"}, 1.0)
            world.deliver("start_job", _event_of(job), 2.0)
        world.settle(days=500)
        assert world.simulator.stats()["creates"] == 1
        assert world.states.executions == {}
        assert world.s3.keys("output/") == []


def _event_of(upload: Upload) -> dict[str, Any]:
    detail = {"key": upload.key, "size": 1, "etag": "", "version-id": upload.version_id}
    return {
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "bucket"}, "object": detail},
    }


@pytest.mark.parametrize("status", ["cancelled", "succeeded", None])
def test_job_in_whose_running_report_a_user_changes_the_status_ends_as_others(
    status: str | None,
) -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(WHILE_BATCHES_RUN)
        changed = json.dumps({**report_of(world, job.path), "status": status})
        key = "reports/a.jsonl.json"
        world.s3.client().put_object(Bucket=world.s3.bucket, Key=key, Body=changed.encode())
        world.settle(days=1)
        report = check(world, job)
    assert report["status"] == "succeeded"


def remove_working_files(world: World, *names: str) -> None:
    """Remove the working files of all jobs, as a user or a lifecycle rule may do.

    Args:
        world: The world.
        names: Folders and files of each job; empty for all.
    """
    keys = world.s3.keys("work/")
    world.delete(*(key for key in keys if not names or key.split("/")[2] in names))


@pytest.mark.parametrize(("shards", "succeeded"), [((1,), 2), ((1, 2), 0)], ids=["one", "all"])
def test_job_whose_stored_rows_are_removed_ends_and_says_so(
    shards: tuple[int, ...], succeeded: int
) -> None:
    with World(ENVIRONMENT) as world:
        world.simulator.add_fate(end="expire", done=0.5, times=1)
        job = put(world, "input/a.jsonl", good_lines(4))
        keys = object_keys.WorkKeys(job.job_id(world.s3.bucket))
        while not world.s3.keys(keys.submissions(2)):
            world.run_for(1.0)
        world.delete(*(keys.results(1, number) for number in shards))
        world.settle(days=3)
        report = report_of(world, job.path)
        check_groq(world)
    assert report["status"] == "failed"
    assert report["errors"][0]["code"] == "internal_error"
    assert f"the rows of {len(shards)} of its 2 shards" in report["errors"][0]["message"]
    assert report["requests"]["succeeded"] == succeeded
    assert report["requests"]["failed"] == 4 - succeeded


@pytest.mark.parametrize("seconds", [3.0, WHILE_BATCHES_RUN])
def test_job_whose_working_files_are_all_removed_cancels_its_batches_and_names_them(
    seconds: float,
) -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(seconds)
        remove_working_files(world)
        world.settle(days=3)
        report = report_of(world, job.path)
        batches = {batch["id"]: batch["status"] for batch in world.simulator.batches()}
        files = world.simulator.stats()["files"]
    assert report["status"] == "failed"
    assert "they may have been billed" in report["errors"][0]["message"]
    assert set(batches.values()) == {"cancelled"}
    assert {batch["id"] for batch in report["batches"]} == set(batches)
    # The answers, if there are any, are nowhere else.
    assert files


def test_job_whose_record_is_removed_reports_the_rows_that_it_had_collected() -> None:
    with World(ENVIRONMENT) as world:
        world.simulator.add_fate(end="expire", done=0.5, times=1)
        job = put(world, "input/a.jsonl", good_lines(4))
        keys = object_keys.WorkKeys(job.job_id(world.s3.bucket))
        while not world.s3.keys(keys.submissions(2)):
            world.run_for(1.0)
        remove_working_files(world, "job.json")
        world.settle(days=3)
        report = report_of(world, job.path)
    assert report["status"] == "failed"
    assert report["requests"] == {"total": 4, "succeeded": 3, "failed": 1, "invalid": 0}


def test_job_whose_plan_of_a_division_is_removed_ends_with_the_rows_that_it_had() -> None:
    with World() as world:
        world.simulator.add_refusal(at="validation", match={"model": "m1"}, status=400, times=None)
        job = put(world, "input/a.jsonl", lines_of_models(2, 2), max_attempts="2")
        keys = object_keys.WorkKeys(job.job_id(world.s3.bucket))
        while len(world.s3.keys(keys.shards(2))) < 2:
            world.run_for(1.0)
        remove_working_files(world, "attempts")
        world.settle(days=4)
        report = report_of(world, job.path)
        check_bucket(world)
        results = world.s3.read(f"output/{job.path}") or b""
        ids = [json.loads(line)["custom_id"] for line in results.splitlines()]
    assert report["status"] == "failed"
    assert ids == [line.custom_id for line in job.lines]


NO_REPORTS = (
    b"",
    b"hello",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"[" * 100_000,
    b'{"input": null}',
    b'{"job_id": "a", "input": []}',
)


@pytest.mark.parametrize("data", NO_REPORTS, ids=lambda data: repr(data[:20]))
@pytest.mark.parametrize("seconds", [0.0, WHILE_BATCHES_RUN])
def test_job_where_a_user_puts_something_else_in_place_of_its_report(
    data: bytes, seconds: float
) -> None:
    key = "reports/a.jsonl.json"
    with World(ENVIRONMENT) as world:
        user = world.s3.client()
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(seconds)
        user.put_object(Bucket=world.s3.bucket, Key=key, Body=data)
        world.settle(days=1)
        report = check(world, job)
    assert report["status"] == "succeeded"
    assert data in world.s3.history(key)


def test_a_job_whose_upload_is_removed_for_good_delivers_at_its_path() -> None:
    with World(ENVIRONMENT) as world:
        put(world, "input/a.jsonl", good_lines(2, "old"))
        world.settle()
        world.run_for(HOUR)
        upload = put(world, "input/a.jsonl", good_lines(2, "new"))
        world.run_for(WHILE_BATCHES_RUN)
        # What stands first among the versions of the key is now an upload from before this one.
        world.s3.remove_version(upload.key, upload.version_id)
        world.settle()
        assert check(world, upload)["status"] == "succeeded"
        assert answered(world) == {"new0", "new1"}


def test_a_job_whose_upload_is_removed_for_good_gives_way_to_a_newer_one() -> None:
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(2, "old"))
        world.run_for(WHILE_BATCHES_RUN)
        newer = put(world, "input/a.jsonl", good_lines(2, "new"))
        world.s3.remove_version(upload.key, upload.version_id)
        upload.keeps_path = False
        world.settle()
        check_end(world, upload, newer)
        assert answered(world) == {"new0", "new1"}


def by_hand(world: World, function: str, payload: dict[str, Any]) -> Invocation:
    """Call a function; return the invocation when it has ended."""
    invocation = Invocation(world, function, payload, len(world.invocations) + 1)
    world.invocations.append(invocation)
    invocation.run()
    return invocation


def test_a_job_that_is_finished_by_hand_while_its_batches_run_goes_on() -> None:
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.run_for(WHILE_BATCHES_RUN)
        call = by_hand(world, "finish_job", {"job_id": upload.job_id("bucket")})
        assert "0 of its 2 shards" in str(call.exception)
        world.invocations.remove(call)
        world.settle()
        report = check(world, upload)
    assert report["status"] == "succeeded"


def test_shards_that_are_collected_by_hand_before_they_have_a_batch_are_collected_later() -> None:
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(4))
        keys = object_keys.WorkKeys(upload.job_id("bucket"))
        world.simulator.add_fault("create", status=429, times=None)
        while world.s3.read(keys.batches(1)) is None:
            world.run_for(60.0)
        for number in (1, 2):
            event = {"job_id": keys.job, "shard_key": keys.shard(1, number)}
            assert by_hand(world, "download_results", event).answer["outcome"] == "deferred"
        world.simulator.clear_faults()
        world.settle()
        report = check(world, upload)
    assert report["status"] == "succeeded"


def test_a_job_whose_record_is_removed_does_not_ask_to_be_started_again() -> None:
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.run_for(WHILE_BATCHES_RUN)
        world.delete(f"work/{upload.job_id('bucket')}/job.json")
        world.settle()
        report = report_of(world, "a.jsonl")
    assert (report["status"], report["errors"][0]["code"]) == ("failed", "internal_error")
    assert "before you send the file again" in report["errors"][0]["message"]
