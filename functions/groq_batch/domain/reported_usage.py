"""Tokens and cost of a job, as its report has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from groq_batch.domain.prices import on_demand_usd


class ReportedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and cost of a job's answers; an amount in US dollars is None if unknown.

    Attributes:
        prompt_tokens: Tokens of the prompts.
        completion_tokens: Tokens of the answers.
        total_tokens: All tokens, as counted by the API.
        estimated_usd: The estimate before anything was sent.
        actual_usd: Cost of the answers; unknown while the job runs.
        calls_usd: The share of ordinary calls in it; 0 without such calls.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    estimated_usd: float | None = None
    actual_usd: float | None = None
    calls_usd: float | None = 0

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Self:
        """Read them from a report, which an earlier version may have written."""
        tokens, cost, calls = report["usage"], report["cost_usd"], report.get("on_demand")
        return cls(
            prompt_tokens=tokens["prompt_tokens"],
            completion_tokens=tokens["completion_tokens"],
            total_tokens=tokens["total_tokens"],
            estimated_usd=cost["estimated"],
            actual_usd=cost["actual"],
            calls_usd=calls["cost_usd"] if calls else 0,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the report except ``on_demand``, as JSON data."""
        return {
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "total_tokens": self.total_tokens,
            },
            "cost_usd": {"estimated": self.estimated_usd, "actual": self.actual_usd},
        }

    @property
    def all_on_demand_usd(self) -> float | None:
        """Cost of the same answers on demand; those of ordinary calls have that price already."""
        if self.actual_usd is None:
            return None
        called = self.calls_usd or 0.0
        return on_demand_usd(max(self.actual_usd - called, 0.0)) + called
