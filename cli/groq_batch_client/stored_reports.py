"""Read the reports of jobs, even if a newer run has overwritten them.

A newer upload of the same key, or a later run of a recurring file, overwrites the report. The
bucket keeps it as an older version for some time, and the working files of a running job show its
progress.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from itertools import takewhile
from typing import Any

from botocore.exceptions import ClientError

from groq_batch.bucket.s3_errors import MISSING_CODES, VERSION_GONE_CODES, error_code
from groq_batch.bucket.storage import ObjectVersion, Storage, Stored
from groq_batch.domain import object_keys
from groq_batch.records.job import JobRecord, JobRequest

Report = dict[str, Any]


def read_report(
    storage: Storage, path: str, *, version_id: str | None = None
) -> Stored[Report] | None:
    """Read the report at a path, or a version of it; None if there is none.

    What a user has put in its place is no report.

    Args:
        storage: The bucket.
        path: The path of the job's files below each folder.
        version_id: The version; None means the current one.
    """
    version = {"VersionId": version_id} if version_id is not None else {}
    key = object_keys.delivery_keys(path).report
    try:
        answer = storage.s3.get_object(Bucket=storage.bucket, Key=key, **version)
    except ClientError as error:
        if error_code(error) in MISSING_CODES | VERSION_GONE_CODES:
            return None
        raise
    with closing(answer["Body"]) as body:
        try:
            report = json.loads(body.read())
        except (ValueError, RecursionError):
            return None
    return Stored(report, answer["ETag"], answer["LastModified"]) if _is_report(report) else None


def _is_report(value: Any) -> bool:
    """Tell whether JSON data names a job and has a status, as every report does."""
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("job_id"), str) and isinstance(value.get("status"), str)


def earlier_report(storage: Storage, request: JobRequest) -> Stored[Report] | None:
    """Return the last report of a job that newer runs have overwritten; None if it is gone.

    Runs take over a path one after the other, so the versions of the report are in the order of the
    runs. Reading a few of them is enough to find those of one run.
    """
    versions = list(_versions_of(storage, object_keys.delivery_keys(request.path).report))

    def is_not_newer(place: int) -> bool:
        found = read_report(storage, request.path, version_id=versions[place].version_id)
        return found is not None and _order(found.value) <= (request.started_at, request.job_id)

    place = bisect_left(range(len(versions)), True, key=is_not_newer)
    if place == len(versions):
        return None
    found = read_report(storage, request.path, version_id=versions[place].version_id)
    return found if found is not None and found.value["job_id"] == request.job_id else None


def _versions_of(storage: Storage, key: str) -> Iterator[ObjectVersion]:
    """Yield the versions of a key except delete markers, newest first."""
    for version in takewhile(lambda one: one.key == key, storage.versions(key)):
        if not version.is_delete_marker:
            yield version


def _order(report: Report) -> tuple[str, str]:
    return report["timing"]["started_at"], report["job_id"]


def report_from_work(storage: Storage, request: JobRequest) -> Report | None:
    """Build the report of a running job without one, from its working files.

    Returns:
        A report in the usual form; None while the stack checks the input.
    """
    # Imported here: few jobs need it, and it would add a tenth to the start of most commands.
    from groq_batch.records.all_attempts import load_states  # noqa: PLC0415
    from groq_batch.records.on_demand import load_calls  # noqa: PLC0415
    from groq_batch.reports.report import running_report  # noqa: PLC0415

    keys = object_keys.WorkKeys(request.job_id)
    job = JobRecord.load(storage, keys)
    if job is None:
        return None
    states = load_states(storage, keys)
    calls = load_calls(storage, keys, job, states[-1].attempt) if states else None
    report = running_report(request, job, states=states, calls=calls)
    # The stack may have another version than this client.
    return {**report, "version": None}
