"""Write a job's usage record: what it was, how it ended and what it cost, kept permanently.

Reports are replaced by those of newer uploads, and working files expire. Of every ended job one
small record remains, in a folder of its UTC day that Athena and DuckDB read as a partition. It is
derived from the stored final report, so that every invocation writes the same record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from groq_batch.bucket.s3_errors import (
    ConflictError,
    UnreadableObjectError,
    UnwritableObjectError,
)
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.cost import ModelUsage, counted_model_name
from groq_batch.domain.json_data import from_json_data, to_json_data
from groq_batch.domain.prices import Prices
from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch.records.shard_result import ShardResult, job_usage, latest_summaries


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOfModel:
    """Totals of a job's requests to one model.

    Attributes:
        model: The model that answered, otherwise the requested one.
        requests: Its requests that passed the checks.
        succeeded: Requests among them with an answer.
        prompt_tokens: Prompt tokens of all its answers.
        completion_tokens: Completion tokens of all its answers.
        usd: Cost of its answers in US dollars; None if unknown.
    """

    model: str
    requests: int = 0
    succeeded: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord:
    """The permanent record of an ended job.

    Attributes:
        job_id: The job's name.
        key: The input's key.
        folder: The first folder below ``input/`` or ``recurring/``; empty at the top.
        status: How it ended.
        error_code: The code of its first error; None without one.
        started_at: When it was started.
        finished_at: When it ended.
        requests: Lines of the input that are not blank.
        succeeded: Requests with an answer.
        failed: Valid lines without one.
        invalid: Lines that did not pass the checks.
        batches: Batches at Groq, of all attempts.
        prompt_tokens: Prompt tokens of all answers.
        completion_tokens: Completion tokens of all answers.
        estimated_usd: The estimate before anything was sent; None if unknown.
        actual_usd: Cost of the answers; None if unknown.
        on_demand_usd: The share of ordinary calls in it; 0 without such calls.
        bytes: Size of the input.
        version: The version of the stack's code; None in the report of an earlier version.
        models: The totals by model.
    """

    job_id: str
    key: str
    folder: str
    status: str
    error_code: str | None
    started_at: str
    finished_at: str
    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    invalid: int = 0
    batches: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_usd: float | None = None
    actual_usd: float | None = None
    on_demand_usd: float | None = 0
    bytes: int = 0
    version: str | None = None
    models: Sequence[UsageOfModel] = ()

    @property
    def day(self) -> str:
        """The UTC date of its end, such as ``2026-11-29``."""
        return self.finished_at[:10]

    @property
    def object_key(self) -> str:
        """Key of the record."""
        return object_keys.usage_key(self.day, self.job_id)

    @classmethod
    def of_report(cls, report: Mapping[str, Any], models: Sequence[UsageOfModel]) -> Self:
        """Return the record of an ended job.

        Args:
            report: Its final report, which an earlier version may have written.
            models: Totals of its requests by model.
        """
        source, requests, timing = report["input"], report["requests"], report["timing"]
        usage = ReportedUsage.of(report)
        return cls(
            job_id=report["job_id"],
            key=source["key"],
            folder=object_keys.folder(source["key"]),
            status=report["status"],
            error_code=report["errors"][0]["code"] if report["errors"] else None,
            started_at=timing["started_at"],
            finished_at=timing["finished_at"],
            requests=requests["total"],
            succeeded=requests["succeeded"],
            failed=requests["failed"],
            invalid=requests["invalid"],
            batches=len(report["batches"]),
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            estimated_usd=usage.estimated_usd,
            actual_usd=usage.actual_usd,
            on_demand_usd=usage.calls_usd,
            bytes=source["bytes"],
            version=report.get("version"),
            models=models,
        )

    @classmethod
    def load(cls, storage: Storage, key: str) -> Self | None:
        """Read a record; None if there is none.

        Raises:
            ValueError: The object is no such record.
        """
        found = storage.get_json(key)
        return from_json_data(found.value, cls) if found else None

    def write(self, storage: Storage) -> bool:
        """Write the record unless it exists; tell whether it exists afterwards.

        It does not if S3 denies the write. The end of a job must not wait for that.

        Raises:
            ConflictError: S3 kept asking for a retry.
        """
        key = self.object_key
        try:
            try:
                storage.put_json(key, to_json_data(self), over=None)
            except ConflictError:
                if not storage.exists(key):
                    raise
        except (UnreadableObjectError, UnwritableObjectError):
            return False
        return True


def usage_by_model(summaries: Sequence[ShardResult], prices: Prices | None) -> list[UsageOfModel]:
    """Return the totals of a job's requests by model, sorted by model name.

    Args:
        summaries: The summaries of all shards and attempts.
        prices: The job's prices; None means those of the built-in table.
    """
    usage = job_usage(summaries)
    counts: dict[str, list[int]] = {model: [0, 0] for model in (*usage.batches, *usage.calls)}
    for summary in latest_summaries(summaries):
        # An older version did not count lines by model, but answers by model are known.
        counted = summary.by_model or {
            model: [used.answers, used.answers] for model, used in summary.used.items()
        }
        for model, (requests, succeeded) in counted.items():
            entry = counts.setdefault(counted_model_name(model, counts), [0, 0])
            entry[0] += requests
            entry[1] += succeeded
    models = []
    for model, (requests, succeeded) in sorted(counts.items()):
        own = usage.of([model])
        used = own.total.get(model, ModelUsage())
        models.append(
            UsageOfModel(
                model=model,
                requests=requests,
                succeeded=succeeded,
                prompt_tokens=used.prompt_tokens,
                completion_tokens=used.completion_tokens,
                usd=own.cost_usd(prices),
            )
        )
    return models
