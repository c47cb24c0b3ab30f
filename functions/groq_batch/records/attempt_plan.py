"""Plan an attempt before it begins, if batches of the previous attempt were refused.

The status check decides once, when the whole previous attempt is collected, and stores the plan.
The first stored plan is final. So every invocation gives the parts of a divided shard the same
numbers, and no shard attempt can mean two different batches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple, Self

import msgspec

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records import stored

FIRST_REFUSAL_PAUSE_SECONDS = 60
"""Pause in seconds before requests of a batch that was refused as a whole are sent again. Each
further refusal doubles it."""


class RefusedShard(msgspec.Struct, frozen=True, kw_only=True):
    """A shard whose batch the API refused as a whole, naming no line at fault.

    Attributes:
        parts: Number of parts that it is divided into; 1 if it is sent again unchanged.
        by_url: Whether the API required the lines' own URL as the batch's endpoint.
    """

    parts: int = 1
    by_url: bool = False


class Parts(NamedTuple):
    """The parts of a divided shard.

    Attributes:
        first: The number of the first part; the others follow.
        total: The number of parts.
    """

    first: int
    total: int


class AttemptPlan(msgspec.Struct, frozen=True, kw_only=True, rename={"origins": "regions"}):
    """What was decided about the shards of an attempt.

    Attributes:
        attempt: The attempt.
        decided_at: Time of the decision, in seconds since 1970.
        pause_seconds: Pause before the attempt begins.
        highest: The highest number of any shard of the job so far.
        divided: The previous attempt's shards that are divided, with their parts. They are not
            shards of this attempt.
        origins: The origin shard of each part.
        refusals: How often the batch of a shard, or of a shard that it is a part of, was refused.
        by_url: The shards whose batch uses the lines' own URL as its endpoint, if they have one.
    """

    attempt: int
    decided_at: float = 0.0
    pause_seconds: int = 0
    highest: int = 0
    divided: Mapping[int, Parts] = msgspec.field(default_factory=dict)
    origins: Mapping[int, int] = msgspec.field(default_factory=dict)
    refusals: Mapping[int, int] = msgspec.field(default_factory=dict)
    by_url: tuple[int, ...] = ()

    @property
    def parts(self) -> list[int]:
        """The numbers of all parts from this attempt's divisions."""
        return [number for shard in self.divided for number in self.parts_of(shard)]

    def parts_of(self, shard: int) -> range:
        """Return the part numbers of a previous attempt's shard; empty if it is not divided."""
        first, total = self.divided.get(shard, Parts(0, 0))
        return range(first, first + total)

    def origin_of(self, shard: int) -> int:
        """Return the number of the origin shard of a shard."""
        return self.origins.get(shard, shard)

    def following(
        self,
        *,
        refused: Mapping[int, RefusedShard],
        by_url: Collection[int],
        now: float,
    ) -> AttemptPlan:
        """Return the plan of the next attempt.

        Args:
            refused: The shards of this attempt that were refused as a whole and are sent again.
            by_url: The shards of this attempt whose batch had the lines' own URL as its endpoint.
            now: Seconds since 1970.
        """
        highest, pause = self.highest, 0
        divided: dict[int, Parts] = {}
        origins, refusals = dict(self.origins), dict(self.refusals)
        own_url = set(by_url)
        for shard, refusal in sorted(refused.items()):
            count = refusals.get(shard, 0) + 1
            pause = max(pause, pause_after_refusals(count))
            numbers = [shard]
            if refusal.parts > 1:
                divided[shard] = Parts(highest + 1, refusal.parts)
                numbers = list(range(highest + 1, highest + 1 + refusal.parts))
                highest = numbers[-1]
                origins.update(dict.fromkeys(numbers, self.origin_of(shard)))
            refusals.update(dict.fromkeys(numbers, count))
            if refusal.by_url or shard in by_url:
                own_url.update(numbers)
        return AttemptPlan(
            attempt=self.attempt + 1,
            decided_at=now,
            pause_seconds=pause,
            highest=highest,
            divided=divided,
            origins=origins,
            refusals=refusals,
            by_url=tuple(sorted(own_url)),
        )

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys, attempt: int) -> Self | None:
        """Load the plan of an attempt; None if nothing had to be decided about it."""
        if attempt <= 1:
            return None  # No attempt came before it.
        return stored.load(storage, keys.attempt_plan(attempt), cls)

    def write(self, storage: Storage, keys: object_keys.WorkKeys) -> AttemptPlan:
        """Write the plan unless one is stored; return the stored one."""
        return stored.put_once(storage, keys.attempt_plan(self.attempt), self)


def pause_after_refusals(refusals: int) -> int:
    """Return the pause in seconds after this many refusals (from 1) of a shard's requests."""
    return FIRST_REFUSAL_PAUSE_SECONDS << (refusals - 1)
