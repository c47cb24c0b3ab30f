"""Streaming parser of `multipart/form-data`: memory does not grow with the body."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser

CHUNK_BYTES = 65536
MAX_HEADER_BYTES = 16384


class MultipartError(ValueError):
    """The body is not well-formed multipart."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part; `chunks` must be consumed before the next part is asked for."""

    name: str
    filename: str | None
    chunks: Iterator[bytes]


def boundary_of(content_type: str) -> bytes:
    """Returns the boundary named by a Content-Type header.

    Raises:
        MultipartError: The header is not multipart/form-data with a boundary.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/form-data" or not boundary:
        raise MultipartError("Content-Type must be multipart/form-data with a boundary")
    return boundary.encode("latin-1")


class MultipartReader:
    """Reads the parts of a body one after the other."""

    def __init__(self, read: Callable[[int], bytes], boundary: bytes) -> None:
        self._read = read
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter stands at the very start, without the line end in front of it.
        self._buffer = bytearray(b"\r\n")

    def parts(self) -> Iterator[Part]:
        """Yields every part.

        Raises:
            MultipartError: The body ends early or has no proper delimiters.
        """
        for _ in self._until_delimiter():
            pass
        while not self._at_closing_delimiter():
            name, filename = self._part_headers()
            chunks = self._until_delimiter()
            yield Part(name, filename, chunks)
            for _ in chunks:
                pass
        while self._read(CHUNK_BYTES):
            pass

    def _fill(self) -> None:
        chunk = self._read(CHUNK_BYTES)
        if not chunk:
            raise MultipartError("multipart body ends early")
        self._buffer += chunk

    def _until_delimiter(self) -> Iterator[bytes]:
        keep = len(self._delimiter) - 1
        while (at := self._buffer.find(self._delimiter)) < 0:
            if len(self._buffer) > keep:
                # A delimiter may have begun in the last bytes: they stay for the next round.
                yield bytes(self._buffer[:-keep])
                del self._buffer[:-keep]
            self._fill()
        if at:
            yield bytes(self._buffer[:at])
        del self._buffer[: at + len(self._delimiter)]

    def _at_closing_delimiter(self) -> bool:
        while len(self._buffer) < 2:  # noqa: PLR2004 (two bytes follow each delimiter)
            self._fill()
        mark = bytes(self._buffer[:2])
        if mark not in (b"--", b"\r\n"):
            raise MultipartError("malformed multipart delimiter")
        if mark == b"--":
            self._buffer.clear()
            return True
        return False

    def _part_headers(self) -> tuple[str, str | None]:
        while (at := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEADER_BYTES:
                raise MultipartError("multipart headers are too long")
            self._fill()
        headers = HeaderParser().parsestr(self._buffer[2:at].decode("utf-8", "replace"))
        del self._buffer[: at + 4]
        name = headers.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            raise MultipartError("multipart part has no name")
        return name, headers.get_filename()
