"""Find jobs whose execution has ended without a final report, however many jobs are open.

The event that reports an execution's end is delivered on a best-effort basis, so every open job is
checked each quarter of an hour. The number of calls to Step Functions is bounded: the quota for
describing executions is small and shared by the whole account (a bucket of 250 or 300, refilled
with 10 or 15 per second:
https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html). So running executions are
listed, a thousand per call, and only jobs missing from the list are described, once each. The list
is eventually consistent: a missing job is checked, never closed for that reason alone.
"""

from __future__ import annotations

import bisect
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import job_id_of_execution
from groq_batch.domain.overdue import (
    FIRST_OVERDUE_SECONDS,
    LAST_OVERDUE_SECONDS,
    overdue_seconds,
)
from groq_batch.domain.parallel import in_parallel
from groq_batch.domain.times import seconds_of
from groq_batch.records import stored
from groq_batch.records.closed import is_closed
from groq_batch.records.job import JobRecord, JobRequest
from groq_batch.reports.index import update_index
from groq_batch.settings import Settings
from groq_batch.steps.cancel_job.close import JobCloser
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

FRESH_SECONDS = 180
"""Jobs younger than this many seconds are skipped: Step Functions' view may be older than a new
execution."""
MARGIN_SECONDS = 60.0
"""A job is checked only if at least this many seconds are left."""
_EXECUTIONS_OF_A_PAGE = 1000
_MAX_REPORTED = 1000
_SECONDS_FOR_THE_PAGE = 20.0
"""With fewer seconds left, no more usage records are read, so that the index page gets written."""
_CLOSED = "was closed"


class ReconcileError(Exception):
    """Some open jobs could not be checked; all others were."""


class Reconciler:
    """Checks the jobs without a final report."""

    def __init__(
        self,
        *,
        storage: Storage,
        states: Any,
        closer: JobCloser,
        settings: Settings,
        time_left: Callable[[], float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare to check the jobs of a bucket.

        Args:
            storage: The bucket.
            states: The client of Step Functions.
            closer: Closes the jobs that need it.
            settings: The stack's settings.
            time_left: Returns how many seconds the invocation has left.
            clock: Returns seconds since 1970.
        """
        self._storage = storage
        self._states = states
        self._closer = closer
        self._settings = settings
        self._time_left = time_left
        self._clock = clock

    def run(self, state_machine_arn: str) -> dict[str, str]:
        """Check every open job, as time permits.

        Returns:
            What was done for each job, jobs that are not running first; at most a thousand.

        Raises:
            ReconcileError: Some jobs could not be checked.
        """
        ages = self._ages()
        # Before anything that may fail or take long: alarms depend on these metrics.
        self._publish(ages)
        done: dict[str, str] = {}
        try:
            running = self._running(state_machine_arn)
            done = self._check_jobs([job for job in ages if job not in running], state_machine_arn)
            done |= {job: "is RUNNING" for job in ages if job in running}
        finally:
            # Done even if Step Functions fails: the data of the page is in the bucket.
            self._update_index({job: age for job, age in ages.items() if done.get(job) != _CLOSED})
        logger.info("Reconciled the open jobs", jobs=len(ages), done=Counter(done.values()))
        failed = [job for job, result in done.items() if result == "failed"]
        if failed:
            raise ReconcileError(
                f"{len(failed)} open jobs could not be reconciled: " + ", ".join(failed)[:1000]
            )
        return dict(list(done.items())[:_MAX_REPORTED])

    # -- all jobs --------------------------------------------------------------------------------

    def _ages(self) -> dict[str, float]:
        """Return the age of each open job in seconds, from its marker, written at the start."""
        now = self._clock()
        return {
            item.key.removeprefix(object_keys.OPEN_JOBS_PREFIX): now - item.modified_at
            for item in self._storage.objects(object_keys.OPEN_JOBS_PREFIX)
        }

    def _publish(self, ages: Mapping[str, float]) -> None:
        """Publish how many jobs are open, how old they are, and how many are overdue."""
        old = [job for job, age in ages.items() if age > FIRST_OVERDUE_SECONDS]
        judged = in_parallel(lambda job: self._is_overdue(job, ages[job]), old)
        overdue = {job for job, is_overdue in zip(old, judged, strict=True) if is_overdue}
        open_jobs = metrics.OpenJobs()
        for job, age in ages.items():
            open_jobs.add(age_seconds=age, is_overdue=job in overdue)
        open_jobs.publish()

    def _update_index(self, ages: Mapping[str, float]) -> None:
        """Update the page of all jobs; done last, because jobs must not wait for it."""
        update_index(
            self._storage,
            ages,
            now=datetime.fromtimestamp(self._clock(), UTC),
            has_time=lambda: self._time_left() > _SECONDS_FOR_THE_PAGE,
        )

    def _is_overdue(self, job_id: str, age_seconds: float) -> bool:
        """Tell whether a job is overdue; if its options cannot be read, the stack's apply."""
        if age_seconds > LAST_OVERDUE_SECONDS:
            return True
        options = self._settings.default_options
        has_canary = options.canary_requests > 0
        try:
            job = JobRecord.load(self._storage, object_keys.WorkKeys(job_id))
            if job is not None:
                options, has_canary = job.options, job.has_canary
        except Exception:  # noqa: BLE001
            logger.warning("The job's record cannot be read", job_id=job_id, exc_info=True)
        return age_seconds > overdue_seconds(options.window_seconds, has_canary=has_canary)

    def _running(self, machine: str) -> set[str]:
        """Return the jobs that Step Functions lists as running."""
        pages = self._states.get_paginator("list_executions").paginate(
            stateMachineArn=machine,
            statusFilter="RUNNING",
            PaginationConfig={"PageSize": _EXECUTIONS_OF_A_PAGE},
        )
        return {
            job_id_of_execution(execution["name"])
            for page in pages
            for execution in page["executions"]
        }

    # -- one job ---------------------------------------------------------------------------------

    def _check_jobs(self, jobs: Sequence[str], machine: str) -> dict[str, str]:
        """Check jobs one by one, starting where the last run ended; return what was done for each.

        Sequential calls are about as fast as the quota allows, and leave some of it to consoles and
        commands.
        """
        done: dict[str, str] = {}
        for job_id in self._in_turn(jobs):
            if self._time_left() < MARGIN_SECONDS:
                logger.warning("Time ran out; the next run continues", left=len(jobs) - len(done))
                self._storage.put_json(object_keys.RECONCILER_KEY, {"next": job_id})
                break
            with logger.append_context_keys(job_id=job_id):
                try:
                    done[job_id] = self._check_job(machine, job_id)
                except Exception:  # noqa: BLE001
                    # One job must not keep the others from being checked. It is retried in the next
                    # run; the error is in the log and in the function's error metric.
                    logger.exception("A job could not be reconciled")
                    done[job_id] = "failed"
        return done

    def _in_turn(self, jobs: Sequence[str]) -> Iterator[str]:
        """Yield jobs in order of their names, starting where the last run ran out of time."""
        in_order = sorted(jobs)
        found = self._storage.get_json(object_keys.RECONCILER_KEY) if in_order else None
        start = bisect.bisect_left(in_order, found.value["next"]) if found else 0
        yield from in_order[start:]
        yield from in_order[:start]

    def _check_job(self, machine: str, job_id: str) -> str:
        if is_closed(self._storage, object_keys.WorkKeys(job_id)):
            self._storage.delete([object_keys.open_job_key(job_id)])
            return _CLOSED
        marker = self._storage.get_json(object_keys.open_job_key(job_id))
        if marker is None:
            return _CLOSED
        request = stored.from_record(marker.value, JobRequest)
        if self._clock() - seconds_of(request.started_at) < FRESH_SECONDS:
            return "is fresh"
        return self._closer.close_if_ended(machine, request)
