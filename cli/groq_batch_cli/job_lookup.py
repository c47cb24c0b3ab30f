"""Find the job that a user means, by job name or by its file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import islice

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import job_id, job_id_of_execution
from groq_batch.domain.parallel import in_parallel
from groq_batch.records.job import JobRequest
from groq_batch_cli.errors import CommandError, NoSuchJobError
from groq_batch_client import found_jobs
from groq_batch_client.errors import JobError
from groq_batch_client.found_jobs import (
    FoundJob,
    job_by_id,
    job_of_path,
    of_request,
    recorded_jobs,
)
from groq_batch_client.text import listed, one_line

_JOB_ID = re.compile(r"[a-z0-9-]{1,40}-[0-9a-f]{20}")
_HASH = re.compile(r"-[0-9a-f]{20}$")
_MAX_CANDIDATES = 50
_READ_AT_ONCE = 16


def find_job(storage: Storage, text: str) -> FoundJob:
    """Find the job that a text names.

    The text is a job name or the beginning of one, a path such as ``team/requests.jsonl``, the S3
    URI or key of one of the job's objects, or a file name, if only one file of that name has jobs.
    For a recurring file it is the newest run.

    Raises:
        NoSuchJobError: No job matches.
        CommandError: Several jobs match.
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
            f"{one_line(path)} has not run yet. It will run on its schedule; to run it now: "
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
    """Return the path that a text names as a path, a key or an S3 URI.

    Raises:
        CommandError: The S3 URI names another bucket.
    """
    try:
        return found_jobs.path_of(text, storage.bucket)
    except JobError as error:
        raise CommandError(f"{error} Name the stack with --stack-name.") from None


def _newest_firing(storage: Storage, key: str) -> FoundJob | None:
    """Return the newest run of a recurring file; None if the key is not one or has never run."""
    if not key.startswith(object_keys.RECURRING_PREFIX):
        return None
    for request in _records(storage, f"{object_keys.JOBS_PREFIX}{_slug(key)}-"):
        if request.key == key:
            return of_request(storage, request)
    return None


def _slug(key: str) -> str:
    """Return the prefix of the job names of a file. Other files may share it."""
    return _HASH.sub("", job_id(bucket="", key=key, identity=""))


def _job_of_file(storage: Storage, path: str) -> FoundJob | None:
    """Return the newest job of a file with this name, in any folder.

    Raises:
        CommandError: Files of this name in several folders have jobs.
    """
    name = path.rsplit("/", 1)[-1]
    if not object_keys.has_accepted_ending(name):
        return None
    requests = islice(
        _records(storage, f"{object_keys.JOBS_PREFIX}{_slug(name)}-"), _MAX_CANDIDATES
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
        CommandError: Several job names do.
    """
    if not re.fullmatch(r"[a-z0-9-]+", text):
        return None
    requests = list(islice(_records(storage, object_keys.JOBS_PREFIX + text), _MAX_CANDIDATES))
    if len(requests) > 1:
        names = sorted(request.job_id for request in requests)
        raise CommandError(f"Several jobs begin with {text}: {listed(names)}. Name one of these.")
    return of_request(storage, requests[0]) if requests else None


def _records(storage: Storage, prefix: str) -> Iterator[JobRequest]:
    """Yield the job records below a prefix, newest first."""
    names = [name for name, _ in recorded_jobs(storage, prefix)]
    for begin in range(0, len(names), _READ_AT_ONCE):
        part = names[begin : begin + _READ_AT_ONCE]
        for request in in_parallel(lambda name: JobRequest.load(storage, name), part):
            if request is not None:
                yield request
