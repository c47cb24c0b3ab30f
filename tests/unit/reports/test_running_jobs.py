"""Where the report of a job that runs is looked for."""

from __future__ import annotations

import pytest

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records import stored
from groq_batch.reports.running_jobs import RunningJob, read_running_jobs
from tests.fakes.s3 import FakeS3, refusing
from tests.index_samples import job_name
from tests.samples import job_request

JOB, OTHER = job_name(1), job_name(2)


def open_job(storage: Storage) -> None:
    record = stored.to_record(job_request(JOB, path="team/x.jsonl"))
    storage.put_json(object_keys.open_job_key(JOB), record)


def report_at(storage: Storage, path: str, job_id: str = JOB) -> None:
    report = {"job_id": job_id, "status": "running", "at": path}
    storage.put_json(object_keys.delivery_keys(path).report, report)


def read(storage: Storage) -> list[RunningJob]:
    return read_running_jobs(storage, [JOB])


@pytest.mark.parametrize(
    "path", ["team/x.jsonl", f"superseded/{JOB}/team/x.jsonl", JOB], ids=["own", "aside", "name"]
)
def test_report_of_a_running_job_is_found_where_it_stands(path: str, storage: Storage) -> None:
    open_job(storage)
    report_at(storage, "team/x.jsonl", OTHER)
    report_at(storage, path)
    (job,) = read(storage)
    assert job.report is not None
    assert job.report["at"] == path
    assert job.written_at is not None


@pytest.mark.parametrize("data", [b"", b"[]", b"no JSON"])
def test_running_job_with_something_else_in_place_of_its_report_has_none(
    storage: Storage, data: bytes
) -> None:
    open_job(storage)
    storage.put_bytes(object_keys.delivery_keys("team/x.jsonl").report, data)
    (job,) = read(storage)
    assert job.report is None


def test_running_job_whose_report_nobody_has_written_has_none(storage: Storage) -> None:
    open_job(storage)
    assert [job.report for job in read(storage)] == [None]
    report_at(storage, "team/x.jsonl", OTHER)
    assert [job.report for job in read(storage)] == [None]


def test_job_that_was_closed_meanwhile_is_left_out(storage: Storage) -> None:
    assert read(storage) == []


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (400, "KMS.DisabledException")]
)
def test_report_that_s3_does_not_hand_out_keeps_no_other_job_from_being_shown(
    status: int, code: str, s3: FakeS3
) -> None:
    storage = s3.storage(refusing("get_object", status, code, "reports/team/x.jsonl.json"))
    open_job(storage)
    assert [job.report for job in read(storage)] == [None]
    report_at(storage, f"superseded/{JOB}/team/x.jsonl")
    assert [job.report is not None for job in read(storage)] == [True]
