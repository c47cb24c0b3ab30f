"""Ask for the account's models, before a job's input is read by a step that may not read the key.

A key or a plan that is refused ends the job here, before minutes are spent on its input. Any other
failure is no reason to: the job goes on without a list, and the API decides about its models.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from groq_batch import layout, metrics
from groq_batch.delivery import Delivery
from groq_batch.errors import (
    AccountError,
    GroqApiError,
    NotSentError,
    RateLimitedError,
    UnknownOutcomeError,
)
from groq_batch.groq_api import GroqClient
from groq_batch.jobs import JobRequest, is_closed, timestamp
from groq_batch.models import ListedModel, ModelListing, read_models
from groq_batch.observability import facts, logger
from groq_batch.reports import running_report
from groq_batch.storage import Storage

ASK_SECONDS = 10.0
"""How long asking may take in all."""

ENDING_CODES = frozenset(
    {"invalid_api_key", "plan_required", "spend_limit", "secret_missing", "secret_unreadable"}
)
"""Faults of the account that end a job. Others, such as a key that may not list models, may well
let its batches pass."""

_PAUSE_SECONDS = 0.5


def read_account_models(
    *,
    storage: Storage,
    client: GroqClient,
    job_id: str,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Ask for the models that a job's account may use, and write down what came of it.

    Args:
        storage: The bucket.
        client: The Groq API.
        job_id: The job.
        clock: Seconds since 1970.
        sleep: Waits some seconds, as the API asks.

    Returns:
        How many models there are, None without a list, for whoever looks at the execution.

    Raises:
        ValueError: There is no such job.
    """
    keys = layout.WorkKeys(job_id)
    request = JobRequest.load(storage, job_id)
    if request is None:
        raise ValueError(f"There is no job {job_id}: {layout.job_key(job_id)} does not exist")
    listing = ModelListing.load(storage, keys)
    if listing is None and not (storage.exists(keys.stopped) or is_closed(storage, keys)):
        Delivery(storage, request).announce(running_report(request, None))
        at = timestamp(datetime.fromtimestamp(clock(), UTC))
        listing = _ask(client.within(ASK_SECONDS), at, sleep).propose(storage, keys)
    models = listing.models if listing is not None else None
    return {"models": len(models) if models is not None else None}


def _ask(client: GroqClient, at: str, sleep: Callable[[float], None]) -> ModelListing:
    """Ask once, and once more if there is reason and time for it."""
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
        ends_job = isinstance(error, AccountError) and error.code in ENDING_CODES
        if not ends_job:
            logger.warning("The models could not be listed; goes on without", **facts(error))
            return ModelListing(at=at)
        logger.warning("The account is refused", **facts(error))
        metrics.groq_failed(error)
        return ModelListing(at=at, refusal={"code": str(error.code), "message": str(error)})


def _listing(client: GroqClient, at: str) -> ModelListing:
    models: dict[str, ListedModel] | None = read_models(client.list_models())
    if models is None:
        logger.warning("The list of models names none; goes on without")
    else:
        logger.info("Listed the models", models=len(models))
    return ModelListing(at=at, models=models)


def _pause(error: GroqApiError) -> float | None:
    """Return after how many seconds to ask once more; None when that is of no use."""
    if isinstance(error, NotSentError):
        return _PAUSE_SECONDS
    if isinstance(error, RateLimitedError | UnknownOutcomeError):
        return error.retry_after_seconds
    return None
