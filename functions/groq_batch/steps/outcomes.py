"""What several steps answer and wait."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.times import timestamp
from groq_batch.groq.errors import AccountError
from groq_batch.records.job import AccountHold


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What the state machine does next with what it called a step for.

    Attributes:
        outcome: ``settled`` (nothing is left to do for this shard attempt), ``wait`` (call the
            step again after ``wait_seconds``), ``deferred`` (the job decides, not the shard) or
            ``done`` (the same as ``settled``, of steps that are the job's).
        wait_seconds: Seconds to wait before the next call, or before the first look at what was
            sent; an integer, as Wait states want it.
    """

    outcome: str
    wait_seconds: int = 1

    @classmethod
    def wait(cls, seconds: float) -> StepOutcome:
        """Ask for another call after some seconds, at least one."""
        return cls(outcome="wait", wait_seconds=max(1, math.ceil(seconds)))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return asdict(self)


SETTLED = StepOutcome(outcome="settled")
DEFERRED = StepOutcome(outcome="deferred")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishOutcome(StepOutcome):
    """What follows the end of a job: ``done``, or ``wait`` to clean up the rest at Groq later.

    Attributes:
        tries: How often cleaning up was tried.
    """

    tries: int = 0


_LONGEST_BACKOFF_SECONDS = 300
UNREADABLE_SECRET_PAUSES_SECONDS = (5, 10, 25)
"""Pauses before a secret that cannot be read is read once more. While a stack is deployed, and in
the seconds in which IAM spreads a new policy, a function may have the name of one secret and the
permission for another. Their sum leaves the job its minute to end in."""
LONGEST_RETRY_AFTER_SECONDS = 3600
"""A Retry-After is kept up to here; what is asked beyond is asked again."""


def backoff_seconds(tries: int) -> float:
    """Return the pause after the ``tries``-th (from 0) failure of the same step, in seconds."""
    return float(min(_LONGEST_BACKOFF_SECONDS, 5 * 2 ** min(tries, 10)))


def account_hold(error: AccountError, *, now: float | None = None) -> AccountHold:
    """Return the record of a fault of the account."""
    moment = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    return AccountHold(
        code=error.code or ErrorCode.PERMISSION_DENIED, message=str(error), at=timestamp(moment)
    )
