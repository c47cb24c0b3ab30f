"""List the jobs of a stack, newest first, reading no more of them than needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from groq_batch.bucket.storage import ObjectVersion, Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch.domain.job_status import RUNNING
from groq_batch.domain.parallel import in_parallel
from groq_batch.records.job import JobRequest
from groq_batch_client.aws_errors import is_denied
from groq_batch_client.found_jobs import FoundJob, of_request, recorded_jobs

REPLACED = "replaced"
WAITING = "waiting"
STARTING = "starting"

RUNNING_STATUSES = frozenset({RUNNING, STARTING})
STATUSES = (
    WAITING,
    STARTING,
    RUNNING,
    "succeeded",
    "partial",
    "rejected",
    "failed",
    "cancelled",
    REPLACED,
)

_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Filter for the list of jobs.

    Attributes:
        status: Only jobs with this status; ``running`` includes starting ones.
        since: Only jobs started, or uploads made, since then.
        under: Only jobs of files below this folder, such as ``team/``.
        with_waiting: Whether to include uploads without a job, which requires listing all
            uploads.
    """

    status: str | None = None
    since: datetime | None = None
    under: str = ""
    with_waiting: bool = False

    def has_status(self, status: str) -> bool:
        """Tell whether the filter includes a status."""
        if self.status == RUNNING:
            return status in RUNNING_STATUSES
        return self.status in (None, status)

    @property
    def is_everything(self) -> bool:
        """Whether the filter includes every job."""
        return self.status is None and self.since is None and not self.under


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedJob:
    """A job in the list.

    Attributes:
        job_id: Its name; for a waiting upload, the name that its job will have.
        job: The job.
        at: When it was recorded; for a waiting upload, when it was uploaded.
        status: Its status; ``replaced`` if a newer run has overwritten its results, and
            ``waiting`` if the upload has no job yet.
    """

    job_id: str
    job: FoundJob
    at: datetime
    status: str


def list_jobs(
    storage: Storage, wanted: Wanted, *, on_denied: Callable[[str], None]
) -> Iterator[ListedJob]:
    """Yield the jobs, newest first.

    Args:
        storage: The bucket.
        wanted: The filter.
        on_denied: Called with a sentence that says what is missing, if AWS denies a call.
    """
    recorded = recorded_jobs(storage)
    waiting: dict[str, FoundJob] = {}
    moments = recorded
    if wanted.with_waiting and wanted.has_status(WAITING):
        found = list(_waiting(storage, {job_id for job_id, _ in recorded}, on_denied))
        waiting = {job_id: job for job_id, job, _ in found}
        moments = sorted(
            [*recorded, *((job_id, at) for job_id, _, at in found)],
            key=lambda pair: pair[1],
            reverse=True,
        )
    if wanted.since is not None:
        moments = [pair for pair in moments if pair[1] >= wanted.since]
    if wanted.status == WAITING:
        moments = [pair for pair in moments if pair[0] in waiting]
    yield from _Reader(storage, wanted, waiting, on_denied).read(moments)


class _Reader:
    """Reads jobs in groups."""

    def __init__(
        self,
        storage: Storage,
        wanted: Wanted,
        waiting: dict[str, FoundJob],
        on_denied: Callable[[str], None],
    ) -> None:
        self._storage = storage
        self._wanted = wanted
        self._waiting = waiting
        self._on_denied = on_denied
        self._versions_are_denied = False
        self._open = {
            item.key.removeprefix(object_keys.OPEN_JOBS_PREFIX)
            for item in storage.objects(object_keys.OPEN_JOBS_PREFIX)
        }

    def read(self, moments: list[tuple[str, datetime]]) -> Iterator[ListedJob]:
        """Yield the jobs that match the filter, in the same order."""
        if self._wanted.status in RUNNING_STATUSES:
            moments = [pair for pair in moments if pair[0] in self._open]
        for begin in range(0, len(moments), _AT_ONCE):
            part = moments[begin : begin + _AT_ONCE]
            found = in_parallel(lambda pair: self._load(pair[0]), part)
            for (job_id, at), job in zip(part, found, strict=True):
                if job is None:
                    continue
                status = self._status(job_id, job)
                if self._wanted.has_status(status):
                    yield ListedJob(job_id=job_id, job=job, at=at, status=status)

    def _load(self, job_id: str) -> FoundJob | None:
        """Return a job; None if it is outside the wanted folder or gone."""
        if job_id in self._waiting:
            job = self._waiting[job_id]
            return job if job.path.startswith(self._wanted.under) else None
        request = JobRequest.load(self._storage, job_id)
        if request is None or not request.path.startswith(self._wanted.under):
            return None
        try:
            return of_request(self._storage, request, is_open=job_id in self._open)
        except ClientError as error:
            # Only replaced jobs need older versions of objects.
            if not is_denied(error):
                raise
            self._tell_denied(error)
            return FoundJob(path=request.path, job_id=job_id, request=request, is_replaced=True)

    def _tell_denied(self, error: ClientError) -> None:
        if not self._versions_are_denied:
            self._versions_are_denied = True
            self._on_denied(
                f"The outcome of replaced jobs is not known: AWS denies {error.operation_name}."
            )

    def _status(self, job_id: str, job: FoundJob) -> str:
        if job_id in self._waiting:
            return WAITING
        if job.is_replaced and job_id not in self._open:
            return REPLACED
        return job.status


def _waiting(
    storage: Storage, recorded: set[str], on_denied: Callable[[str], None]
) -> Iterator[tuple[str, FoundJob, datetime]]:
    """Yield every upload without a job: the future job name and the upload time."""
    try:
        for version in _standing(storage):
            job_id = upload_job_id(
                bucket=storage.bucket, key=version.key, version_id=version.version_id
            )
            if job_id not in recorded:
                job = FoundJob(path=object_keys.input_path(version.key), job_id=None)
                yield job_id, job, datetime.fromtimestamp(version.modified_at, UTC)
    except ClientError as error:
        if not is_denied(error):
            raise
        on_denied(f"Waiting uploads are not listed: AWS denies {error.operation_name}.")


def _standing(storage: Storage) -> Iterator[ObjectVersion]:
    """Yield the uploads that the schedule will start: all versions of keys that still exist."""
    key, removed = None, False
    for version in storage.versions(object_keys.INPUT_PREFIX):
        if version.key != key:
            key, removed = version.key, version.is_delete_marker
        is_upload = not (removed or version.is_delete_marker)
        if is_upload and not object_keys.is_folder_marker(version.key, version.size):
            yield version
