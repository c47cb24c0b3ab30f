"""Define the outcomes and pauses that several steps share."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.times import timestamp_of
from groq_batch.groq.errors import AccountError, GroqApiError, RateLimitedError
from groq_batch.records.job import AccountHold


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a step returns to the state machine, or to whoever calls its function."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome(Output):
    """Tells the state machine what to do after it has called a step.

    Attributes:
        outcome: ``settled`` (nothing is left to do for this shard attempt), ``wait`` (call the
            step again after ``wait_seconds``), ``deferred`` (the job decides, not the shard) or
            ``done`` (the same as ``settled``, for steps of the whole job).
        wait_seconds: Seconds before the next call, or before the first status check of a new batch;
            an integer, as Wait states require.
    """

    outcome: str
    wait_seconds: int = 1

    @classmethod
    def wait(cls, seconds: float) -> StepOutcome:
        """Ask to be called again after some seconds, at least one."""
        return cls(outcome="wait", wait_seconds=max(1, math.ceil(seconds)))


SETTLED = StepOutcome(outcome="settled")
DEFERRED = StepOutcome(outcome="deferred")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishOutcome(StepOutcome):
    """Outcome of finishing: ``done``, or ``wait`` to clean up the rest at Groq later.

    Attributes:
        tries: How often the cleanup was tried.
    """

    tries: int = 0


_LONGEST_BACKOFF_SECONDS = 300
UNREADABLE_SECRET_PAUSES_SECONDS = (5, 10, 25)
"""Pauses, in seconds, before an unreadable secret is read again. While a stack is deployed, and
while IAM propagates a new policy, a function may have the name of one secret and the permission for
another. The sum leaves the job enough of its minute to finish."""


def backoff_seconds(tries: int) -> float:
    """Return the pause in seconds after the ``tries``-th failure (from 0) of the same step."""
    return float(min(_LONGEST_BACKOFF_SECONDS, 5 * 2 ** min(tries, 10)))


def pause_seconds(error: GroqApiError, tries: int) -> float:
    """Return the pause after a call that Groq did not answer: as long as it asks, if it does.

    A Retry-After of 0 asks for nothing: tries that follow at once would be used up within seconds.
    """
    asked = error.retry_after_seconds if isinstance(error, RateLimitedError) else None
    return asked or backoff_seconds(tries)


def account_hold(error: AccountError, *, now: float | None = None) -> AccountHold:
    """Return the record of an account error."""
    at = timestamp_of(time.time() if now is None else now)
    return AccountHold(code=error.code or ErrorCode.PERMISSION_DENIED, message=str(error), at=at)
