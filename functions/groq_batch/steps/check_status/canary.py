"""Judge a canary once one of its attempts is collected, and provide the job's other shards."""

from __future__ import annotations

import time

from groq_batch.bucket.concat import join
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.canary import (
    CANARY_SHARD,
    CanaryResults,
    is_sent_again_alone,
    judge_canary,
    unjudged_verdict,
)
from groq_batch.domain.parallel import in_parallel
from groq_batch.domain.shard import Shard
from groq_batch.records.job import JobRecord
from groq_batch.records.shard_result import ShardResult, job_usage
from groq_batch.steps.check_status.situation import Situation
from groq_batch.telemetry.log import logger

_COPYING_SECONDS = 240
"""How many seconds one status check copies; the next one continues. A function has 840 seconds."""
_MEDIAN = 0.5


def decide_about_canary(storage: Storage, known: Situation) -> JobRecord:
    """Judge the canary after an attempt whose rows are all stored, or have it sent again alone.

    The decision is written before anything is done about it. It depends only on the stored rows and
    the job's record, so two concurrent status checks reach the same decision.

    If the job was stopped, the canary is not judged. If the deadline has passed, nothing is sent
    again, and a canary without an answer is not judged either.

    Args:
        storage: The bucket.
        known: What is known of the job, whose canary has no verdict yet.

    Returns:
        The job's record with the verdict, or unchanged if the canary is to be sent again alone.
    """
    keys, job, attempt = known.keys, known.job, known.state.attempt
    results = _results(storage, keys, job, attempt)
    is_sent_again = results is not None and is_sent_again_alone(results)
    if known.stop is not None or results is None or (is_sent_again and known.is_late):
        verdict = unjudged_verdict(results, rest_attempt=attempt + 1)
    elif is_sent_again:
        logger.info("The canary has no answer yet; only it is sent again", open=results.open)
        return job
    else:
        cap = job.options.max_job_cost_usd
        verdict = judge_canary(
            results,
            rest_attempt=attempt + 1,
            good=job.good,
            max_failed_percent=job.options.canary_max_failed_percent,
            cap_usd=cap,
            cap_is_of_stack=cap == known.settings.default_options.max_job_cost_usd,
        )
    logger.info(
        "Evaluated the canary",
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
    """Return the canary's results up to an attempt; None if nothing of it is stored."""
    numbers = range(1, attempt + 1)
    found = (ShardResult.load(storage, keys.summary(number, CANARY_SHARD)) for number in numbers)
    summaries = [summary for summary in found if summary is not None]
    if not summaries:
        return None
    last = summaries[-1]
    return CanaryResults(
        requests=job.origin(CANARY_SHARD).requests,
        answered=last.succeeded,
        open=last.to_retry,
        failed=last.failed_for_good,
        cost_usd=job_usage(summaries).cost_usd(job.prices),
        milliseconds=last.stats.milliseconds.quantile(_MEDIAN),
    )


def copy_rest_shards(
    storage: Storage, keys: object_keys.WorkKeys, job: JobRecord, attempt: int
) -> bool:
    """Make the shards after a canary exist in the attempt that begins with them.

    They are written as shards of the second attempt. If the canary was sent alone in the second
    attempt as well, S3 copies them to a later one.

    Args:
        storage: The bucket.
        keys: Keys of the job's working files.
        job: The job's record.
        attempt: The attempt in which these shards are sent for the first time.

    Returns:
        Whether all of them exist. If there are very many, the next call continues copying.
    """
    waiting = [shard for shard in job.shards if shard.number != CANARY_SHARD]
    if all(job.attempt_of_request_lines(shard.number) == attempt for shard in waiting):
        return True
    existing = {found.key for found in storage.objects(keys.shards(attempt))}
    missing = [shard for shard in waiting if keys.shard(attempt, shard.number) not in existing]
    ends = time.monotonic() + _COPYING_SECONDS

    def copy(shard: Shard) -> bool:
        if time.monotonic() > ends:
            return False
        source = keys.shard(job.attempt_of_request_lines(shard.number), shard.number)
        with ObjectWriter(storage, keys.shard(attempt, shard.number)) as writer:
            join(storage, [StoredObject(source, shard.bytes)], writer)
        return True

    return all(in_parallel(copy, missing))
