"""Data for a job's page that its report does not contain."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import field

from groq_batch.domain.answer_stats import AnswerStats, Failures
from groq_batch.domain.cost import JobUsage
from groq_batch.records.job import JobRecord
from groq_batch.records.shard_result import ShardResult, job_usage, latest_summaries


class PageData(msgspec.Struct, frozen=True):
    """Data for a page in addition to the report; empty while the job runs.

    Attributes:
        job: The job's record.
        stats: Statistics of the answers of all attempts.
        failures: The requests without a success at the end.
        usage: Usage of the answers by model.
    """

    job: JobRecord | None = None
    stats: AnswerStats | None = None
    failures: Failures | None = None
    usage: JobUsage = field(default_factory=JobUsage)

    @classmethod
    def of(cls, job: JobRecord | None, summaries: Sequence[ShardResult]) -> PageData:
        """Add up the counts of all shards and attempts."""
        stats, failures = AnswerStats(), Failures()
        for summary in summaries:
            stats.add_answers_of(summary.stats)
        last = latest_summaries(summaries)
        for summary in last:
            failures.merge(summary.stats.failures)
        counted = sum(group.count for group in failures.values())
        # Summaries of an older version count no failures; the page then uses the report's list.
        is_whole = counted == sum(summary.failed for summary in last)
        return cls(job, stats, failures if is_whole else None, job_usage(summaries))
