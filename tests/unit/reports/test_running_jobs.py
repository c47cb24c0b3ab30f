"""Where the report of a job that runs is looked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records import stored
from groq_batch.records.job import JobRequest
from groq_batch.reports.running_jobs import RunningJob, read_running_jobs
from tests.fakes.calls import Call
from tests.fakes.s3 import FakeS3, client_error
from tests.index_samples import job_name

JOB, OTHER = job_name(1), job_name(2)


def open_job(storage: Storage, *, path: str = "team/x.jsonl") -> None:
    request = JobRequest(
        job_id=JOB,
        bucket="bucket",
        key=f"input/{path}",
        version_id="v",
        path=path,
        started_at="2026-11-29T10:00:00.000Z",
        claimed_by="",
    )
    storage.put_json(object_keys.open_job_key(JOB), stored.to_record(request))


def report_at(storage: Storage, path: str, job_id: str = JOB) -> None:
    report = {"job_id": job_id, "status": "running", "at": path}
    storage.put_json(object_keys.delivery_keys(path).report, report)


def read(storage: Storage) -> list[RunningJob]:
    return read_running_jobs(storage, [JOB])


@pytest.mark.parametrize(
    "path", ["team/x.jsonl", f"superseded/{JOB}/team/x.jsonl", JOB], ids=["own", "aside", "name"]
)
def test_report_of_a_running_job_is_found_where_it_stands(path: str) -> None:
    storage = Storage(s3=FakeS3().client(), bucket="bucket")
    open_job(storage)
    report_at(storage, "team/x.jsonl", OTHER)
    report_at(storage, path)
    (job,) = read(storage)
    assert job.report is not None
    assert job.report["at"] == path
    assert job.written_at is not None


@pytest.mark.parametrize("data", [b"", b"[]", b"no JSON"])
def test_running_job_in_place_of_whose_report_stands_something_else_has_none(data: bytes) -> None:
    storage = Storage(s3=FakeS3().client(), bucket="bucket")
    open_job(storage)
    storage.put_bytes(object_keys.delivery_keys("team/x.jsonl").report, data)
    (job,) = read(storage)
    assert job.report is None


def test_running_job_whose_report_nobody_has_written_has_none() -> None:
    storage = Storage(s3=FakeS3().client(), bucket="bucket")
    open_job(storage)
    assert [job.report for job in read(storage)] == [None]
    report_at(storage, "team/x.jsonl", OTHER)
    assert [job.report for job in read(storage)] == [None]


def test_job_that_was_closed_meanwhile_is_left_out() -> None:
    assert read(Storage(s3=FakeS3().client(), bucket="bucket")) == []


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (400, "KMS.DisabledException")]
)
def test_report_that_s3_does_not_hand_out_keeps_no_other_job_from_being_shown(
    status: int, code: str
) -> None:
    def refuse(call: Call, act: Callable[[], Any]) -> Any:
        if call.operation == "get_object" and call.target == "reports/team/x.jsonl.json":
            raise client_error("get_object", status, code, "no")
        return act()

    storage = Storage(s3=FakeS3().client(refuse), bucket="bucket")
    open_job(storage)
    assert [job.report for job in read(storage)] == [None]
    report_at(storage, f"superseded/{JOB}/team/x.jsonl")
    assert [job.report is not None for job in read(storage)] == [True]
