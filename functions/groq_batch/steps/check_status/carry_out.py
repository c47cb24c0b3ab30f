"""Carry out an action of an attempt: record the round that it begins, and name its shards."""

from __future__ import annotations

from dataclasses import replace

from groq_batch.bucket.storage import Storage
from groq_batch.domain.parallel import in_parallel
from groq_batch.steps.check_status.decision import Action, Decision, Decisions, Round
from groq_batch.steps.check_status.situation import Situation


def carry_out(storage: Storage, decisions: Decisions, known: Situation, action: Action) -> Decision:
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
    decision = decisions.of(action)
    is_of_some = 0 < len(action.shards) < len(by_origin) and action.decision == "download"
    if not is_of_some or decision.shard_key or not decisions.step.knows_only_shards:
        return decision

    def name(number: int) -> None:
        key = decisions.keys.round_shard(decisions.attempt, decisions.polls, number)
        storage.put_bytes(key, b"")

    in_parallel(name, action.shards)
    prefix = decisions.keys.round_shards(decisions.attempt, decisions.polls)
    return replace(decision, shards_prefix=prefix)
