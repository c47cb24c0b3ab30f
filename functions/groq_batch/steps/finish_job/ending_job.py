"""Describe what is known of a job that ends.

Nothing here does I/O: the use case reads the records, the rules of ``final_status`` are decided by
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from groq_batch.domain import object_keys
from groq_batch.records.attempt import AttemptState
from groq_batch.records.end import End
from groq_batch.records.job import JobRecord, JobRequest, Stop
from groq_batch.records.on_demand import OnDemandProgress
from groq_batch.records.shard_result import ShardResult, latest_summaries
from groq_batch.records.usage import UsageOfModel, UsageRecord, usage_by_model
from groq_batch.telemetry import metrics


class EndingJob(msgspec.Struct, frozen=True, kw_only=True):
    """The records of a job that ends.

    Attributes:
        request: What the job was started for.
        job: The job's record; None if the preparation did not end, or the record was removed.
        stop: Why the job was stopped; None if it was not.
        states: The states of its attempts.
        summaries: The summaries of all shards and attempts whose rows are stored.
        calls: The record of the last attempt's ordinary calls; None without any.
    """

    request: JobRequest
    job: JobRecord | None = None
    stop: Stop | None = None
    states: Sequence[AttemptState] = ()
    summaries: Sequence[ShardResult] = ()
    calls: OnDemandProgress | None = None

    @property
    def keys(self) -> object_keys.WorkKeys:
        """Keys of the job's working files."""
        return object_keys.WorkKeys(self.request.job_id)

    @property
    def latest(self) -> list[ShardResult]:
        """The summary of each shard's last attempt, in order of the shards."""
        return latest_summaries(self.summaries)

    @property
    def uncollected(self) -> int:
        """Number of shards whose rows are not stored."""
        return max(len(self.job.shards) - len(self.latest), 0) if self.job is not None else 0

    @property
    def models(self) -> list[UsageOfModel]:
        """Usage and cost of the job's requests by model."""
        return usage_by_model(self.summaries, self.job.prices if self.job else None)

    def usage(self, end: End) -> UsageRecord:
        """Return the usage record of the job, based on its recorded end."""
        models = end.models if end.models is not None else self.models
        return UsageRecord.of_report(end.report, models)

    @property
    def unasked(self) -> int:
        """Number of requests that failed because they were not sent in time."""
        return sum(
            group.count
            for summary in self.latest
            for code, group in summary.stats.failures.items()
            if code in metrics.UNASKED_CODES
        )
