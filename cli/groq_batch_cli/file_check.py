"""Check a request file of any size with the pipeline's own checks, in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from groq_batch.domain import object_keys
from groq_batch.domain.cost import ModelEstimate
from groq_batch.domain.cost_cap import check_cap
from groq_batch.domain.input_key import check_key
from groq_batch.domain.prices import table_prices
from groq_batch.domain.problem import Problem, shown
from groq_batch.domain.shard import SplitLimits
from groq_batch.request_file.input_summary import InputSummary
from groq_batch.request_file.lines import LongLinePiece
from groq_batch.request_file.split_events import (
    InputEnded,
    LineSkipped,
    ProblemFound,
    SplitEvent,
)
from groq_batch.request_file.splitter import split_input
from groq_batch_cli.excerpt import Excerpt, excerpt
from groq_batch_client.request_files import RequestFile, new_digest

DEFAULT_MAX_PROBLEMS = 100
_MAX_LOCATED_BYTES = 33 * 1024 * 1024
"""More than any line that can be checked whole. Of a longer one the beginning is searched."""


@dataclass(frozen=True, slots=True)
class FoundProblem:
    """A problem and, if it has a position, the part of the line around it."""

    problem: Problem
    excerpt: Excerpt | None


@dataclass(slots=True)
class FileCheck:
    """The result of checking a file, equal to what the pipeline will find.

    Attributes:
        file: The file.
        lines: Number of physical lines.
        good: Number of requests that pass the checks.
        invalid: Number of lines that do not.
        shards: Number of batches for the good requests.
        models: Work that the good requests ask of each model.
        file_problems: Problems of the file as a whole.
        line_problems: The first problems of lines.
        line_problem_codes: Number of lines with each code.
        digest: Hash of the file's bytes; empty if not requested.
        bytes: Size of the file in bytes.
    """

    file: RequestFile
    lines: int = 0
    good: int = 0
    invalid: int = 0
    shards: int = 0
    models: dict[str, ModelEstimate] = field(default_factory=dict)
    file_problems: list[Problem] = field(default_factory=list)
    line_problems: list[FoundProblem] = field(default_factory=list)
    line_problem_codes: Counter[str] = field(default_factory=Counter)
    digest: str = ""
    bytes: int = 0

    @property
    def problems_total(self) -> int:
        """Number of problems of all kinds."""
        return len(self.file_problems) + self.invalid

    def passes(self, *, skip_invalid: bool) -> bool:
        """Tell whether the pipeline would run the file."""
        if self.file_problems or not self.good:
            return False
        return skip_invalid or not self.invalid


def check_file(
    file: RequestFile,
    *,
    limits: SplitLimits,
    max_cost_usd: float = 0.0,
    stack_cap_usd: float | None = None,
    key: str | None = None,
    max_problems: int = DEFAULT_MAX_PROBLEMS,
    with_digest: bool = False,
    progress: Callable[[int], None] | None = None,
) -> FileCheck:
    """Check a request file.

    Args:
        file: The file.
        limits: The limits of its batches.
        max_cost_usd: Highest accepted cost estimate in USD; 0 means no cap.
        stack_cap_usd: The cap of the stack that will run the file; 0 means none. None without a
            stack. A stack may know more prices, from the model list of its account.
        key: Its future key in the bucket; derived from the file name if None.
        max_problems: How many problems of lines to keep.
        with_digest: Whether to hash the file, which takes as long as the check.
        progress: Called with the number of bytes of each chunk read.

    Raises:
        CommandError: The file cannot be read.
    """
    result = FileCheck(file)
    digest = new_digest() if with_digest else None
    if key is None and not file.is_stdin:
        key = object_keys.INPUT_PREFIX + file.name
    name_problem = check_key(key) if key is not None else None
    with file.chunks(progress) as chunks:
        events = split_input(
            _counted(chunks, digest, result),
            gzipped=chunks.is_gzip,
            limits=limits,
            # The splitter hands out invalid lines only if they do not reject the file.
            skip_invalid=True,
        )
        _collect(events, result, max_problems)
    result.digest = digest.hexdigest() if digest is not None else ""
    if name_problem is not None:
        result.file_problems.insert(0, name_problem)
    too_expensive = check_cap(
        {
            name: model
            for name, model in result.models.items()
            if stack_cap_usd is None or table_prices().of(name) is not None
        },
        cap_usd=max_cost_usd,
        stack_cap_usd=stack_cap_usd,
        option="--max-cost",
    )
    if too_expensive is not None and not result.file_problems:
        result.file_problems.append(too_expensive)
    return result


def _counted(chunks: Iterable[bytes], digest: Any, result: FileCheck) -> Iterator[bytes]:
    for chunk in chunks:
        if digest is not None:
            digest.update(chunk)
        result.bytes += len(chunk)
        yield chunk


def _collect(events: Iterable[SplitEvent], result: FileCheck, max_problems: int) -> None:
    """Add the problems with their positions, and the totals; ignore the requests."""
    beginning = bytearray()
    for event in events:
        if isinstance(event, LongLinePiece):
            if len(result.line_problems) < max_problems and len(beginning) < _MAX_LOCATED_BYTES:
                beginning += event.data
        elif isinstance(event, LineSkipped):
            result.line_problem_codes[event.problem.code] += 1
            if len(result.line_problems) < max_problems:
                line = bytes(beginning) + event.data if beginning else event.data
                result.line_problems.append(_located(event.problem, line))
            beginning.clear()
        elif isinstance(event, ProblemFound):
            result.file_problems.append(event.problem)
        elif isinstance(event, InputEnded):
            _add_totals(event.summary, result)
        del event  # Frees its lines before the next ones are read.


def _located(problem: Problem, line: bytes) -> FoundProblem:
    # Only lines that are too long are kept in part, and these have no position.
    place = None if problem.code == "line_too_long" else excerpt(problem, line)
    return FoundProblem(replace(problem, custom_id=shown(problem.custom_id)), place)


def _add_totals(summary: InputSummary, result: FileCheck) -> None:
    result.lines = summary.lines
    result.good = summary.good
    result.invalid = summary.invalid
    result.shards = len(summary.shards)
    result.models = dict(summary.models)
