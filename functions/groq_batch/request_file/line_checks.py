"""Check the lines of a file: the usual ones many at a time, all others one by one.

Both ways accept the same lines, which a property test verifies. Only the careful way
(``request_rules``) can describe a problem; the fast way (``usual_requests``) leaves such lines to
it. docs/decisions.md has the measurements that led to two ways.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from groq_batch.domain.cost import ModelEstimate
from groq_batch.domain.problem import Problem
from groq_batch.request_file.lines import Lines, is_blank, without_line_end
from groq_batch.request_file.request_rules import (
    CHECKS,
    CheckedRequest,
    ModelCheck,
    RequestRules,
    duplicate_problem,
)
from groq_batch.request_file.seen_ids import DuplicateFinder, SeenIds
from groq_batch.request_file.usual_requests import UsualRequest, estimates, usual_requests

_FEW_LINES = 8
_MOST_LINES = 512
"""So many requests stay in a core's cache while they are checked; more make short lines slower."""
_MAX_UNUSUAL_LINES = 64


class ValidLines(msgspec.Struct, frozen=True, gc=False):
    """Valid lines that follow each other.

    Attributes:
        lines: The lines, each with a line feed.
        size: Their size in bytes.
        offset: Offset in the stream at which these exact bytes are; None if they were changed.
        custom_ids: Their ids.
        models: Number and sizes of the requests, by model.
    """

    lines: list[bytes]
    size: int
    offset: int | None
    custom_ids: list[str]
    models: dict[str, ModelEstimate]


class InvalidLine(msgspec.Struct, frozen=True, gc=False):
    """An invalid line.

    Attributes:
        data: The line without line end.
        problem: The problem of the first check that it fails.
    """

    data: bytes
    problem: Problem


class LineChecker:
    """Checks the lines of one file, and remembers their ids."""

    def __init__(
        self,
        duplicates: DuplicateFinder | None = None,
        *,
        models: ModelCheck | None = None,
        checks: int = CHECKS,
    ) -> None:
        """Check lines.

        Args:
            duplicates: Finds ids that were used before; among the checked lines if None.
            models: Checks the models that requests name; None accepts any.
            checks: Which checks lines must pass: ``CHECKS``, or ``FIRST_CHECKS``.
        """
        self._duplicates = duplicates or SeenIds()
        self._models = models
        self._rules = RequestRules(self._duplicates, models=models, checks=checks)

    def check_lines(self, block: Lines) -> Iterator[ValidLines | InvalidLine]:
        """Check lines that follow each other.

        Yields:
            The results in order, valid lines many at a time; nothing for blank lines.
        """
        given, lines = block.lines, _with_line_feeds(block.lines)
        is_changed = lines is not given
        offset, start, batch_size, unusual = block.offset, 0, _MOST_LINES, 1
        while start < len(lines):
            batch = lines[start : start + batch_size]
            requests, sizes = usual_requests(batch, block.rare)
            count = self._count_allowed(requests)
            if count:
                yield from self._find_duplicates(
                    block.first + start,
                    None if is_changed else offset,
                    batch[:count],
                    requests[:count],
                    sizes,
                )
            if start + count < len(lines):
                offset += sum(map(len, given[start : start + count]))
            start += count
            if count == len(batch):
                batch_size = min(2 * batch_size, _MOST_LINES)
                continue
            # Unusual lines tend to come together: try the fast way less and less often.
            unusual = 1 if count else min(2 * unusual, _MAX_UNUSUAL_LINES)
            for line in given[start : start + unusual]:
                yield from self._check_unusual(block.first + start, offset, line)
                offset += len(line)
                start += 1
            batch_size = _FEW_LINES

    def check(self, number: int, data: bytes) -> CheckedRequest | Problem:
        """Check one line the careful way; see ``RequestRules.check``."""
        return self._rules.check(number, data)

    def _count_allowed(self, requests: list[UsualRequest]) -> int:
        """Return how many requests come before the first whose model cannot be used."""
        models = self._models
        if models is None:
            return len(requests)
        named = {(request.body.model, request.url) for request in requests}
        refused = {pair for pair in named if models.problem(*pair) is not None}
        places = (n for n, one in enumerate(requests) if (one.body.model, one.url) in refused)
        return next(places, len(requests)) if refused else len(requests)

    def _find_duplicates(
        self,
        number: int,
        offset: int | None,
        lines: list[bytes],
        requests: list[UsualRequest],
        sizes: list[int],
    ) -> Iterator[ValidLines | InvalidLine]:
        """Separate lines whose id was used before from the others, which are valid."""
        custom_ids = [request.custom_id for request in requests]
        duplicates = self._duplicates.add(custom_ids, number)
        start = 0
        for end, first_line in [*duplicates, (len(lines), 0)]:
            if end > start:
                run = slice(start, end)
                size = sum(map(len, lines[run]))
                models = estimates(requests[run], sizes[run])
                yield ValidLines(lines[run], size, offset, custom_ids[run], models)
                offset = None if offset is None else offset + size
            if end < len(lines):
                problem = duplicate_problem(number + end, custom_ids[end], first_line)
                yield InvalidLine(without_line_end(lines[end]), problem)
                offset = None if offset is None else offset + len(lines[end])
            start = end + 1

    def _check_unusual(
        self, number: int, offset: int, line: bytes
    ) -> Iterator[ValidLines | InvalidLine]:
        """Check one line the careful way."""
        data = without_line_end(line)
        if is_blank(data):
            return
        found = self.check(number, data)
        if isinstance(found, Problem):
            yield InvalidLine(data, found)
            return
        written = data + b"\n"
        estimate = ModelEstimate(1, found.body_bytes, found.max_output_tokens or 0)
        yield ValidLines(
            [written],
            len(written),
            offset if written == line else None,
            [found.custom_id],
            {found.model: estimate},
        )


def _with_line_feeds(lines: list[bytes]) -> list[bytes]:
    """Return lines with Windows line ends with line feeds instead; others unchanged."""
    if lines[0].endswith(b"\r\n"):
        return [without_line_end(line) + b"\n" for line in lines]
    return lines
