"""Start the jobs that an event requests: uploads, scheduled runs, starts by hand.

``one_job`` starts each of them. A firing of the schedule may start any number of jobs. Files below
``recurring/`` come first, so that they do not depend on the number of uploads to sweep.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from groq_batch.bucket.storage import ObjectVersion, Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import (
    again_job_id,
    firing_job_id,
    replacing_job_id,
    upload_job_id,
)
from groq_batch.domain.times import timestamp_of
from groq_batch.records.job import JobRequest
from groq_batch.steps.start_job.one_job import StartedJob, recorded_request, start_job
from groq_batch.steps.start_job.sweep import Sweep, WithoutDeleted
from groq_batch.telemetry.log import logger

_STARTERS = 16
_STARTED_TOGETHER = 1000
_MAX_LISTED_BYTES = 200_000
"""Limit for the jobs in a response; Lambda allows 256 KB for asynchronous destinations."""
_PLACEHOLDER = "<aws."
_UNVERSIONED = "null"
_AGAIN = " again"
"""Tells an invocation that asks for one more run from others, in the record of the job."""


class InvocationError(ValueError):
    """The event is not one that this function accepts, or its object does not exist."""


@dataclass(slots=True)
class StartedJobs:
    """The jobs that an event has started, now or before.

    Attributes:
        total: Number of jobs.
        jobs: The first of them, as many as fit into the function's response.
    """

    total: int = 0
    jobs: list[StartedJob] = field(default_factory=list)
    _room: int = _MAX_LISTED_BYTES

    def add(self, job: StartedJob) -> None:
        """Count a job, and keep it if it fits."""
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
        """Prepare to start jobs with the Step Functions client ``states``.

        Args:
            storage: The bucket.
            states: The client of Step Functions.
            state_machine_arn: The state machine.
            invocation: Identifies the caller.
            time_left: Returns how many seconds the invocation has left.
            clock: Returns seconds since 1970.
        """
        self._storage = storage
        self._states = states
        self._machine = state_machine_arn
        self._invocation = invocation
        self._time_left = time_left
        self._clock = clock

    # -- triggers --------------------------------------------------------------------------------

    def handle(self, event: Mapping[str, Any]) -> StartedJobs:
        """Start the jobs that an event requests.

        Args:
            event: An S3 ``Object Created`` event, ``{"trigger": "schedule", "scheduled_time": …}``,
                or, manually, ``{"key": …}``, with ``"again": true`` for one more run.

        Raises:
            InvocationError: The event is none of these, or its object does not exist.
        """
        if not isinstance(event, Mapping):
            raise _unknown_event(f"a value of type {type(event).__name__}")
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
        raise _unknown_event("the fields " + (", ".join(sorted(map(str, event))) or "none"))

    def _on_upload(self, detail: Mapping[str, Any]) -> StartedJob | None:
        bucket, key = detail["bucket"]["name"], detail["object"]["key"]
        if bucket != self._storage.bucket:
            raise InvocationError(f"The event is of bucket {bucket}, not {self._storage.bucket}.")
        version_id = detail["object"].get("version-id") or None
        etag = str(detail["object"].get("etag", "")).strip('"')
        if not self._is_for_upload_trigger(key, version_id):
            return None
        if version_id is None:
            version_id = self._version_of_event(key, etag)
        elif version_id == _UNVERSIONED and not self._is_current(key, etag):
            version_id = None
        if version_id is None:
            logger.info("The uploaded object is gone, or all its versions have jobs", key=key)
            return None
        size = int(detail["object"].get("size") or 0)
        return self._start(self._upload_request(key, version_id, etag, size))

    def _is_for_upload_trigger(self, key: str, version_id: str | None) -> bool:
        """Tell whether an upload starts a job by itself.

        Every upload below ``input/`` does, and misnamed ones below ``recurring/``, which would
        otherwise be ignored without a message.
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

    def _is_current(self, key: str, etag: str) -> bool:
        """Tell whether an upload without a version has not been replaced since its event."""
        found = (one for one in self._versions_of(key) if one.version_id == _UNVERSIONED)
        return any(not one.is_delete_marker and etag in ("", one.etag) for one in found)

    def _version_of_event(self, key: str, etag: str) -> str | None:
        """Find the version for an event without one: the newest with its ETag and without a job."""
        for version in self._versions_of(key):
            if version.is_delete_marker or (etag and version.etag != etag):
                continue
            request = self._upload_request(key, version.version_id, version.etag, version.size)
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
                    self._upload_request(upload.key, upload.version_id, upload.etag, upload.size)
                    for upload in uploads
                ),
                time_left=self._time_left,
                now=now,
            )
            is_complete = sweep.run()
        end = "Swept the uploads" if is_complete else "Swept a part; the next run continues there"
        logger.info(
            end,
            fired_at=fired_at,
            found=firing.started.total,
            listed=sweep.listed,
            asked=sweep.asked,
        )
        if firing.failure is not None:
            # All other jobs have been tried. This error is counted, and the next sweep retries the
            # job.
            raise firing.failure
        return firing.started

    def _scheduled_moment(self, text: str) -> datetime:
        """Return the planned time of a scheduled run.

        An unreplaced placeholder, or a missing time, means now, truncated to the minute, so that a
        repeated delivery probably gets the same time.
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
        """Yield a request for each recurring file of a scheduled run, including misnamed ones."""
        for version in WithoutDeleted().of(self._storage.versions(object_keys.RECURRING_PREFIX)):
            is_marker = object_keys.is_folder_marker(version.key, version.size)
            if is_marker or not version.is_latest:
                continue
            if object_keys.has_accepted_ending(version.key):
                yield self._firing_request(version.key, version.version_id, fired_at, version.size)
            else:
                yield self._upload_request(
                    version.key, version.version_id, version.etag, version.size
                )

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
            return self._start(self._firing_request(key, newest.version_id, fired_at, newest.size))
        request = self._upload_request(key, newest.version_id, newest.etag, newest.size)
        if again:
            request = replace(request, claimed_by=f"{self._invocation}{_AGAIN}")
        if again and self._was_started_before(request):
            job_id = again_job_id(
                bucket=self._storage.bucket,
                key=key,
                version_id=newest.version_id,
                run=self._invocation,
            )
            path = object_keys.input_path(key)
            request = self._request(job_id, key, newest.version_id, path, newest.size)
        return self._start(request)

    def _was_started_before(self, request: JobRequest) -> bool:
        """Tell whether an upload has had a job before this invocation.

        One without a job gets its own, so that neither its event, which may be late, nor the sweep
        runs it a second time. If Lambda repeats this invocation, that job is still its own.
        """
        known = recorded_request(self._storage, request)
        return known is not None and known.claimed_by != request.claimed_by

    # -- requests --------------------------------------------------------------------------------

    def _versions_of(self, key: str) -> Iterator[ObjectVersion]:
        for version in self._storage.versions(key):
            if version.key != key:
                return
            yield version

    def _upload_request(self, key: str, version_id: str, etag: str, size: int) -> JobRequest:
        """Return the request for an upload.

        With versioning suspended, an upload replaces the one before and has the same version id,
        so they are told apart by their ETags.
        """
        bucket, path = self._storage.bucket, object_keys.input_path(key)
        job_id = upload_job_id(bucket=bucket, key=key, version_id=version_id)
        request = self._request(job_id, key, version_id, path, size)
        if version_id != _UNVERSIONED:
            return request
        known = recorded_request(self._storage, request)
        if known is not None and etag and known.etag not in ("", etag):
            job_id = replacing_job_id(bucket=bucket, key=key, etag=etag)
            request = self._request(job_id, key, version_id, path, size)
        return replace(request, etag=etag)

    def _firing_request(self, key: str, version_id: str, fired_at: str, size: int) -> JobRequest:
        job_id = firing_job_id(bucket=self._storage.bucket, key=key, fired_at=fired_at)
        path = object_keys.recurring_path(key, fired_at)
        return self._request(job_id, key, version_id, path, size)

    def _request(self, job_id: str, key: str, version_id: str, path: str, size: int) -> JobRequest:
        too_long = len(key.encode("utf-8", "surrogatepass")) > object_keys.MAX_KEY_BYTES
        return JobRequest(
            job_id=job_id,
            bucket=self._storage.bucket,
            key=key,
            version_id=None if version_id == _UNVERSIONED else version_id,
            path=job_id if too_long else path,
            started_at=timestamp_of(self._clock()),
            claimed_by=self._invocation,
            input_bytes=size,
        )

    # -- starting --------------------------------------------------------------------------------

    def _start(self, request: JobRequest) -> StartedJob:
        return start_job(self._storage, self._states, self._machine, request)

    def _start_if_unknown(self, request: JobRequest) -> StartedJob | None:
        if self._storage.exists(object_keys.job_key(request.job_id)):
            return None
        return self._start(request)


def _unknown_event(found: str) -> InvocationError:
    return InvocationError(
        'This function takes {"key": "input/…"} (with "again": true to run an upload once more), '
        f'{{"key": "recurring/…"}}, or {{"trigger": "schedule"}}; found {found}.'
    )


class _Firing:
    """The jobs of one scheduled run, started by several threads.

    Attributes:
        started: The jobs started so far.
        failure: The first error that prevented a start; None if there was none.
    """

    def __init__(
        self, pool: ThreadPoolExecutor, start: Callable[[JobRequest], StartedJob | None]
    ) -> None:
        self.started = StartedJobs()
        self.failure: Exception | None = None
        self._pool = pool
        self._start = start

    def start_all(self, requests: Iterable[JobRequest]) -> bool:
        """Start jobs and wait for completion; tell whether all could be started."""
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
                # One job must not block the others. The error is raised after all have been tried.
                logger.warning("A job could not be started", job_id=request.job_id, exc_info=True)
                self.failure = self.failure or error
                is_well = False
            else:
                if job is not None:
                    self.started.add(job)
        return is_well
