"""Record that Groq did not do what a shard attempt needs, and decide how it continues."""

from __future__ import annotations

from groq_batch.domain.error_code import ErrorCode
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NotFoundError,
    NotSentError,
    RateLimitedError,
    RequestRefusedError,
    UnknownOutcomeError,
    log_fields,
    reason_of,
)
from groq_batch.records.submission import QUARANTINE_SECONDS, Stage
from groq_batch.steps.outcomes import (
    DEFERRED,
    SETTLED,
    UNREADABLE_SECRET_PAUSES_SECONDS,
    StepOutcome,
    account_hold,
    backoff_seconds,
    pause_seconds,
)
from groq_batch.steps.submit_batch.leased_attempt import LeasedAttempt
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

_SECOND_LOOK_SECONDS = 10
_MISSING_FILE_TRIES = 5
_MAX_TRIES_OF_A_ROUND = 8
"""After this many tries, a quarter of an hour unless the API asks for more, the shard is left to
the job, which reports what it waits for and has the shard tried again."""


def sending_failed(leased: LeasedAttempt, error: GroqApiError) -> StepOutcome:
    """Record a failure of the upload or the create and return how to continue.

    Raises:
        GroqApiError: Nothing is known of this error.
        LeaseLostError: Another invocation has taken over.
    """
    logger.warning("A shard was not submitted", **log_fields(error))
    metrics.groq_failed(error.category)
    held, note = leased.held, reason_of(error)
    stage = Stage.UPLOADED if held.record.file_id else Stage.CLAIMED
    if isinstance(error, UnknownOutcomeError):
        held.release(unknown_since=leased.clock(), may_have_orphans=True, error=note)
        return StepOutcome.wait(QUARANTINE_SECONDS)
    if isinstance(error, RateLimitedError | NotSentError):
        held.release(stage=stage, error=note)
        return _later(leased, error)
    if isinstance(error, AccountError):
        held.release(stage=stage, error=note)
        return _account_refuses(leased, error)
    creating = held.record.stage is Stage.CREATING
    if isinstance(error, NotFoundError) and creating and leased.tries < _MISSING_FILE_TRIES:
        # Groq does not (yet) have the uploaded file: forget it and upload once more.
        held.release(stage=Stage.CLAIMED, file_id=None, error=note)
        return StepOutcome.wait(backoff_seconds(leased.tries))
    if isinstance(error, RequestRefusedError):
        held.release(stage=Stage.REFUSED, error=note)
        return SETTLED
    raise error


def search_failed(leased: LeasedAttempt, error: GroqApiError) -> StepOutcome:
    """Record that a search at Groq failed, so the outcome remains unknown.

    Raises:
        LeaseLostError: Another invocation has taken over.
    """
    logger.warning("Groq could not be checked", **log_fields(error))
    metrics.groq_failed(error.category)
    leased.held.release(error=reason_of(error))
    if isinstance(error, AccountError):
        return _account_refuses(leased, error)
    return _later(leased, error)


def _later(leased: LeasedAttempt, error: GroqApiError) -> StepOutcome:
    """Try again after a pause, or leave that to the job."""
    if leased.tries >= _MAX_TRIES_OF_A_ROUND:
        return DEFERRED
    return StepOutcome.wait(pause_seconds(error, leased.tries))


def _account_refuses(leased: LeasedAttempt, error: AccountError) -> StepOutcome:
    """Leave it to the job, unless it may be temporary: a network proxy, a deployment."""
    if error.code == ErrorCode.PERMISSION_DENIED and leased.tries == 0:
        return StepOutcome.wait(_SECOND_LOOK_SECONDS)
    if (
        error.code == ErrorCode.SECRET_UNREADABLE
        and leased.tries < len(UNREADABLE_SECRET_PAUSES_SECONDS)
        and not leased.storage.exists(leased.keys.submitted)
    ):
        return StepOutcome.wait(UNREADABLE_SECRET_PAUSES_SECONDS[leased.tries])
    account_hold(error, now=leased.clock()).record(leased.storage, leased.keys)
    return DEFERRED
