"""Begin the ordinary calls after a deadline, and end them: which attempt, which budget, until when.

No call is made before every batch of the job has ended and its rows are stored. If an attempt was
collected after the deadline, all its unanswered requests are in the shards of the next attempt, in
file order, and that attempt gets the record of ordinary calls. If an attempt was collected before
the deadline, it is followed by an attempt of which nothing is sent, with the same result.
"""

from __future__ import annotations

from groq_batch.bucket.concat import join
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.cost import ModelUsages
from groq_batch.domain.on_demand import ASKING_SECONDS, MeanUsage, budget_usd, spent_usd
from groq_batch.domain.parallel import in_parallel
from groq_batch.domain.prices import table_prices
from groq_batch.records.on_demand import CallsEnd, OnDemandProgress, end_calls, load_calls
from groq_batch.records.shard_result import load_shard_results
from groq_batch.steps.check_status.next_action import ending_of_calls
from groq_batch.steps.check_status.reasons import pause_of_calls
from groq_batch.steps.check_status.situation import Check, Situation


def update_calls(storage: Storage, check: Check) -> OnDemandProgress | None:
    """Read the record of the attempt's ordinary calls, and end it if no call may follow.

    Returns:
        The record; None if the attempt has none. One that should have ended but has not is being
        changed by another invocation.
    """
    keys, attempt = check.keys, check.state.attempt
    calls = load_calls(storage, keys, check.job, attempt)
    if calls is None or calls.ended is not None:
        return calls
    check.state.last_check_error = pause_of_calls(calls, now=check.now)
    ending = ending_of_calls(check, calls)
    if ending is None:
        return calls
    return end_calls(storage, keys, attempt, ending) or calls


def begin_calls(storage: Storage, known: Situation) -> OnDemandProgress | None:
    """Create the record of the ordinary calls after a collected attempt, with their budget, once.

    Returns:
        The stored record, which may have been written by another invocation; None if no request is
        left for such calls.
    """
    keys, job, state = known.keys, known.job, known.state
    following = state.attempt + 1
    if not _copy_kept_requests(storage, keys, following):
        return None
    ending = None if known.makes_calls else CallsEnd.NOT_POSSIBLE
    if job.verdict is not None and job.verdict.passed is None:
        ending = CallsEnd.CANARY
    usage, left = ModelUsages(), 0
    for attempt in range(1, following):
        for summary in load_shard_results(storage, keys, attempt):
            usage.merge(summary.used)
            left += summary.kept + (summary.to_retry if attempt == state.attempt else 0)
    left += sum(one.requests for one in job.shards if job.first_attempt_of(one.number) == following)
    prices, options = job.prices or table_prices(), job.options
    return OnDemandProgress(
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


def _copy_kept_requests(storage: Storage, keys: object_keys.WorkKeys, attempt: int) -> bool:
    """Copy requests that had used up their attempts before the deadline into an attempt's shards.

    Returns:
        Whether the attempt has any requests.
    """
    existing = {found.key for found in storage.objects(keys.shards(attempt))}

    def copy(kept: StoredObject) -> None:
        target = keys.shard(attempt, object_keys.shard_number(kept.key))
        if target not in existing:
            with ObjectWriter(storage, target) as writer:
                join(storage, [kept], writer)

    kept = list(storage.objects(keys.kept_shards))
    in_parallel(copy, kept)
    return bool(kept or existing)
