"""Read the running jobs and their reports."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from groq_batch.bucket.s3_errors import UnreadableObjectError
from groq_batch.bucket.storage import Storage, Stored
from groq_batch.domain import object_keys
from groq_batch.domain.parallel import in_parallel
from groq_batch.records import stored
from groq_batch.records.job import JobRequest

MAX_SHOWN = 100
"""Maximum number of running jobs on the page, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job without a final report.

    Attributes:
        request: The request that it was started for.
        report: Its report; None if there is none yet, or a newer job's report has replaced it.
        written_at: When the report was written.
    """

    request: JobRequest
    report: dict[str, Any] | None = None
    written_at: datetime | None = None


def read_running_jobs(storage: Storage, job_ids: Iterable[str]) -> list[RunningJob]:
    """Return the given open jobs, in the same order; jobs that were closed are left out."""
    found = in_parallel(lambda job_id: _read(storage, job_id), job_ids)
    return [job for job in found if job is not None]


def _read(storage: Storage, job_id: str) -> RunningJob | None:
    marker = storage.get_json(object_keys.open_job_key(job_id))
    if marker is None:
        return None
    request = stored.from_record(marker.value, JobRequest)
    try:
        found = _report_at(storage, request.path)
        is_elsewhere = found is not None and found.value.get("job_id") != job_id
    except UnreadableObjectError:
        # An earlier job's report is encrypted with another KMS key, or a policy denies access.
        found, is_elsewhere = None, True
    if is_elsewhere:
        # A newer job has taken over its path, or it may not write to its upload's path.
        with suppress(UnreadableObjectError):
            found = _report_at(storage, object_keys.superseded_path(job_id, request.path))
        found = found if _is_of(found, job_id) else _report_at(storage, job_id)
    if found is None or not _is_of(found, job_id):
        return RunningJob(request=request)
    return RunningJob(request=request, report=found.value, written_at=found.written_at)


def _report_at(storage: Storage, path: str) -> Stored[dict[str, Any]] | None:
    return storage.get_foreign_json(object_keys.delivery_keys(path).report)


def _is_of(found: Stored[dict[str, Any]] | None, job_id: str) -> bool:
    return found is not None and found.value.get("job_id") == job_id
