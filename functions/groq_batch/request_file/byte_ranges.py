"""Divide a large input into byte ranges, so that many functions can read one file.

A line belongs to the range that has its first byte. The reader of a range therefore skips bytes up
to the first line end (except in the first range), and reads past the end of the range until its
last line is complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import msgspec


class ByteRange(msgspec.Struct, frozen=True):
    """A range of a file.

    Attributes:
        first: Offset of its first byte.
        end: Offset of the first byte after it.
    """

    first: int
    end: int

    @property
    def read_from(self) -> int:
        """Offset to read from: the byte before the range shows whether a line begins with it."""
        return max(0, self.first - 1)


def divide(size: int, range_bytes: int) -> list[ByteRange]:
    """Divide a file of ``size`` bytes into ranges of ``range_bytes``; the last may be shorter."""
    return [
        ByteRange(first, min(first + range_bytes, size)) for first in range(0, size, range_bytes)
    ]


def owned_lines(chunks: Iterable[bytes], part: ByteRange) -> tuple[int, Iterator[bytes]]:
    """Find the lines that belong to a range.

    Args:
        chunks: The file from ``part.read_from`` on; only the needed chunks are read.
        part: The range.

    Returns:
        Offset of the first line in the file, and the bytes of the lines, in chunks of any size,
        including the line end of the last line if it has one.
    """
    position, rest = part.read_from, iter(chunks)
    if part.first == 0:
        return 0, _up_to_line_end(rest, 0, part.end)
    for chunk in rest:
        # The last line that begins in this range comes after a line end before its last byte.
        begin = chunk.find(b"\n", 0, max(0, part.end - 1 - position)) + 1
        if begin:
            first = position + begin
            return first, _up_to_line_end(chain((chunk[begin:],), rest), first, part.end)
        position += len(chunk)
        if position >= part.end - 1:
            break
    return position, iter(())


def _up_to_line_end(chunks: Iterable[bytes], position: int, end: int) -> Iterator[bytes]:
    """Yield a file from ``position`` up to the end of the line that has the byte before ``end``."""
    for chunk in chunks:
        stop = _line_end(chunk, max(0, end - 1 - position))
        if stop is not None:
            yield chunk[:stop]
            return
        if chunk:
            yield chunk
        position += len(chunk)


def _line_end(chunk: bytes, start: int) -> int | None:
    """Return the index after a chunk's first line end from ``start`` on, or None."""
    if start >= len(chunk):
        return None
    return chunk.find(b"\n", start) + 1 or None
