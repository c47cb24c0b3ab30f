"""Start jobs: one for each upload, one for each firing of a recurring file, one more when asked.

The permanent record at ``jobs/<job_id>`` is written before the execution is started. A crash
between the two is healed by whoever comes by next: starting an execution of the same name again is
harmless, and it is only done while the job is still open.

A firing of the schedule may start any number of jobs. Its files below ``recurring/`` come first, so
that they do not depend on how many uploads there are to sweep.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from groq_batch.bucket.s3_errors import ConflictError, UnreadableObjectError
from groq_batch.bucket.storage import ObjectVersion, Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import again_job_id, firing_job_id, upload_job_id
from groq_batch.domain.times import timestamp
from groq_batch.records.job import JobRequest
from groq_batch.steps.start_job.sweep import Sweep, WithoutDeleted
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

STARTED = "started"
EXISTS = "exists"
_MESSAGES = {
    STARTED: "The job was started; its report says how it goes.",
    EXISTS: 'This upload has a job already; add "again": true to run it once more.',
}
_STARTERS = 16
_STARTED_TOGETHER = 1000
_MOST_LISTED_BYTES = 200_000
"""Of the jobs in an answer; Lambda passes on no more than 256 KB of an asynchronous one."""
_PLACEHOLDER = "<aws."
_UNVERSIONED = "null"


class InvocationError(ValueError):
    """The event is none of those that this function takes, or names an object that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedJob:
    """A job that was started, now or before.

    Attributes:
        job_id: The job.
        status: ``started``, or ``exists`` when the job had been started before.
        message: The same as a sentence, for whoever started it by hand.
        input: Address of the input.
        report: Address of its report.
    """

    job_id: str
    status: str
    message: str
    input: str
    report: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return asdict(self)


@dataclass(slots=True)
class StartedJobs:
    """The jobs that an event has started, now or before.

    Attributes:
        total: How many there are.
        jobs: The first of them, as many as an answer of the function may hold.
    """

    total: int = 0
    jobs: list[StartedJob] = field(default_factory=list)
    _room: int = _MOST_LISTED_BYTES

    def add(self, job: StartedJob) -> None:
        """Count a job, and keep it if there is room."""
        self.total += 1
        self._room -= len(json.dumps(job.to_json())) if self._room > 0 else 0
        if self._room > 0:
            self.jobs.append(job)


class JobStarter:
    """Starts jobs of one bucket."""

    def __init__(
        self,
        *,
        storage: Storage,
        states: Any,
        state_machine_arn: str,
        invocation: str,
        time_left: Callable[[], float] = lambda: math.inf,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start jobs with the Step Functions client ``states``.

        Args:
            storage: The bucket.
            states: The boto3 client of Step Functions.
            state_machine_arn: The state machine.
            invocation: Names the caller.
            time_left: Tells how many seconds the invocation has left.
            clock: Seconds since 1970.
        """
        self._storage = storage
        self._states = states
        self._machine = state_machine_arn
        self._invocation = invocation
        self._time_left = time_left
        self._clock = clock

    # -- triggers --------------------------------------------------------------------------------

    def handle(self, event: Mapping[str, Any]) -> StartedJobs:
        """Start what an event asks for.

        Args:
            event: An S3 ``Object Created`` event, ``{"trigger": "schedule", "scheduled_time": …}``,
                or ``{"key": …}`` by hand, with ``"again": true`` for one more run.

        Raises:
            InvocationError: The event is none of these, or its object does not exist.
        """
        if event.get("trigger") == "schedule":
            return self._on_schedule(str(event.get("scheduled_time", "")))
        started = StartedJobs()
        if event.get("detail-type") == "Object Created":
            job = self._on_upload(event["detail"])
            if job is not None:
                started.add(job)
            return started
        if isinstance(event.get("key"), str):
            started.add(self._by_hand(event["key"], again=event.get("again") is True))
            return started
        raise InvocationError(
            'This function takes {"key": "input/…"} (with "again": true to run an upload once '
            'more), {"key": "recurring/…"}, or {"trigger": "schedule"}; found the fields '
            + (", ".join(sorted(map(str, event))) or "none")
            + "."
        )

    def _on_upload(self, detail: Mapping[str, Any]) -> StartedJob | None:
        bucket, key = detail["bucket"]["name"], detail["object"]["key"]
        if bucket != self._storage.bucket:
            raise InvocationError(f"The event is of bucket {bucket}, not {self._storage.bucket}.")
        version_id = detail["object"].get("version-id")
        if not self._is_for_upload_trigger(key, version_id):
            return None
        if version_id is None:
            version_id = self._version_of_event(key, str(detail["object"].get("etag", "")))
        if version_id is None:
            logger.info("The uploaded object is gone, or all its versions have jobs", key=key)
            return None
        return self._start(self._upload_request(key, version_id))

    def _is_for_upload_trigger(self, key: str, version_id: str | None) -> bool:
        """Tell whether an upload starts a job by itself.

        Any below ``input/`` does, and misnamed ones below ``recurring/``, which would otherwise be
        met with silence.
        """
        if key.endswith("/"):
            versions = self._versions_of(key)
            found = (one for one in versions if version_id in (None, one.version_id))
            uploaded = next(found, None)
            if uploaded is None or object_keys.is_folder_marker(key, uploaded.size):
                return False
        if key.startswith(object_keys.INPUT_PREFIX):
            return True
        return key.startswith(object_keys.RECURRING_PREFIX) and not object_keys.has_accepted_ending(
            key
        )

    def _version_of_event(self, key: str, etag: str) -> str | None:
        """Find the version behind an event that names none: the newest with its ETag and no job."""
        for version in self._versions_of(key):
            if version.is_delete_marker or (etag and version.etag != etag.strip('"')):
                continue
            request = self._upload_request(key, version.version_id)
            if not self._storage.exists(object_keys.job_key(request.job_id)):
                return version.version_id
        return None

    def _on_schedule(self, scheduled_time: str) -> StartedJobs:
        fired_at = object_keys.format_fired_at(self._scheduled_moment(scheduled_time))
        now = self._clock()
        with ThreadPoolExecutor(max_workers=_STARTERS) as pool:
            firing = _Firing(pool, self._start_if_unknown)
            firing.start_all(self._recurring_requests(fired_at))
            sweep = Sweep(
                self._storage,
                start_missing=lambda uploads: firing.start_all(
                    self._upload_request(upload.key, upload.version_id) for upload in uploads
                ),
                time_left=self._time_left,
                now=now,
            )
            is_complete = sweep.run()
        end = "Swept the uploads" if is_complete else "Swept a part; the next firing goes on there"
        logger.info(
            end,
            fired_at=fired_at,
            found=firing.started.total,
            listed=sweep.listed,
            asked=sweep.asked,
        )
        if firing.failure is not None:
            # All others have been tried; this one is counted, and healed by the next sweep.
            raise firing.failure
        return firing.started

    def _scheduled_moment(self, text: str) -> datetime:
        """Return the planned time of a firing.

        A placeholder that was not filled in, or no time, means now, cut to the minute, so that a
        second delivery is likely to say the same.
        """
        if not text or text.startswith(_PLACEHOLDER):
            now = datetime.fromtimestamp(self._clock(), UTC)
            return now.replace(second=0, microsecond=0)
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            raise InvocationError(
                f"scheduled_time must be a time such as 2026-01-31T12:00:00Z, not {text[:100]!r}."
            ) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def _recurring_requests(self, fired_at: str) -> Iterator[JobRequest]:
        """Yield a request for each recurring file of a firing, and for misnamed ones."""
        for version in WithoutDeleted().of(self._storage.versions(object_keys.RECURRING_PREFIX)):
            is_marker = object_keys.is_folder_marker(version.key, version.size)
            if is_marker or not version.is_latest:
                continue
            if object_keys.has_accepted_ending(version.key):
                yield self._firing_request(version.key, version.version_id, fired_at)
            else:
                yield self._upload_request(version.key, version.version_id)

    def _by_hand(self, key: str, *, again: bool) -> StartedJob:
        if not key.startswith((object_keys.INPUT_PREFIX, object_keys.RECURRING_PREFIX)):
            raise InvocationError(
                f"The key must begin with input/ or recurring/, not {key[:100]!r}."
            )
        newest = next(self._versions_of(key), None)
        if newest is None or newest.is_delete_marker:
            raise InvocationError(f"There is no object {self._storage.url(key)[:1100]}.")
        if key.startswith(object_keys.RECURRING_PREFIX) and object_keys.has_accepted_ending(key):
            fired_at = object_keys.format_fired_at(datetime.fromtimestamp(self._clock(), UTC))
            return self._start(self._firing_request(key, newest.version_id, fired_at))
        request = self._upload_request(key, newest.version_id)
        if again:
            job_id = again_job_id(
                bucket=self._storage.bucket,
                key=key,
                version_id=newest.version_id,
                run=self._invocation,
            )
            request = self._request(job_id, key, newest.version_id, object_keys.input_path(key))
        return self._start(request)

    # -- requests --------------------------------------------------------------------------------

    def _versions_of(self, key: str) -> Iterator[ObjectVersion]:
        for version in self._storage.versions(key):
            if version.key != key:
                return
            yield version

    def _upload_request(self, key: str, version_id: str) -> JobRequest:
        job_id = upload_job_id(bucket=self._storage.bucket, key=key, version_id=version_id)
        return self._request(job_id, key, version_id, object_keys.input_path(key))

    def _firing_request(self, key: str, version_id: str, fired_at: str) -> JobRequest:
        job_id = firing_job_id(bucket=self._storage.bucket, key=key, fired_at=fired_at)
        return self._request(job_id, key, version_id, object_keys.recurring_path(key, fired_at))

    def _request(self, job_id: str, key: str, version_id: str, path: str) -> JobRequest:
        too_long = len(key.encode("utf-8", "surrogatepass")) > object_keys.MAX_KEY_BYTES
        return JobRequest(
            job_id=job_id,
            bucket=self._storage.bucket,
            key=key,
            version_id=None if version_id == _UNVERSIONED else version_id,
            path=job_id if too_long else path,
            started_at=timestamp(datetime.fromtimestamp(self._clock(), UTC)),
            claimed_by=self._invocation,
        )

    # -- starting --------------------------------------------------------------------------------

    def _start(self, request: JobRequest) -> StartedJob:
        return start_job(self._storage, self._states, self._machine, request)

    def _start_if_unknown(self, request: JobRequest) -> StartedJob | None:
        if self._storage.exists(object_keys.job_key(request.job_id)):
            return None
        return self._start(request)


class _Firing:
    """The jobs of one firing, started by several threads.

    Attributes:
        started: What was started so far.
        failure: Why a job could not be started, the first time; None when all could.
    """

    def __init__(
        self, pool: ThreadPoolExecutor, start: Callable[[JobRequest], StartedJob | None]
    ) -> None:
        self.started = StartedJobs()
        self.failure: Exception | None = None
        self._pool = pool
        self._start = start

    def start_all(self, requests: Iterable[JobRequest]) -> bool:
        """Start jobs and wait until that is done; tells whether all could be started."""
        waiting = iter(requests)
        is_well = True
        while group := list(itertools.islice(waiting, _STARTED_TOGETHER)):
            is_well &= self._start_group(group)
        return is_well

    def _start_group(self, group: Sequence[JobRequest]) -> bool:
        is_well = True
        starts = [self._pool.submit(self._start, request) for request in group]
        for request, start in zip(group, starts, strict=True):
            try:
                job = start.result()
            except Exception as error:  # noqa: BLE001
                # One must not hold up the others. It is raised when all have been tried.
                logger.warning("A job could not be started", job_id=request.job_id, exc_info=True)
                self.failure = self.failure or error
                is_well = False
            else:
                if job is not None:
                    self.started.add(job)
        return is_well


def start_job(
    storage: Storage, states: Any, state_machine_arn: str, request: JobRequest
) -> StartedJob:
    """Start a job unless it has been started before.

    Args:
        storage: The bucket.
        states: The boto3 client of Step Functions.
        state_machine_arn: The state machine.
        request: What the job is for.

    Returns:
        The job, and whether this call started it.
    """
    status = STARTED
    open_key = object_keys.open_job_key(request.job_id)
    known = _recorded(storage, request)
    if known is None:
        # The open marker comes first, so that there is no moment at which a recorded job could be
        # forgotten; the reconciler takes care of a marker without a record.
        storage.put_json(open_key, request.to_json())
        try:
            storage.put_json(
                object_keys.job_key(request.job_id), request.to_json(), if_none_match=True
            )
        except ConflictError:
            known = _recorded(storage, request)
    if known is not None and known != request:
        status = EXISTS
        request = known
    if status == STARTED or storage.exists(open_key):
        start_execution(states, state_machine_arn, request.job_id, request.execution_input())
    logger.info("Job " + status, job_id=request.job_id, key=request.key)
    if known is None:
        metrics.job_started()
    return StartedJob(
        job_id=request.job_id,
        status=status,
        message=_MESSAGES[status],
        input=storage.url(request.key),
        report=storage.url(object_keys.delivery_keys(request.path).report),
    )


def _recorded(storage: Storage, request: JobRequest) -> JobRequest | None:
    """Return what a job was started for, or None when it was never started."""
    key = object_keys.job_key(request.job_id)
    try:
        found = storage.get_foreign_json(key)
    except UnreadableObjectError:
        # A former key of the bucket may encrypt it. That it stands there says enough: the rest
        # follows from the upload, but for who was first.
        return replace(request, claimed_by="") if storage.exists(key) else None
    return JobRequest.from_json(found[0]) if found else None


def start_execution(
    states: Any, state_machine_arn: str, name: str, execution_input: Mapping[str, Any]
) -> bool:
    """Start an execution unless one of its name exists; tells whether this call started it."""
    try:
        states.start_execution(
            stateMachineArn=state_machine_arn,
            name=name,
            input=json.dumps(execution_input, sort_keys=True),
        )
    except states.exceptions.ExecutionAlreadyExists:
        return False
    return True
