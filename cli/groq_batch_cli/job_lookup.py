"""Finds the job that a user means: by its name, or by the file that it was for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from groq_batch import layout
from groq_batch.jobs import JobRequest
from groq_batch.storage import Storage
from groq_batch_cli.errors import CommandError, NoSuchJobError
from groq_batch_cli.text import listed, one_line

Report = dict[str, Any]

_JOB_ID = re.compile(r"[a-z0-9-]{1,40}-[0-9a-f]{20}")
_HASH = re.compile(r"-[0-9a-f]{20}$")
_MIRRORS = (
    layout.INPUT_PREFIX,
    layout.OUTPUT_PREFIX,
    layout.FAILED_PREFIX,
    layout.INVALID_PREFIX,
)
_REPORT_ENDINGS = (".json", ".html")
_MOST_CANDIDATES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundJob:
    """A job, or an upload that has none yet.

    Attributes:
        path: What the deliverables mirror, such as ``team/requests.jsonl``.
        job_id: The job; None when the upload has none yet.
        request: What the job was started for; None when it is not recorded.
        report: Its report; None when it has none (yet, or any more).
    """

    path: str
    job_id: str | None
    request: JobRequest | None = None
    report: Report | None = None

    @property
    def stem(self) -> str:
        """The file's name without folders and ending."""
        return file_stem(self.path)

    @property
    def ending(self) -> str:
        """The ending of the job's files."""
        return layout.GZIP_ENDING if layout.is_gzip(self.path) else layout.PLAIN_ENDING

    @property
    def status(self) -> str:
        """The report's status; without a report what is known of the job."""
        if self.report is not None:
            return str(self.report["status"])
        if self.job_id is None:
            return "uploaded"
        return "starting"


def file_stem(path: str) -> str:
    """Return a file's name without folders and ending."""
    return path.rsplit("/", 1)[-1].removesuffix(".gz").removesuffix(layout.PLAIN_ENDING)


def find_job(storage: Storage, text: str) -> FoundJob:
    """Find the job that a text names.

    The text is a job's name or the beginning of one, a path such as ``team/requests.jsonl``, an
    address or key of one of its objects, or the name of a file: then it is the newest job of a file
    of this name.

    Raises:
        NoSuchJobError: There is none.
        CommandError: It may be one of several.
    """
    name = layout.job_id_of_execution(text)
    if _JOB_ID.fullmatch(name):
        found = job_by_id(storage, name)
        if found is not None:
            return found
    path = path_of(storage, text)
    found = job_of_path(storage, path) or _job_of_file(storage, path) or _job_begun(storage, text)
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
    if text.startswith(layout.REPORTS_PREFIX) and text.endswith(_REPORT_ENDINGS):
        return text.removeprefix(layout.REPORTS_PREFIX).rpartition(".")[0]
    return text


def job_by_id(storage: Storage, job_id: str) -> FoundJob | None:
    """Return a job by its name; None when it was never started."""
    request = JobRequest.load(storage, job_id)
    return of_request(storage, request) if request is not None else None


def of_request(storage: Storage, request: JobRequest) -> FoundJob:
    """Return a job with its report, wherever that stands."""
    for path in (
        request.path,
        layout.superseded_path(request.job_id, request.path),
        request.job_id,
    ):
        report = load_report(storage, path)
        if report is not None and report["job_id"] == request.job_id:
            return FoundJob(path=path, job_id=request.job_id, request=request, report=report)
    return FoundJob(path=request.path, job_id=request.job_id, request=request)


def load_report(storage: Storage, path: str) -> Report | None:
    """Return the report that stands at a path."""
    found = storage.get_json(layout.delivery_keys(path).report)
    return found[0] if found is not None else None


def job_of_path(storage: Storage, path: str) -> FoundJob | None:
    """Return the newest job of a path; an upload without a job when it is newer."""
    report = load_report(storage, path)
    head = storage.head(layout.INPUT_PREFIX + path)
    if head is None or head.version_id is None:
        return _of_report(path, report)
    if report is not None and report["input"]["version_id"] == head.version_id:
        return _of_report(path, report)
    key = layout.INPUT_PREFIX + path
    job_id = layout.upload_job_id(bucket=storage.bucket, key=key, version_id=head.version_id)
    # The upload is newer than the report, whose job was for one before.
    return job_by_id(storage, job_id) or FoundJob(path=path, job_id=None)


def _of_report(path: str, report: Report | None) -> FoundJob | None:
    if report is None:
        return None
    return FoundJob(path=path, job_id=report["job_id"], report=report)


def _job_of_file(storage: Storage, path: str) -> FoundJob | None:
    """Return the newest job of a file of this name, in whatever folder it was uploaded to.

    Raises:
        CommandError: There are some in several folders.
    """
    name = path.rsplit("/", 1)[-1]
    if not layout.has_accepted_ending(name):
        return None
    slug = _HASH.sub("", layout.job_id(bucket="", key=name, identity=""))
    requests = [
        request
        for request in _requests(storage, f"{layout.JOBS_PREFIX}{slug}-")
        if request.key.rsplit("/", 1)[-1] == name
    ]
    paths = sorted({request.path for request in requests})
    if len(paths) > 1:
        raise CommandError(
            f"There are jobs of several files {name}: {listed(paths)}. Name one of these."
        )
    return job_of_path(storage, paths[0]) if paths else None


def _job_begun(storage: Storage, text: str) -> FoundJob | None:
    """Return the job whose name begins with a text.

    Raises:
        CommandError: There are several.
    """
    if not re.fullmatch(r"[a-z0-9-]+", text):
        return None
    requests = _requests(storage, layout.JOBS_PREFIX + text)
    if len(requests) > 1:
        names = sorted(request.job_id for request in requests)
        raise CommandError(f"Several jobs begin with {text}: {listed(names)}. Name one of these.")
    return of_request(storage, requests[0]) if requests else None


def _requests(storage: Storage, prefix: str) -> list[JobRequest]:
    """Return the records of jobs below a prefix; only the first ones when there are many."""
    return [request for request in _loaded(storage, prefix) if request is not None]


def _loaded(storage: Storage, prefix: str) -> Iterator[JobRequest | None]:
    for number, item in enumerate(storage.objects(prefix)):
        if number == _MOST_CANDIDATES:
            return
        yield JobRequest.load(storage, item.key.removeprefix(layout.JOBS_PREFIX))
