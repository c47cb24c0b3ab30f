"""Small summaries of many rows: right in the middle, bounded at the edges."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.answer_stats import (
    LARGEST_VALUE,
    MAX_EXAMPLES,
    MAX_NAME_CHARACTERS,
    MAX_NAMES,
    OTHER_NAMES,
    STEPS_OF_AN_OCTAVE,
    AnswerStats,
    Failures,
    Histogram,
    bucket_of,
    bucket_start,
    count_name,
)
from groq_batch.domain.json_data import from_json_data, to_json_data
from groq_batch.records.shard_result import ShardResult
from groq_batch.records.stored import from_record, to_record

VALUES = st.lists(st.integers(0, 2**45), min_size=1, max_size=60)


def histogram(values: list[int]) -> Histogram:
    """Count values two by two, which comes to the same as all at once."""
    found = Histogram()
    for start in range(0, len(values), 2):
        found.add_all(values[start : start + 2])
    assert found == together(values)
    return found


def together(values: list[int]) -> Histogram:
    found = Histogram()
    found.add_all(values)
    found.add_all([])
    return found


@given(st.integers(0, LARGEST_VALUE))
def test_a_value_stands_in_its_bucket(value: int) -> None:
    bucket = bucket_of(value)
    assert bucket_start(bucket) <= value < bucket_start(bucket + 1)
    assert bucket_start(bucket + 1) - bucket_start(bucket) <= max(1, value / STEPS_OF_AN_OCTAVE)


def test_small_values_have_a_bucket_each() -> None:
    assert [bucket_of(value) for value in range(16)] == list(range(16))


@given(VALUES, VALUES)
def test_merging_is_the_same_as_counting_everything(first: list[int], second: list[int]) -> None:
    merged = histogram(first)
    merged.merge(histogram(second))
    assert merged == histogram(first + second)
    assert merged.count == len(first) + len(second)


@given(VALUES)
def test_quantiles_are_known_to_an_eighth(values: list[int]) -> None:
    found = histogram(values)
    ordered = sorted(min(value, LARGEST_VALUE) for value in values)
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        rank = max(0, min(len(ordered) - 1, -int(-share * len(ordered) // 1) - 1))
        quantile = found.quantile(share)
        assert quantile is not None
        assert abs(quantile - ordered[rank]) <= max(1, ordered[rank] / STEPS_OF_AN_OCTAVE)
    assert found.least == ordered[0]
    assert found.most == ordered[-1] == found.quantile(1.0)
    assert found.mean == sum(ordered) / len(ordered)


def test_nothing_counted() -> None:
    found = Histogram()
    found.merge(Histogram())
    assert (found.count, found.mean, found.quantile(0.5), found.least) == (0, None, None, None)


@given(VALUES)
def test_a_histogram_survives_json(values: list[int]) -> None:
    found = histogram(values)
    assert from_json_data(json.loads(json.dumps(to_json_data(found))), Histogram) == found


def test_names_are_bounded_in_length_and_number() -> None:
    counts: dict[str, int] = {}
    for number in range(1000):
        count_name(counts, f"{number}" + "x" * 10_000)
    count_name(counts, "stop", 5)
    assert len(counts) == MAX_NAMES + 1
    assert counts[OTHER_NAMES] == 1000 - MAX_NAMES + 5
    assert max(map(len, counts)) == MAX_NAME_CHARACTERS


def test_failures_keep_the_first_lines_and_the_first_message() -> None:
    failures = Failures()
    for line in range(1, 100):
        failures.add("rate_limit_exceeded", line, f"message {line}")
    failures.add("rate_limit_exceeded", None, None)
    failures.add(None, 7, None)
    group = failures["rate_limit_exceeded"]
    assert (group.count, group.message) == (100, "message 1")
    assert group.lines == list(range(1, MAX_EXAMPLES + 1))
    assert failures["unknown"].count == 1


def test_failures_are_bounded_whatever_the_codes_and_messages_are() -> None:
    failures = Failures()
    for number in range(1000):
        failures.add(f"{number}" + "c" * 5000, number, "m" * 100_000)
    assert sum(group.count for group in failures.values()) == 1000
    assert len(json.dumps(to_json_data(failures))) < 15_000
    merged = Failures()
    merged.merge(failures)
    assert merged == failures


FINISH_REASONS = st.text(max_size=100).filter(bool)


@given(VALUES, st.lists(FINISH_REASONS), st.lists(st.tuples(st.text(), st.integers(1, 9))))
def test_measures_survive_json(
    values: list[int], reasons: list[str], failed: list[tuple[str, int]]
) -> None:
    stats = AnswerStats(prompt_tokens=histogram(values), milliseconds=histogram(values[:3]))
    for reason in reasons:
        count_name(stats.finish_reasons, reason)
    for code, line in failed:
        stats.failures.add(code, line, "Why.")
    summary = ShardResult(attempt=1, number=2, stats=stats)
    stored = json.loads(json.dumps(to_record(summary)))
    assert from_record(stored, ShardResult) == summary
    merged = AnswerStats()
    merged.add_answers_of(stats)
    assert merged.prompt_tokens == stats.prompt_tokens
    assert merged.finish_reasons == stats.finish_reasons
    assert merged.failures == Failures()


@pytest.mark.parametrize(
    "change", ["measures", "anomalies", "invalid_output", "unchecked_output", None]
)
def test_a_summary_of_another_version_is_read(change: str | None) -> None:
    stored: dict[str, Any] = to_record(ShardResult(attempt=1, number=2, succeeded=3))
    if change is None:
        stored["of_a_later_version"] = {"x": 1}
    else:
        del stored[change]
    assert from_record(stored, ShardResult) == ShardResult(attempt=1, number=2, succeeded=3)


def test_measures_of_a_large_shard_are_small() -> None:
    stats = AnswerStats()
    numbers = range(50_000)
    stats.prompt_tokens.add_all([50 + number * number % 8000 for number in numbers])
    stats.completion_tokens.add_all([number * 7919 % 4000 for number in numbers])
    stats.milliseconds.add_all([number * 104_729 % 60_000 for number in numbers])
    assert len(json.dumps(to_json_data(stats))) < 6000
