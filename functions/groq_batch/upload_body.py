"""The body of a file upload, sent as it is read; ``requests`` would read the whole file first."""

from __future__ import annotations

import uuid
from typing import Protocol


class ReadableStream(Protocol):
    """Anything that hands out bytes until there are none."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes, and none only at the end."""


class StreamSizeError(Exception):
    """The stream is shorter or longer than it was said to be."""


class MultipartBody:
    """A ``multipart/form-data`` body of known length around a stream.

    ``requests`` takes the length from ``__len__`` and sends what ``read`` returns, so that the
    request has a Content-Length and no more than a piece of the file is in memory.
    """

    def __init__(self, *, filename: str, purpose: str, stream: ReadableStream, size: int) -> None:
        """Wrap ``size`` bytes of ``stream`` as the part ``file``, beside the part ``purpose``."""
        boundary = uuid.uuid4().hex
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"'
            f"\r\nContent-Type: application/jsonl\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._stream = stream
        self._missing = size
        self._length = len(self._head) + size + len(self._tail)
        self._pending = self._head

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes of the body, at most ``size`` of them when it is not negative.

        Raises:
            StreamSizeError: The stream ends too early or goes on too long.
        """
        if size < 0:
            pieces = []
            while piece := self.read(1024 * 1024):
                pieces.append(piece)
            return b"".join(pieces)
        if not self._pending and self._missing:
            self._pending = self._stream.read(min(max(size, 1), self._missing))
            if not self._pending:
                raise StreamSizeError(f"The file is {self._missing} bytes shorter than expected")
            self._missing -= len(self._pending)
            if not self._missing and self._stream.read(1):
                raise StreamSizeError("The file is longer than expected")
        if not self._pending:
            self._pending, self._tail = self._tail, b""
        piece, self._pending = self._pending[:size], self._pending[size:]
        return piece
