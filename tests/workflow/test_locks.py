"""A bucket policy that denies the functions what they write, from the start or from some moment on.

What happens is the same whoever denies it (a policy of the bucket, of the organisation, a key of
KMS): S3 answers 403. An object lock alone does not, because a versioned bucket takes a new version
of a locked key.

- Results that cannot stand at their key stand below ``superseded/<job_id>/``, and the job ends
  ``failed`` with ``permission_denied`` and the address of everything that was delivered.
- Where that is denied as well, what is denied stays in the job's working files, which the report
  names; all else is delivered.
- A report that cannot be written keeps nothing from going on: batches are waited for, results are
  delivered. The end waits for the policy: every 15 minutes it is tried again, and when it is
  allowed, the final report comes by itself.
- Nothing is sent before the first report stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.invocations import READS
from tests.harness.jobs import Upload, check_bucket, check_groq, good_lines, put, report_of
from tests.harness.world import RECONCILE_SECONDS, START, World

ENVIRONMENT = {"MAX_REQUESTS_PER_BATCH": "2", "MAX_ATTEMPTS": "1"}
HOUR = 3_600.0
HOURS = 6 * HOUR
WHILE_BATCHES_RUN = 70.0


def lock(world: World, *prefixes: str, begins: float = 0.0, lasts: float = float("inf")) -> None:
    """Deny everything but reading below some prefixes for some time."""
    begun = world.clock() + begins

    def denies(operation: str, key: str) -> bool:
        is_now = begun <= world.clock() < begun + lasts
        is_read = f"s3.{operation}".startswith(READS)
        return is_now and not is_read and key.startswith(prefixes)

    world.denies = denies


def upload(world: World) -> Upload:
    """Upload four requests, two for each shard, one of which fails for good."""
    world.simulator.add_rule("fail", match={"custom_id": "r1"})
    return put(world, "input/a.jsonl", good_lines(4))


def rows_at(world: World, url: str | None) -> list[str]:
    """Return the ids of the rows at an address, in order; those without an answer with a dash."""
    assert url is not None
    data = world.s3.read(url.removeprefix(f"s3://{world.s3.bucket}/"))
    assert data is not None, url
    return list(_ids(data))


def _ids(data: bytes) -> Iterator[str]:
    for line in data.splitlines():
        row = json.loads(line)
        answered = (row.get("response") or {}).get("status_code") == 200
        yield row["custom_id"] if answered or "body" in row else f"-{row['custom_id']}"


def check_denied(report: dict[str, Any]) -> None:
    """Check what a report says of a job that could not write everything."""
    assert report["status"] == "failed"
    assert report["errors"][0]["code"] == "permission_denied"
    assert "policy" in report["errors"][0]["message"]
    assert report["requests"] == {"total": 4, "succeeded": 3, "failed": 1, "invalid": 0}


def check_nothing_left(world: World) -> None:
    check_groq(world)
    check_bucket(world)


@pytest.mark.parametrize("prefix", ["output/a.jsonl", "failed/a.jsonl"])
def test_a_denied_key_is_delivered_beside_it(prefix: str) -> None:
    with World(ENVIRONMENT) as world:
        lock(world, prefix)
        job = upload(world).job_id("bucket")
        world.settle()
        check_nothing_left(world)
        report = report_of(world, f"superseded/{job}/a.jsonl")
        check_denied(report)
        assert prefix in report["errors"][0]["message"]
        assert report["outputs"] == {
            "results": f"s3://bucket/output/superseded/{job}/a.jsonl",
            "failed": f"s3://bucket/failed/superseded/{job}/a.jsonl",
            "invalid": None,
        }
        assert rows_at(world, report["outputs"]["results"]) == ["r0", "-r1", "r2", "r3"]
        assert rows_at(world, report["outputs"]["failed"]) == ["r1"]


@pytest.mark.parametrize(("prefix", "denied"), [("output/", "results"), ("failed/", "failed")])
def test_what_is_denied_everywhere_stays_in_the_working_files(prefix: str, denied: str) -> None:
    with World(ENVIRONMENT) as world:
        lock(world, prefix)
        job = upload(world).job_id("bucket")
        world.settle()
        check_nothing_left(world)
        report = report_of(world, "a.jsonl")
        check_denied(report)
        other = {"results": "failed", "failed": "results"}[denied]
        assert report["outputs"][denied] is None
        expected = {"results": ["r0", "-r1", "r2", "r3"], "failed": ["r1"]}
        assert rows_at(world, report["outputs"][other]) == expected[other]
        # The message says where the rest is, and there it is.
        assert f"s3://bucket/work/{job}/" in report["errors"][0]["message"]
        pieces = [world.s3.read(key) or b"" for key in world.s3.keys(f"work/{job}/{denied}/")]
        assert [one for piece in pieces for one in _ids(piece)] == expected[denied]


def test_results_of_an_older_job_that_cannot_be_removed_stay_where_they_are() -> None:
    with World(ENVIRONMENT) as world:
        older = upload(world)
        world.settle()
        before = world.s3.read("output/a.jsonl")
        lock(world, "output/a.jsonl")
        newer = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        check_nothing_left(world)
        assert world.s3.read("output/a.jsonl") == before
        report = report_of(world, f"superseded/{newer.job_id('bucket')}/a.jsonl")
        check_denied(report)
        assert rows_at(world, report["outputs"]["results"]) == ["r0", "-r1", "r2", "r3"]
        assert older.job_id("bucket") != newer.job_id("bucket")


@pytest.mark.parametrize("prefix", ["reports/a.jsonl", "reports/"])
def test_a_report_that_is_denied_comes_when_it_is_allowed(prefix: str) -> None:
    with World(ENVIRONMENT) as world:
        lock(world, prefix, begins=WHILE_BATCHES_RUN, lasts=HOURS)
        upload(world)
        world.run_for(HOUR)
        # The rows stand long before anybody may write that they do.
        assert rows_at(world, "s3://bucket/output/a.jsonl") == ["r0", "-r1", "r2", "r3"]
        assert report_of(world, "a.jsonl")["status"] == "running"
        assert world.simulator.stats()["running"] == 0
        world.settle()
        check_nothing_left(world)
        report = report_of(world, "a.jsonl")
        check_denied(report)
        assert rows_at(world, report["outputs"]["results"]) == ["r0", "-r1", "r2", "r3"]
        late = world.clock() - START - WHILE_BATCHES_RUN - HOURS
        assert 0 < late < RECONCILE_SECONDS + 600
        # Every try that failed can be seen from outside.
        assert world.dead_letters


def test_a_report_that_is_denied_for_a_short_time_is_not_even_noticed() -> None:
    with World(ENVIRONMENT) as world:
        lock(world, "reports/", begins=WHILE_BATCHES_RUN, lasts=20)
        upload(world)
        world.settle()
        check_nothing_left(world)
        assert report_of(world, "a.jsonl")["status"] == "partial"
        assert len(world.executions) == 1


def test_nothing_is_sent_before_the_first_report_stands() -> None:
    with World(ENVIRONMENT) as world:
        lock(world, "reports/", lasts=HOUR)
        upload(world)
        world.settle()
        check_nothing_left(world)
        report = report_of(world, "a.jsonl")
        assert report["errors"][0]["code"] == "permission_denied"
        assert world.simulator.batches() == []


def test_working_files_that_are_denied_lose_nothing_that_was_paid_for() -> None:
    with World(ENVIRONMENT) as world:
        lock(world, "work/", begins=WHILE_BATCHES_RUN, lasts=HOURS)
        upload(world)
        world.settle()
        check_nothing_left(world)
        report = report_of(world, "a.jsonl")
        check_denied(report)
        assert rows_at(world, report["outputs"]["results"]) == ["r0", "-r1", "r2", "r3"]


def test_a_job_that_cannot_be_recorded_begins_when_it_can() -> None:
    with World(ENVIRONMENT) as world:
        lock(world, "jobs/", lasts=HOUR)
        job = upload(world)
        world.run_for(HOUR)
        assert world.simulator.batches() == []
        world.sweep()
        world.settle()
        check_nothing_left(world)
        report = report_of(world, job.path)
        assert report["requests"]["succeeded"] == 3
