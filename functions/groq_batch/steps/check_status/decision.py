"""What a status check decides, and how the state machine is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from groq_batch.domain import object_keys
from groq_batch.domain.only_shard import StepAnswer
from groq_batch.steps.outcomes import Output


class Round(Enum):
    """A round of work on an attempt's shards; the attempt's state counts rounds, or marks them."""

    SENDING = auto()
    COLLECTING = auto()
    COLLECTING_EARLY = auto()
    """Some shards are collected while batches of others run."""
    DIVIDING = auto()
    """The download writes the missing parts of shards that were refused as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What is done next.

    Attributes:
        decision: ``wait``, ``submit``, ``download``, ``answer``, ``finish`` or ``closed``.
        shards: The shards to send or to collect.
        wait_seconds: Seconds to wait before the next check.
        resume_in: Seconds of waiting left before open shards (or results) are tried again.
        tries: How often the step for an only shard has been called in this round.
        outcome: The step's outcome, passed to the next status check; empty if there is none.
        begins: The round that begins with it; None if it continues one, or is no work on shards.
    """

    decision: str
    shards: Sequence[int] = ()
    wait_seconds: int = 1
    resume_in: int = 0
    tries: int = 0
    outcome: str = ""
    begins: Round | None = None


CLOSED = Action(decision="closed")
FINISH = Action(decision="finish")
LOOK_AGAIN = Action(decision="wait")
"""The next status check, which follows at once, decides with what this one has stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Output):
    """The state machine's next action.

    Attributes:
        decision: ``wait``, ``submit``, ``download``, ``answer``, ``finish`` or ``closed``.
        attempt: The attempt to continue with.
        shards_prefix: Prefix of what the Map reads: that attempt's shards, or the names of the
            shards to collect.
        wait_seconds: Seconds to wait before the next check; an integer, as Wait states require.
        polls: Status checks made so far.
        resume_in: Seconds of waiting left before open shards (or results) are tried again.
        shard_key: Key of the only shard to send or to collect; empty if there are several.
        tries: How often its step has been called in this round.
        outcome: The step's outcome, passed to the next status check; empty if there is none.
    """

    decision: str
    attempt: int
    shards_prefix: str
    wait_seconds: int
    polls: int
    resume_in: int
    shard_key: str = ""
    tries: int = 0
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Expresses actions as decisions for the state machine.

    Attributes:
        keys: Keys of the job's working files.
        attempt: The attempt that the actions are about.
        polls: Status checks made so far, with this one.
        step: Answer of the step for an only shard, if this check follows one.
    """

    keys: object_keys.WorkKeys
    attempt: int
    polls: int
    step: StepAnswer

    @property
    def of_next_attempt(self) -> Decisions:
        """The decisions about the attempt after this one."""
        return replace(self, attempt=self.attempt + 1)

    def of(self, action: Action) -> Decision:
        """Return an action as a decision."""
        return Decision(
            decision=action.decision,
            attempt=self.attempt,
            shards_prefix=self.keys.shards(self.attempt),
            wait_seconds=action.wait_seconds,
            polls=self.polls,
            resume_in=action.resume_in,
            shard_key=self.step.key_of(self.keys, self.attempt, action.shards),
            tries=action.tries,
            outcome=action.outcome,
        )
