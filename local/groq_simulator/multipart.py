"""Read `multipart/form-data` part by part; memory does not grow with the body."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from multipart import MultipartError as ParserError
from multipart import PushMultipartParser, parse_options_header

CHUNK_BYTES = 1024 * 1024


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
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise MultipartError("Content-Type must be multipart/form-data with a boundary")
    return str(options["boundary"]).encode("latin-1")


class MultipartReader:
    """Reads the parts of a body one after the other."""

    def __init__(self, read: Callable[[int], bytes], boundary: bytes) -> None:
        self._read = read
        self._boundary = boundary

    def parts(self) -> Iterator[Part]:
        """Yields every part.

        Raises:
            MultipartError: The body ends early or has no proper delimiters.
        """
        events = self._events()
        for event in events:
            if not event.name:
                raise MultipartError("multipart part has no name")
            chunks = _chunks(events)
            yield Part(event.name, event.filename, chunks)
            for _ in chunks:
                pass
        while self._read(CHUNK_BYTES):
            pass

    def _events(self) -> Iterator[Any]:
        """Yields the header of each part, its pieces, and None at its end."""
        try:
            parser = PushMultipartParser(self._boundary)
            yield from parser.parse_blocking(self._read, chunk_size=CHUNK_BYTES)
        except ParserError as error:
            raise MultipartError(f"malformed multipart body: {error}") from error


def _chunks(events: Iterator[Any]) -> Iterator[bytes]:
    """Yields the content of the part that began last."""
    for event in events:
        if event is None:
            return
        yield bytes(event)
