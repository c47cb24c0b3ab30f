"""Learn what has happened since the last check: to submissions, batches, results and calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch
from groq_batch.groq.client import GroqClient
from groq_batch.steps.check_status.after_deadline import update_calls
from groq_batch.steps.check_status.batches import update_batches
from groq_batch.steps.check_status.next_attempt import refusal_notice
from groq_batch.steps.check_status.situation import Check, Situation
from groq_batch.steps.check_status.stops import stop_of_account, stop_of_time


class Learned(NamedTuple):
    """What a check has learned.

    Attributes:
        known: The situation to decide in.
        ended: The batches that this check is the first to see ended.
    """

    known: Situation
    ended: Sequence[Batch]


def learn(storage: Storage, client: GroqClient, check: Check) -> Learned:
    """Bring the attempt's state up to date, and stop the job if it has to be."""
    state, job = check.state, check.job
    state.refresh(storage, check.keys)
    if check.is_late and not state.download_rounds:
        state.past_deadline = True
    update = update_batches(client, check)
    if state.done != state.seen_done:
        state.seen_done, state.progress_at = state.done, check.now
    check = replace(check, stop=stop_of_account(storage, check) or check.stop)
    state.refusal = None
    if check.stop is None:
        state.refusal = refusal_notice(job, state, is_last=state.attempt >= job.last_attempt)
    uncollected = None
    if state.gave_up or not state.pending:
        uncollected = _uncollected(storage, check)
    stop = stop_of_time(storage, check, is_collected=uncollected is not None and not uncollected)
    check = replace(check, stop=stop or check.stop)
    calls = update_calls(storage, check)
    known = Situation.after(
        check, not_before=update.not_before, uncollected=uncollected, calls=calls
    )
    return Learned(known, update.ended)


def _uncollected(storage: Storage, check: Check) -> Sequence[int]:
    """Return the first shard of each origin shard whose rows are not stored."""
    summaries = storage.objects(check.keys.summaries(check.state.attempt))
    found = {object_keys.shard_number(item.key) for item in summaries}
    by_origin = sorted(check.state.by_origin().items())
    return [shards[0] for origin, shards in by_origin if origin not in found]
