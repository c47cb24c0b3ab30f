"""Close jobs whose execution has ended without a final report.

A stopped, failed or timed-out execution is followed by a collecting one: the fence goes up first,
then what still runs at Groq is cancelled, then the same state machine collects what was paid for
and finishes the job. The event that tells of the end is delivered at best effort only, so a
reconciler looks for such jobs as well; both come to the same functions.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from groq_batch import layout, metrics
from groq_batch.batches import Batch
from groq_batch.boards import Board
from groq_batch.config import Settings
from groq_batch.download import settle_shard_at_last
from groq_batch.errors import GroqApiError
from groq_batch.finish import close, finish_job
from groq_batch.groq_api import GroqClient
from groq_batch.jobs import JobRecord, JobRequest, Stop, is_closed, parse_timestamp, timestamp
from groq_batch.observability import facts, logger
from groq_batch.options import window_hours
from groq_batch.start import start_execution, start_job
from groq_batch.status import FIRST_PAUSE_SECONDS
from groq_batch.storage import Storage, UnwritableObjectError

MOST_COLLECTORS = 3
"""Collecting executions of one job. After the last the report is written without them, so that a
failing collector cannot go round for ever."""

FRESH_SECONDS = 180
"""Jobs younger than this are left alone by the reconciler: what Step Functions tells of a new
execution may be older than the execution."""

_ENDED = ("FAILED", "TIMED_OUT", "ABORTED")
_SHORTEST_WINDOW_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectPlan:
    """What a collecting execution (or the rest of a failing one) goes on with."""

    mode: str
    job_id: str
    bucket: str
    accepted: bool
    attempt: int
    shards_prefix: str
    polls: int = 0
    resume_in: int = FIRST_PAUSE_SECONDS

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return asdict(self)


class JobCloser:
    """Brings jobs to their end that did not come to it by themselves."""

    def __init__(
        self,
        *,
        storage: Storage,
        client: GroqClient,
        states: Any,
        events: Any,
        settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use the boto3 clients ``states`` (Step Functions) and ``events`` (EventBridge)."""
        self._storage = storage
        self._client = client
        self._states = states
        self._events = events
        self._settings = settings
        self._clock = clock

    # -- triggers --------------------------------------------------------------------------------

    def on_status_change(self, detail: Mapping[str, Any]) -> str:
        """Act on ``Step Functions Execution Status Change``; returns what was done.

        Events may come twice, late and out of order, and may leave out everything but names; the
        execution itself is asked.
        """
        machine, name = str(detail["stateMachineArn"]), str(detail["name"])
        if "/" in machine.rsplit(":", 1)[-1]:
            return "ignored: a child of a Distributed Map"
        status, error = self._describe(str(detail["executionArn"]))
        if status not in _ENDED:
            return f"ignored: the execution is {status}"
        return self._close(machine, name, status, error)

    def stop(self, job_id: str, error: str) -> CollectPlan:
        """Stop a job whose own execution has met a failure and goes on by collecting."""
        stop = self._fence(job_id, "FAILED", error)
        self._cancel_batches(job_id)
        logger.info("Stopped the job; what was paid for is collected", code=stop.code)
        return self._plan(job_id)

    def reconcile(self, state_machine_arn: str) -> dict[str, str]:
        """Look at every job without a final report; returns what was done for each.

        Args:
            state_machine_arn: The state machine.
        """
        done: dict[str, str] = {}
        open_jobs = metrics.OpenJobs()
        for item in self._storage.objects(layout.OPEN_JOBS_PREFIX):
            job_id = item.key.removeprefix(layout.OPEN_JOBS_PREFIX)
            with logger.append_context_keys(job_id=job_id):
                try:
                    done[job_id] = self._reconcile(state_machine_arn, job_id, open_jobs)
                except Exception:  # noqa: BLE001
                    # One job must not keep the others from being looked at; it is tried again at
                    # the next run, and the error stands in the log and the function's error metric.
                    logger.exception("A job could not be reconciled")
                    done[job_id] = "failed"
        open_jobs.publish()
        logger.info("Reconciled the open jobs", jobs=len(done), done=Counter(done.values()))
        if "failed" in done.values():
            raise ReconcileError(
                "Open jobs could not be reconciled: "
                + ", ".join(job for job, result in done.items() if result == "failed")[:1000]
            )
        return done

    # -- one job ---------------------------------------------------------------------------------

    def _reconcile(self, machine: str, job_id: str, open_jobs: metrics.OpenJobs) -> str:
        if is_closed(self._storage, layout.WorkKeys(job_id)):
            self._storage.delete([layout.open_job_key(job_id)])
            return "was closed"
        marker = self._storage.get_json(layout.open_job_key(job_id))
        if marker is None:
            return "was closed"
        request = JobRequest.from_json(marker[0])
        age = self._clock() - parse_timestamp(request.started_at).timestamp()
        open_jobs.add(age_seconds=age, is_overdue=self._is_overdue(job_id, age))
        if age < FRESH_SECONDS:
            return "is fresh"
        name, status, error = self._latest_execution(machine, job_id)
        if status is None:
            start_job(self._storage, self._states, machine, request)
            return "started"
        if status not in (*_ENDED, "SUCCEEDED"):
            return f"is {status}"
        return self._close(machine, name, status, error)

    def _is_overdue(self, job_id: str, age_seconds: float) -> bool:
        """Tell whether a job is older than the window of one batch and an hour for all around it.

        Its first attempt has used up the window then, or Groq cannot be reached.
        """
        if age_seconds < _SHORTEST_WINDOW_SECONDS:
            return False
        job = JobRecord.load(self._storage, layout.WorkKeys(job_id))
        options = job.options if job is not None else self._settings.default_options
        hours = window_hours(options.completion_window) or 0
        return age_seconds > (hours + 1) * 3600

    def _latest_execution(self, machine: str, job_id: str) -> tuple[str, str | None, str]:
        """Return name, status and error of a job's last execution; status None when it has none."""
        found: tuple[str, str | None, str] = (job_id, None, "")
        for name in self._execution_names(job_id):
            status, error = self._describe(_execution_arn(machine, name))
            if status is None:
                break
            found = (name, status, error)
        return found

    @staticmethod
    def _execution_names(job_id: str) -> Iterator[str]:
        yield job_id
        for number in range(1, MOST_COLLECTORS + 1):
            yield layout.collector_name(job_id, number)

    def _describe(self, arn: str) -> tuple[str | None, str]:
        try:
            answer = self._states.describe_execution(executionArn=arn)
        except self._states.exceptions.ExecutionDoesNotExist:
            return None, ""
        return answer["status"], answer.get("error") or ""

    def _close(self, machine: str, name: str, status: str, error: str) -> str:
        job_id = layout.job_id_of_execution(name)
        keys = layout.WorkKeys(job_id)
        if JobRequest.load(self._storage, job_id) is None:
            return "ignored: not a job"
        if is_closed(self._storage, keys):
            # Its files at Groq may be all that is left; what cannot be deleted now, Groq deletes.
            self._finish(job_id)
            return "was closed"
        self._fence(job_id, status, error)
        self._cancel_batches(job_id)
        number = layout.collector_number(name) + 1
        if number > MOST_COLLECTORS:
            self._finish_without_collecting(job_id)
            return "finished without collecting"
        collector = layout.collector_name(job_id, number)
        start_execution(self._states, machine, collector, self._plan(job_id).to_json())
        logger.info("Collecting what was paid for", job_id=job_id, execution=collector)
        return f"collecting as {collector}"

    def _fence(self, job_id: str, status: str, error: str) -> Stop:
        moment = timestamp(datetime.fromtimestamp(self._clock(), UTC))
        return _stop_of(status, error, moment).write(self._storage, layout.WorkKeys(job_id))

    def _plan(self, job_id: str) -> CollectPlan:
        """Return where collecting begins: at the last attempt of which anything was sent."""
        keys = layout.WorkKeys(job_id)
        job = JobRecord.load(self._storage, keys)
        attempts = [
            int(folder.removeprefix("attempt-"))
            for folder in self._storage.folders(keys.all_submissions)
        ]
        attempt = max(attempts, default=1)
        return CollectPlan(
            mode="collect",
            job_id=job_id,
            bucket=self._storage.bucket,
            accepted=job is not None and job.accepted,
            attempt=attempt,
            shards_prefix=keys.shards(attempt),
        )

    def _cancel_batches(self, job_id: str) -> None:
        """Cancel what runs at Groq, as far as known now; the status checks see to the rest."""
        keys = layout.WorkKeys(job_id)
        plan = self._plan(job_id)
        if not plan.accepted:
            return
        board = Board.load(self._storage, keys, plan.attempt) or Board.begin(
            self._storage, keys, plan.attempt, started_at=self._clock()
        )
        board.refresh(self._storage, keys)
        for entry in board.pending:
            if entry.batch is not None:
                self._cancel(entry.batch)

    def _cancel(self, batch: Batch) -> None:
        try:
            self._client.cancel_batch(batch.id)
        except GroqApiError as error:
            logger.warning("A batch could not be cancelled yet", batch_id=batch.id, **facts(error))

    def _finish_without_collecting(self, job_id: str) -> None:
        """Fetch what Groq still gives and write the final report; the last resort.

        Shards are stored one by one: should the function's time not do for all of them, the next
        look at the open jobs goes on with the rest.
        """
        keys = layout.WorkKeys(job_id)
        plan = self._plan(job_id)
        if plan.accepted:
            board = Board.load(self._storage, keys, plan.attempt) or Board.begin(
                self._storage, keys, plan.attempt, started_at=self._clock()
            )
            board.refresh(self._storage, keys)
            board.lost, board.download_rounds = True, 0
            board.save(self._storage, keys)
            for number in board.entries:
                settle_shard_at_last(
                    storage=self._storage,
                    client=self._client,
                    job_id=job_id,
                    shard_key=keys.shard(plan.attempt, number),
                )
        self._finish(job_id)
        close(self._storage, job_id)

    def _finish(self, job_id: str) -> None:
        finish_job(
            storage=self._storage,
            client=self._client,
            events=self._events,
            settings=self._settings,
            job_id=job_id,
            clock=self._clock,
        )


class ReconcileError(Exception):
    """Some open jobs could not be looked at; the others were."""


def _execution_arn(machine: str, name: str) -> str:
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


def _stop_of(status: str, error: str, moment: str) -> Stop:
    """Return what the report will say of an execution that ended so."""
    if status == "ABORTED":
        return Stop(
            status="cancelled",
            code="cancelled",
            message="The job was stopped before its end. What was answered until then is in the "
            "results; run failed/ again under a name of its own for the rest.",
            at=moment,
        )
    if status == "TIMED_OUT":
        return Stop(
            status="failed",
            code="timed_out",
            message="The execution reached its time limit. What was answered until then is in the "
            "results; run failed/ again under a name of its own for the rest.",
            at=moment,
        )
    if error == UnwritableObjectError.__name__:
        return Stop(
            status="failed",
            code="permission_denied",
            message="S3 does not allow the functions to write the job's report or its working "
            "files; a policy or a lock denies it, and the function's log names the key. What was "
            "answered is in the results. Allow it before the next upload.",
            at=moment,
        )
    cause = re.sub(r"[^A-Za-z0-9_.]", "", error)[:100] or "without a name"
    return Stop(
        status="failed",
        code="internal_error",
        message=f"The execution failed with the error {cause}. Look at it in the Step Functions "
        f"console and at the log of the function named there; what was answered is in the results.",
        at=moment,
    )
