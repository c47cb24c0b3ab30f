"""How far the ordinary calls of a job are: one object, changed by compare-and-swap alone.

Whoever makes calls first writes down which: the swap that moves the cursor behind requests, or
takes them out of those that are asked again, is what gives them to one invocation. So no request is
ever asked by two, whoever dies, comes back, or is held up. A request that was taken and of which
nothing is known any more is never asked again: it may have been paid for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.on_demand import MeanUsage
from groq_batch.records.submission import LEASE_SECONDS

MOST_SECONDS_OPEN = 300.0
"""A call is answered within this time, or never."""


class Ending(StrEnum):
    """Why no further request of an attempt is asked."""

    ALL_ASKED = "all_asked"
    BUDGET = "budget"
    TIME = "time"
    STOPPED = "stopped"
    CANARY = "canary"
    """The deadline came before the canary had an answer."""
    NOT_POSSIBLE = "not_possible"
    """The execution has a definition that knows no ordinary calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePlace:
    """Where a request line stands: its shard, its number there from 1, its bytes without the end.

    Attributes:
        shard: The shard.
        line: Its number in the shard, from 1.
        offset: Where it begins in the shard, in bytes.
        size: How many bytes it has, without its line end.
    """

    shard: int
    line: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRequest:
    """A request that is asked, or is to be asked again.

    Attributes:
        place: Where its line stands.
        estimate: Its estimated price in USD.
        tries: Calls that were made for it and count as a try.
        was_begun: Whether any call was begun for it.
        code: The code of the last error; None before there was one.
        message: What it says.
        row: The row of the API's last answer, if it is short; None without one.
    """

    place: LinePlace
    estimate: float
    tries: int = 0
    was_begun: bool = False
    code: str | None = None
    message: str | None = None
    row: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data."""
        return cls(**{**data, "place": LinePlace(**data["place"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemand:
    """How far the ordinary calls of an attempt are. Times are seconds since 1970.

    Attributes:
        attempt: The attempt.
        budget_usd: What they may cost.
        ask_until: When the last call may be begun.
        max_tries: Calls for one request.
        means: What the estimates go by.
        requests: The requests that are left, whether they are asked or not.
        ended_calls: Those of them that are not asked (again) because of what a call brought.
        succeeded: Those of them with an answer.
        cost_usd: What the answers cost, as far as they say what they used.
        owner: The invocation that makes calls.
        lease_until: When its lease runs out; 0 when it was given back.
        shard: The shard of the next request that nobody has taken; 0 before the first.
        line: Its number in the shard, from 1.
        offset: Where it begins in the shard.
        promised_usd: The estimates of all requests that were taken.
        charged_usd: The cost of answers, and the estimates of calls without a known outcome.
        open: Requests for which a call may be under way.
        again: Requests that are asked again.
        lost_open: Calls of owners that died which may be open yet.
        lost_until: Until when they may be.
        per_minute: Calls that the API seems to take in a minute; None where nothing tells.
        pause_until: Before when nothing is asked.
        pause: Why, as code and sentence; None when nothing keeps the calls.
        ended: Why no further request is asked; None while some may be.
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
    pause: Mapping[str, Any] | None = None
    ended: Ending | None = None

    @property
    def begun(self) -> int:
        """Requests for which a call was begun, as far as it is written down."""
        return self.ended_calls + len(self.open) + sum(one.was_begun for one in self.again)

    def was_taken(self, shard: int, line: int) -> bool:
        """Tell whether the cursor has passed a request."""
        return (shard, line) < (self.shard, self.line)

    def claimed(self, owner: str, *, now: float) -> Self:
        """Return the record in the hands of an invocation.

        What an owner before it has left open is never asked again.
        """
        lost = len(self.open)
        return replace(
            self,
            owner=owner,
            lease_until=now + LEASE_SECONDS,
            open=(),
            lost_open=lost + self.lost_calls(now),
            lost_until=now + MOST_SECONDS_OPEN if lost else self.lost_until,
            pause_until=0.0,
        )

    def lost_calls(self, now: float) -> int:
        """Return how many calls may be open yet whose owners have died."""
        return self.lost_open if now < self.lost_until else 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {
            "schema_version": 1,
            **asdict(self),
            "means": self.means.to_json(),
            "ended": str(self.ended) if self.ended else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data; those that a newer version has added are passed over."""
        known = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        return cls(
            **{
                **known,
                "means": MeanUsage(**data["means"]),
                "open": tuple(ClaimedRequest.from_json(one) for one in data["open"]),
                "again": tuple(ClaimedRequest.from_json(one) for one in data["again"]),
                "ended": Ending(data["ended"]) if data["ended"] else None,
            }
        )

    @classmethod
    def load(
        cls, storage: Storage, keys: object_keys.WorkKeys, attempt: int
    ) -> tuple[Self, str] | None:
        """Read a record and its ETag; None where the attempt is not asked by ordinary calls."""
        found = storage.get_json(keys.on_demand(attempt))
        return (cls.from_json(found[0]), found[1]) if found else None

    def begin(self, storage: Storage, keys: object_keys.WorkKeys) -> OnDemand:
        """Write the record unless one stands; returns the one that stands."""
        try:
            storage.put_json(keys.on_demand(self.attempt), self.to_json(), if_none_match=True)
        except ConflictError:
            found = OnDemand.load(storage, keys, self.attempt)
            return found[0] if found else self
        return self

    def swap(self, storage: Storage, keys: object_keys.WorkKeys, *, over: str) -> str:
        """Write the record over the one that was read; returns its ETag.

        Raises:
            ConflictError: It is another one.
        """
        try:
            return storage.put_json(keys.on_demand(self.attempt), self.to_json(), if_match=over)
        except ConflictError:
            # A write whose answer was lost is repeated by the SDK and then meets itself.
            found = OnDemand.load(storage, keys, self.attempt)
            if found is not None and found[0] == self:
                return found[1]
            raise


def end(
    storage: Storage, keys: object_keys.WorkKeys, attempt: int, ending: Ending
) -> OnDemand | None:
    """Write down that no further request of an attempt is asked, unless that stands already.

    Returns:
        The record that stands; None where others keep changing it, who have to be waited for.
    """
    found = OnDemand.load(storage, keys, attempt)
    if found is None or found[0].ended is not None:
        return found[0] if found else None
    record = replace(found[0], ended=ending, lease_until=0.0)
    try:
        record.swap(storage, keys, over=found[1])
    except ConflictError:
        return None
    return record
