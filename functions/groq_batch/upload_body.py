"""The body of a file upload, sent as it is read, so that no file is ever in memory as a whole."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Protocol

_PIECE_BYTES = 1024 * 1024
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


class ReadableStream(Protocol):
    """Anything that hands out bytes until there are none."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes, and none only at the end."""


class StreamError(Exception):
    """The content of an upload could not be read, or is not of the size that was said."""


class MultipartBody:
    """A ``multipart/form-data`` body of known length around a stream.

    Attributes:
        content_type: The value of the request's Content-Type.
    """

    def __init__(self, *, filename: str, purpose: str, stream: ReadableStream, size: int) -> None:
        """Wrap ``size`` bytes of ``stream`` as the part ``file``, beside the part ``purpose``."""
        boundary = uuid.uuid4().hex
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
            f'filename="{filename.translate(_ESCAPES)}"\r\nContent-Type: application/jsonl\r\n\r\n'
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._stream = stream
        self._size = size
        self._left = len(self)
        self._pieces = self._read_pieces()
        self._pending = b""

    def __len__(self) -> int:
        """Return the length of the whole body, the request's Content-Length."""
        return len(self._head) + self._size + len(self._tail)

    @property
    def is_complete(self) -> bool:
        """Whether the body was handed out to its last byte; before, no server can have it all."""
        return self._left == 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes of the body, at most ``size`` of them when it is not negative.

        Raises:
            StreamError: The stream fails, ends too early or goes on too long.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE_BYTES), b""))
        if not self._pending:
            self._pending = next(self._pieces, b"")
        piece, self._pending = self._pending[:size], self._pending[size:]
        self._left -= len(piece)
        return piece

    def _read_pieces(self) -> Iterator[bytes]:
        yield self._head
        missing = self._size
        while missing > 0:
            piece = self._read_stream(min(_PIECE_BYTES, missing))
            if not piece:
                raise StreamError(f"The file is {missing} bytes shorter than expected")
            missing -= len(piece)
            if missing < 0:
                break
            yield piece
        if missing < 0 or self._read_stream(1):
            raise StreamError("The file is longer than expected")
        yield self._tail

    def _read_stream(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except Exception as error:
            # Where the content comes from is another network; its errors must not be taken for
            # those of the API.
            raise StreamError(f"The file could not be read ({type(error).__name__})") from error
