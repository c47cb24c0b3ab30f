"""What becomes of an input that was read: accepted or not, and what its record says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from groq_batch.domain.cost import ModelEstimate, ModelEstimates
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.problem import Problem
from groq_batch.domain.shard import Shard
from groq_batch.domain.times import timestamp_of
from groq_batch.records.job import JobRecord
from groq_batch.request_file.input_summary import MAX_KEPT_PROBLEMS, InputSummary
from groq_batch.request_file.splitter import EMPTY_FILE
from groq_batch.steps.prepare_input.acceptance import Terms, decide
from tests.samples import OPTIONS

MODEL = "openai/gpt-oss-20b"
STARTED = 1_800_000_000.0
NOW = timestamp_of(STARTED + 60)
BAD_OPTION = Problem(None, None, ErrorCode.INVALID_OPTION, "An option is wrong.")
BAD_LINE = Problem(3, "a", ErrorCode.INVALID_URL, "The URL is wrong.")


def decided(
    good: int = 4, bad: int = 0, *, problems: tuple[Problem, ...] = (), **options: Any
) -> tuple[JobRecord, list[Problem]]:
    summary = InputSummary(lines=good + bad, good=good, shards=[Shard(1, good, 99)] if good else [])
    if good:
        estimate = ModelEstimate(requests=good, body_bytes=10**9, output_tokens=10**9)
        summary.models = ModelEstimates({MODEL: estimate})
    for _ in range(bad):
        summary.add_invalid(BAD_LINE)
    if not summary.total:
        summary.reject(EMPTY_FILE)
    terms = Terms(
        options=replace(OPTIONS, **options),
        option_problems=problems,
        stack_cap_usd=0,
        input_bytes=123,
        started_at=timestamp_of(STARTED),
    )
    record, found = decide(summary, terms, None, now=NOW)
    return record, list(found)


def test_decide_accepts_good_lines_and_records_what_was_found() -> None:
    record, problems = decided()
    assert (record.accepted, record.good, record.input_bytes) == (True, 4, 123)
    assert record.shards == (Shard(1, 4, 99),)
    assert (record.prepared_at, record.deadline_at) == (NOW, None)
    assert record.estimated_cost_usd
    assert not problems


@pytest.mark.parametrize(
    ("good", "bad", "skips", "accepted"),
    [(4, 1, False, False), (4, 1, True, True), (0, 2, True, False), (0, 0, True, False)],
)
def test_decide_with_bad_lines_depends_on_whether_they_are_skipped(
    good: int, bad: int, skips: bool, accepted: bool
) -> None:
    record, problems = decided(good, bad, skip_invalid_lines=skips)
    assert record.accepted is accepted
    assert bool(record.shards) is accepted
    assert record.problems_total == max(bad, 1)
    assert not problems


def test_decide_rejects_for_an_option_and_looks_at_no_cap_then() -> None:
    record, problems = decided(problems=(BAD_OPTION,), max_job_cost_usd=0.01)
    assert not record.accepted
    assert problems == [BAD_OPTION] == list(record.problems)


def test_decide_rejects_what_costs_more_than_the_cap() -> None:
    record, problems = decided(bad=MAX_KEPT_PROBLEMS, max_job_cost_usd=0.01)
    assert [one.code for one in problems] == [ErrorCode.TOO_EXPENSIVE]
    assert not record.accepted
    assert list(record.problems) == [*problems, *[BAD_LINE] * (MAX_KEPT_PROBLEMS - 1)]
    assert record.problems_total == MAX_KEPT_PROBLEMS + 1


def test_decide_counts_the_deadline_from_the_start_of_the_job() -> None:
    assert decided(batch_deadline="2h")[0].deadline_at == STARTED + 7200
    assert decided(batch_deadline="none")[0].deadline_at is None


@pytest.mark.parametrize(("canary", "expected"), [(0, False), (3, True), (4, False)])
def test_decide_sends_a_canary_only_before_other_requests(canary: int, expected: bool) -> None:
    assert decided(canary_requests=canary)[0].has_canary is expected
    assert decided(bad=1, canary_requests=canary)[0].has_canary is False
