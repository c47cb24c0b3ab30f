"""Carry out an action of an attempt: record the round that it begins, and name its shards."""

from __future__ import annotations

from dataclasses import replace

from groq_batch.bucket.storage import Storage
from groq_batch.domain.parallel import in_parallel
from groq_batch.steps.check_status.decision import Action, Decision, Round
from groq_batch.steps.check_status.situation import Situation


def carry_out(storage: Storage, known: Situation, action: Action) -> Decision:
    """Record the round that an action begins, and name its shards if it collects only some."""
    state, by_origin = known.state, known.state.by_origin()
    match action.begins:
        case Round.SENDING:
            state.submit_rounds += 1
            state.account_error = None
        case Round.COLLECTING:
            state.download_rounds += 1
            state.account_error = None
        case Round.COLLECTING_EARLY:
            for shard in action.shards:
                state.mark_tried_early(by_origin[state.origin_of(shard)])
        case Round.DIVIDING:
            state.division_rounds += 1
    decision = Decision.of(action, known)
    collects_some = 0 < len(action.shards) < len(by_origin) and action.decision == "download"
    if not collects_some or decision.shard_key or not known.step.knows_only_shards:
        return decision

    def name(number: int) -> None:
        storage.put_bytes(known.keys.round_shard(state.attempt, known.polls, number), b"")

    in_parallel(name, action.shards)
    prefix = known.keys.round_shards(state.attempt, known.polls)
    return replace(decision, shards_prefix=prefix)
