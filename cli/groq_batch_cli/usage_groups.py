"""Add up the tokens and cost of jobs by folder, day, model or status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from groq_batch.domain.totals import Totals
from groq_batch.records.usage import UsageOfModel, UsageRecord

GROUPINGS = ("folder", "day", "model", "status")
_DECIMALS = 12
"""Decimal places of costs, as in reports; few enough to hide floating-point noise."""


@dataclass(slots=True)
class Usage(Totals):
    """Totals of some jobs, or of their requests to one model.

    Attributes:
        jobs: Number of jobs.
        requests: Number of their requests.
        succeeded: Requests with an answer.
        failed: Requests without one.
        invalid: Lines that failed the checks; they have no model.
        prompt_tokens: Prompt tokens of answered requests.
        completion_tokens: Completion tokens of the answers.
        usd: Total cost of the jobs whose cost is known.
        without_cost: Number of jobs whose cost is not known.
    """

    jobs: int = 0
    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    invalid: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    without_cost: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {**asdict(self), "usd": round(self.usd, _DECIMALS)}


NUMBERS = tuple(field.name for field in fields(Usage))


def total_usage(records: Iterable[UsageRecord]) -> Usage:
    """Return the totals of all jobs."""
    total = Usage()
    for record in records:
        total.merge(_of_job(record))
    return total


def grouped_usage(records: Iterable[UsageRecord], by: str) -> list[tuple[str, Usage]]:
    """Return the totals by one of the ``GROUPINGS``.

    Days are sorted by date, all other groups by cost, highest first.
    """
    groups: dict[str, Usage] = {}
    for record in records:
        for name, usage in _parts(record, by):
            groups.setdefault(name, Usage()).merge(usage)
    if by == "day":
        return sorted(groups.items())
    return sorted(groups.items(), key=lambda one: (-one[1].usd, -one[1].requests, one[0]))


def _parts(record: UsageRecord, by: str) -> Iterator[tuple[str, Usage]]:
    """Yield the groups of a job, with its contribution to each."""
    if by == "model":
        for model in record.models:
            yield model.model, _usage(model, model.requests - model.succeeded, 0, model.usd)
    else:
        yield str(getattr(record, by)), _of_job(record)


def _of_job(record: UsageRecord) -> Usage:
    return _usage(record, record.failed, record.invalid, record.actual_usd)


def _usage(of: UsageRecord | UsageOfModel, failed: int, invalid: int, usd: float | None) -> Usage:
    return Usage(
        jobs=1,
        requests=of.requests,
        succeeded=of.succeeded,
        failed=max(failed, 0),
        invalid=invalid,
        prompt_tokens=of.prompt_tokens,
        completion_tokens=of.completion_tokens,
        usd=usd or 0.0,
        without_cost=int(usd is None),
    )


def rows_of(groups: Sequence[tuple[str, Usage]], by: str) -> list[dict[str, Any]]:
    """Return a row of data for each group; the first field has the name of the grouping."""
    return [{by: name, **usage.to_json()} for name, usage in groups]
