"""Send an attempt's unanswered requests as ordinary calls, for a few minutes per invocation."""

from __future__ import annotations

import time
from collections.abc import Callable

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.prices import table_prices
from groq_batch.groq.client import GroqClient
from groq_batch.records.closed import is_closed, unless_closed
from groq_batch.records.job import JobRecord
from groq_batch.records.on_demand import OnDemandProgress
from groq_batch.steps.answer_requests.caller import OnDemandCaller
from groq_batch.steps.outcomes import DEFERRED, SETTLED, StepOutcome
from groq_batch.telemetry.log import logger


def answer_requests(
    *,
    storage: Storage,
    client: GroqClient,
    job_id: str,
    attempt: int,
    owner: str,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> StepOutcome:
    """Send requests of an attempt as ordinary calls until time, budget or limits end it.

    Args:
        storage: The bucket.
        client: The Groq API.
        job_id: The job.
        attempt: The attempt.
        owner: Identifies this invocation as holder of the lease.
        clock: Returns seconds since 1970.
        sleep: Waits some seconds, as the API asks.

    Raises:
        ValueError: The job has no record.
    """
    keys = object_keys.WorkKeys(job_id)
    if is_closed(storage, keys) or storage.exists(keys.stopped):
        return SETTLED
    found = OnDemandProgress.load(storage, keys, attempt)
    if found is None or found.value.ended is not None or clock() >= found.value.ask_until:
        return SETTLED
    job = JobRecord.required(storage, keys)
    record = found.value
    if max(record.lease_until, record.pause_until) > clock():
        return DEFERRED
    claimed = record.claimed(owner, now=clock())
    try:
        etag = claimed.swap(storage, keys, over=found.etag)
    except ConflictError:
        return DEFERRED
    caller = OnDemandCaller(
        storage=storage,
        client=client,
        keys=keys,
        record=claimed,
        etag=etag,
        prices=job.prices or table_prices(),
        clock=clock,
        sleep=sleep,
        begins_slowly=bool(record.open),
    )

    def run() -> StepOutcome:
        caller.run()
        logger.info(
            "Made ordinary calls",
            charged_usd=caller.record.charged_usd,
            waiting=len(caller.record.again),
            ended=caller.record.ended,
        )
        return SETTLED

    return unless_closed(storage, keys, run, lambda: SETTLED)
