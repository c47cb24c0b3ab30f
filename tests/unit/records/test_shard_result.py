"""The counts of a shard attempt: what its answers used."""

from __future__ import annotations

from groq_batch.domain.cost import ModelUsage
from groq_batch.domain.result_row import Row, RowOutcome, Usage
from groq_batch.records.shard_result import ShardResult, total_tokens


def answer(model: str | None, usage: Usage | None = None, seconds: float | None = None) -> Row:
    return Row("a", RowOutcome.SUCCESS, model=model, usage=usage, audio_seconds=seconds)


def test_count_answers_adds_up_what_each_model_used() -> None:
    summary = ShardResult(attempt=1, number=1)
    summary.count_answers([answer("m", Usage(3, 4, 8)), answer("m", Usage(1, 1, 2))])
    summary.count_answers([answer("n", Usage(10, 0, 10))])
    assert summary.batch_succeeded == 3
    assert summary.usage == {"m": [4, 5, 10], "n": [10, 0, 10]}
    assert summary.used["m"] == ModelUsage(2, 4, 5, without_seconds=2)
    assert total_tokens([summary]) == {
        "prompt_tokens": 14,
        "completion_tokens": 5,
        "total_tokens": 20,
    }


def test_count_answers_without_usage_or_model_are_counted_nevertheless() -> None:
    summary = ShardResult(attempt=1, number=1)
    summary.count_answers([answer("m"), answer(None, seconds=60.0)])
    assert summary.batch_succeeded == 2
    assert summary.usage == {}
    assert summary.answers["m"].without_tokens == 1
    assert summary.answers[""].billed_seconds == 60.0
