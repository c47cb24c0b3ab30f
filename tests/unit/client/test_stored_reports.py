"""Which report of a job is found when a user has put something else in its place."""

from __future__ import annotations

from typing import Any

import pytest

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records import stored
from groq_batch.records.job import JobRequest
from groq_batch_client.found_jobs import job_by_id, job_of_path
from tests.fakes.s3 import FakeS3
from tests.index_samples import job_name

JOB = job_name(1)
PATH = "team/x.jsonl"
STARTED_AT = "2026-11-29T10:00:00.000Z"


def storage_with_job() -> Storage:
    storage = Storage(s3=FakeS3().client(), bucket="bucket")
    request = JobRequest(
        job_id=JOB,
        bucket="bucket",
        key=f"input/{PATH}",
        version_id="v",
        path=PATH,
        started_at=STARTED_AT,
    )
    storage.put_json(object_keys.job_key(JOB), stored.to_record(request))
    report: dict[str, Any] = {
        "job_id": JOB,
        "status": "succeeded",
        "input": {"version_id": "v"},
        "timing": {"started_at": STARTED_AT},
    }
    storage.put_json(object_keys.delivery_keys(PATH).report, report)
    return storage


@pytest.mark.parametrize(
    "data", [b"", b"no JSON", b"[]", b"null", b"{}", b'{"job_id": "x"}', b"[" * 100_000], ids=len
)
def test_report_is_found_though_something_else_stands_in_its_place(data: bytes) -> None:
    storage = storage_with_job()
    storage.put_bytes(object_keys.delivery_keys(PATH).report, data)
    job = job_by_id(storage, JOB)
    assert job is not None
    assert job.report is not None
    assert job.report["status"] == "succeeded"
    assert job_of_path(storage, PATH) is None
