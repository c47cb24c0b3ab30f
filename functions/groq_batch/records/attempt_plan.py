"""What is decided about an attempt before it begins, where the one before met a refusal.

The status check decides once, when all of the attempt before is collected, and writes it down; the
first plan that stands is the plan, whoever comes later. So every invocation gives the parts of a
divided shard the same numbers, and no shard attempt can stand for two batches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys

FIRST_PAUSE_SECONDS = 60
"""Pause before requests are sent again whose batch was refused as a whole. Each further refusal
doubles it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedShard:
    """A shard whose batch the API refused as a whole: it named no line that is at fault.

    Attributes:
        parts: Into how many parts it is divided; 1 when it is sent again as it is.
        by_url: Whether the API missed the lines' own URL as the batch's endpoint.
    """

    parts: int = 1
    by_url: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptPlan:
    """What was decided about the shards of an attempt.

    Attributes:
        attempt: The attempt.
        decided_at: When that was, in seconds since 1970.
        pause_seconds: How long to wait before it begins.
        highest: The highest number that a shard of the job has had so far.
        divided: The shards of the attempt before that are divided: the number of their first part,
            and how many parts there are. They are no shards of this attempt.
        origins: The origin shard of each shard that has a number of its own.
        refusals: How often in all the batch of a shard, or of what it is a part of, was refused.
        by_url: The shards whose batch has the lines' own URL as its endpoint, if they have one.
    """

    attempt: int
    decided_at: float = 0.0
    pause_seconds: int = 0
    highest: int = 0
    divided: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    origins: Mapping[int, int] = field(default_factory=dict)
    refusals: Mapping[int, int] = field(default_factory=dict)
    by_url: frozenset[int] = frozenset()

    @property
    def parts(self) -> list[int]:
        """The numbers of all parts that come of this attempt's divisions."""
        return [number for shard in self.divided for number in self.parts_of(shard)]

    def parts_of(self, shard: int) -> range:
        """Return the numbers of the parts of a shard of the attempt before; none if it is whole."""
        first, count = self.divided.get(shard, (0, 0))
        return range(first, first + count)

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
            by_url: The shards of this attempt whose batch was asked for with their lines' own URL.
            now: Seconds since 1970.
        """
        highest, pause = self.highest, 0
        divided: dict[int, tuple[int, int]] = {}
        origins, refusals = dict(self.origins), dict(self.refusals)
        own_url = set(by_url)
        for shard, refusal in sorted(refused.items()):
            count = refusals.get(shard, 0) + 1
            pause = max(pause, pause_after(count))
            numbers = [shard]
            if refusal.parts > 1:
                divided[shard] = (highest + 1, refusal.parts)
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
            by_url=frozenset(own_url),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        data = asdict(self)
        data["regions"] = data.pop("origins")
        return {"schema_version": 1, **data, "by_url": sorted(self.by_url)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data."""
        return cls(
            attempt=data["attempt"],
            decided_at=data["decided_at"],
            pause_seconds=data["pause_seconds"],
            highest=data["highest"],
            divided={int(shard): (at, count) for shard, (at, count) in data["divided"].items()},
            origins={int(shard): origin for shard, origin in data["regions"].items()},
            refusals={int(shard): count for shard, count in data["refusals"].items()},
            by_url=frozenset(data["by_url"]),
        )

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys, attempt: int) -> Self | None:
        """Read the plan of an attempt, or None when nothing had to be decided about it."""
        if attempt <= 1:
            return None  # No attempt came before it.
        found = storage.get_json(keys.attempt_plan(attempt))
        return cls.from_json(found[0]) if found else None

    def write(self, storage: Storage, keys: object_keys.WorkKeys) -> AttemptPlan:
        """Write the plan; the first one stays. Returns the one in force."""
        try:
            storage.put_json(keys.attempt_plan(self.attempt), self.to_json(), if_none_match=True)
        except ConflictError:
            return AttemptPlan.load(storage, keys, self.attempt) or self
        return self


def pause_after(refusals: int) -> int:
    """Return the pause after so many refusals (from 1) of what a shard holds, in seconds."""
    return FIRST_PAUSE_SECONDS << (refusals - 1)
