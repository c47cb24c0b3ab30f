"""How an attempt goes on that has one shard left to send or to collect: without a Map.

A Map for one shard costs seconds and a dozen calls of S3. Definitions from version 2 on have states
of their own for it, which do for the shard what a child of the Map does. What a child would wait
for, the status check lets the execution wait for: it is told what the step has answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from groq_batch.domain import object_keys
from groq_batch.domain.machine_version import ONLY_SHARD, machine_of

WAIT = "wait"
"""Outcome of a step that asks to be called again after some seconds."""
AGAIN = "again"
"""What a look leaves to the next one when it waits for a step."""
MOST_TRIES = 240
"""How often a step is called in a round; as many times as a child of a Map calls it."""
MOST_CHECKS = 300
"""Checks up to which a step is called again as soon as it asks for it. An only shard is tried in
the execution's own history, which ends with 25,000 events, and adds five to those of its checks.
Later ones wait for the next round, whose pauses grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAnswer:
    """What the step for an only shard has answered, for the look that follows.

    Attributes:
        knows_only_shards: Whether the execution's definition has states for an only shard.
        outcome: ``settled``, ``wait`` or ``deferred`` by the step, ``again`` by the look before;
            empty when there is none.
        wait_seconds: Seconds that the step asked to wait.
        tries: How often the step has been called in this round, the last time not counted.
    """

    knows_only_shards: bool = False
    outcome: str = ""
    wait_seconds: int = 0
    tries: int = 0

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> Self:
        """Read what an execution passes to the status check."""
        return cls(
            knows_only_shards=machine_of(event) >= ONLY_SHARD,
            outcome=str(event.get("outcome", "")),
            wait_seconds=int(event.get("wait_seconds", 0)),
            tries=int(event.get("tries", 0)),
        )

    def asks_for_more(self, polls: int) -> bool:
        """Tell whether the step is to be called again in this round.

        Args:
            polls: Status checks of the execution so far.
        """
        return self.outcome == WAIT and self.tries + 1 < MOST_TRIES and polls <= MOST_CHECKS

    @property
    def seconds_left(self) -> int:
        """Seconds that the step asked to wait, if it did."""
        return self.wait_seconds if self.outcome == WAIT else 0

    def key_of(self, keys: object_keys.WorkKeys, attempt: int, shards: Sequence[int]) -> str:
        """Return the key of the only shard among some of an attempt.

        It is empty when there are several, or where the definition would not know what to do.
        """
        if not self.knows_only_shards or len(shards) != 1:
            return ""
        return keys.shard(attempt, shards[0])
