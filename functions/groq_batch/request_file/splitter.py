"""Cuts an input into shards while checking it: one pass, whatever the size."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec

from groq_batch.domain.canary import CANARY_SHARD
from groq_batch.domain.cost import ModelEstimates
from groq_batch.domain.problem import Problem, problem_row, shown
from groq_batch.domain.shard import IdsPlace, Shard, SplitLimits
from groq_batch.request_file.line_checks import (
    CHECKS,
    InvalidLine,
    LineChecker,
    ModelCheck,
    ValidLines,
    encoding_message,
    too_long_message,
)
from groq_batch.request_file.lines import (
    Lines,
    LongLinePiece,
    NotGzipError,
    decompress,
    split_lines,
)
from groq_batch.request_file.seen_ids import DuplicateFinder

MAX_KEPT_PROBLEMS = 100
"""Problems that are kept in memory; all of them go to the sink."""
MAX_GZIP_CONTENT_BYTES = 8 * 1024**3
"""Most bytes that a compressed file may unpack to. It can only be read by one function from its
beginning, in the time and the memory that a function has; docs/performance.md has the figures."""
MAX_GZIP_LINES = 40_000_000
"""Most lines of a compressed file, for the same reason: each id takes memory."""
EMPTY_FILE = Problem(
    None,
    None,
    "empty_file",
    "The file holds no request. Write each request as one JSON object on one line.",
)
NOT_GZIP = Problem(
    None,
    None,
    "not_gzip",
    "The name ends in .gz, so the file must be gzip, but it is not, or it is damaged or cut short. "
    "Compress it again, or upload it uncompressed under a name without .gz.",
)
GZIP_TOO_LARGE = Problem(
    None,
    None,
    "gzip_too_large",
    f"The file unpacks to more than {MAX_GZIP_CONTENT_BYTES // 1024**3} GiB or "
    f"{MAX_GZIP_LINES:,} lines, and a compressed file can only be read from its beginning. Upload "
    f"it uncompressed, under a name that ends in .jsonl, which has no such limit, or in several "
    f"files.",
)
_encode_ids = msgspec.json.Encoder().encode_lines
_BEGINNING_BYTES = 16
"""Of a long line its beginning is kept, which may tell what the file is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """Where a part of a file stands in it.

    Attributes:
        number: Its number, from 1.
        begins_file: Whether the file begins with it.
        first_line: Number of its first line, from 1.
        first_shard: Number of its first shard, from 1.
        first_uses: Knows which ids were used before, in this part or in others.
    """

    number: int
    begins_file: bool
    first_line: int
    first_shard: int
    first_uses: DuplicateFinder


class ByteWriter(Protocol):
    """Takes bytes."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""


class RequestWriter(Protocol):
    """Takes request lines."""

    def write_lines(self, lines: list[bytes], size: int, offset: int | None) -> None:
        """Append lines.

        Args:
            lines: The lines, with line feeds.
            size: Their bytes.
            offset: Where the very same bytes stand in the stream that is cut; None where they
                stand there with other line ends, or last and without one.
        """


class ShardSink(Protocol):
    """Takes what is found. What belongs to a shard comes before all that belongs to the next."""

    def shard(self, number: int) -> RequestWriter:
        """Return where the request lines of a shard go."""

    def custom_ids(self) -> ByteWriter:
        """Return where the ids of the requests go, those of all shards in order, as JSON Lines."""

    def skipped_index(self, number: int) -> ByteWriter:
        """Return where a row for each invalid line of a shard goes."""

    def skipped_raw(self, number: int) -> ByteWriter:
        """Return where the invalid lines of a shard go."""

    def problems(self) -> ByteWriter:
        """Return where a row for each problem goes."""


class NullSink:
    """Takes what is found and keeps nothing, for those who want the summary alone."""

    def shard(self, number: int) -> NullSink:
        """Return where the request lines of a shard go; the others likewise."""
        del number
        return self

    skipped_index = skipped_raw = shard

    def custom_ids(self) -> NullSink:
        """Return where the ids of the requests go."""
        return self

    problems = custom_ids

    def write_lines(self, lines: list[bytes], size: int, offset: int | None) -> None:
        """Drop lines."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop bytes."""


@dataclass(slots=True)
class InputSummary:
    """What was found in an input.

    Attributes:
        lines: Physical lines, blank ones included, also a last one without line end.
        good: Lines that passed all checks.
        invalid: Lines that did not.
        shards: The shards in order; each has a request at least.
        models: What each model is asked to do by the valid lines.
        problems: The first problems, that of the whole file first, with ids cut to what is shown.
        problems_total: How many there are.
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
        """Lines that are not blank."""
        return self.good + self.invalid

    def reject(self, problem: Problem) -> None:
        """Record a problem of the whole file."""
        self.fatal = problem
        self.problems.insert(0, problem)
        del self.problems[MAX_KEPT_PROBLEMS:]
        self.problems_total += 1


def merge_summaries(parts: Iterable[InputSummary]) -> InputSummary:
    """Return what was found in a file from what was found in its parts, in order."""
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


def split_input(
    chunks: Iterable[bytes],
    *,
    gzipped: bool,
    limits: SplitLimits,
    skip_invalid: bool,
    sink: ShardSink,
    check_only: bool = False,
    part: FilePart | None = None,
    models: ModelCheck | None = None,
    checks: int = CHECKS,
    canary: int = 0,
) -> InputSummary:
    """Check an input, or a part of one, and cut it into shards.

    A shard is a contiguous run of the lines that are not blank. A new one begins at the good
    line that would not fit any more, so that invalid lines belong to the shard in which they stand
    and every shard has a valid line. Lines are written byte for byte, good and bad ones alike, but
    for a byte order mark at the start of the file, carriage returns before the line end, and blank
    lines. As soon as an invalid line rejects the file no more shards are written, but all lines are
    checked.

    Args:
        chunks: The object's bytes.
        gzipped: Whether they are compressed.
        limits: The limits in force.
        skip_invalid: Whether invalid lines are kept apart for the results instead of rejecting.
        sink: Takes shards, invalid lines and problems.
        check_only: Whether the file is rejected anyway, and only what is wrong with its lines is
            of interest: neither shards nor invalid lines are written.
        part: Which part of the file the bytes are; None when they are all of it. A part may be
            empty.
        models: Knows which models requests may name; any may when None.
        checks: Which checks are made of lines, see ``LineChecker``.
        canary: Most request lines of the first shard of the file; 0 where it is like the others.
    """
    splitter = _Splitter(
        limits,
        sink,
        writes_shards=not check_only,
        skip_invalid=skip_invalid and not check_only,
        canary=canary,
        part=part,
        checker=LineChecker(part.first_uses if part else None, models=models, checks=checks),
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
                splitter.take_lines(item)
            else:
                splitter.take_piece(item)
    except NotGzipError:
        splitter.reject(NOT_GZIP)
    except _TooLargeError:
        splitter.reject(GZIP_TOO_LARGE)
    else:
        if part is None and not splitter.summary.total:
            splitter.reject(EMPTY_FILE)
    return splitter.summary


def lacks_canary(summary: InputSummary, canary: int) -> bool:
    """Tell whether a file was cut for a canary and has too few valid lines to have one.

    Args:
        summary: What was found in all of it.
        canary: Most requests of a canary.
    """
    return canary > 0 and summary.good <= canary and len(summary.shards) > 1


class _TooLargeError(Exception):
    """A compressed file has more in it than one function can read."""


def _limited(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what a compressed file unpacks to, up to the limits.

    Raises:
        _TooLargeError: There is more.
    """
    size = lines = 0
    for chunk in chunks:
        size += len(chunk)
        lines += chunk.count(b"\n")
        if size > MAX_GZIP_CONTENT_BYTES or lines > MAX_GZIP_LINES:
            raise _TooLargeError
        yield chunk


class _Splitter:
    """The pass over an input."""

    def __init__(
        self,
        limits: SplitLimits,
        sink: ShardSink,
        *,
        writes_shards: bool,
        skip_invalid: bool,
        canary: int,
        part: FilePart | None,
        checker: LineChecker,
    ) -> None:
        self.summary = InputSummary()
        self._lines_before = part.first_line - 1 if part else 0
        self.max_line_bytes = min(limits.max_line_bytes, limits.max_bytes - 1)
        self._limits = limits
        self._writes_shards = writes_shards
        self._skip_invalid = skip_invalid
        self._canary = canary
        self._sink = sink
        self._checker = checker
        self._part_number = part.number if part else 1
        self._ids_bytes = 0
        self._shard = self._new_shard(part.first_shard if part else 1)
        self._long_line: _LongLine | None = None

    def take_lines(self, block: Lines) -> None:
        """Take whole lines, blank ones among them."""
        self.summary.lines = block.first + len(block.lines) - 1 - self._lines_before
        offset, place = block.offset, 0
        for found in self._checker.check_lines(block.first, block.lines):
            if isinstance(found, InvalidLine):
                if self._skip_invalid:
                    self._sink.skipped_raw(self._shard.number).write(found.data + b"\n")
                self._take_bad(found.problem, len(found.data))
                continue
            if found.is_as_given:
                offset += sum(map(len, block.lines[place : found.place]))
                place = found.place
            self._take_good(found, offset if found.is_as_given else None)

    def take_piece(self, piece: LongLinePiece) -> None:
        """Take a piece of a line that is too long to be held."""
        self.summary.lines = piece.number - self._lines_before
        if self._long_line is None:
            self._long_line = _LongLine()
        long_line = self._long_line
        long_line.take(piece)
        if self._skip_invalid:
            raw = self._sink.skipped_raw(self._shard.number)
            raw.write(piece.data)
            if piece.is_last:
                raw.write(b"\n")
        if piece.is_last:
            self._long_line = None
            self._take_bad(long_line.problem(piece.number, self.max_line_bytes), long_line.size)

    def reject(self, problem: Problem) -> None:
        """Record a problem of the whole file."""
        self.summary.reject(problem)
        self._sink.problems().write(problem_row(problem))

    def _take_good(self, good: ValidLines, offset: int | None) -> None:
        """Take valid lines, and where they stand in the stream if they stand there so."""
        summary, limits = self.summary, self._limits
        summary.good += len(good.lines)
        summary.models.merge(good.models)
        if not self._writes_shards:
            return
        lines, custom_ids, size = good.lines, good.custom_ids, good.size
        while lines:
            shard = self._shard
            room = limits.max_bytes - shard.bytes
            count = min(len(lines), self._most_requests() - shard.requests)
            if count == len(lines) and size <= room:
                self._write(lines, size, custom_ids, offset)
                return
            count, taken = _fitting(lines[:count], room)
            if count:
                self._write(lines[:count], taken, custom_ids[:count], offset)
                lines, custom_ids, size = lines[count:], custom_ids[count:], size - taken
                offset = None if offset is None else offset + taken
            if lines:
                self._shard = self._new_shard(shard.number + 1)

    def _most_requests(self) -> int:
        """Return how many lines the shard at hand may have."""
        most = self._limits.max_requests
        is_canary = self._canary and self._shard.number == CANARY_SHARD
        return min(self._canary, most) if is_canary else most

    def _write(
        self, lines: list[bytes], size: int, custom_ids: list[str], offset: int | None
    ) -> None:
        """Append lines to the shard, which has room for them."""
        shard = self._shard
        if not shard.requests:
            self.summary.shards.append(shard)
        shard.requests += len(lines)
        shard.bytes += size
        self._sink.shard(shard.number).write_lines(lines, size, offset)
        ids = _encode_ids(custom_ids)
        shard.ids.size += len(ids)
        self._ids_bytes += len(ids)
        self._sink.custom_ids().write(ids)

    def _new_shard(self, number: int) -> Shard:
        return Shard(number, ids=IdsPlace(self._part_number, self._ids_bytes))

    def _take_bad(self, problem: Problem, size: int) -> None:
        """Report an invalid line; its size is in bytes."""
        summary, shard = self.summary, self._shard
        summary.invalid += 1
        summary.problems_total += 1
        if len(summary.problems) < MAX_KEPT_PROBLEMS:
            summary.problems.append(replace(problem, custom_id=shown(problem.custom_id)))
        self._sink.problems().write(problem_row(problem))
        if not self._skip_invalid:
            self._writes_shards = False
            return
        row = {
            "position": shard.requests + shard.skipped,
            "line": problem.line,
            "custom_id": problem.custom_id,
            "code": problem.code,
            "message": problem.message,
            "bytes": size,
        }
        self._sink.skipped_index(shard.number).write(msgspec.json.encode(row) + b"\n")
        shard.skipped += 1


def _fitting(lines: list[bytes], room: int) -> tuple[int, int]:
    """Return how many lines fit into so many bytes, and the bytes of those."""
    size = 0
    for count, line in enumerate(lines):
        if size + len(line) > room:
            return count, size
        size += len(line)
    return len(lines), size


class _LongLine:
    """What can be said of a line that passes in pieces."""

    def __init__(self) -> None:
        self.size = 0
        self._beginning = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._encoding_error: int | None = None

    def take(self, piece: LongLinePiece) -> None:
        """Take the next piece."""
        if not self.size:
            self._beginning = piece.data[:_BEGINNING_BYTES]
        if self._encoding_error is None:
            pending = len(self._decoder.getstate()[0])
            try:
                self._decoder.decode(piece.data, piece.is_last)
            except UnicodeDecodeError as error:
                self._encoding_error = self.size - pending + error.start + 1
        self.size += len(piece.data)

    def problem(self, number: int, max_line_bytes: int) -> Problem:
        """Return what is wrong with the line, when its last piece was taken."""
        if self._encoding_error is not None:
            message = encoding_message(self._encoding_error, self._beginning)
            return Problem(number, None, "invalid_encoding", message)
        message = too_long_message(self.size, max_line_bytes)
        return Problem(number, None, "line_too_long", message)
