"""What a status check tells the state machine to do next."""

from __future__ import annotations

from dataclasses import dataclass

from groq_batch.steps.outcomes import Output


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
