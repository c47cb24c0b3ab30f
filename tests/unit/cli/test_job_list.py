"""List the jobs of a bucket, newest first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from groq_batch.domain import object_keys
from groq_batch.records.all_attempts import load_attempts
from groq_batch.records.job import JobRecord
from groq_batch.records.on_demand import OnDemandProgress
from groq_batch.reports.report import running_report
from groq_batch_cli.job_list import ListedJob, Wanted, list_jobs
from groq_batch_cli.verbs.status import status_lines
from tests.unit.cli.job_bucket import (
    NOON,
    Bucket,
    a_terminal,
    make_report,
)


def listing(bucket: Bucket, *, denied: list[str] | None = None, **wanted: Any) -> list[ListedJob]:
    said: list[str] = [] if denied is None else denied
    return list(list_jobs(bucket.storage, Wanted(**wanted), on_denied=said.append))


def listed(bucket: Bucket, status: str | None = None, **wanted: Any) -> list[tuple[str, str]]:
    return [(one.job.path, one.status) for one in listing(bucket, status=status, **wanted)]


def test_jobs_are_listed_newest_first(bucket: Bucket) -> None:
    for number in range(40):
        bucket.run(f"{number}.jsonl", "running" if number == 5 else "succeeded")
    bucket.record(bucket.upload("new.jsonl"), "new.jsonl", is_open=True)
    found = listed(bucket)
    assert len(found) == 41
    assert found[:2] == [("new.jsonl", "starting"), ("39.jsonl", "succeeded")]
    assert found[-1] == ("0.jsonl", "succeeded")
    assert listed(bucket, "running") == [("new.jsonl", "starting"), ("5.jsonl", "running")]
    assert listed(bucket, "starting") == [("new.jsonl", "starting")]
    assert listed(bucket, "failed") == []


def test_jobs_since_a_moment_are_listed_without_reading_the_others(bucket: Bucket) -> None:
    for number in range(10):
        bucket.run(f"{number}.jsonl")
    reads = bucket.reads
    reads.clear()
    since = datetime.fromtimestamp(bucket.now, UTC) - timedelta(seconds=90)
    assert listed(bucket, since=since) == [("9.jsonl", "succeeded"), ("8.jsonl", "succeeded")]
    assert len(reads) == 4


def test_jobs_below_a_folder_are_listed(bucket: Bucket) -> None:
    for path in ("a/x.jsonl", "ab/x.jsonl", "a/b/y.jsonl", "x.jsonl"):
        bucket.run(path)
    assert listed(bucket, under="a/") == [("a/b/y.jsonl", "succeeded"), ("a/x.jsonl", "succeeded")]


def test_replaced_job_is_listed_with_what_it_has_come_to(bucket: Bucket) -> None:
    for cost in (1.0, 2.0, 3.0):
        job_id = bucket.upload("x.jsonl")
        bucket.record(job_id, "x.jsonl")
        for done in (3, 7):
            progress = {"completed": done}
            bucket.report("x.jsonl", make_report(job_id, progress=progress, timing=bucket.timing))
        ended = make_report(job_id, "partial", cost_usd={"actual": cost}, timing=bucket.timing)
        bucket.report("x.jsonl", ended)
    found = listing(bucket)
    assert [one.status for one in found] == ["partial", "replaced", "replaced"]
    reports = [one.job.report for one in found]
    assert [one and one["cost_usd"]["actual"] for one in reports] == [3.0, 2.0, 1.0]
    assert [one and one["status"] for one in reports] == ["partial"] * 3
    assert listed(bucket, "replaced") == [("x.jsonl", "replaced")] * 2


def test_replaced_job_is_found_with_few_reads_among_many_versions(bucket: Bucket) -> None:
    ids = []
    for _ in range(2):
        ids.append(bucket.upload("x.jsonl"))
        bucket.record(ids[-1], "x.jsonl")
        for done in range(100):
            progress = {"completed": done}
            bucket.report("x.jsonl", make_report(ids[-1], progress=progress, timing=bucket.timing))
    bucket.reads.clear()
    found = bucket.find(ids[0])
    assert found.report is not None
    assert found.report["progress"]["completed"] == 99
    assert len(bucket.reads) < 16


def test_replaced_job_whose_report_has_expired_says_so(bucket: Bucket) -> None:
    first = bucket.upload("x.jsonl")
    bucket.record(first, "x.jsonl")
    bucket.run("x.jsonl")
    found = bucket.find(first)
    assert (found.status, found.report, found.is_replaced) == ("replaced", None, True)
    terminal, _, _ = a_terminal()
    assert list(status_lines(found, terminal, NOON)) == [
        "x.jsonl: replaced by a newer run of this file; its report has expired"
    ]


def test_older_versions_that_may_not_be_listed_leave_the_rest_of_the_list(bucket: Bucket) -> None:
    bucket.run("x.jsonl")
    bucket.run("x.jsonl")
    bucket.denied = "list_object_versions"
    denied: list[str] = []
    found = listing(bucket, denied=denied)
    assert [(one.status, one.job.report is None) for one in found] == [
        ("succeeded", False),
        ("replaced", True),
    ]
    assert denied == ["The outcome of replaced jobs is not known: AWS denies ListObjectVersions."]


def test_overtaken_job_that_runs_is_listed_with_its_progress(bucket: Bucket) -> None:
    first = bucket.upload("x.jsonl")
    request = bucket.record(first, "x.jsonl", is_open=True)
    bucket.prepared(first, good=20)
    bucket.state(first, 1, {"requests": 20, "completed": 9, "failed": 2})
    bucket.report("x.jsonl", make_report(first))
    assert request.path == "x.jsonl"
    second = bucket.run("x.jsonl", "running")
    found = listing(bucket, status="running")
    assert [(one.job_id, one.status) for one in found] == [(second, "running"), (first, "running")]
    superseded = found[1].job
    assert superseded.report is not None
    assert superseded.report["progress"] == {"completed": 11, "total": 20}
    assert superseded.report["requests"]["total"] == 20
    terminal, _, _ = a_terminal()
    lines = list(status_lines(superseded, terminal, NOON))
    assert lines[0] == "x.jsonl: running, 11 of 20 requests done (55 %)"
    aside = f"output/superseded/{first}/x.jsonl"
    assert lines[1].endswith(f"this one will deliver to {aside}")


def test_overtaken_job_in_a_later_attempt_counts_what_was_settled_before(bucket: Bucket) -> None:
    job_id = bucket.upload("x.jsonl")
    bucket.record(job_id, "x.jsonl", is_open=True)
    bucket.prepared(job_id, good=20)
    bucket.state(job_id, 1, {"requests": 20, "completed": 15, "failed": 5})
    bucket.state(job_id, 2, {"requests": 5, "completed": 1, "failed": 0})
    bucket.run("x.jsonl", "running")
    report = bucket.find(job_id).report
    assert report is not None
    assert report["progress"] == {"completed": 16, "total": 20}
    assert [(one["attempt"], one["succeeded"]) for one in report["batches"]] == [(1, 15), (2, 1)]
    assert report["timing"]["submitted_at"] == "2026-03-01T13:00:00.000Z"


def test_report_from_work_after_a_deadline_is_that_of_the_stack(bucket: Bucket) -> None:
    job_id = bucket.upload("x.jsonl")
    request = bucket.record(job_id, "x.jsonl", is_open=True)
    bucket.prepared(job_id, good=20, deadline_at=NOON.timestamp())
    bucket.state(job_id, 1, {"requests": 20, "completed": 15, "failed": 5})
    bucket.state(job_id, 2, {"requests": 5, "completed": 0, "failed": 0})
    keys = object_keys.WorkKeys(job_id)
    calls = OnDemandProgress(
        attempt=2, budget_usd=1.0, ask_until=0.0, max_tries=3, requests=5, ended_calls=3,
        succeeded=2, cost_usd=0.25,
    )  # fmt: skip
    calls.begin(bucket.storage, keys)
    bucket.run("x.jsonl", "running")
    report = bucket.find(job_id).report
    states, _ = load_attempts(bucket.storage, keys)
    job = JobRecord.required(bucket.storage, keys)
    expected = running_report(request, job, states=states, calls=calls)
    assert report == {**expected, "version": None}
    assert report["progress"] == {"completed": 18, "total": 20}
    assert report["on_demand"]["cost_usd"] == 0.25


def test_uploads_without_a_job_are_listed_when_asked_for(bucket: Bucket) -> None:
    bucket.run("old.jsonl")
    bucket.now += 60
    waits = bucket.upload("team/x.jsonl")
    bucket.upload("gone.jsonl")
    bucket.storage.delete(["input/gone.jsonl"])
    bucket.storage.put_bytes("input/team/", b"")
    assert listed(bucket) == [("old.jsonl", "succeeded")]
    found = listing(bucket, with_waiting=True)
    assert [(one.job_id, one.job.path, one.status) for one in found] == [
        (waits, "team/x.jsonl", "waiting"),
        (found[1].job_id, "old.jsonl", "succeeded"),
    ]
    assert listed(bucket, "waiting", with_waiting=True) == [("team/x.jsonl", "waiting")]
    assert listed(bucket, "waiting", with_waiting=True, under="other/") == []


def test_uploads_that_may_not_be_listed_leave_the_jobs(bucket: Bucket) -> None:
    bucket.run("x.jsonl")
    bucket.denied = "list_object_versions"
    denied: list[str] = []
    found = listing(bucket, denied=denied, with_waiting=True)
    assert [one.status for one in found] == ["succeeded"]
    assert denied == ["Waiting uploads are not listed: AWS denies ListObjectVersions."]


def test_running_jobs_are_found_without_reading_the_others(bucket: Bucket) -> None:
    for number in range(10):
        bucket.run(f"{number}.jsonl")
    bucket.run("x.jsonl", "running")
    bucket.reads.clear()
    assert listed(bucket, "running") == [("x.jsonl", "running")]
    assert len(bucket.reads) == 2
