"""Read the account's models before a job's input is read by a step without access to the key.

A rejected key or plan ends the job here, before minutes are spent on its input. Any other failure
is ignored: the job continues without a list, and the API decides about its models.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.models import ListedModel, read_models
from groq_batch.domain.reason import Reason
from groq_batch.domain.times import timestamp_of
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NotSentError,
    RateLimitedError,
    UnknownOutcomeError,
    log_fields,
)
from groq_batch.records.closed import is_closed
from groq_batch.records.job import JobRequest
from groq_batch.records.model_listing import ModelListing
from groq_batch.reports.delivery import Delivery
from groq_batch.reports.report import running_report
from groq_batch.steps.outcomes import UNREADABLE_SECRET_PAUSES_SECONDS, Output
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

ASK_SECONDS = 10.0
"""Time limit for reading the list, in seconds."""
ENDING_CODES = frozenset(
    {
        ErrorCode.INVALID_API_KEY,
        ErrorCode.PLAN_REQUIRED,
        ErrorCode.SPEND_LIMIT,
        ErrorCode.SECRET_MISSING,
        ErrorCode.SECRET_UNREADABLE,
    }
)
"""Account errors that end a job. With others, such as a key that may not list models, batches may
still work."""
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsOutcome(Output):
    """The state machine's next action.

    Attributes:
        outcome: ``done``, or ``wait`` to read the list again.
        wait_seconds: Seconds to wait before that; an integer, as Wait states require.
        asked: How often the list was requested so far.
    """

    outcome: str
    wait_seconds: int = 1
    asked: int = 0


def read_account_models(
    *,
    storage: Storage,
    client: GroqClient,
    job_id: str,
    asked: int,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> ModelsOutcome:
    """Read the models that a job's account may use, and record the result.

    Args:
        storage: The bucket.
        client: The Groq API.
        job_id: The job.
        asked: How often the list was requested before.
        clock: Returns seconds since 1970.
        sleep: Waits some seconds, as the API asks.

    Raises:
        ValueError: There is no such job.
    """
    keys = object_keys.WorkKeys(job_id)
    request = JobRequest.required(storage, job_id)
    done = ModelsOutcome(outcome="done", asked=asked + 1)
    is_over = storage.exists(keys.stopped) or is_closed(storage, keys)
    if is_over or ModelListing.load(storage, keys) is not None:
        return done
    Delivery(storage, request).announce(running_report(request, None))
    at = timestamp_of(clock())
    try:
        listing = _ask(client.within(ASK_SECONDS), at, sleep)
    except AccountError as error:
        logger.warning("Groq refuses the account", **log_fields(error))
        metrics.groq_failed(error.category)
        is_unreadable = error.code == ErrorCode.SECRET_UNREADABLE
        if is_unreadable and asked < len(UNREADABLE_SECRET_PAUSES_SECONDS):
            pause = UNREADABLE_SECRET_PAUSES_SECONDS[asked]
            return ModelsOutcome(outcome="wait", wait_seconds=pause, asked=asked + 1)
        listing = ModelListing(at=at, refusal=Reason(str(error.code), str(error)))
    listing.propose(storage, keys)
    return done


def _ask(client: GroqClient, at: str, sleep: Callable[[float], None]) -> ModelListing:
    """Request the list, and retry once if that is useful and time allows.

    Raises:
        AccountError: The error ends the job.
    """
    until = time.monotonic() + ASK_SECONDS
    try:
        try:
            return _listing(client, at)
        except (NotSentError, RateLimitedError, UnknownOutcomeError) as error:
            pause = _pause(error)
            if pause is None or time.monotonic() + pause >= until:
                raise
            sleep(pause)
        return _listing(client, at)
    except GroqApiError as error:
        if isinstance(error, AccountError) and error.code in ENDING_CODES:
            raise
        logger.warning("The models could not be listed; continuing without", **log_fields(error))
        return ModelListing(at=at)


def _listing(client: GroqClient, at: str) -> ModelListing:
    models: dict[str, ListedModel] | None = read_models(client.list_models())
    if models is None:
        logger.warning("The list of models is empty or has more pages; continuing without")
    else:
        logger.info("Listed the models", models=len(models))
    return ModelListing(at=at, models=models)


def _pause(error: NotSentError | RateLimitedError | UnknownOutcomeError) -> float | None:
    """Return the seconds to wait before a retry; None if the API does not say."""
    return _PAUSE_SECONDS if isinstance(error, NotSentError) else error.retry_after_seconds
