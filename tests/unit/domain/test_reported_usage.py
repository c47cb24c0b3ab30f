"""Tokens and cost in a report."""

from __future__ import annotations

from typing import Any

import pytest

from groq_batch.domain.reported_usage import ReportedUsage

USED = ReportedUsage(
    prompt_tokens=70, completion_tokens=30, total_tokens=101, estimated_usd=0.5, actual_usd=0.25
)
CALLS = {"requests": 1, "succeeded": 1, "failed": 0, "cost_usd": 0.05}


def test_reported_usage_reads_what_it_wrote() -> None:
    assert ReportedUsage.of({"on_demand": None, **USED.to_json()}) == USED
    assert ReportedUsage.of({"on_demand": CALLS, **USED.to_json()}).calls_usd == 0.05


def test_reported_usage_of_another_version_ignores_what_it_does_not_know() -> None:
    report: dict[str, Any] = USED.to_json()
    report["usage"]["of_a_later_version"] = 1
    report["cost_usd"]["of_a_later_version"] = 1
    assert ReportedUsage.of(report) == USED


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (ReportedUsage(), None),
        (USED, 0.5),
        (ReportedUsage(actual_usd=0.25, calls_usd=0.05), 0.45),
        (ReportedUsage(actual_usd=0.25, calls_usd=None), 0.5),
        (ReportedUsage(actual_usd=0.25, calls_usd=0.5), 0.5),
    ],
)
def test_all_on_demand_usd_doubles_only_what_batches_cost(
    usage: ReportedUsage, expected: float | None
) -> None:
    assert usage.all_on_demand_usd == (None if expected is None else pytest.approx(expected))
