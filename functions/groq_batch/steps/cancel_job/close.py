"""Close jobs whose execution has ended without a final report.

A stopped, failed or timed-out execution is followed by a collecting execution. The stop marker is
written first, then the batches running at Groq are cancelled, then the same state machine collects
what was paid for and finishes the job. The event that reports the end of an execution is delivered
on a best-effort basis, so a reconciler also searches for such jobs; both use the same functions.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from groq_batch.bucket.s3_errors import (
    ConflictError,
    UnwritableObjectError,
)
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch
from groq_batch.domain.canary import unjudged_verdict
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.job_id import collector_name, collector_number, job_id_of_execution
from groq_batch.domain.polling import FIRST_PAUSE_SECONDS
from groq_batch.domain.reason import Reason
from groq_batch.domain.times import timestamp_of
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import GroqApiError, log_fields
from groq_batch.records import stored
from groq_batch.records.attempt import AttemptState, StoredAttempt
from groq_batch.records.closed import close, is_closed
from groq_batch.records.job import JobRecord, JobRequest, Stop
from groq_batch.records.on_demand import CallsEnd, end_calls
from groq_batch.settings import Settings
from groq_batch.steps.finish_job.finish import finish_job
from groq_batch.steps.outcomes import Output
from groq_batch.steps.start_job.one_job import start_execution, start_job
from groq_batch.telemetry.log import logger

MAX_COLLECTORS = 3
"""Maximum of collecting executions per job. After the last one the report is written without
another, so that a failing collector cannot loop."""
_ENDED = ("FAILED", "TIMED_OUT", "ABORTED")
_RUNNING = ("RUNNING", "PENDING_REDRIVE")
_DESCRIBE_PAUSES = (1.0, 2.0, 4.0)
"""Seconds between descriptions of an execution whose end was reported."""


class UnknownJobError(Exception):
    """A job's execution has ended, but the bucket has no record of the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectPlan(Output):
    """Where a collecting execution (or the rest of a failing one) continues.

    ``shard_key`` is the key of the attempt's only shard; empty if it has several. Definitions
    without a state for a single shard ignore it.
    """

    mode: str
    job_id: str
    bucket: str
    accepted: bool
    attempt: int
    shards_prefix: str
    polls: int = 0
    resume_in: int = FIRST_PAUSE_SECONDS
    shard_key: str = ""
    tries: int = 0
    outcome: str = ""


class JobCloser:
    """Closes jobs whose executions ended without closing them."""

    def __init__(
        self,
        *,
        storage: Storage,
        client: GroqClient,
        states: Any,
        events: Any,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Use the clients ``states`` (Step Functions) and ``events`` (EventBridge)."""
        self._storage = storage
        self._client = client
        self._states = states
        self._events = events
        self._settings = settings
        self._clock = clock
        self._sleep = sleep

    # -- triggers --------------------------------------------------------------------------------

    def on_status_change(self, detail: Mapping[str, Any]) -> str:
        """Handle ``Step Functions Execution Status Change``; return what was done.

        Events may arrive twice, late and out of order, and may lack everything but names. So the
        state of the execution is read from Step Functions.
        """
        machine, name = str(detail["stateMachineArn"]), str(detail["name"])
        if "/" in machine.rsplit(":", 1)[-1]:
            return "ignored: a child of a Distributed Map"
        status, error = self._describe_ended(detail)
        if status not in _ENDED:
            return f"ignored: the execution is {status}"
        return self._close(machine, name, status, error)

    def stop(self, job_id: str, error: str) -> CollectPlan:
        """Stop a job whose own execution met a failure and continues by collecting."""
        stop = self._write_stop(job_id, "FAILED", error)
        self._cancel_batches(job_id)
        logger.info("Stopped the job; paid results will be collected", code=stop.code)
        return self._plan(job_id)

    def close_if_ended(self, state_machine_arn: str, request: JobRequest) -> str:
        """Close an open job if its last execution has ended; return what was done.

        Step Functions is called once. The name of the last execution is recorded before it is
        started, so if it does not exist, its start failed.

        Args:
            state_machine_arn: The state machine.
            request: The request that the job was started for.
        """
        number = self._last_collector(request.job_id)
        name = collector_name(request.job_id, number) if number else request.job_id
        status, error = self._describe(_execution_arn(state_machine_arn, name))
        if status is None and number:
            return self._collect(state_machine_arn, request.job_id, number)
        if status is None:
            start_job(self._storage, self._states, state_machine_arn, request)
            return "started"
        if status not in (*_ENDED, "SUCCEEDED"):
            return f"is {status}"
        return self._close(state_machine_arn, name, status, error)

    # -- one job ---------------------------------------------------------------------------------

    def _describe(self, arn: str) -> tuple[str | None, str]:
        return _status_and_error(self._execution(arn))

    def _describe_ended(self, detail: Mapping[str, Any]) -> tuple[str | None, str]:
        """Return the status and error of an execution whose end was reported, like ``_describe``.

        Descriptions are eventually consistent
        (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html).
        So an execution that seems to be running, or not to exist, is described again, unless it was
        redriven since. Otherwise its batches would run on until the reconciler finds the job.
        """
        arn, redrives = str(detail["executionArn"]), int(detail.get("redriveCount") or 0)
        answer = self._execution(arn)
        for seconds in _DESCRIBE_PAUSES:
            if answer and answer["status"] not in _RUNNING:
                break
            if answer and int(answer.get("redriveCount") or 0) > redrives:
                break
            self._sleep(seconds)
            answer = self._execution(arn)
        return _status_and_error(answer)

    def _execution(self, arn: str) -> Mapping[str, Any] | None:
        """Return the description of an execution, or None if there is none."""
        try:
            answer: Mapping[str, Any] = self._states.describe_execution(executionArn=arn)
        except self._states.exceptions.ExecutionDoesNotExist:
            return None
        return answer

    def _close(self, machine: str, name: str, status: str, error: str) -> str:
        job_id = job_id_of_execution(name)
        keys = object_keys.WorkKeys(job_id)
        if not self._is_known(job_id):
            if not object_keys.is_job_id(job_id):
                return "ignored: not a job"
            if is_closed(self._storage, keys):
                return "was closed, and its record is gone"
            raise UnknownJobError(
                f"The execution {name} has ended ({status}), and the bucket "
                f"{self._storage.bucket} has no record of its job at "
                f"{object_keys.job_key(job_id)}. Batches of it may have been paid "
                "for. Was the job started with another bucket? "
                'See "An execution without a job" in docs/operations.md.'
            )
        if is_closed(self._storage, keys):
            # Only its files at Groq may remain. Groq deletes those that cannot be deleted now.
            self._finish(job_id)
            return "was closed"
        self._write_stop(job_id, status, error)
        return self._collect(machine, job_id, collector_number(name) + 1)

    def _is_known(self, job_id: str) -> bool:
        """Tell whether a job has its record. One deleted too early is restored from the marker."""
        if JobRequest.load(self._storage, job_id) is not None:
            return True
        marker = self._storage.get_json(object_keys.open_job_key(job_id))
        if marker is None:
            return False
        logger.warning("The record of an open job was removed; it is written again", job_id=job_id)
        with contextlib.suppress(ConflictError):
            self._storage.put_json(object_keys.job_key(job_id), marker.value, over=None)
        return True

    def _collect(self, machine: str, job_id: str, number: int) -> str:
        """Start a collecting execution of a stopped job; after the last one finish without it."""
        self._cancel_batches(job_id)
        if number > MAX_COLLECTORS:
            self._finish_without_collecting(job_id)
            return "finished without collecting"
        collector = collector_name(job_id, number)
        self._note_collector(job_id, number)
        start_execution(self._states, machine, collector, self._plan(job_id).to_json())
        logger.info("Collecting the paid results", job_id=job_id, execution=collector)
        return f"collecting as {collector}"

    def _last_collector(self, job_id: str) -> int:
        """Return the number of the collecting execution started last; 0 if there is none.

        For a job that an older version of this code began to collect, the number may be too small;
        each reconciliation then finds one more execution.
        """
        found = self._storage.get_json(object_keys.WorkKeys(job_id).collector)
        return int(found.value["number"]) if found else 0

    def _note_collector(self, job_id: str, number: int) -> None:
        """Record the number of the collecting execution about to start, unless a later exists."""
        key = object_keys.WorkKeys(job_id).collector
        found = self._storage.get_json(key)
        if found is not None and int(found.value["number"]) >= number:
            return
        try:
            self._storage.put_json(
                key,
                {"schema_version": stored.SCHEMA_VERSION, "number": number},
                over=found.etag if found else None,
            )
        except ConflictError:
            # Written by an invocation that handles the same end of the execution, or a later one.
            logger.info("Another invocation also collects", job_id=job_id)

    def _write_stop(self, job_id: str, status: str, error: str) -> Stop:
        moment = timestamp_of(self._clock())
        return _stop_of(status, error, moment).write(self._storage, object_keys.WorkKeys(job_id))

    def _plan(self, job_id: str) -> CollectPlan:
        """Return where collecting begins: the last attempt with a batch or an ordinary call."""
        keys = object_keys.WorkKeys(job_id)
        job = JobRecord.load(self._storage, keys)
        attempts = [
            int(folder.removeprefix("attempt-"))
            for folder in self._storage.folders(keys.all_submissions)
        ]
        attempts += [
            object_keys.attempt_of_calls(found.key)
            for found in self._storage.objects(keys.all_on_demand)
        ]
        attempt = max(attempts, default=1)
        shards = list(itertools.islice(self._storage.objects(keys.shards(attempt)), 2))
        return CollectPlan(
            mode="collect",
            job_id=job_id,
            bucket=self._storage.bucket,
            accepted=job is not None and job.accepted,
            attempt=attempt,
            shards_prefix=keys.shards(attempt),
            shard_key=shards[0].key if len(shards) == 1 else "",
        )

    def _cancel_batches(self, job_id: str) -> None:
        """Cancel the batches known to run at Groq; the status checks cancel the others."""
        keys = object_keys.WorkKeys(job_id)
        plan = self._plan(job_id)
        job = JobRecord.load(self._storage, keys)
        if job is None or not plan.accepted:
            return
        for entry in self._attempt(keys, job, plan.attempt).state.pending:
            if entry.batch is not None:
                self._cancel(entry.batch)

    def _attempt(self, keys: object_keys.WorkKeys, job: JobRecord, attempt: int) -> StoredAttempt:
        """Return the current state of an attempt's batches."""
        found = StoredAttempt.load(self._storage, keys, attempt) or StoredAttempt(
            AttemptState.begin(self._storage, keys, job, attempt, started_at=self._clock())
        )
        found.state.add_rest_shards(job)
        found.state.refresh(self._storage, keys)
        return found

    def _cancel(self, batch: Batch) -> None:
        try:
            self._client.cancel_batch(batch.id)
        except GroqApiError as error:
            logger.warning(
                "A batch could not be cancelled yet", batch_id=batch.id, **log_fields(error)
            )

    def _finish_without_collecting(self, job_id: str) -> None:
        """Fetch what Groq still provides and write the final report. This is the last resort.

        Shards are stored one by one. If the function runs out of time, the next reconciliation
        continues with the remaining shards.
        """
        keys = object_keys.WorkKeys(job_id)
        plan = self._plan(job_id)
        job = JobRecord.load(self._storage, keys)
        if job is not None and plan.accepted:
            self._settle_at_last(job_id, job, plan.attempt)
            if job.awaits_verdict:
                # The canary is not judged any more; the requests after it get rows that say so.
                verdict = unjudged_verdict(None, rest_attempt=plan.attempt + 1)
                job = job.write_verdict(self._storage, keys, verdict)
            if job.verdict is not None and plan.attempt < job.verdict.rest_attempt:
                self._settle_at_last(job_id, job, job.verdict.rest_attempt)
        self._finish(job_id, gives_up_lost_rows=True)
        close(self._storage, job_id)

    def _settle_at_last(self, job_id: str, job: JobRecord, attempt: int) -> None:
        """Store the rows of an attempt's shards with the results that Groq has now."""
        # Imported here, because this is the last resort, and a tenth of what there is to import.
        from groq_batch.steps.download_results.download import (  # noqa: PLC0415
            store_shard_without_waiting,
        )

        keys = object_keys.WorkKeys(job_id)
        found = self._attempt(keys, job, attempt)
        state = found.state
        state.gave_up, state.download_rounds = True, 0
        found.save(self._storage, keys)
        end_calls(self._storage, keys, attempt, CallsEnd.STOPPED)
        for number in state.entries:
            try:
                store_shard_without_waiting(
                    storage=self._storage,
                    client=self._client,
                    job_id=job_id,
                    shard_key=keys.shard(attempt, number),
                )
            except Exception:  # noqa: BLE001
                # A working file was removed, for example. The rows of the other shards, and those
                # of this one's earlier attempts, can still be delivered.
                logger.exception("The rows of a shard could not be stored", shard=number)

    def _finish(self, job_id: str, *, gives_up_lost_rows: bool = False) -> None:
        finish_job(
            storage=self._storage,
            client=self._client,
            events=self._events,
            settings=self._settings,
            job_id=job_id,
            gives_up_lost_rows=gives_up_lost_rows,
            clock=self._clock,
        )


def _execution_arn(machine: str, name: str) -> str:
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


def _stop_of(status: str, error: str, moment: str) -> Stop:
    """Return the reason for the report, derived from the execution's final status."""
    if status == "ABORTED":
        return Stop(
            status="cancelled",
            code=ErrorCode.CANCELLED,
            message="The job was stopped before its end. Answers received until then are in the "
            "results; run the rest again from failed/, under a new name.",
            at=moment,
        )
    if status == "TIMED_OUT":
        text = (
            "The execution reached its time limit. Answers received until then are in the "
            "results; run the rest again from failed/, under a new name."
        )
        return Stop.failed(Reason(ErrorCode.TIMED_OUT, text), at=moment)
    if error == UnwritableObjectError.__name__:
        text = (
            "S3 does not allow the functions to write the job's report or its working "
            "files; a policy or a lock denies it, and the function's log names the key. Answers "
            "received until then are in the results. Allow it before the next upload."
        )
        return Stop.failed(Reason(ErrorCode.PERMISSION_DENIED, text), at=moment)
    cause = re.sub(r"[^A-Za-z0-9_.]", "", error)[:100] or "without a name"
    text = (
        f"The execution failed with the error {cause}. See the execution in the Step "
        f"Functions console and the log of the function named there. Answers received until then "
        f"are in the results."
    )
    return Stop.failed(Reason(ErrorCode.INTERNAL_ERROR, text), at=moment)


def _status_and_error(answer: Mapping[str, Any] | None) -> tuple[str | None, str]:
    """Return the status and the error of a described execution; None and nothing without one."""
    return (answer["status"], answer.get("error") or "") if answer else (None, "")
