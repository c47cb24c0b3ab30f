"""Find jobs by name or by the path of their file, together with their reports."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime

from groq_batch.bucket.storage import Storage, Stored
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch.records.job import JobRequest
from groq_batch_client.errors import JobError
from groq_batch_client.stored_reports import (
    Report,
    earlier_report,
    read_report,
    report_from_work,
)
from groq_batch_client.text import one_line

MIRRORS = (
    object_keys.INPUT_PREFIX,
    object_keys.OUTPUT_PREFIX,
    object_keys.FAILED_PREFIX,
    object_keys.INVALID_PREFIX,
)
"""Folders in which the path of a job's file stands as it is."""
_REPORT_ENDINGS = (".json", ".html")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundJob:
    """A job, or an upload without a job.

    Attributes:
        path: The path of its files below each folder, such as ``team/requests.jsonl``.
        job_id: The name of the job; None if the upload has none yet.
        request: The record of what started the job; None if not recorded.
        report: Its report; None if it has none (yet, or any more).
        reported_at: When the report was written; None if not known.
        is_replaced: Whether a newer run has replaced it: its report and results are then older
            versions of the current objects.
    """

    path: str
    job_id: str | None
    request: JobRequest | None = None
    report: Report | None = None
    reported_at: datetime | None = None
    is_replaced: bool = False

    @property
    def stem(self) -> str:
        """The file name without folders and suffix."""
        return file_stem(self.path)

    @property
    def ending(self) -> str:
        """The suffix of the job's files."""
        return (
            object_keys.GZIP_ENDING if object_keys.is_gzip(self.path) else object_keys.PLAIN_ENDING
        )

    @property
    def key(self) -> str:
        """The object key of the job's input."""
        if self.request is not None:
            return self.request.key
        if self.report is not None:
            return str(self.report["input"]["key"])
        return object_keys.INPUT_PREFIX + self.path

    @property
    def run_again(self) -> str:
        """The command that runs the file of the job once more, and pays for it."""
        key = self.key
        if key.startswith(object_keys.RECURRING_PREFIX):
            return f"groq-batch start {shlex.quote(one_line(key))}"
        path = key.removeprefix(object_keys.INPUT_PREFIX)
        return f"groq-batch start {shlex.quote(one_line(path))} --again"

    @property
    def status(self) -> str:
        """The status in the report or, without a report, derived from the job's records."""
        if self.report is not None:
            return str(self.report["status"])
        if self.job_id is None:
            return "uploaded"
        return "replaced" if self.is_replaced else "starting"


def file_stem(path: str) -> str:
    """Return a file name without folders and suffix."""
    return path.rsplit("/", 1)[-1].removesuffix(".gz").removesuffix(object_keys.PLAIN_ENDING)


def path_of(text: str, bucket: str) -> str:
    """Return the path that a text names as a path, a key or an S3 URI.

    Raises:
        JobError: The S3 URI names another bucket.
    """
    if text.startswith(object_keys.URI_SCHEME):
        named, key = object_keys.split_uri(text)
        if named != bucket:
            raise JobError(f"{text} is not in this stack's bucket, which is {bucket}.")
        text = key
    text = text.removeprefix("./")
    for prefix in MIRRORS:
        if text.startswith(prefix):
            return text.removeprefix(prefix)
    if text.startswith(object_keys.REPORTS_PREFIX) and text.endswith(_REPORT_ENDINGS):
        return text.removeprefix(object_keys.REPORTS_PREFIX).rpartition(".")[0]
    return text


def job_by_id(storage: Storage, job_id: str) -> FoundJob | None:
    """Return a job by its name; None if it was never started."""
    request = JobRequest.load(storage, job_id)
    return of_request(storage, request) if request is not None else None


def of_request(storage: Storage, request: JobRequest, *, is_open: bool | None = None) -> FoundJob:
    """Return a job with its report, from whichever object has it.

    Args:
        storage: The bucket.
        request: The record of what started the job.
        is_open: Whether it lacks a final report; looked up if None.
    """
    is_replaced = False
    for path in request.report_paths:
        found = read_report(storage, path)
        if found is None:
            continue
        if found.value["job_id"] == request.job_id:
            return _found(request, path, found)
        is_replaced = is_replaced or path == request.path
    if is_open is None:
        is_open = storage.exists(object_keys.open_job_key(request.job_id))
    if not is_open:
        return _found(request, request.path, earlier_report(storage, request), is_replaced=True)
    report = report_from_work(storage, request) if is_replaced else None
    return FoundJob(
        path=request.path,
        job_id=request.job_id,
        request=request,
        report=report,
        is_replaced=report is not None,
    )


def _found(
    request: JobRequest, path: str, found: Stored[Report] | None, *, is_replaced: bool = False
) -> FoundJob:
    return FoundJob(
        path=path,
        job_id=request.job_id,
        request=request,
        report=found.value if found is not None else None,
        reported_at=found.written_at if found is not None else None,
        is_replaced=is_replaced,
    )


def job_of_path(storage: Storage, path: str) -> FoundJob | None:
    """Return the newest job of a path, or its newest upload if that has no job yet."""
    found = read_report(storage, path)
    head = storage.head(object_keys.INPUT_PREFIX + path)
    if head is None or head.version_id is None:
        return _of_report(path, found)
    if found is not None and found.value["input"]["version_id"] == head.version_id:
        return _of_report(path, found)
    key = object_keys.INPUT_PREFIX + path
    job_id = upload_job_id(bucket=storage.bucket, key=key, version_id=head.version_id)
    # The upload is newer than the report, which belongs to an earlier upload.
    return job_by_id(storage, job_id) or FoundJob(path=path, job_id=None)


def _of_report(path: str, found: Stored[Report] | None) -> FoundJob | None:
    if found is None:
        return None
    return FoundJob(
        path=path,
        job_id=found.value["job_id"],
        report=found.value,
        reported_at=found.written_at,
    )


def recorded_jobs(
    storage: Storage, prefix: str = object_keys.JOBS_PREFIX
) -> list[tuple[str, datetime]]:
    """Return the names of all jobs and when they were recorded, newest first.

    The listing has both, so no record is read.

    Args:
        storage: The bucket.
        prefix: Prefix of the keys of the records.
    """
    pages = storage.s3.get_paginator("list_objects_v2").paginate(
        Bucket=storage.bucket, Prefix=prefix
    )
    found = [
        (entry["Key"].removeprefix(object_keys.JOBS_PREFIX), entry["LastModified"])
        for page in pages
        for entry in page.get("Contents", [])
    ]
    return sorted(found, key=lambda pair: pair[1], reverse=True)
