"""Find jobs whose execution has ended without a final report, however many jobs are open.

The event that tells of an execution's end is delivered at best effort, so every open job is looked
at every quarter of an hour. What that costs at Step Functions is bounded: its quota for describing
executions is small and the whole account's (a bucket of 250 or 300, refilled with 10 or 15 a
second: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html), so executions
that run are listed, a thousand with each call, and only a job that is not among them is asked
about, once. The list is eventually consistent: what is missing there is looked at, never closed
for that.
"""

from __future__ import annotations

import bisect
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import job_id_of_execution
from groq_batch.domain.job_options import window_hours
from groq_batch.domain.times import parse_timestamp
from groq_batch.records import stored
from groq_batch.records.closed import is_closed
from groq_batch.records.job import JobRecord, JobRequest
from groq_batch.reports.index import update_index
from groq_batch.settings import Settings
from groq_batch.steps.cancel_job.close import JobCloser
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

FRESH_SECONDS = 180
"""Jobs younger than this are left alone: what Step Functions tells of a new execution may be older
than the execution."""
MARGIN_SECONDS = 60.0
"""No job is looked at with less time left than this."""
_READERS = 16
_SHORTEST_WINDOW_HOURS = 24
_LONGEST_WINDOW_HOURS = 7 * 24
_OVERDUE_AFTER_HOURS = 1
"""Behind the window of one batch, for all around it."""
_EXECUTIONS_OF_A_PAGE = 1000
_MOST_TOLD = 1000
_SECONDS_FOR_THE_PAGE = 20.0
"""With less time left no more usage records are read, so that the page of all jobs is made."""
_CLOSED = "was closed"


class ReconcileError(Exception):
    """Some open jobs could not be looked at; the others were."""


class Reconciler:
    """Looks at the jobs without a final report."""

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
        """Look at the jobs of a bucket.

        Args:
            storage: The bucket.
            states: The boto3 client of Step Functions.
            closer: Closes the jobs that need it.
            settings: The stack's settings.
            time_left: Tells how many seconds the invocation has left.
            clock: Seconds since 1970.
        """
        self._storage = storage
        self._states = states
        self._closer = closer
        self._settings = settings
        self._time_left = time_left
        self._clock = clock

    def run(self, state_machine_arn: str) -> dict[str, str]:
        """Look at every open job as far as the time goes.

        Args:
            state_machine_arn: The state machine.

        Returns:
            What was done for each job, first of all for those that do not run; at most a thousand.

        Raises:
            ReconcileError: Some jobs could not be looked at.
        """
        ages = self._ages()
        # Before anything that may fail or take long: an alarm watches these.
        self._publish(ages)
        done: dict[str, str] = {}
        try:
            running = self._running(state_machine_arn)
            done = self._look_at([job for job in ages if job not in running], state_machine_arn)
            done |= {job: "is RUNNING" for job in ages if job in running}
        finally:
            # Also when Step Functions cannot be asked: what the page says stands in the bucket.
            self._update_index({job: age for job, age in ages.items() if done.get(job) != _CLOSED})
        logger.info("Reconciled the open jobs", jobs=len(ages), done=Counter(done.values()))
        failed = [job for job, result in done.items() if result == "failed"]
        if failed:
            raise ReconcileError(
                f"{len(failed)} open jobs could not be reconciled: " + ", ".join(failed)[:1000]
            )
        return dict(list(done.items())[:_MOST_TOLD])

    # -- all jobs --------------------------------------------------------------------------------

    def _ages(self) -> dict[str, float]:
        """Return the age of each open job in seconds, by its marker: made once, at its start."""
        now = self._clock()
        return {
            item.key.removeprefix(object_keys.OPEN_JOBS_PREFIX): now - item.modified_at
            for item in self._storage.objects(object_keys.OPEN_JOBS_PREFIX)
        }

    def _publish(self, ages: Mapping[str, float]) -> None:
        """Publish how many jobs are open, how old they are, and how many are overdue."""
        first = (_SHORTEST_WINDOW_HOURS + _OVERDUE_AFTER_HOURS) * 3600
        old = [job for job, age in ages.items() if age > first]
        with ThreadPoolExecutor(max_workers=_READERS) as pool:
            judged = list(pool.map(lambda job: self._is_overdue(job, ages[job]), old))
        overdue = {job for job, is_overdue in zip(old, judged, strict=True) if is_overdue}
        open_jobs = metrics.OpenJobs()
        for job, age in ages.items():
            open_jobs.add(age_seconds=age, is_overdue=job in overdue)
        open_jobs.publish()

    def _update_index(self, ages: Mapping[str, float]) -> None:
        """Bring the page of all jobs up to date; behind the jobs, which must not wait for it."""
        update_index(
            self._storage,
            ages,
            now=datetime.fromtimestamp(self._clock(), UTC),
            has_time=lambda: self._time_left() > _SECONDS_FOR_THE_PAGE,
        )

    def _is_overdue(self, job_id: str, age_seconds: float) -> bool:
        """Tell whether a job is older than the window of one batch and an hour for all around it.

        Its first attempt has used up the window then, or Groq cannot be reached. With a canary it
        is two windows, for the rest begins when that has ended. What cannot be read counts by the
        stack's options.
        """
        if age_seconds > (2 * _LONGEST_WINDOW_HOURS + _OVERDUE_AFTER_HOURS) * 3600:
            return True
        options = self._settings.default_options
        has_canary = options.canary_requests > 0
        try:
            job = JobRecord.load(self._storage, object_keys.WorkKeys(job_id))
            if job is not None:
                options, has_canary = job.options, job.has_canary
        except Exception:  # noqa: BLE001
            logger.warning("The job's record cannot be read", job_id=job_id, exc_info=True)
        hours = window_hours(options.completion_window) or 0
        windows = 2 if has_canary else 1
        return age_seconds > (windows * hours + _OVERDUE_AFTER_HOURS) * 3600

    def _running(self, machine: str) -> set[str]:
        """Return the jobs of which Step Functions says that an execution runs."""
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

    def _look_at(self, jobs: Sequence[str], machine: str) -> dict[str, str]:
        """Look at jobs one by one, from where the last run ended; returns what was done for each.

        One after the other is about as fast as the quota allows, and leaves something of it to
        consoles and commands.
        """
        done: dict[str, str] = {}
        for job_id in self._in_turn(jobs):
            if self._time_left() < MARGIN_SECONDS:
                logger.warning("Time ran out; the next run goes on", left=len(jobs) - len(done))
                self._storage.put_json(object_keys.RECONCILER_KEY, {"next": job_id})
                break
            with logger.append_context_keys(job_id=job_id):
                try:
                    done[job_id] = self._look(machine, job_id)
                except Exception:  # noqa: BLE001
                    # One job must not keep the others from being looked at; it is tried again at
                    # the next run, and the error stands in the log and the function's error metric.
                    logger.exception("A job could not be reconciled")
                    done[job_id] = "failed"
        return done

    def _in_turn(self, jobs: Sequence[str]) -> Iterator[str]:
        """Yield jobs in the order of their names, beginning where the last run ran out of time."""
        in_order = sorted(jobs)
        found = self._storage.get_json(object_keys.RECONCILER_KEY) if in_order else None
        start = bisect.bisect_left(in_order, found[0]["next"]) if found else 0
        yield from in_order[start:]
        yield from in_order[:start]

    def _look(self, machine: str, job_id: str) -> str:
        if is_closed(self._storage, object_keys.WorkKeys(job_id)):
            self._storage.delete([object_keys.open_job_key(job_id)])
            return _CLOSED
        marker = self._storage.get_json(object_keys.open_job_key(job_id))
        if marker is None:
            return _CLOSED
        request = stored.from_record(marker[0], JobRequest)
        if self._clock() - parse_timestamp(request.started_at).timestamp() < FRESH_SECONDS:
            return "is fresh"
        return self._closer.close_if_ended(machine, request)
