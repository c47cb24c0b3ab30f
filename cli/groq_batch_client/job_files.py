"""Fetch the files of a job into a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from groq_batch.bucket.storage import JOB_METADATA, ObjectHead, Storage
from groq_batch.domain import object_keys
from groq_batch_client.downloads import Begin, Deliverable, download
from groq_batch_client.errors import JobError
from groq_batch_client.file_errors import naming
from groq_batch_client.found_jobs import FoundJob

KINDS = ("results", "failed", "invalid")


@dataclass(frozen=True, slots=True)
class Fetched:
    """The fetched files of a job; None for those that it lacks.

    Attributes:
        results: One row for each request.
        failed: The failed request lines.
        invalid: The problems of the input.
        report: The report.
        page: The report as an HTML page.
    """

    results: Path | None
    failed: Path | None
    invalid: Path | None
    report: Path
    page: Path | None


def targets(job: FoundJob, folder: Path) -> dict[str, Path]:
    """Return the target paths of all possible files of a job, by kind."""
    return {
        **{kind: folder / f"{job.stem}.{kind}{job.ending}" for kind in KINDS},
        "report": folder / f"{job.stem}.report.json",
        "page": folder / f"{job.stem}.report.html",
    }


def key_of(url: str) -> str:
    """Return the object key of an S3 URI."""
    _, key = object_keys.split_uri(url)
    return key


def fetch(
    storage: Storage,
    job: FoundJob,
    folder: Path,
    *,
    begin: Begin,
    warn: Callable[[str], None],
) -> Fetched:
    """Fetch the files of an ended job; replace existing files of the same names.

    Args:
        storage: The bucket.
        job: The job, with its final report.
        folder: The output directory (created if missing).
        begin: Called with each file before the download; see ``downloads.Begin``.
        warn: Called with a message if a file has to be fetched again.

    Raises:
        BrokenDownloadError: A download differs from its object.
        JobError: A newer job has replaced the results.
    """
    report = job.report or {}
    folder.mkdir(parents=True, exist_ok=True)
    places = targets(job, folder)
    files: dict[str, Path | None] = dict.fromkeys(KINDS)
    for kind, url in report["outputs"].items():
        if url is not None and kind in files:
            target = places[kind]
            one = deliverable(storage, job, key_of(url), target)
            download(storage, one, rows=expected_rows(report, kind), begin=begin, warn=warn)
            files[kind] = target
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    with naming(places["report"]):
        places["report"].write_text(text, encoding="utf-8")
    return Fetched(
        results=files["results"],
        failed=files["failed"],
        invalid=files["invalid"],
        report=places["report"],
        page=fetch_page(storage, job, places["page"], warn=warn),
    )


def expected_rows(report: Mapping[str, Any], kind: str) -> int | None:
    """Return the number of rows of a file from the report; None if the report lacks it.

    Args:
        report: The final report.
        kind: The file, one of ``KINDS``.
    """
    requests = report["requests"]
    if kind == "results":
        return int(requests["total"])
    if kind == "failed":
        return int(requests["total"]) - int(requests["succeeded"])
    return None


def deliverable(storage: Storage, job: FoundJob, key: str, target: Path) -> Deliverable:
    """Return the version of an object that a job has delivered, not that of a later job.

    An object that was deleted is still an older version, until that is deleted too.

    Raises:
        JobError: It is gone or has been replaced.
    """
    current = None if job.is_replaced else storage.head(key)
    head = current if current is not None else _earlier(storage, key, job)
    if head is None:
        raise JobError(
            f"{storage.url(key)} no longer exists, and the bucket has no older version of it from "
            f"the job {job.job_id}. To run the file again, and pay again: {job.run_again}"
        )
    if head.metadata.get(JOB_METADATA, job.job_id) != job.job_id:
        raise JobError(
            f"The results of the job {job.job_id} have been replaced by those of a newer upload of "
            f"the same key. They are an older version of {storage.url(key)}."
        )
    return Deliverable(key, target, head)


def _earlier(storage: Storage, key: str, job: FoundJob) -> ObjectHead | None:
    """Return the older version of an object from a job; None if it is gone."""
    for version in takewhile(lambda one: one.key == key, storage.versions(key)):
        if version.is_delete_marker:
            continue
        head = storage.head(key, version_id=version.version_id)
        if head is not None and head.metadata.get(JOB_METADATA) == job.job_id:
            return head
    return None


def fetch_page(
    storage: Storage, job: FoundJob, target: Path, *, warn: Callable[[str], None]
) -> Path | None:
    """Fetch the HTML report, if this job has one.

    Args:
        storage: The bucket.
        job: The job.
        target: The file to write.
        warn: Called with a message if it has to be fetched again.

    Raises:
        BrokenDownloadError: The download differs from the object.
    """
    key = object_keys.delivery_keys(job.path).page
    head = storage.head(key) if key is not None else None
    if key is None or head is None or head.metadata.get(JOB_METADATA, job.job_id) != job.job_id:
        return None
    download(
        storage,
        Deliverable(key, target, head),
        rows=None,
        begin=lambda _name, _size: lambda _bytes: None,
        warn=warn,
    )
    return target
