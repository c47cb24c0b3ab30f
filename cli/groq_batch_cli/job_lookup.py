"""Finds the job that a user means: by its name, or by the file that it was for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import job_id, job_id_of_execution, upload_job_id
from groq_batch.records.job import JobRequest
from groq_batch_cli.errors import CommandError, NoSuchJobError
from groq_batch_cli.stored_reports import (
    Report,
    StoredReport,
    earlier_report,
    read_report,
    report_from_work,
)
from groq_batch_cli.text import listed, one_line

_JOB_ID = re.compile(r"[a-z0-9-]{1,40}-[0-9a-f]{20}")
_HASH = re.compile(r"-[0-9a-f]{20}$")
_MIRRORS = (
    object_keys.INPUT_PREFIX,
    object_keys.OUTPUT_PREFIX,
    object_keys.FAILED_PREFIX,
    object_keys.INVALID_PREFIX,
)
_REPORT_ENDINGS = (".json", ".html")
_MOST_CANDIDATES = 50
_READERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundJob:
    """A job, or an upload that has none yet.

    Attributes:
        path: What the deliverables mirror, such as ``team/requests.jsonl``.
        job_id: The job; None when the upload has none yet.
        request: What the job was started for; None when it is not recorded.
        report: Its report; None when it has none (yet, or any more).
        reported_at: When the report was written; None when that is not known.
        is_replaced: Whether a newer run has taken its place: its report, and what it has delivered,
            are older versions of what stands there now.
    """

    path: str
    job_id: str | None
    request: JobRequest | None = None
    report: Report | None = None
    reported_at: datetime | None = None
    is_replaced: bool = False

    @property
    def stem(self) -> str:
        """The file's name without folders and ending."""
        return file_stem(self.path)

    @property
    def ending(self) -> str:
        """The ending of the job's files."""
        return (
            object_keys.GZIP_ENDING if object_keys.is_gzip(self.path) else object_keys.PLAIN_ENDING
        )

    @property
    def status(self) -> str:
        """The report's status; without a report what is known of the job."""
        if self.report is not None:
            return str(self.report["status"])
        if self.job_id is None:
            return "uploaded"
        return "replaced" if self.is_replaced else "starting"


def file_stem(path: str) -> str:
    """Return a file's name without folders and ending."""
    return path.rsplit("/", 1)[-1].removesuffix(".gz").removesuffix(object_keys.PLAIN_ENDING)


def find_job(storage: Storage, text: str) -> FoundJob:
    """Find the job that a text names.

    The text is a job's name or the beginning of one, a path such as ``team/requests.jsonl``, an
    address or key of one of its objects, or the name of a file, if there are jobs of only one such
    file. Of a recurring file it is the newest run.

    Raises:
        NoSuchJobError: There is none.
        CommandError: It may be one of several.
    """
    name = job_id_of_execution(text)
    if _JOB_ID.fullmatch(name):
        found = job_by_id(storage, name)
        if found is not None:
            return found
    path = path_of(storage, text)
    found = job_of_path(storage, path) or _newest_firing(storage, path)
    if found is None and path.startswith(object_keys.RECURRING_PREFIX) and storage.exists(path):
        raise NoSuchJobError(
            f"{one_line(path)} has not run yet. It runs when the schedule fires; to run it now: "
            f"groq-batch start {shlex.quote(one_line(path))}"
        )
    found = found or _job_of_file(storage, path) or _job_begun(storage, text)
    if found is None:
        raise NoSuchJobError(
            f"There is no job of {one_line(text)} in s3://{storage.bucket}. "
            f"`groq-batch jobs` lists the jobs; `groq-batch run` starts one."
        )
    return found


def path_of(storage: Storage, text: str) -> str:
    """Return the path that a text names, be it a path, a key or an address.

    Raises:
        CommandError: It is an address in another bucket.
    """
    if text.startswith("s3://"):
        bucket, _, key = text.removeprefix("s3://").partition("/")
        if bucket != storage.bucket:
            raise CommandError(
                f"{text} is not in this stack's bucket, which is {storage.bucket}. Name the stack "
                f"with --stack-name."
            )
        text = key
    text = text.removeprefix("./")
    for prefix in _MIRRORS:
        if text.startswith(prefix):
            return text.removeprefix(prefix)
    if text.startswith(object_keys.REPORTS_PREFIX) and text.endswith(_REPORT_ENDINGS):
        return text.removeprefix(object_keys.REPORTS_PREFIX).rpartition(".")[0]
    return text


def job_by_id(storage: Storage, job_id: str) -> FoundJob | None:
    """Return a job by its name; None when it was never started."""
    request = JobRequest.load(storage, job_id)
    return of_request(storage, request) if request is not None else None


def of_request(storage: Storage, request: JobRequest, *, is_open: bool | None = None) -> FoundJob:
    """Return a job with its report, wherever that stands.

    Args:
        storage: The bucket.
        request: What the job was started for.
        is_open: Whether it has no final report yet; is looked up when None.
    """
    is_replaced = False
    for path in (
        request.path,
        object_keys.superseded_path(request.job_id, request.path),
        request.job_id,
    ):
        found = read_report(storage, path)
        if found is None:
            continue
        if found.report["job_id"] == request.job_id:
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
    request: JobRequest, path: str, found: StoredReport | None, *, is_replaced: bool = False
) -> FoundJob:
    return FoundJob(
        path=path,
        job_id=request.job_id,
        request=request,
        report=found.report if found is not None else None,
        reported_at=found.written_at if found is not None else None,
        is_replaced=is_replaced,
    )


def job_of_path(storage: Storage, path: str) -> FoundJob | None:
    """Return the newest job of a path; an upload without a job when it is newer."""
    found = read_report(storage, path)
    head = storage.head(object_keys.INPUT_PREFIX + path)
    if head is None or head.version_id is None:
        return _of_report(path, found)
    if found is not None and found.report["input"]["version_id"] == head.version_id:
        return _of_report(path, found)
    key = object_keys.INPUT_PREFIX + path
    job_id = upload_job_id(bucket=storage.bucket, key=key, version_id=head.version_id)
    # The upload is newer than the report, whose job was for one before.
    return job_by_id(storage, job_id) or FoundJob(path=path, job_id=None)


def _of_report(path: str, found: StoredReport | None) -> FoundJob | None:
    if found is None:
        return None
    return FoundJob(
        path=path,
        job_id=found.report["job_id"],
        report=found.report,
        reported_at=found.written_at,
    )


def _newest_firing(storage: Storage, key: str) -> FoundJob | None:
    """Return the newest run of a recurring file; None when a key is none, or has never run."""
    if not key.startswith(object_keys.RECURRING_PREFIX):
        return None
    for request in _records(storage, f"{object_keys.JOBS_PREFIX}{_slug(key)}-"):
        if request.key == key:
            return of_request(storage, request)
    return None


def _slug(key: str) -> str:
    """Return what the names of the jobs of a file begin with, and so do those of others."""
    return _HASH.sub("", job_id(bucket="", key=key, identity=""))


def _job_of_file(storage: Storage, path: str) -> FoundJob | None:
    """Return the newest job of a file of this name, in whatever folder it was uploaded to.

    Raises:
        CommandError: There are some in several folders.
    """
    name = path.rsplit("/", 1)[-1]
    if not object_keys.has_accepted_ending(name):
        return None
    requests = islice(
        _records(storage, f"{object_keys.JOBS_PREFIX}{_slug(name)}-"), _MOST_CANDIDATES
    )
    keys = sorted({one.key for one in requests if one.key.rsplit("/", 1)[-1] == name})
    if len(keys) > 1:
        paths = sorted(object_keys.input_path(key) for key in keys)
        raise CommandError(
            f"There are jobs of several files {name}: {listed(paths)}. Name one of these."
        )
    if not keys:
        return None
    return _newest_firing(storage, keys[0]) or job_of_path(storage, object_keys.input_path(keys[0]))


def _job_begun(storage: Storage, text: str) -> FoundJob | None:
    """Return the job whose name begins with a text.

    Raises:
        CommandError: There are several.
    """
    if not re.fullmatch(r"[a-z0-9-]+", text):
        return None
    requests = list(islice(_records(storage, object_keys.JOBS_PREFIX + text), _MOST_CANDIDATES))
    if len(requests) > 1:
        names = sorted(request.job_id for request in requests)
        raise CommandError(f"Several jobs begin with {text}: {listed(names)}. Name one of these.")
    return of_request(storage, requests[0]) if requests else None


def _records(storage: Storage, prefix: str) -> Iterator[JobRequest]:
    """Yield the records of jobs below a prefix, the newest first."""
    names = [name for name, _ in recorded_jobs(storage, prefix)]
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        for begin in range(0, len(names), _READERS):
            part = names[begin : begin + _READERS]
            for request in pool.map(lambda name: JobRequest.load(storage, name), part):
                if request is not None:
                    yield request


def recorded_jobs(
    storage: Storage, prefix: str = object_keys.JOBS_PREFIX
) -> list[tuple[str, datetime]]:
    """Return the names of all jobs and when they were recorded, the newest first.

    The listing alone tells both; no record is read.

    Args:
        storage: The bucket.
        prefix: What the keys of the records begin with.
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
