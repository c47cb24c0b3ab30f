"""Lines and gzip as streams of bytes: whatever the size, only a piece is in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import msgspec

_GZIP_FORMAT = 31
"""The ``wbits`` of zlib that stands for: a gzip header, any window size."""
_COMPRESSED_PIECE_BYTES = 64 * 1024
"""Compressed bytes given to zlib at a time: what it leaves over is copied on every call."""
_PIECE_BYTES = 1024 * 1024
"""Most decompressed bytes taken from zlib at a time: a gzip bomb unpacks piece by piece."""

_BOM = b"\xef\xbb\xbf"
_MAX_BLANK_BYTES = 32 * 1024 * 1024
"""A line of more white space than this counts as too long, not as blank: it is not held."""


class NotGzipError(ValueError):
    """The bytes are not gzip, or are damaged or cut short."""


class Line(msgspec.Struct, gc=False):
    """A physical line, or a piece of one that is too long to be held.

    Attributes:
        number: Place in the file, from 1.
        data: The bytes without the line end. The pieces of a line that is too long make up its
            bytes when joined; the last one may be empty.
        is_blank: Whether the line is empty or nothing but ASCII white space.
        is_too_long: Whether this is a piece of a line that is too long.
        is_last: Whether the line ends here; false only for pieces.
    """

    number: int
    data: bytes
    is_blank: bool = False
    is_too_long: bool = False
    is_last: bool = True


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a gzip stream in pieces of at most 1 MiB.

    As Python's own ``gzip`` does, this takes several members one after the other, zero bytes after
    a member as padding, and an empty stream as an empty file.

    Args:
        chunks: The compressed bytes.

    Raises:
        NotGzipError: The stream is not gzip, is damaged or cut short.
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


def split_lines(chunks: Iterable[bytes], *, max_line_bytes: int) -> Iterator[Line]:
    r"""Yield the lines of a file.

    Only the byte 0x0A ends a line: U+2028, U+2029 and U+0085 stand inside JSON texts. A byte order
    mark at the start of the file and carriage returns before a line end are left out. A line of
    more than ``max_line_bytes`` comes in pieces, so that it is never held in memory.

    Args:
        chunks: The file, cut anywhere.
        max_line_bytes: Longest line that is yielded whole, in bytes without its line end.
    """
    number = 1
    held = bytearray()
    is_long = False
    for chunk in _without_bom(chunks):
        lines = chunk.split(b"\n")
        rest = lines.pop()
        for data in lines:
            if held or is_long:
                held += data
                yield _line(number, bytes(held), is_long, max_line_bytes)
                held.clear()
                is_long = False
            else:
                yield _line(number, data, False, max_line_bytes)
            number += 1
        held += rest
        if is_long or (len(held) > max_line_bytes and not _may_be_blank(held)):
            is_long = True
            end = _before_returns(held, max_line_bytes)
            if end:
                yield Line(number, bytes(held[:end]), is_too_long=True, is_last=False)
                del held[:end]
    if held or is_long:
        yield _line(number, bytes(held), is_long, max_line_bytes)


def _line(number: int, data: bytes, is_long: bool, max_line_bytes: int) -> Line:
    """Return a line, or the last piece of a long one, from its bytes up to the line end."""
    data = data.rstrip(b"\r")
    if is_long:
        return Line(number, data, is_too_long=True)
    if not data or data.isspace():
        return Line(number, data, is_blank=True)
    return Line(number, data, is_too_long=len(data) > max_line_bytes)


def _may_be_blank(held: bytearray) -> bool:
    """Tell whether a long beginning is kept because the line may turn out to be blank."""
    return len(held) <= _MAX_BLANK_BYTES and held.isspace()


def _before_returns(held: bytearray, max_line_bytes: int) -> int:
    """Return how much of a long line's beginning can go out.

    Carriage returns at its end stay: they may turn out to stand before the line end. A whole
    ``max_line_bytes`` of them is content, so that they do not pile up.
    """
    end = len(held.rstrip(b"\r"))
    return end if len(held) - end <= max_line_bytes else len(held)


def _without_bom(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks without a byte order mark at the very start."""
    head = b""
    is_decided = False
    for chunk in chunks:
        if is_decided:
            yield chunk
            continue
        head += chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            continue
        is_decided = True
        yield head.removeprefix(_BOM)
    if head and not is_decided:
        yield head


def _cut(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the chunks in pieces of at most ``size`` bytes."""
    for chunk in chunks:
        if len(chunk) <= size:
            yield chunk
        else:
            for start in range(0, len(chunk), size):
                yield chunk[start : start + size]
