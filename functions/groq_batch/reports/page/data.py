"""What the page of a job tells that its report does not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from groq_batch.domain.answer_stats import AnswerStats, Failures
from groq_batch.domain.cost import ModelUsage
from groq_batch.records.job import JobRecord
from groq_batch.records.shard_result import ShardResult
from groq_batch.reports.report import latest_summaries


@dataclass(frozen=True, slots=True)
class PageData:
    """What a page tells beside the report; None and nothing while the job runs.

    Attributes:
        job: What the preparation found.
        measures: What the answers took; of all attempts.
        failures: The requests without a success at the end.
        usage: What the answers used, by model.
        called: What those of them used that ordinary calls have brought.
    """

    job: JobRecord | None = None
    measures: AnswerStats | None = None
    failures: Failures | None = None
    usage: Mapping[str, ModelUsage] = field(default_factory=dict)
    called: Mapping[str, ModelUsage] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        job: JobRecord | None,
        summaries: Sequence[ShardResult],
        usage: Mapping[str, ModelUsage],
        called: Mapping[str, ModelUsage] | None = None,
    ) -> PageData:
        """Sum up what was counted for the shards of all attempts."""
        measures, failures = AnswerStats(), Failures()
        for summary in summaries:
            measures.add_answers_of(summary.measures)
        last = latest_summaries(summaries)
        for summary in last:
            failures.merge(summary.measures.failures)
        counted = sum(group.count for group in failures.groups.values())
        # Summaries of an older version count no failures; the report's own list stands for them.
        is_whole = counted == sum(summary.failed for summary in last)
        return cls(job, measures, failures if is_whole else None, usage, called or {})
