"""Prepare a job: read and check the input, split it into shards, accept or reject it.

One invocation reads an input of the usual size once. Many invocations read a large one (see
``range_plan``); this step then returns the next tasks until all are done. ``read_input`` reads,
``acceptance`` decides what becomes of the job.

Nothing is sent to Groq before the last line has passed. The shards are multipart uploads that are
completed only after that, so that a rejected file leaves no objects. Which uploads are completed is
decided once, when the plan is stored (see ``plan``). The job's record is stored last: if it exists,
so does everything that it names.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from groq_batch.bucket.pending_upload import complete_all
from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.machine_version import FIRST_MACHINE, ONLY_SHARD, READS_MODELS
from groq_batch.domain.only_shard import StepAnswer
from groq_batch.domain.polling import FIRST_PAUSE_SECONDS
from groq_batch.domain.times import timestamp_of
from groq_batch.records.closed import is_closed, unless_closed
from groq_batch.records.job import JobRecord, JobRequest, Stop
from groq_batch.records.model_listing import ModelListing
from groq_batch.reports.delivery import Delivery
from groq_batch.reports.report import running_report
from groq_batch.settings import Settings
from groq_batch.steps.outcomes import Output
from groq_batch.steps.prepare_input.plan import Plan
from groq_batch.steps.prepare_input.range_plan import PendingTasks
from groq_batch.steps.prepare_input.read_input import InputReader
from groq_batch.telemetry.log import logger


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation(Output):
    """Output of the step, with initial values for the state machine's counters.

    Attributes:
        accepted: Whether there are requests to send.
        attempt: Number of the first attempt.
        shards_prefix: Prefix of its shards.
        tasks_prefix: Prefix of tasks to do before this step is called again; empty if none.
        polls: Number of status checks so far.
        resume_in: Seconds to wait before shards that could not be sent are tried again.
        shard_key: Key of the attempt's only shard; empty if it has several.
        tries: Number of tries to send that shard so far.
        outcome: The last outcome of a step for that shard; empty before the first.
    """

    accepted: bool
    attempt: int
    shards_prefix: str
    tasks_prefix: str = ""
    polls: int = 0
    resume_in: int = FIRST_PAUSE_SECONDS
    shard_key: str = ""
    tries: int = 0
    outcome: str = ""


def prepare_input(
    *,
    storage: Storage,
    settings: Settings,
    job_id: str,
    machine: int = FIRST_MACHINE,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Preparation:
    """Check a job's input and store its plan, or return the next tasks for that.

    Args:
        storage: The bucket.
        settings: The stack's settings.
        job_id: The job.
        machine: Version of the state machine definition that the job's execution runs.
        clock: Returns seconds since 1970.
        sleep: Waits some seconds; used while S3 does not show the object yet.

    Returns:
        The output for the state machine; the same again for a job that has been prepared.

    Raises:
        ValueError: There is no such job.
    """
    keys = object_keys.WorkKeys(job_id)
    request = JobRequest.required(storage, job_id)
    nothing_to_send = Preparation(accepted=False, attempt=1, shards_prefix=keys.shards(1))

    def prepare() -> Preparation:
        if is_closed(storage, keys):
            return nothing_to_send
        record = JobRecord.load(storage, keys)
        delivery = Delivery(storage, request)
        if record is None:
            if storage.exists(keys.stopped):
                return nothing_to_send
            delivery.begin(running_report(request, None))
            plan = Plan.load(storage, keys) or make_plan()
            if not isinstance(plan, Plan):
                return replace(nothing_to_send, tasks_prefix=plan.prefix if plan else "")
            complete_all(storage, plan.uploads)
            # If the job was stopped meanwhile, cancel_job saw no record and ends it without rows.
            if storage.exists(keys.stopped):
                return nothing_to_send
            record = plan.record
            _write_record(storage, keys, record)
        delivery.write_running(running_report(request, record))
        step = StepAnswer(knows_only_shards=machine >= ONLY_SHARD)
        numbers = [shard.number for shard in record.shards]
        first = [number for number in numbers if record.first_attempt_of(number) == 1]
        only = step.key_of(keys, 1, first)
        return replace(nothing_to_send, accepted=record.accepted, shard_key=only)

    def make_plan() -> Plan | PendingTasks | None:
        """Return the plan, or the tasks to do first; None if the account may send nothing."""
        listing = None
        if machine >= READS_MODELS:
            listing = _listed_models(storage, keys, at=timestamp_of(clock()))
            if listing.refusal is not None:
                Stop.failed(listing.refusal, at=listing.at).write(storage, keys)
                return None
        reader = InputReader(
            storage=storage,
            settings=settings,
            request=request,
            keys=keys,
            listing=listing,
            clock=clock,
            sleep=sleep,
        )
        return reader.plan()

    return unless_closed(storage, keys, prepare, lambda: nothing_to_send)


def _listed_models(storage: Storage, keys: object_keys.WorkKeys, *, at: str) -> ModelListing:
    """Return the account's list of models; the first one stored is used for the whole job.

    If the list could not be read, an empty one is stored, so that a later list changes nothing.
    """
    return ModelListing.load(storage, keys) or ModelListing(at=at).propose(storage, keys)


def _write_record(storage: Storage, keys: object_keys.WorkKeys, record: JobRecord) -> None:
    try:
        storage.put_json(keys.job_record, record.to_json(), over=None)
    except ConflictError:
        if not storage.exists(keys.job_record):
            raise
        # Another invocation was first; its record comes from the same plan.
        return
    logger.info(
        "Prepared the input",
        accepted=record.accepted,
        lines=record.lines,
        good=record.good,
        invalid=record.invalid,
        shards=len(record.shards),
        bytes=record.input_bytes,
        problems=record.problems_total,
        code=record.failure.code if record.failure else None,
    )
