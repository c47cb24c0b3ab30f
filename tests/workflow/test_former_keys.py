"""A bucket with another KMS key than before: what the former one encrypts cannot be read any more.

S3 answers 403 to GET, and to HEAD tells what it knows. Whatever the former key encrypts, jobs end:
an upload of a key that has such a report delivers below ``superseded/<job_id>/`` and ends
``failed`` with ``permission_denied``, as it does for a lock; a file that cannot be read ends as
``input_unreadable``. Nothing of what stands there is touched.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from groq_batch.domain import object_keys
from tests.harness.invocations import Invocation
from tests.harness.jobs import (
    Upload,
    bad_line,
    check_bucket,
    check_groq,
    check_invocations,
    good_lines,
    put,
    report_of,
)
from tests.harness.world import World

DAY = 86_400.0
GET = ("get_object",)
GET_AND_HEAD = ("get_object", "head_object")


def change_key(world: World, operations: tuple[str, ...] = GET) -> dict[str, str]:
    """Make everything that stands in the bucket unreadable; returns the versions by key."""
    user = world.s3.client()
    former = {
        key: user.head_object(Bucket=world.s3.bucket, Key=key)["VersionId"]
        for key in world.s3.keys()  # noqa: SIM118 (it is no mapping)
    }

    def denies(operation: str, key: str) -> bool:
        if operation not in operations or key not in former or world.s3.read(key) is None:
            return False
        now = user.head_object(Bucket=world.s3.bucket, Key=key)["VersionId"]
        return bool(now == former[key])

    world.denies = denies
    return former


def settle(world: World) -> None:
    """Let the world come to rest within a day, with no step given up."""
    world.settle(days=1)
    check_groq(world)
    check_bucket(world)
    check_invocations(world)
    assert world.dead_letters == []
    assert {one.status for one in world.executions.values()} == {"SUCCEEDED"}


def rows_at(world: World, url: str | None) -> list[Any]:
    assert url is not None
    data = world.s3.read(url.removeprefix(f"s3://{world.s3.bucket}/"))
    assert data is not None, url
    return [json.loads(row)["custom_id"] for row in data.splitlines()]


def ended_job(world: World) -> Upload:
    """Return an upload whose job has left every kind of object."""
    world.simulator.add_rule("fail", match={"custom_id": "old1"})
    older = put(
        world, "input/a.jsonl", [*good_lines(3, "old"), bad_line("bad")], on_invalid_line="skip"
    )
    world.settle()
    return older


@pytest.mark.parametrize("operations", [GET, GET_AND_HEAD])
def test_second_upload_of_a_key_whose_report_cannot_be_read_ends(
    operations: tuple[str, ...],
) -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "1"}) as world:
        ended_job(world)
        former = change_key(world, operations)
        before = {key: world.s3.history(key) for key in former}
        newer = put(world, "input/a.jsonl", good_lines(2, "new"))
        world.run_for(50)
        path = f"superseded/{newer.job_id('bucket')}/a.jsonl"
        # It can be seen where it stands from the start.
        assert report_of(world, path)["status"] == "running"
        settle(world)
        report = report_of(world, path)
        assert (report["status"], report["requests"]["succeeded"]) == ("failed", 2)
        error = report["errors"][0]
        assert error["code"] == "permission_denied"
        assert "reports/a.jsonl.json" in error["message"]
        assert "kms:Decrypt" in error["message"]
        assert report["outputs"]["results"] == f"s3://bucket/output/{path}"
        assert rows_at(world, report["outputs"]["results"]) == ["new0", "new1"]
        assert world.s3.read(f"reports/{path}.html") is not None
        # What the older job has delivered belongs to its report, and stays beside it.
        del before["input/a.jsonl"]
        assert {key: world.s3.history(key) for key in before} == before


def test_upload_after_the_report_was_removed_stands_at_its_path_again() -> None:
    with World() as world:
        ended_job(world)
        change_key(world)
        world.delete("reports/a.jsonl.json")
        newer = put(world, "input/a.jsonl", good_lines(2, "new"))
        settle(world)
        report = report_of(world, newer.path)
        assert report["status"] == "succeeded"
        assert rows_at(world, "s3://bucket/output/a.jsonl") == ["new0", "new1"]
        assert report["outputs"]["failed"] is None
        assert world.s3.read("failed/a.jsonl") is None


def test_rejected_upload_beside_an_unreadable_report_says_what_is_wrong_with_it() -> None:
    with World() as world:
        ended_job(world)
        change_key(world)
        newer = put(world, "input/a.jsonl", [*good_lines(2), bad_line("bad")])
        settle(world)
        report = report_of(world, f"superseded/{newer.job_id('bucket')}/a.jsonl")
        assert report["status"] == "rejected"
        assert [error["code"] for error in report["errors"]] == ["invalid_method"]


def test_overtaken_job_beside_an_unreadable_report_is_as_overtaken_as_any() -> None:
    with World() as world:
        ended_job(world)
        change_key(world)
        older = put(world, "input/a.jsonl", good_lines(2, "older"))
        world.run_for(50)
        newer = put(world, "input/a.jsonl", good_lines(2, "newer"))
        settle(world)
        ends = [
            report_of(world, f"superseded/{one.job_id('bucket')}/a.jsonl")["status"]
            for one in (older, newer)
        ]
        assert ends == ["succeeded", "failed"]


def test_upload_refused_for_its_key_beside_an_unreadable_report_ends() -> None:
    with World() as world:
        job = put(world, "input/superseded/x/a.jsonl", good_lines(1))
        world.settle()
        change_key(world)
        again = put(world, "input/superseded/x/a.jsonl", good_lines(2))
        settle(world)
        assert job.job_id("bucket") != again.job_id("bucket")
        report = report_of(world, again.job_id("bucket"))
        assert report["status"] == "rejected"
        assert report["errors"][0]["code"] == "reserved_path"


@pytest.mark.parametrize("operations", [GET, GET_AND_HEAD])
def test_recurring_file_that_cannot_be_read_ends_each_firing(operations: tuple[str, ...]) -> None:
    with World() as world:
        put(world, "recurring/nightly.jsonl", good_lines(2))
        world.settle()
        change_key(world, operations)
        for day in ("01", "02"):
            world.sweep(f"2026-03-{day}T06:00:00Z")
            settle(world)
            report = report_of(world, f"recurring/nightly/2026-03-{day}T06-00-00Z.jsonl")
            assert report["status"] == "failed"
            assert report["errors"][0]["code"] == "input_unreadable"
        assert world.simulator.batches() == []


def test_upload_with_a_record_that_cannot_be_read_is_known() -> None:
    with World() as world:
        ended_job(world)
        change_key(world)
        count = len(world.executions)
        world.deliver("start_job", {"key": "input/a.jsonl"}, 0.0)
        settle(world)
        started: list[Invocation] = [
            one for one in world.invocations if one.function == "start_job"
        ]
        assert started[-1].answer["status"] == "exists"
        assert len(world.executions) == count
        assert world.s3.keys(object_keys.OPEN_JOBS_PREFIX) == []
