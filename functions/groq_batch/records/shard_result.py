"""What was counted when the results of a shard were stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.answer_stats import AnswerStats
from groq_batch.domain.cost import ModelUsage, ModelUsages, told_apart
from groq_batch.domain.parallel import in_parallel
from groq_batch.records.attempt_plan import RefusedShard


@dataclass(slots=True)
class ShardResult:
    """What was counted when the results of one shard attempt were stored.

    Attributes:
        attempt: The attempt.
        number: The shard; of shards that are parts of another, the origin shard that they come
            from.
        sent: Requests of the attempt's batches; 0 when none was created.
        batch_succeeded: Requests among them that succeeded.
        batches: The same two of each shard that has a batch.
        refused: The shards whose batch was refused as a whole, and which are sent again.
        left_over: Request lines that go into the next attempt.
        succeeded: Requests of the shard with a success, after this attempt.
        failed: Valid lines of the shard without one, after this attempt.
        invalid_output: Successes whose answer is not in the form asked for, after this attempt;
            counted only of a job that retries them.
        unchecked_output: Answers of which nobody could tell whether they fit their schema.
        failed_for_good: Those of them that are not sent again, by their code.
        usage: Tokens of this attempt's successes by model: prompt, completion, total.
        answers: What this attempt's successes used, by model.
        by_model: Valid lines of the shard by model, and how many have a success, after this
            attempt. A line counts for the model that answered it, else for the one that it asks.
        errors: The first rows without a success, after this attempt.
        file_ids: The batch's result files at Groq.
        results_bytes: Size of the stored results.
        failed_bytes: Size of the stored request lines without a success.
        anomalies: Rows of the API that belong to no request or came twice.
        measures: What this attempt's answers took, and why requests have no success after it.
        kept: Request lines whose attempts are used up, and which ordinary calls may ask.
        on_demand: Whether the attempt was asked by ordinary calls, at their price.
        asked: Requests for which such a call was begun.
        deadline_passed: Requests with a row ``deadline_passed``, after this attempt.
    """

    attempt: int
    number: int
    sent: int = 0
    batch_succeeded: int = 0
    batches: dict[int, tuple[int, int]] = field(default_factory=dict)
    refused: dict[int, RefusedShard] = field(default_factory=dict)
    left_over: int = 0
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
    measures: AnswerStats = field(default_factory=AnswerStats)
    kept: int = 0
    on_demand: bool = False
    asked: int = 0
    deadline_passed: int = 0

    def count_line(self, model: str, *, succeeded: bool) -> None:
        """Count a valid line for a model (see ``told_apart``)."""
        counts = self.by_model.setdefault(told_apart(model, self.by_model), [0, 0])
        counts[0] += 1
        counts[1] += succeeded

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {**asdict(self), "measures": self.measures.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data.

        A job may run across deployments: fields that an older version did not write have their
        defaults, and those that a newer one has added are passed over.
        """
        known = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        measures = AnswerStats.from_json(known.pop("measures", {}))
        answers = ModelUsages(
            {name: ModelUsage.from_json(used) for name, used in known.pop("answers", {}).items()}
        )
        batches = known.pop("batches", {}).items()
        refused = known.pop("refused", {}).items()
        return cls(
            **known,
            measures=measures,
            answers=answers,
            batches={int(shard): (sent, succeeded) for shard, (sent, succeeded) in batches},
            refused={int(shard): RefusedShard(**one) for shard, one in refused},
        )

    def counts_of(self, shard: int) -> tuple[int, int]:
        """Return how many requests of a shard's batch there were, and how many succeeded."""
        if not self.batches:
            # An older version knew no parts, and counted for the only shard that there was.
            return self.sent, self.batch_succeeded
        return self.batches.get(shard, (0, 0))

    @property
    def used(self) -> ModelUsages:
        """What this attempt's successes used, by model; of an older summary as far as it tells."""
        if self.answers:
            return self.answers
        usage = self.usage.items()
        return ModelUsages({model: ModelUsage(0, used[0], used[1]) for model, used in usage})


def load_shard_results(
    storage: Storage, keys: object_keys.WorkKeys, attempt: int
) -> list[ShardResult]:
    """Return the summaries of an attempt's shards, in order of the shards."""
    names = [item.key for item in storage.objects(keys.summaries(attempt))]

    def read(key: str) -> ShardResult | None:
        found = storage.get_json(key)
        return ShardResult.from_json(found[0]) if found else None

    return [summary for summary in in_parallel(read, names) if summary is not None]
