"""Counts from storing the results of a shard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec import field

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.answer_stats import AnswerStats
from groq_batch.domain.cost import JobUsage, ModelUsage, ModelUsages, counted_model_name
from groq_batch.domain.parallel import in_parallel
from groq_batch.records import stored
from groq_batch.records.attempt_plan import RefusedShard

if TYPE_CHECKING:
    # Readers of rows are slow to import, and most readers of these counts read no row.
    from groq_batch.domain.result_row import Row

_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
"""Names of the numbers in ``ShardResult.usage``."""


class ShardResult(msgspec.Struct, rename={"to_retry": "left_over", "stats": "measures"}):
    """Counts from storing the results of one shard attempt.

    Attributes:
        attempt: The attempt.
        number: The shard; for parts of a divided shard, their origin shard.
        sent: Requests in the attempt's batches; 0 if none was created.
        batch_succeeded: Requests among them that succeeded.
        batches: The same two numbers for each shard that has a batch.
        refused: The shards whose batch was refused as a whole, and which are sent again.
        to_retry: Request lines that go into the next attempt.
        succeeded: Requests of the shard with a success, after this attempt.
        failed: Valid lines of the shard without one, after this attempt.
        invalid_output: Successes whose answer does not have the requested form, after this
            attempt; counted only for a job that retries them.
        unchecked_output: Answers that could not be validated against their schema.
        failed_for_good: Failed lines that are not sent again, by code.
        usage: Tokens of this attempt's successes by model: prompt, completion, total.
        answers: Usage of this attempt's successes, by model.
        by_model: Valid lines of the shard by model, and how many have a success, after this
            attempt. A line counts for the model that answered it, otherwise for the requested one.
        errors: The first rows without a success, after this attempt.
        file_ids: The batch's result files at Groq.
        results_bytes: Size of the stored results.
        failed_bytes: Size of the stored request lines without a success.
        anomalies: Rows of the API that belong to no request or are duplicates.
        stats: Statistics of this attempt's answers, and of the failures after it.
        kept: Request lines without attempts left, which may be sent as ordinary calls.
        on_demand: Whether the attempt consisted of ordinary calls, at their price.
        asked: Requests for which an ordinary call was begun.
        deadline_passed: Requests with a row ``deadline_passed``, after this attempt.
        was_stopped: Whether the job had been stopped before this attempt was collected; None in
            summaries of older versions.
    """

    attempt: int
    number: int
    sent: int = 0
    batch_succeeded: int = 0
    batches: dict[int, tuple[int, int]] = field(default_factory=dict)
    refused: dict[int, RefusedShard] = field(default_factory=dict)
    to_retry: int = 0
    succeeded: int = 0
    failed: int = 0
    invalid_output: int = 0
    unchecked_output: int = 0
    failed_for_good: dict[str, int] = field(default_factory=dict)
    usage: dict[str, list[int]] = field(default_factory=dict)
    answers: ModelUsages = field(default_factory=ModelUsages)
    by_model: dict[str, list[int]] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    file_ids: list[str] = field(default_factory=list)
    results_bytes: int = 0
    failed_bytes: int = 0
    anomalies: int = 0
    stats: AnswerStats = field(default_factory=AnswerStats)
    kept: int = 0
    on_demand: bool = False
    asked: int = 0
    deadline_passed: int = 0
    was_stopped: bool | None = None

    @property
    def is_undisturbed(self) -> bool:
        """Whether every request of the shard had its outcome before a stop of the job, if any."""
        return self.was_stopped is False and not (self.to_retry or self.kept)

    def count_line(self, model: str, *, succeeded: bool) -> None:
        """Count a valid line for a model (see ``counted_model_name``)."""
        counts = self.by_model.setdefault(counted_model_name(model, self.by_model), [0, 0])
        counts[0] += 1
        counts[1] += succeeded

    def count_answers(self, rows: Iterable[Row]) -> None:
        """Count rows with a success of this attempt, and what they used."""
        for row in rows:
            self.batch_succeeded += 1
            tokens = None
            if row.usage is not None:
                tokens = (row.usage.prompt_tokens, row.usage.completion_tokens)
                used = self.usage.setdefault(row.model or "", [0, 0, 0])
                used[0] += row.usage.prompt_tokens
                used[1] += row.usage.completion_tokens
                used[2] += row.usage.total_tokens
            self.answers[row.model or ""].add(tokens, row.audio_seconds)

    @classmethod
    def load(cls, storage: Storage, key: str) -> Self | None:
        """Read the counts of a shard attempt; None if they are not stored."""
        return stored.load(storage, key, cls)

    def write(self, storage: Storage, keys: object_keys.WorkKeys) -> None:
        """Write the counts over those of an earlier try."""
        storage.put_json(keys.summary(self.attempt, self.number), stored.to_record(self))

    def counts_of(self, shard: int) -> tuple[int, int]:
        """Return the number of requests in a shard's batch, and how many succeeded."""
        if not self.batches:
            # An older version had no parts, and counted for its only shard.
            return self.sent, self.batch_succeeded
        return self.batches.get(shard, (0, 0))

    @property
    def used(self) -> ModelUsages:
        """Usage of this attempt's successes by model; an older summary lacks some of it."""
        if self.answers:
            return self.answers
        usage = self.usage.items()
        return ModelUsages({model: ModelUsage(0, used[0], used[1]) for model, used in usage})


def latest_summaries(summaries: Iterable[ShardResult]) -> list[ShardResult]:
    """Return each shard's summary of its last attempt, in order of the shards."""
    latest: dict[int, ShardResult] = {}
    for summary in sorted(summaries, key=lambda item: item.attempt):
        latest[summary.number] = summary
    return [latest[number] for number in sorted(latest)]


def total_tokens(summaries: Sequence[ShardResult]) -> dict[str, int]:
    """Add up the tokens of the answers of all shards and attempts, by the API's names."""
    return {
        name: sum(used[place] for summary in summaries for used in summary.usage.values())
        for place, name in enumerate(_TOKENS)
    }


def job_usage(summaries: Iterable[ShardResult]) -> JobUsage:
    """Add up the usage of the answers of all shards and attempts."""
    usage = JobUsage()
    for summary in summaries:
        (usage.calls if summary.on_demand else usage.batches).merge(summary.used)
    return usage


def load_shard_results(
    storage: Storage, keys: object_keys.WorkKeys, attempt: int
) -> list[ShardResult]:
    """Return the summaries of an attempt's shards, in order of the shards."""
    names = [item.key for item in storage.objects(keys.summaries(attempt))]
    found = in_parallel(lambda key: ShardResult.load(storage, key), names)
    return [summary for summary in found if summary is not None]
