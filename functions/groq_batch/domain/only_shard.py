"""Send or collect the only open shard of an attempt without a Map.

A Map for one shard costs seconds and a dozen calls of S3. Definitions from version 2 on have
separate states for an only shard, which do the work of a child of the Map. Waits that a child would
do itself are done by the execution: the step's answer is passed to the next status check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec

from groq_batch.domain import object_keys
from groq_batch.domain.machine_version import ONLY_SHARD, machine_of

WAIT = "wait"
"""Outcome of a step that asks to be called again after some seconds."""
AGAIN = "again"
"""Outcome that a status check passes to the next one when it waits for a step."""
MAX_TRIES = 240
"""Maximum of calls of a step per round; a child of a Map has the same limit."""
MAX_CHECKS = 300
"""Number of checks up to which a step is called again whenever it asks for it. An only shard's
calls use the execution's own history, which is limited to 25,000 events
(https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html), and add five events to
those of a check. Later calls wait for the next round; the pauses between rounds grow."""


class StepAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of the step for an only shard, for the following status check.

    Attributes:
        knows_only_shards: Whether the execution's definition has states for an only shard.
        outcome: ``settled``, ``wait`` or ``deferred`` from the step, ``again`` from the previous
            status check; empty if there is none.
        wait_seconds: Seconds that the step asked to wait.
        tries: How often the step has been called in this round, without the last time.
    """

    knows_only_shards: bool = False
    outcome: str = ""
    wait_seconds: int = 0
    tries: int = 0

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> Self:
        """Read the answer from the event that an execution passes to the status check."""
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
        return self.outcome == WAIT and self.tries + 1 < MAX_TRIES and polls <= MAX_CHECKS

    @property
    def seconds_left(self) -> int:
        """Seconds that the step asked to wait, if it did."""
        return self.wait_seconds if self.outcome == WAIT else 0

    def key_of(self, keys: object_keys.WorkKeys, attempt: int, shards: Sequence[int]) -> str:
        """Return the key of the only shard in a list of an attempt's shards.

        It is empty if there are several, or if the definition has no states for an only shard.
        """
        if not self.knows_only_shards or len(shards) != 1:
            return ""
        return keys.shard(attempt, shards[0])
