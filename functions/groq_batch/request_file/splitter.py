"""Check an input and split it into shards: one pass over a file of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from groq_batch.domain.canary import CANARY_SHARD
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.problem import Problem
from groq_batch.domain.shard import IdsLocation, Shard, SplitLimits
from groq_batch.request_file.input_summary import InputSummary
from groq_batch.request_file.line_checks import InvalidLine, LineChecker, ValidLines
from groq_batch.request_file.lines import (
    Lines,
    LongLinePiece,
    NotGzipError,
    decompress,
    split_lines,
)
from groq_batch.request_file.long_lines import LongLine
from groq_batch.request_file.request_rules import CHECKS, ModelCheck
from groq_batch.request_file.seen_ids import DuplicateFinder
from groq_batch.request_file.split_events import (
    InputEnded,
    LinesAdded,
    LineSkipped,
    ProblemFound,
    ShardEnded,
    ShardStarted,
    SplitEvent,
)

MAX_GZIP_CONTENT_BYTES = 8 * 1024**3
"""Largest content of a compressed file, in bytes. One function has to read all of it, in the time
and the memory that a function has; docs/performance.md has the figures."""
MAX_GZIP_LINES = 40_000_000
"""Most lines of a compressed file, for the same reason: each id takes memory."""
EMPTY_FILE = Problem(
    None,
    None,
    ErrorCode.EMPTY_FILE,
    "The file contains no requests. Write each request as one JSON object on one line.",
)
NOT_GZIP = Problem(
    None,
    None,
    ErrorCode.NOT_GZIP,
    "The name ends in .gz, so the file must be gzip, but it is not, or it is damaged or truncated. "
    "Compress it again, or upload it uncompressed under a name without .gz.",
)
GZIP_TOO_LARGE = Problem(
    None,
    None,
    ErrorCode.GZIP_TOO_LARGE,
    f"The file unpacks to more than {MAX_GZIP_CONTENT_BYTES // 1024**3} GiB or "
    f"{MAX_GZIP_LINES:,} lines, and a compressed file can only be read from its beginning. Upload "
    f"it uncompressed, under a name that ends in .jsonl, which has no such limit, or in several "
    f"files.",
)
_encode_ids = msgspec.json.Encoder().encode_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A part of a large file.

    Attributes:
        number: Its number, from 1.
        begins_file: Whether it is the beginning of the file.
        first_line: Number of its first line in the file, from 1.
        first_shard: Number of its first shard, from 1.
        duplicates: Finds ids that were used before, in this part or in others.
    """

    number: int
    begins_file: bool
    first_line: int
    first_shard: int
    duplicates: DuplicateFinder


def split_input(
    chunks: Iterable[bytes],
    *,
    gzipped: bool,
    limits: SplitLimits,
    skip_invalid: bool,
    check_only: bool = False,
    part: FilePart | None = None,
    models: ModelCheck | None = None,
    checks: int = CHECKS,
    canary: int = 0,
) -> Iterator[SplitEvent]:
    """Check an input, or a part of one, and split it into shards.

    A shard is a run of consecutive lines, blank lines left out. A shard ends before the valid line
    that exceeds a limit, so that invalid lines belong to the shard of the valid lines before them,
    and every shard has a valid line. Lines keep their bytes, except for a byte order mark at the
    start of the file and carriage returns before the line end. When an invalid line rejects the
    file, no more lines are added to shards, but all lines are checked.

    Args:
        chunks: The object's bytes.
        gzipped: Whether they are compressed.
        limits: The limits of shards and lines.
        skip_invalid: Whether invalid lines are kept for the results; otherwise they reject the
            file.
        check_only: Whether the file is rejected for another reason, so that only the problems of
            its lines are needed: there are no shards then.
        part: The part of the file that the bytes are; None if they are all of it. A part may be
            empty.
        models: Checks the models that requests name; None accepts any.
        checks: Which checks lines must pass, see ``LineChecker``.
        canary: Most requests of the file's first shard; 0 if it has the same limit as the others.

    Yields:
        The events; see ``split_events``.
    """
    splitter = _Splitter(
        limits,
        writes_shards=not check_only,
        skip_invalid=skip_invalid and not check_only,
        canary=canary,
        part=part,
        checker=LineChecker(part.duplicates if part else None, models=models, checks=checks),
    )
    source = _limited(decompress(chunks)) if gzipped else chunks
    try:
        for item in split_lines(
            source,
            max_line_bytes=splitter.max_line_bytes,
            first_line=part.first_line if part else 1,
            begins_file=part is None or part.begins_file,
        ):
            if isinstance(item, Lines):
                yield from splitter.add_lines(item)
            else:
                yield from splitter.add_piece(item)
    except NotGzipError:
        yield splitter.reject(NOT_GZIP)
    except _TooLargeError:
        yield splitter.reject(GZIP_TOO_LARGE)
    else:
        if part is None and not splitter.summary.total:
            yield splitter.reject(EMPTY_FILE)
        yield from splitter.end()
    yield InputEnded(splitter.summary)


class _TooLargeError(Exception):
    """A compressed file has more content than one function can read."""


def _limited(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a compressed file, up to the limits.

    Raises:
        _TooLargeError: It exceeds a limit.
    """
    size = lines = 0
    for chunk in chunks:
        size += len(chunk)
        lines += chunk.count(b"\n")
        if size > MAX_GZIP_CONTENT_BYTES or lines > MAX_GZIP_LINES:
            raise _TooLargeError
        yield chunk


class _Splitter:
    """Assigns checked lines to shards."""

    def __init__(
        self,
        limits: SplitLimits,
        *,
        writes_shards: bool,
        skip_invalid: bool,
        canary: int,
        part: FilePart | None,
        checker: LineChecker,
    ) -> None:
        self.summary = InputSummary()
        self.max_line_bytes = min(limits.max_line_bytes, limits.max_bytes - 1)
        self._lines_before = part.first_line - 1 if part else 0
        self._limits = limits
        self._writes_shards = writes_shards
        self._skip_invalid = skip_invalid
        self._canary = canary
        self._checker = checker
        self._part_number = part.number if part else 1
        self._ids_bytes = 0
        self._shard = self._new_shard(part.first_shard if part else 1)
        self._shard_has_started = False
        self._long_line: LongLine | None = None

    def add_lines(self, block: Lines) -> Iterator[SplitEvent]:
        """Check whole lines, some of which may be blank."""
        self.summary.lines = block.first + len(block.lines) - 1 - self._lines_before
        for found in self._checker.check_lines(block):
            if isinstance(found, InvalidLine):
                yield from self._add_invalid(found.data, len(found.data), found.problem)
            else:
                yield from self._add_valid(found)

    def add_piece(self, piece: LongLinePiece) -> Iterator[SplitEvent]:
        """Check a piece of a line that is too long to be held in memory."""
        self.summary.lines = piece.number - self._lines_before
        line = self._long_line = self._long_line or LongLine()
        line.add(piece)
        if piece.is_last:
            self._long_line = None
            problem = line.problem(piece.number, self.max_line_bytes)
            yield from self._add_invalid(piece.data, line.size, problem)
        elif self._skip_invalid:
            yield from self._start_shard()
            yield piece

    def reject(self, problem: Problem) -> ProblemFound:
        """Record a problem of the whole file."""
        self.summary.reject(problem)
        return ProblemFound(problem)

    def end(self) -> Iterator[SplitEvent]:
        """End the last shard."""
        if self._shard_has_started and self._writes_shards:
            yield ShardEnded(self._shard)

    def _add_valid(self, valid: ValidLines) -> Iterator[SplitEvent]:
        """Assign valid lines to the current shard and to those that follow."""
        self.summary.good += len(valid.lines)
        self.summary.models.merge(valid.models)
        if not self._writes_shards:
            return
        lines, custom_ids = valid.lines, valid.custom_ids
        size, offset = valid.size, valid.offset
        while lines:
            shard = self._shard
            room = self._limits.max_bytes - shard.bytes
            count = min(len(lines), self._max_requests() - shard.requests)
            if count == len(lines) and size <= room:
                yield from self._add_to_shard(lines, size, offset, custom_ids)
                return
            count, taken = _fitting(lines[:count], room)
            if count:
                yield from self._add_to_shard(lines[:count], taken, offset, custom_ids[:count])
                lines, custom_ids, size = lines[count:], custom_ids[count:], size - taken
                offset = None if offset is None else offset + taken
            if lines:
                yield ShardEnded(shard)
                self._shard = self._new_shard(shard.number + 1)
                self._shard_has_started = False

    def _max_requests(self) -> int:
        """Return the limit of the current shard's requests."""
        limit = self._limits.max_requests
        is_canary = self._canary and self._shard.number == CANARY_SHARD
        return min(self._canary, limit) if is_canary else limit

    def _add_to_shard(
        self, lines: list[bytes], size: int, offset: int | None, custom_ids: list[str]
    ) -> Iterator[SplitEvent]:
        """Add lines to the current shard, which has room for them."""
        yield from self._start_shard()
        shard = self._shard
        if not shard.requests:
            self.summary.shards.append(shard)
        ids = _encode_ids(custom_ids)
        shard.requests += len(lines)
        shard.bytes += size
        shard.ids.size += len(ids)
        self._ids_bytes += len(ids)
        yield LinesAdded(lines, size, offset, ids)

    def _add_invalid(self, data: bytes, size: int, problem: Problem) -> Iterator[SplitEvent]:
        """Count an invalid line; skip it, or end the writing of shards."""
        self.summary.add_invalid(problem)
        if not self._skip_invalid:
            self._writes_shards = False
            yield ProblemFound(problem)
            return
        yield from self._start_shard()
        shard = self._shard
        position = shard.requests + shard.skipped
        shard.skipped += 1
        yield LineSkipped(data, size, position, problem)

    def _start_shard(self) -> Iterator[SplitEvent]:
        """Start the current shard at its first line."""
        if not self._shard_has_started:
            self._shard_has_started = True
            yield ShardStarted(self._shard.number)

    def _new_shard(self, number: int) -> Shard:
        return Shard(number, ids=IdsLocation(self._part_number, self._ids_bytes))


def _fitting(lines: list[bytes], room: int) -> tuple[int, int]:
    """Return how many lines fit into ``room`` bytes, and their size."""
    size = 0
    for count, line in enumerate(lines):
        if size + len(line) > room:
            return count, size
        size += len(line)
    return len(lines), size
