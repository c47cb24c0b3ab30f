"""Split and decompress streams of bytes; only a piece of a file is ever in memory."""

from __future__ import annotations

import io
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import chain
from typing import Any

import msgspec

_GZIP_FORMAT = 31
"""The ``wbits`` argument of zlib for a gzip header and any window size."""
_COMPRESSED_PIECE_BYTES = 64 * 1024
"""Compressed bytes per call of zlib. It copies unused input, so that larger pieces are slower."""
_PIECE_BYTES = 1024 * 1024
"""Most decompressed bytes per call of zlib, so that a gzip bomb unpacks piece by piece."""
_MAX_UNDECIDED_BYTES = 8 * 1024 * 1024
"""Most bytes to hold of white space that may turn out to be a blank line, and of carriage returns
that may turn out to belong to a line end."""
READ_BYTES = 1024 * 1024


class NotGzipError(ValueError):
    """The bytes are not gzip, or they are damaged or truncated."""


class RareBytes(msgspec.Struct, frozen=True, gc=False):
    """Which bytes that need a closer look some lines may have; one search serves all of them.

    Attributes:
        non_ascii: Whether there may be bytes that are not ASCII.
        backslashes: Whether there may be backslashes.
        semicolons: Whether there may be semicolons.
    """

    non_ascii: bool = True
    backslashes: bool = True
    semicolons: bool = True


class Lines(msgspec.Struct, frozen=True, gc=False):
    """Whole lines that follow each other.

    Attributes:
        first: Number of the first line in the file, from 1; blank lines count.
        offset: Offset of the first line in the stream, in bytes.
        lines: The lines with their line ends; only the last line of a file may have none.
        rare: Which rare bytes they may have.
    """

    first: int
    offset: int
    lines: list[bytes]
    rare: RareBytes = RareBytes()


_NO_RARE_BYTES = RareBytes(non_ascii=False, backslashes=False, semicolons=False)


class LongLinePiece(msgspec.Struct, frozen=True, gc=False):
    """A piece of a line that is too long to be held.

    Attributes:
        number: The line's number in the file, from 1.
        data: The next bytes of the line, without its line end; the last piece may be empty.
        is_last: Whether the line ends here.
    """

    number: int
    data: bytes
    is_last: bool


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a gzip stream in pieces of at most 1 MiB.

    Like Python's ``gzip`` module, this accepts several members in a row, zero bytes after a member
    as padding, and an empty stream as an empty file.

    Args:
        chunks: The compressed bytes.

    Raises:
        NotGzipError: The stream is not gzip, or it is damaged or truncated.
    """
    member = zlib.decompressobj(_GZIP_FORMAT)
    is_inside = False
    is_first = True
    for compressed in _cut(chunks, _COMPRESSED_PIECE_BYTES):
        rest = compressed
        while rest:
            if not is_inside:
                rest = rest if is_first else rest.lstrip(b"\0")
                if not rest:
                    break
                is_inside, is_first = True, False
            try:
                piece = member.decompress(rest, _PIECE_BYTES)
            except zlib.error as error:
                raise NotGzipError(str(error)) from None
            if piece:
                yield piece
            rest = member.unconsumed_tail
            if member.eof:
                rest = member.unused_data
                member = zlib.decompressobj(_GZIP_FORMAT)
                is_inside = False
    if is_inside:
        raise NotGzipError("The stream ends within a gzip member")


def split_lines(
    chunks: Iterable[bytes],
    *,
    max_line_bytes: int,
    first_line: int = 1,
    begins_file: bool = True,
) -> Iterator[Lines | LongLinePiece]:
    """Yield the lines of a file; all lines that end in one chunk together, which is faster.

    Only the byte 0x0A ends a line: U+2028, U+2029 and U+0085 may occur in JSON texts. A byte order
    mark at the start of the file is left out. A line of more than ``max_line_bytes`` is yielded in
    pieces, so that it is never held in memory, unless it is blank.

    Args:
        chunks: The bytes of the file, in chunks of any size.
        max_line_bytes: Longest line that is yielded whole, in bytes without its line end.
        first_line: Number of the first line.
        begins_file: Whether the stream starts at the start of the file, where a byte order mark
            may be.
    """
    number = first_line
    position = 0
    if begins_file:
        position, chunks = _without_bom(chunks)
    held = bytearray()
    rare = _NO_RARE_BYTES
    is_long = False
    for chunk in chunks:
        rare = _rare_bytes(chunk, rare if held else _NO_RARE_BYTES)
        # BytesIO ends lines at 0x0A alone, and finds them several times as fast as bytes.split.
        lines = list(BytesIO(chunk))
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        offset = position - len(held)
        position += len(chunk)
        if lines and is_long:
            held += lines.pop(0)
            offset += len(held)
            yield LongLinePiece(number, without_line_end(held), is_last=True)
            number += 1
            held.clear()
            is_long = False
        elif lines and held:
            held += lines[0]
            lines[0] = bytes(held)
            held.clear()
        if lines:
            yield from _whole_lines(number, offset, lines, max_line_bytes, rare)
            number += len(lines)
        held += rest
        if is_long or len(held) > max_line_bytes:
            end = _end_of_content(held)
            is_long = is_long or (end > max_line_bytes and not _may_be_blank(held))
            if is_long and end:
                yield LongLinePiece(number, bytes(held[:end]), is_last=False)
                del held[:end]
    if is_long:
        yield LongLinePiece(number, without_line_end(held), is_last=True)
    elif held:
        line = [bytes(held)]
        yield from _whole_lines(number, position - len(held), line, max_line_bytes, rare)


def without_line_end(line: bytes | bytearray) -> bytes:
    """Return a line without its line feed and the carriage returns before it."""
    return bytes(line.rstrip(b"\r\n"))


def is_blank(line: bytes | bytearray) -> bool:
    """Tell whether a line is empty or has only ASCII white space."""
    return not line or line.isspace()


def _whole_lines(
    first: int, offset: int, lines: list[bytes], max_line_bytes: int, rare: RareBytes
) -> Iterator[Lines | LongLinePiece]:
    """Yield lines; a line that is too long as one piece."""
    begin = 0
    if max(map(len, lines)) > max_line_bytes:
        for place, line in enumerate(lines):
            content = without_line_end(line)
            if len(content) > max_line_bytes and not is_blank(content):
                if place > begin:
                    yield Lines(first + begin, offset, lines[begin:place], rare)
                yield LongLinePiece(first + place, content, is_last=True)
                offset += sum(map(len, lines[begin : place + 1]))
                begin = place + 1
        lines = lines[begin:]
    if lines:
        yield Lines(first + begin, offset, lines, rare)


def _rare_bytes(chunk: bytes, before: RareBytes) -> RareBytes:
    """Return which rare bytes a chunk has, or the bytes before it."""
    return RareBytes(
        before.non_ascii or not chunk.isascii(),
        before.backslashes or b"\\" in chunk,
        before.semicolons or b";" in chunk,
    )


def _end_of_content(held: bytearray) -> int:
    """Return the index of trailing carriage returns that may turn out to belong to the line end."""
    end = len(held.rstrip(b"\r"))
    return end if len(held) - end <= _MAX_UNDECIDED_BYTES else len(held)


def _may_be_blank(held: bytearray) -> bool:
    """Tell whether the long beginning of a line may turn out to be a blank line."""
    return len(held) <= _MAX_UNDECIDED_BYTES and held.isspace()


def _without_bom(chunks: Iterable[bytes]) -> tuple[int, Iterable[bytes]]:
    """Remove a byte order mark; return its size, or 0 if there is none, and the other chunks."""
    rest = iter(chunks)
    head = b""
    for chunk in rest:
        head += chunk
        if len(head) >= len(BOM_UTF8):
            break
    content = head.removeprefix(BOM_UTF8)
    return len(head) - len(content), chain((content,), rest)


def _cut(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the chunks in pieces of at most ``size`` bytes."""
    for chunk in chunks:
        if len(chunk) <= size:
            yield chunk
        else:
            for start in range(0, len(chunk), size):
                yield chunk[start : start + size]


class LineReader:
    """Reads lines from pieces of bytes; only the byte 0x0A ends a line."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._raw = PieceReader(pieces)
        self._lines = io.BufferedReader(self._raw, READ_BYTES)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines without their line end."""
        for line in self._lines:
            yield line[:-1] if line.endswith(b"\n") else line


class PieceReader(io.RawIOBase):
    """Reads pieces of bytes as one raw stream."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        """Read ``pieces`` in order, each when it is needed."""
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, target: Any) -> int:
        """Copy bytes into ``target``; return their number, which is 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
