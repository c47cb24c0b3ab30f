"""Start one job, unless it has been started before.

The permanent record at ``jobs/<job_id>`` is written before the execution is started. After a crash
between the two, any later event for the job repairs it: starting an execution of the same name
again is harmless, and it is done only while the job is open.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from groq_batch.bucket.s3_errors import ConflictError, UnreadableObjectError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records import stored
from groq_batch.records.job import JobRequest
from groq_batch.steps.outcomes import Output
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

STARTED = "started"
EXISTS = "exists"
_MESSAGES = {
    STARTED: "The job was started; its report shows the progress.",
    EXISTS: 'This upload already has a job; add "again": true to run it once more.',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedJob(Output):
    """A job that was started, now or before.

    Attributes:
        job_id: The job.
        status: ``started``, or ``exists`` if the job had been started before.
        message: The status as a sentence, for users who start jobs manually.
        input: URI of the input.
        report: URI of its report.
    """

    job_id: str
    status: str
    message: str
    input: str
    report: str


def start_job(
    storage: Storage, states: Any, state_machine_arn: str, request: JobRequest
) -> StartedJob:
    """Start a job unless it has been started before.

    Args:
        storage: The bucket.
        states: The client of Step Functions.
        state_machine_arn: The state machine.
        request: The job's input and path.

    Returns:
        The job, and whether this call started it.
    """
    status = STARTED
    open_key = object_keys.open_job_key(request.job_id)
    known = recorded_request(storage, request)
    if known is None:
        # The open marker comes first, so that there is no moment at which a recorded job could be
        # forgotten; the reconciler takes care of a marker without a record.
        storage.put_json(open_key, stored.to_record(request))
        try:
            storage.put_json(
                object_keys.job_key(request.job_id), stored.to_record(request), over=None
            )
        except ConflictError:
            known = recorded_request(storage, request)
            if known is None:
                raise
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


def recorded_request(storage: Storage, request: JobRequest) -> JobRequest | None:
    """Return the request that a job was started for; None if it was never started."""
    key = object_keys.job_key(request.job_id)
    try:
        found = storage.get_foreign_json(key)
    except UnreadableObjectError:
        # It may be encrypted with a former key of the bucket. Its existence is enough: everything
        # but the first caller follows from the upload.
        return replace(request, claimed_by="") if storage.exists(key) else None
    return stored.from_record(found.value, JobRequest) if found else None


def start_execution(
    states: Any, state_machine_arn: str, name: str, execution_input: Mapping[str, Any]
) -> bool:
    """Start an execution unless one of its name exists; tell whether this call started it."""
    try:
        states.start_execution(
            stateMachineArn=state_machine_arn,
            name=name,
            input=json.dumps(execution_input, sort_keys=True),
        )
    except states.exceptions.ExecutionAlreadyExists:
        return False
    return True
