"""What jobs have used and cost, summed up by folder, day, model or status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from groq_batch.records.usage import UsageOfModel, UsageRecord

GROUPINGS = ("folder", "day", "model", "status")
_DECIMALS = 12
"""As reports have them: no more than hides the noise of binary fractions."""


@dataclass(slots=True)
class Usage:
    """What some jobs, or their requests of one model, have used and cost.

    Attributes:
        jobs: How many jobs there are.
        requests: Their requests.
        succeeded: Requests with an answer.
        failed: Requests without one.
        invalid: Lines that did not pass the checks; they name no model.
        prompt_tokens: Tokens of the prompts of the answers.
        completion_tokens: Tokens of the answers.
        usd: What those with a known cost have cost.
        without_cost: Jobs whose cost is not known.
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

    def add(self, other: Usage) -> None:
        """Count what others have used."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {**asdict(self), "usd": round(self.usd, _DECIMALS)}


NUMBERS = tuple(field.name for field in fields(Usage))


def total_usage(records: Iterable[UsageRecord]) -> Usage:
    """Return what jobs have used in all."""
    total = Usage()
    for record in records:
        total.add(_of_job(record))
    return total


def grouped_usage(records: Iterable[UsageRecord], by: str) -> list[tuple[str, Usage]]:
    """Return what jobs have used by one of the ``GROUPINGS``.

    Days are in their order; everything else begins with what cost most.
    """
    groups: dict[str, Usage] = {}
    for record in records:
        for name, usage in _parts(record, by):
            groups.setdefault(name, Usage()).add(usage)
    if by == "day":
        return sorted(groups.items())
    return sorted(groups.items(), key=lambda one: (-one[1].usd, -one[1].requests, one[0]))


def _parts(record: UsageRecord, by: str) -> Iterator[tuple[str, Usage]]:
    """Yield the names of a job's groups, and what it adds to them."""
    if by == "model":
        for model in record.models:
            yield model.model, _of_model(model)
    else:
        yield str(getattr(record, by)), _of_job(record)


def _of_job(record: UsageRecord) -> Usage:
    return Usage(
        jobs=1,
        requests=record.requests,
        succeeded=record.succeeded,
        failed=record.failed,
        invalid=record.invalid,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        usd=record.actual_usd or 0.0,
        without_cost=int(record.actual_usd is None),
    )


def _of_model(model: UsageOfModel) -> Usage:
    return Usage(
        jobs=1,
        requests=model.requests,
        succeeded=model.succeeded,
        failed=max(model.requests - model.succeeded, 0),
        prompt_tokens=model.prompt_tokens,
        completion_tokens=model.completion_tokens,
        usd=model.usd or 0.0,
        without_cost=int(model.usd is None),
    )


def rows_of(groups: Sequence[tuple[str, Usage]], by: str) -> list[dict[str, Any]]:
    """Return a row of data for each group; its first field is named as the grouping."""
    return [{by: name, **usage.to_json()} for name, usage in groups]
