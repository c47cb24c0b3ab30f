"""Submit one shard attempt: upload its requests to Groq and create its batch, at most once.

The API has no idempotency key, so this step relies on three things: a lease that lets one
invocation at a time work on the shard attempt, a record written before every call that costs money,
and metadata by which a batch can be found again. After an unknown outcome, no batch is created
before the quarantine has passed and a search of the whole list has found nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.polling import within_deadline
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import GroqApiError, log_fields
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.records.closed import is_closed, unless_closed
from groq_batch.records.job import JobRecord
from groq_batch.records.submission import (
    QUARANTINE_SECONDS,
    LeaseLostError,
    Stage,
    Submission,
    SubmissionLease,
)
from groq_batch.steps.outcomes import DEFERRED, SETTLED, StepOutcome
from groq_batch.steps.submit_batch.create import create_batch, record_batch
from groq_batch.steps.submit_batch.failures import (
    continue_after,
    failed_search,
    failed_sending,
)
from groq_batch.steps.submit_batch.leased_attempt import LeasedAttempt
from groq_batch.steps.submit_batch.search import first_batch, uploaded_file
from groq_batch.steps.submit_batch.upload import upload_requests
from groq_batch.telemetry.log import logger


def submit_shard(
    *,
    storage: Storage,
    client: GroqClient,
    job_id: str,
    shard_key: str,
    owner: str,
    tries: int,
    first_check_seconds: int = 1,
    clock: Callable[[], float] = time.time,
) -> StepOutcome:
    """Submit one shard attempt as far as possible without waiting.

    Args:
        storage: The bucket.
        client: The Groq API.
        job_id: The job.
        shard_key: Key of the shard's request lines.
        owner: Identifies this invocation.
        tries: How often this shard attempt has been tried in this round.
        first_check_seconds: Seconds between the creation of a batch and its first status check.
        clock: Returns seconds since 1970.

    Returns:
        What to do next. No response of the API makes this function raise.

    Raises:
        ValueError: ``shard_key`` is not the key of a shard.
    """
    attempt, number = object_keys.shard_of_key(shard_key)
    keys = object_keys.WorkKeys(job_id)
    record_key = keys.submission(attempt, number)
    if is_closed(storage, keys):
        return SETTLED
    found = Submission.load(storage, record_key)
    plan = AttemptPlan.load(storage, keys, attempt) or AttemptPlan(attempt=attempt)
    job = JobRecord.required(storage, keys)
    created = StepOutcome(outcome="settled", wait_seconds=first_check_seconds)
    # An older version may have left a shard here as it was before it was divided.
    if (found is not None and found.value.stage.is_settled) or number in plan.divided:
        if found is None or found.value.batch is None:
            return SETTLED
        return _not_beyond_deadline(created, job, clock())
    origin = plan.origin_of(number)
    if found is None:
        kept = _kept_from_sending(
            storage, keys, job, is_wanted=job.may_send(origin, attempt), now=clock()
        )
        if kept is not None:
            return kept
    elif found.value.lease_until > clock():
        return StepOutcome.wait(found.value.lease_until - clock() + 1)
    try:
        held = SubmissionLease.claim(storage, record_key, found, owner=owner, clock=clock)
    except ConflictError:
        return StepOutcome.wait(5)
    leased = LeasedAttempt(
        storage=storage,
        client=client,
        keys=keys,
        job=job,
        attempt=attempt,
        number=number,
        own_attempt=job.own_attempt(origin, attempt),
        asks_by_url=number in plan.by_url,
        tries=tries,
        held=held,
        clock=clock,
        created=created,
    )
    try:
        with held:
            outcome = unless_closed(storage, keys, lambda: _submit(leased), lambda: SETTLED)
    except LeaseLostError:
        return StepOutcome.wait(5)
    return _not_beyond_deadline(outcome, job, clock())


def _kept_from_sending(
    storage: Storage,
    keys: object_keys.WorkKeys,
    job: JobRecord,
    *,
    is_wanted: bool,
    now: float,
) -> StepOutcome | None:
    """Return the outcome of a shard attempt that must not begin; None if it may.

    Nothing was sent for it, so there is nothing to search for at Groq.
    """
    if not is_wanted or job.is_past_deadline(now) or storage.exists(keys.stopped):
        return SETTLED
    return DEFERRED if storage.exists(keys.account_hold) else None


def _not_beyond_deadline(outcome: StepOutcome, job: JobRecord, now: float) -> StepOutcome:
    """Shorten an outcome's wait so that it ends at the job's deadline, if that is in the future.

    This includes a batch just created: the first status check of an only shard follows that wait.
    """
    seconds = within_deadline(outcome.wait_seconds, deadline_at=job.deadline_at, now=now)
    return replace(outcome, wait_seconds=seconds)


def _submit(leased: LeasedAttempt) -> StepOutcome:
    """Find what was sent before, if that is unknown; then send what is missing."""
    held = leased.held
    unknown_since = held.record.unknown_since
    if unknown_since is not None:
        remaining = unknown_since + QUARANTINE_SECONDS - leased.clock()
        if remaining > 0:
            held.release()
            return StepOutcome.wait(remaining)
        try:
            if _adopt_what_was_sent(leased):
                return SETTLED
        except GroqApiError as error:
            logger.warning("Groq could not be checked", **log_fields(error))
            return continue_after(leased, error, failed_search(error, tries=leased.tries))
        leased.was_unknown = True
    if leased.is_not_wanted:
        held.release(stage=Stage.ABANDONED, unknown_since=None)
        return SETTLED
    if leased.storage.exists(leased.keys.account_hold):
        held.release(unknown_since=None)
        return DEFERRED
    try:
        if held.record.file_id is None:
            upload_requests(leased)
        return create_batch(leased)
    except GroqApiError as error:
        logger.warning("A shard was not submitted", **log_fields(error))
        failure = failed_sending(held.record, error, tries=leased.tries, now=leased.clock())
        return continue_after(leased, error, failure)


def _adopt_what_was_sent(leased: LeasedAttempt) -> bool:
    """Adopt a file or batch that an earlier invocation may have created.

    Returns:
        Whether there is a batch.
    """
    batch = first_batch(leased)
    if batch is not None:
        logger.info("Adopted a batch that already existed", batch_id=batch.id)
        record_batch(leased, batch)
        return True
    file_id = leased.held.record.file_id
    if file_id is None:
        file_id = uploaded_file(leased)
    leased.held.update(
        stage=Stage.UPLOADED if file_id else Stage.CLAIMED,
        file_id=file_id,
        unknown_since=None,
    )
    return False
