"""Plan the attempt after one whose rows are all stored: its shards, and when it may begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import msgspec

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.batch import ENDPOINT
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.parallel import in_parallel
from groq_batch.domain.reason import Reason
from groq_batch.domain.times import timestamp_of
from groq_batch.records.attempt import AttemptState, refusal_text
from groq_batch.records.attempt_plan import AttemptPlan, RefusedShard
from groq_batch.records.job import JobRecord
from groq_batch.records.shard_result import ShardResult


class NextAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt after one that is collected.

    Attributes:
        plan: The decisions about it.
        missing: Parts of divided shards that are not written yet.
    """

    plan: AttemptPlan
    missing: frozenset[int] = frozenset()

    @classmethod
    def after(
        cls,
        storage: Storage,
        keys: object_keys.WorkKeys,
        job: JobRecord,
        state: AttemptState,
        *,
        now: float,
    ) -> Self | None:
        """Return the next attempt after one whose rows are all stored; None if the job needs none.

        If batches were refused, or had an endpoint other than the usual one, a plan of the next
        attempt is written unless one exists.

        Args:
            storage: The bucket.
            keys: Keys of the job's working files.
            job: The job's record.
            state: The state of the collected attempt.
            now: Seconds since 1970.
        """
        attempt = state.attempt + 1
        plan = AttemptPlan.load(storage, keys, attempt)
        if plan is None:
            refused = _refused(storage, keys, state)
            if not refused and next(storage.objects(keys.shards(attempt)), None) is None:
                return None
            plan = _made(storage, keys, job, state, refused, now=now)
            if plan is None:
                return cls(plan=AttemptPlan(attempt=attempt))
            plan = plan.write(storage, keys)
        if not plan.divided:
            return cls(plan=plan)
        written = {
            object_keys.shard_of_key(shard.key)[1]
            for shard in storage.objects(keys.shards(attempt))
        }
        return cls(plan=plan, missing=frozenset(set(plan.parts) - written))


def _made(
    storage: Storage,
    keys: object_keys.WorkKeys,
    job: JobRecord,
    state: AttemptState,
    refused: Mapping[int, RefusedShard],
    *,
    now: float,
) -> AttemptPlan | None:
    """Return the plan of the attempt after one; None if there is nothing to decide."""
    by_url = [
        number for number, entry in state.entries.items() if entry.endpoint not in (None, ENDPOINT)
    ]
    before = AttemptPlan.load(storage, keys, state.attempt)
    if before is None:
        if not refused and not by_url:
            return None
        before = AttemptPlan(attempt=state.attempt, highest=job.highest_shard)
    return before.following(refused=refused, by_url=by_url, now=now)


def refusal_notice(
    job: JobRecord, state: AttemptState, *, is_last: bool, not_before: float = 0.0
) -> Reason | None:
    """Return what the running report says about refused batches; None if none was refused.

    Args:
        job: The job's record.
        state: The attempt's state.
        is_last: Whether it is the last attempt.
        not_before: When the batches' requests are sent again, in seconds since 1970; 0 if other
            batches have to end first.
    """
    numbers = sorted(state.refused_numbers)
    if not numbers:
        return None
    refused = [state.entries[number] for number in numbers]
    attempt = job.own_attempt(state.origin_of(numbers[0]), state.attempt)
    count = f"{len(refused)} of {len(state.entries)} batches"
    when = "when the others have ended"
    if not_before:
        when = f"not before {timestamp_of(not_before)}"
    rest = f"Requests that can be retried are sent in attempt {attempt + 1}, {when}."
    if is_last:
        rest = "This is the last attempt, so their requests fail."
    why = refusal_text(refused[0]).rstrip(".")
    message = f"Groq refused {count} of attempt {attempt}. {why}. {rest}"
    return Reason(ErrorCode.BATCH_FAILED, message)


def _refused(
    storage: Storage, keys: object_keys.WorkKeys, state: AttemptState
) -> dict[int, RefusedShard]:
    """Return the attempt's shards that were refused as a whole and are sent again."""
    origins = sorted({state.origin_of(number) for number in state.refused_numbers})

    def read(origin: int) -> Mapping[int, RefusedShard]:
        found = ShardResult.load(storage, keys.summary(state.attempt, origin))
        return found.refused if found is not None else {}

    refused: dict[int, RefusedShard] = {}
    for found in in_parallel(read, origins):
        refused.update(found)
    return refused
