"""Decide how a shard attempt continues if Groq did not do what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from groq_batch.domain.error_code import ErrorCode
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NotFoundError,
    NotSentError,
    RateLimitedError,
    RequestRefusedError,
    UnknownOutcomeError,
    reason_of,
)
from groq_batch.records.submission import QUARANTINE_SECONDS, Stage, Submission
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

_SECOND_LOOK_SECONDS = 10
_MISSING_FILE_TRIES = 5
_MAX_TRIES_OF_A_ROUND = 8
"""After this many tries, a quarter of an hour unless the API asks for more, the shard is left to
the job, which reports what it waits for and has the shard tried again."""


class Failure(NamedTuple):
    """What a failed call means for a shard attempt.

    Attributes:
        changes: Fields of its record that change when the lease is released.
        outcome: How it continues. After an account error ``continue_after`` may answer otherwise.
    """

    changes: Mapping[str, Any]
    outcome: StepOutcome


def failed_sending(record: Submission, error: GroqApiError, *, tries: int, now: float) -> Failure:
    """Return what a failure of the upload or the create means.

    Args:
        record: The record of the submission, as last written.
        error: The failure.
        tries: How often the shard attempt has been tried in this round.
        now: Seconds since 1970.

    Raises:
        GroqApiError: Nothing is known of this error.
    """
    note = reason_of(error)
    stage = Stage.UPLOADED if record.file_id else Stage.CLAIMED
    if isinstance(error, UnknownOutcomeError):
        changes = {"unknown_since": now, "may_have_orphans": True, "error": note}
        return Failure(changes, StepOutcome.wait(QUARANTINE_SECONDS))
    if isinstance(error, RateLimitedError | NotSentError | AccountError):
        return Failure({"stage": stage, "error": note}, _later(error, tries))
    is_creating = record.stage is Stage.CREATING
    if isinstance(error, NotFoundError) and is_creating and tries < _MISSING_FILE_TRIES:
        # Groq does not (yet) have the uploaded file: forget it and upload once more.
        changes = {"stage": Stage.CLAIMED, "file_id": None, "error": note}
        return Failure(changes, StepOutcome.wait(backoff_seconds(tries)))
    if isinstance(error, RequestRefusedError):
        return Failure({"stage": Stage.REFUSED, "error": note}, SETTLED)
    raise error


def failed_search(error: GroqApiError, *, tries: int) -> Failure:
    """Return what a failed search at Groq means: the outcome remains unknown."""
    return Failure({"error": reason_of(error)}, _later(error, tries))


def continue_after(leased: LeasedAttempt, error: GroqApiError, failure: Failure) -> StepOutcome:
    """Release the lease after a failure, and return how the shard attempt continues.

    An account error is left to the job, unless it may be temporary: a network proxy, a deployment.

    Raises:
        LeaseLostError: Another invocation has taken over.
    """
    metrics.groq_failed(error.category)
    leased.held.release(**failure.changes)
    if not isinstance(error, AccountError):
        return failure.outcome
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


def _later(error: GroqApiError, tries: int) -> StepOutcome:
    """Try again after a pause, or leave that to the job, as everything about its account."""
    if isinstance(error, AccountError) or tries >= _MAX_TRIES_OF_A_ROUND:
        return DEFERRED
    return StepOutcome.wait(pause_seconds(error, tries))
