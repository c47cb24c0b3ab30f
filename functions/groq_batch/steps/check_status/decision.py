"""Describe what a status check decides, and express it for the state machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from groq_batch.steps.check_status.situation import Situation
from groq_batch.steps.outcomes import Output

NextStep = Literal["wait", "submit", "download", "answer", "finish", "closed"]
"""What the state machine does next; its Choice of this name knows each of them."""


class Round(Enum):
    """A round of work on an attempt's shards; the attempt's state counts rounds, or marks them."""

    SENDING = auto()
    COLLECTING = auto()
    COLLECTING_EARLY = auto()
    """Some shards are collected while batches of others run."""
    DIVIDING = auto()
    """The download writes the missing parts of shards that were refused as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Next:
    """What is done next, and what the next status check is told.

    Attributes:
        decision: What the state machine does.
        wait_seconds: Seconds to wait before the next check; an integer, as Wait states require.
        resume_in: Seconds of waiting left before open shards (or results) are tried again.
        tries: How often the step for an only shard has been called in this round.
        outcome: The step's outcome, passed to the next status check; empty if there is none.
    """

    decision: NextStep
    wait_seconds: int = 1
    resume_in: int = 0
    tries: int = 0
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action(_Next):
    """What is done next with an attempt.

    Attributes:
        shards: The shards to send or to collect.
        begins: The round that begins with it; None if it continues one, or is no work on shards.
    """

    shards: Sequence[int] = ()
    begins: Round | None = None


FINISH = Action(decision="finish")
LOOK_AGAIN = Action(decision="wait")
"""The next status check, which follows at once, decides with what this one has stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(_Next, Output):
    """The answer of a status check to the state machine.

    Attributes:
        attempt: The attempt to continue with.
        shards_prefix: Prefix of what the Map reads: that attempt's shards, or the names of the
            shards to collect.
        polls: Status checks made so far.
        shard_key: Key of the only shard to send or to collect; empty if there are several.
    """

    attempt: int
    shards_prefix: str
    polls: int
    shard_key: str = ""

    @classmethod
    def of(cls, action: Action, known: Situation, *, in_next_attempt: bool = False) -> Decision:
        """Express an action on the current attempt, or on the next one."""
        attempt = known.state.attempt + in_next_attempt
        return cls(
            decision=action.decision,
            attempt=attempt,
            shards_prefix=known.keys.shards(attempt),
            wait_seconds=action.wait_seconds,
            polls=known.polls,
            resume_in=action.resume_in,
            shard_key=known.step.key_of(known.keys, attempt, action.shards),
            tries=action.tries,
            outcome=action.outcome,
        )
