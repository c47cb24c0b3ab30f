"""Decides about a canary when an attempt of it is collected, and brings the rest of the job."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from groq_batch.bucket.concat import join
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.canary import (
    CANARY_SHARD,
    CanaryResults,
    canary_of_stopped_job,
    is_sent_again_alone,
    judge_canary,
)
from groq_batch.domain.cost import ModelUsages, actual_cost_usd
from groq_batch.records.job import JobRecord, Stop
from groq_batch.records.shard_result import ShardResult
from groq_batch.telemetry.log import logger

_COPIED_AT_ONCE = 16
_COPYING_SECONDS = 240
"""How long one look copies; the next one goes on. A function has 840 seconds."""
_MEDIAN = 0.5


def decide_about_canary(
    storage: Storage,
    keys: object_keys.WorkKeys,
    job: JobRecord,
    attempt: int,
    *,
    stop: Stop | None,
    stack_cap_usd: float,
    is_late: bool,
) -> JobRecord:
    """Judge the canary by an attempt of which all rows are stored, or have it sent again alone.

    What is decided is written down before anything follows from it. It depends on nothing but the
    stored rows and the job's record, so that two looks at the same time come to the same.

    Args:
        storage: The bucket.
        keys: The job's working files.
        job: The job's record, without a verdict.
        attempt: The attempt.
        stop: Why the job was stopped; None when it was not.
        stack_cap_usd: The stack's own cap; 0 means none.
        is_late: Whether the job's deadline has passed. Then nothing is sent again, and a canary
            without an answer is not judged at all.

    Returns:
        The job's record: with the verdict, or as it was when the canary is to be sent again alone.
    """
    results = _results(storage, keys, job, attempt)
    if stop is not None or results is None or (is_sent_again_alone(results) and is_late):
        verdict = canary_of_stopped_job(results, rest_attempt=attempt + 1)
    elif is_sent_again_alone(results):
        logger.info("The canary has no answer yet; it is sent again alone", open=results.open)
        return job
    else:
        cap = job.options.max_job_cost_usd
        verdict = judge_canary(
            results,
            rest_attempt=attempt + 1,
            good=job.good,
            max_failed_percent=job.options.canary_max_failed_percent,
            cap_usd=cap,
            cap_is_of_stack=cap == stack_cap_usd,
        )
    logger.info(
        "Judged the canary",
        passed=verdict.passed,
        failed=verdict.failed,
        requests=verdict.requests,
        projected_cost_usd=verdict.projected_cost_usd,
        code=verdict.code or None,
    )
    return job.write_verdict(storage, keys, verdict)


def _results(
    storage: Storage, keys: object_keys.WorkKeys, job: JobRecord, attempt: int
) -> CanaryResults | None:
    """Return what came of the canary up to an attempt; None when nothing is stored of it."""
    summaries = []
    for number in range(1, attempt + 1):
        found = storage.get_json(keys.summary(number, CANARY_SHARD))
        if found is not None:
            summaries.append(ShardResult.from_json(found[0]))
    if not summaries:
        return None
    usage = ModelUsages()
    for summary in summaries:
        usage.merge(summary.used)
    last = summaries[-1]
    return CanaryResults(
        requests=job.origin(CANARY_SHARD).requests,
        answered=last.succeeded,
        open=last.left_over,
        failed=last.failed_for_good,
        cost_usd=actual_cost_usd(usage, job.prices),
        milliseconds=last.measures.milliseconds.quantile(_MEDIAN),
    )


def bring_rest(storage: Storage, keys: object_keys.WorkKeys, job: JobRecord, attempt: int) -> bool:
    """Have the shards behind a canary stand where the attempt that begins with them has them.

    They were put where the second attempt has its shards. A canary that was sent alone in that one
    as well has them copied, by S3.

    Args:
        storage: The bucket.
        keys: The job's working files.
        job: The job's record.
        attempt: The attempt in which they come for the first time.

    Returns:
        Whether all of them stand there. Copying very many goes on at the next call.
    """
    waiting = [shard for shard in job.shards if shard.number != CANARY_SHARD]
    if all(job.attempt_of_lines(shard.number) == attempt for shard in waiting):
        return True
    standing = {found.key for found in storage.objects(keys.shards(attempt))}
    missing = [shard for shard in waiting if keys.shard(attempt, shard.number) not in standing]
    ends = time.monotonic() + _COPYING_SECONDS

    def copy(number: int, size: int) -> bool:
        if time.monotonic() > ends:
            return False
        source = keys.shard(job.attempt_of_lines(number), number)
        with ObjectWriter(storage, keys.shard(attempt, number)) as writer:
            join(storage, [StoredObject(source, size)], writer)
        return True

    with ThreadPoolExecutor(max_workers=_COPIED_AT_ONCE) as pool:
        return all(list(pool.map(lambda one: copy(one.number, one.bytes), missing)))
