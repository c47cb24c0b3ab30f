"""Progress of a job's ordinary calls: one object, changed only by compare-and-swap.

An invocation records which calls it makes before making them. Requests are assigned to one
invocation by the swap that moves the cursor past them, or removes them from those to be retried. So
no request is ever sent by two invocations, whichever of them crashes, resumes or is delayed. A
claimed request with an unknown outcome is never sent again, because it may have been paid for.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

import msgspec
from msgspec import field
from msgspec.structs import replace

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage, Stored
from groq_batch.domain import object_keys
from groq_batch.domain.on_demand import MeanUsage
from groq_batch.domain.reason import Reason
from groq_batch.records import stored
from groq_batch.records.job import JobRecord
from groq_batch.records.submission import LEASE_SECONDS

MAX_SECONDS_OPEN = 300.0
"""Seconds after which a call without an answer will not get one any more."""


class CallsEnd(StrEnum):
    """Why no further request of an attempt is sent."""

    ALL_ASKED = "all_asked"
    BUDGET = "budget"
    TIME = "time"
    STOPPED = "stopped"
    CANARY = "canary"
    """The deadline passed before the canary had an answer."""
    NOT_POSSIBLE = "not_possible"
    """The execution's definition does not support ordinary calls."""


class LinePosition(msgspec.Struct, frozen=True, kw_only=True):
    """Position of a request line: its shard, its line number there, its bytes without the line end.

    Attributes:
        shard: The shard.
        line: Its line number in the shard, from 1.
        offset: Its byte offset in the shard.
        size: Its size in bytes, without its line end.
    """

    shard: int
    line: int
    offset: int
    size: int


class ClaimedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is being sent, or waits to be sent again.

    Attributes:
        place: Position of its line.
        estimate: Its estimated price in USD.
        tries: Number of calls made for it that count as a try.
        was_begun: Whether any call was begun for it.
        code: Code of the last error; None before the first.
        message: Message of the last error.
        row: Row of the API's last answer, if it is short; None otherwise.
    """

    place: LinePosition
    estimate: float
    tries: int = 0
    was_begun: bool = False
    code: str | None = None
    message: str | None = None
    row: str | None = None


class OnDemandProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of an attempt's ordinary calls. Times are seconds since 1970.

    Attributes:
        attempt: The attempt.
        budget_usd: Upper limit of their cost.
        ask_until: When the last call may be begun.
        max_tries: Maximum of calls per request.
        means: Average usage per model, for the estimates.
        requests: Number of unanswered requests, whether they are sent or not.
        ended_calls: Number of them that a call has settled, so that they are not sent again.
        succeeded: Number of them with an answer.
        cost_usd: Cost of the answers, as far as they report their usage.
        owner: The invocation that makes calls.
        lease_until: When its lease expires; 0 if it was released.
        shard: Shard of the next unclaimed request; 0 before the first.
        line: Its line number in the shard, from 1.
        offset: Its byte offset in the shard.
        promised_usd: Sum of the estimates of all requests claimed so far.
        charged_usd: Cost of answers, plus the estimates of calls without a known outcome.
        open: Requests with a call that may be in progress.
        again: Requests that wait to be sent again.
        lost_open: Calls of crashed owners that may still be in progress.
        lost_until: Until when they may be.
        per_minute: Calls per minute that the API seems to accept; None if unknown.
        pause_until: No call is made before this time.
        pause: Reason of the pause, as code and message; None without a pause.
        ended: Why no further request is sent; None while some may be.
    """

    attempt: int
    budget_usd: float
    ask_until: float
    max_tries: int
    means: MeanUsage = field(default_factory=MeanUsage)
    requests: int = 0
    ended_calls: int = 0
    succeeded: int = 0
    cost_usd: float = 0.0
    owner: str = ""
    lease_until: float = 0.0
    shard: int = 0
    line: int = 1
    offset: int = 0
    promised_usd: float = 0.0
    charged_usd: float = 0.0
    open: tuple[ClaimedRequest, ...] = ()
    again: tuple[ClaimedRequest, ...] = ()
    lost_open: int = 0
    lost_until: float = 0.0
    per_minute: int | None = None
    pause_until: float = 0.0
    pause: Reason | None = None
    ended: CallsEnd | None = None

    @property
    def begun(self) -> int:
        """Number of requests for which a call was begun, as recorded."""
        return self.ended_calls + len(self.open) + sum(one.was_begun for one in self.again)

    def was_taken(self, shard: int, line: int) -> bool:
        """Tell whether the cursor has passed a request, so that it was claimed or skipped."""
        return (shard, line) < (self.shard, self.line)

    def claimed(self, owner: str, *, now: float) -> Self:
        """Return the record as claimed by an invocation.

        Requests that the previous owner left open are never sent again.
        """
        lost = len(self.open)
        return replace(
            self,
            owner=owner,
            lease_until=now + LEASE_SECONDS,
            open=(),
            lost_open=lost + self.lost_calls(now),
            lost_until=now + MAX_SECONDS_OPEN if lost else self.lost_until,
            pause_until=0.0,
        )

    def lost_calls(self, now: float) -> int:
        """Return how many calls of crashed owners may still be in progress."""
        return self.lost_open if now < self.lost_until else 0

    @classmethod
    def load(
        cls, storage: Storage, keys: object_keys.WorkKeys, attempt: int
    ) -> Stored[Self] | None:
        """Read a record with its ETag; None where the attempt is not asked by ordinary calls."""
        return stored.load_with_etag(storage, keys.on_demand(attempt), cls)

    def begin(self, storage: Storage, keys: object_keys.WorkKeys) -> OnDemandProgress:
        """Write the record unless one is stored; return the stored one."""
        return stored.put_once(storage, keys.on_demand(self.attempt), self)

    def swap(self, storage: Storage, keys: object_keys.WorkKeys, *, over: str) -> str:
        """Replace the record that was read; return the new ETag.

        Raises:
            ConflictError: The stored record has changed.
        """
        return stored.swap(storage, keys.on_demand(self.attempt), self, over=over)


def load_calls(
    storage: Storage, keys: object_keys.WorkKeys, job: JobRecord, attempt: int
) -> OnDemandProgress | None:
    """Read the record of an attempt's ordinary calls; None if it has none."""
    if job.deadline_at is None:
        return None
    found = OnDemandProgress.load(storage, keys, attempt)
    return found.value if found else None


def end_calls(
    storage: Storage, keys: object_keys.WorkKeys, attempt: int, ending: CallsEnd
) -> OnDemandProgress | None:
    """Record that no further request of an attempt is sent, unless that is already recorded.

    Returns:
        The stored record; None if other invocations keep changing it, so that the caller has to
        wait for them.
    """
    found = OnDemandProgress.load(storage, keys, attempt)
    if found is None or found.value.ended is not None:
        return found.value if found else None
    record = replace(found.value, ended=ending, lease_until=0.0)
    try:
        record.swap(storage, keys, over=found.etag)
    except ConflictError:
        return None
    return record
