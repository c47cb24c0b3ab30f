"""The jobs of a stack, the newest first, without reading more of them than are shown."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from groq_batch import layout
from groq_batch.jobs import JobRequest
from groq_batch.storage import Storage
from groq_batch_cli.job_lookup import FoundJob, of_request

RUNNING_STATUSES = frozenset({"running", "starting"})
STATUSES = ("running", "succeeded", "partial", "rejected", "failed", "cancelled", "replaced")

_READERS = 16
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job of the list.

    Attributes:
        job: The job.
        started_at: When it was recorded.
        status: Its status; ``replaced`` when the results of a newer job stand where its own were.
    """

    job: FoundJob
    started_at: datetime
    status: str


def list_jobs(storage: Storage, *, status: str | None = None) -> Iterator[ListedJob]:
    """Yield the jobs, the newest first.

    Args:
        storage: The bucket.
        status: Only jobs of this status.
    """
    open_jobs = {
        item.key.removeprefix(layout.OPEN_JOBS_PREFIX)
        for item in storage.objects(layout.OPEN_JOBS_PREFIX)
    }
    started = sorted(_started(storage), key=lambda pair: pair[1], reverse=True)
    if status == "running":
        started = [pair for pair in started if pair[0] in open_jobs]
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        for begin in range(0, len(started), _AT_ONCE):
            part = started[begin : begin + _AT_ONCE]
            found = pool.map(lambda pair: _load(storage, pair[0]), part)
            for (job_id, moment), job in zip(part, found, strict=True):
                if job is None:
                    continue
                said = _status(job, is_open=job_id in open_jobs)
                if (
                    status is None
                    or said == status
                    or (status == "running" and said in RUNNING_STATUSES)
                ):
                    yield ListedJob(job, moment, said)


def _started(storage: Storage) -> Iterator[tuple[str, datetime]]:
    """Yield every job's name and when it was recorded, from the listing alone."""
    pages = storage.s3.get_paginator("list_objects_v2").paginate(
        Bucket=storage.bucket, Prefix=layout.JOBS_PREFIX
    )
    for page in pages:
        for entry in page.get("Contents", []):
            yield entry["Key"].removeprefix(layout.JOBS_PREFIX), entry["LastModified"]


def _load(storage: Storage, job_id: str) -> FoundJob | None:
    request = JobRequest.load(storage, job_id)
    return of_request(storage, request) if request is not None else None


def _status(job: FoundJob, *, is_open: bool) -> str:
    if job.report is None and not is_open:
        return "replaced"
    return job.status
