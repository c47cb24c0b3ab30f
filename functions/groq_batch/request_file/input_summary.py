"""Totals of a request file, or of a part of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from groq_batch.domain.cost import ModelEstimates
from groq_batch.domain.problem import Problem, shown
from groq_batch.domain.shard import Shard

MAX_KEPT_PROBLEMS = 100
"""Problems that a summary keeps. The splitter's events have all of them."""


@dataclass(slots=True)
class InputSummary:
    """Totals of an input.

    Attributes:
        lines: Physical lines, including blank lines and a last line without line end.
        good: Valid lines.
        invalid: Invalid lines.
        shards: The shards that have requests, in order.
        models: Requests and sizes of the valid lines, by model.
        problems: The first problems, that of the whole file first; their ids are truncated.
        problems_total: Number of all problems.
        fatal: The problem of the whole file, if it has one: ``empty_file``, ``not_gzip`` or
            ``gzip_too_large``.
    """

    lines: int = 0
    good: int = 0
    invalid: int = 0
    shards: list[Shard] = field(default_factory=list)
    models: ModelEstimates = field(default_factory=ModelEstimates)
    problems: list[Problem] = field(default_factory=list)
    problems_total: int = 0
    fatal: Problem | None = None

    @property
    def total(self) -> int:
        """Number of lines that are not blank."""
        return self.good + self.invalid

    def add_invalid(self, problem: Problem) -> None:
        """Count an invalid line."""
        self.invalid += 1
        self.problems_total += 1
        if len(self.problems) < MAX_KEPT_PROBLEMS:
            self.problems.append(replace(problem, custom_id=shown(problem.custom_id)))

    def reject(self, problem: Problem) -> None:
        """Record a problem of the whole file."""
        self.fatal = problem
        self.problems.insert(0, problem)
        del self.problems[MAX_KEPT_PROBLEMS:]
        self.problems_total += 1


def merge_summaries(parts: Iterable[InputSummary]) -> InputSummary:
    """Return the summary of a file from the summaries of its parts, in order."""
    merged = InputSummary()
    for part in parts:
        merged.lines += part.lines
        merged.good += part.good
        merged.invalid += part.invalid
        merged.shards += part.shards
        merged.models.merge(part.models)
        merged.problems += part.problems[: MAX_KEPT_PROBLEMS - len(merged.problems)]
        merged.problems_total += part.problems_total
    return merged


def lacks_canary(summary: InputSummary, canary: int) -> bool:
    """Tell whether a file was split for a canary but has too few valid lines to need one.

    Args:
        summary: The totals of the whole file.
        canary: Most requests of a canary; 0 if the file was not split for one.
    """
    return canary > 0 and summary.good <= canary and len(summary.shards) > 1
