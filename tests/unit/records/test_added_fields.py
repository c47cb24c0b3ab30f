"""Stored objects of a later version, which has added fields, are read: a rollback meets them."""

from __future__ import annotations

from typing import Any

from groq_batch.bucket.pending_upload import PendingUpload
from groq_batch.domain.answer_stats import AnswerStats
from groq_batch.domain.cost import ModelEstimates
from groq_batch.domain.json_data import from_json_data, to_json_data
from groq_batch.domain.problem import Problem
from groq_batch.domain.shard import IdsLocation, Shard, SplitLimits
from groq_batch.records.job import JobRecord
from groq_batch.records.stored import from_record, to_record
from groq_batch.request_file.input_summary import InputSummary
from groq_batch.steps.prepare_input.range_plan import CutOutcome, RangePlan, ScanOutcome
from tests.samples import OPTIONS

PROBLEM = Problem(3, "a", "invalid_url", "Write another.")


def with_added_fields(data: Any) -> Any:
    """Return JSON data in which every object with named fields has one more."""
    if isinstance(data, list | tuple):
        return [with_added_fields(one) for one in data]
    if not isinstance(data, dict):
        return data
    added = {name: with_added_fields(value) for name, value in data.items()}
    holds_fields = bool(data.keys() & {"code", "count", "max_bytes", "first", "requests", "lines"})
    return {**added, "of_a_later_version": [1]} if holds_fields else added


def test_job_record_with_added_fields_is_read() -> None:
    record = JobRecord(accepted=False, options=OPTIONS, problems=(PROBLEM,), problems_total=1)
    assert JobRecord.from_json(with_added_fields(record.to_json())) == record


def test_range_plan_and_outcome_with_added_fields_are_read() -> None:
    plan = RangePlan(
        size=9,
        range_bytes=3,
        limits=SplitLimits(1, 2, 3),
        options=OPTIONS,
        option_problems=(PROBLEM,),
        digest_key="00",
    )
    assert from_record(with_added_fields(to_record(plan)), RangePlan) == plan
    outcome = ScanOutcome(lines=3, good=2, invalid=1, shards=1, uses=(2, 0))
    assert from_json_data(with_added_fields(to_json_data(outcome)), ScanOutcome) == outcome


def test_summary_of_a_part_with_added_fields_is_read() -> None:
    models = ModelEstimates()
    models["m"].add(10, 5)
    summary = InputSummary(
        lines=2, good=1, shards=[Shard(1, 1, 10, 0, IdsLocation(1, 0, 4))], models=models
    )
    summary.add_invalid(PROBLEM)
    outcome = CutOutcome(
        summary=summary, shards=(PendingUpload("k", "u", ("e",), 9),), problems=None
    )
    assert from_json_data(with_added_fields(to_json_data(outcome)), CutOutcome) == outcome


def test_statistics_with_added_fields_are_read() -> None:
    stats = AnswerStats()
    stats.failures.add("rate_limit_exceeded", 4, "Slow down.")
    assert from_json_data(with_added_fields(to_json_data(stats)), AnswerStats) == stats
