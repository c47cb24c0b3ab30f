"""What follows a deadline: which attempt is asked by ordinary calls, for how much, and until when.

Nothing is asked before every batch of the job has ended and its rows are stored. Of an attempt that
was collected after the deadline all that is left stands in the shards of the next one, in the order
of the file; that attempt gets the record of ordinary calls. One that was collected before is
followed by an attempt of which nothing is sent, so that the same holds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from groq_batch.bucket.concat import join
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.cost import ModelUsages
from groq_batch.domain.on_demand import ASKING_SECONDS, MeanUsage, budget_usd, spent_usd
from groq_batch.domain.prices import table_prices
from groq_batch.records.attempt import AttemptState
from groq_batch.records.job import JobRecord
from groq_batch.records.on_demand import Ending, OnDemand
from groq_batch.records.shard_result import load_shard_results

_COPIED_AT_ONCE = 16


def bring_kept(storage: Storage, keys: object_keys.WorkKeys, attempt: int) -> bool:
    """Have what had used up its attempts before the deadline stand in an attempt as well.

    Args:
        storage: The bucket.
        keys: The job's working files.
        attempt: The attempt that is asked by ordinary calls.

    Returns:
        Whether the attempt has any requests.
    """
    standing = {found.key for found in storage.objects(keys.shards(attempt))}

    def copy(kept: StoredObject) -> None:
        target = keys.shard(attempt, object_keys.shard_number(kept.key))
        if target not in standing:
            with ObjectWriter(storage, target) as writer:
                join(storage, [kept], writer)

    kept = list(storage.objects(keys.kept_shards))
    with ThreadPoolExecutor(max_workers=_COPIED_AT_ONCE) as pool:
        list(pool.map(copy, kept))
    return bool(kept or standing)


def begin_calls(
    storage: Storage,
    keys: object_keys.WorkKeys,
    job: JobRecord,
    state: AttemptState,
    *,
    ending: Ending | None,
) -> OnDemand:
    """Decide what the ordinary calls behind a collected attempt may cost, once.

    Args:
        storage: The bucket.
        keys: The job's working files.
        job: The job's record, with a deadline.
        state: The attempt's.
        ending: Why nothing is asked at all; None when something may be.

    Returns:
        The record of the calls that stands.
    """
    usage, left, following = ModelUsages(), 0, state.attempt + 1
    for attempt in range(1, following):
        for summary in load_shard_results(storage, keys, attempt):
            usage.merge(summary.used)
            left += summary.kept + (summary.left_over if attempt == state.attempt else 0)
    left += sum(one.requests for one in job.shards if job.first_attempt_of(one.number) == following)
    prices, options = job.prices or table_prices(), job.options
    return OnDemand(
        attempt=following,
        budget_usd=budget_usd(
            deadline_max_usd=options.deadline_max_usd,
            cap_usd=options.max_job_cost_usd,
            spent=spent_usd(usage, prices),
        ),
        ask_until=(job.deadline_at or 0.0) + ASKING_SECONDS,
        max_tries=options.max_attempts,
        means=MeanUsage.of(usage),
        requests=left,
        ended=ending,
    ).begin(storage, keys)
