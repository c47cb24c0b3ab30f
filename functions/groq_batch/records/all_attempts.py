"""Load the records of all attempts of a job."""

from __future__ import annotations

from itertools import chain

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records.attempt import AttemptState
from groq_batch.records.shard_result import ShardResult, load_shard_results


def load_states(storage: Storage, keys: object_keys.WorkKeys) -> list[AttemptState]:
    """Load the states of all attempts, in order."""
    states: list[AttemptState] = []
    while (state := AttemptState.load(storage, keys, len(states) + 1)) is not None:
        states.append(state)
    return states


def load_attempts(
    storage: Storage, keys: object_keys.WorkKeys
) -> tuple[list[AttemptState], list[ShardResult]]:
    """Load the states and shard results of all attempts, in order."""
    states = load_states(storage, keys)
    results = (load_shard_results(storage, keys, state.attempt) for state in states)
    return states, list(chain.from_iterable(results))
