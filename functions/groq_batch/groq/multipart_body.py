"""Stream the body of a file upload, so that no file is ever held in memory."""

from __future__ import annotations

import uuid
from typing import Protocol

_PIECE_BYTES = 1024 * 1024
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


class ReadableStream(Protocol):
    """A source of bytes with a known end."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes; none only at the end."""


class StreamError(Exception):
    """The content of an upload could not be read, or does not have the announced size."""


class MultipartBody:
    """A ``multipart/form-data`` body of known length around a stream.

    Attributes:
        content_type: The value of the request's Content-Type.
    """

    def __init__(self, *, filename: str, purpose: str, stream: ReadableStream, size: int) -> None:
        """Wrap ``size`` bytes of ``stream`` as the part ``file``, next to the part ``purpose``."""
        boundary = uuid.uuid4().hex
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
            f'filename="{filename.translate(_ESCAPES)}"\r\nContent-Type: application/jsonl\r\n\r\n'
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._stream = stream
        self._missing = size
        self._stream_has_ended = False
        self._length = len(self._head) + size + len(self._tail)

    def __len__(self) -> int:
        """Return the length of the whole body, for the request's Content-Length."""
        return self._length

    @property
    def is_complete(self) -> bool:
        """Whether the body was read to its last byte; before that, no server can have all of it."""
        return not self._tail

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes of the body, fewer at its end, all if it is negative.

        Raises:
            StreamError: The stream fails, ends too early or is too long.
        """
        pieces = []
        left = size if size >= 0 else self._length
        while left > 0 and not self.is_complete:
            piece = self._next_piece(left)
            left -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _next_piece(self, size: int) -> bytes:
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
        elif self._missing > 0:
            piece = self._read_stream(min(size, self._missing, _PIECE_BYTES))
            if not piece:
                raise StreamError(f"The file is {self._missing} bytes shorter than expected")
            self._missing -= len(piece)
        else:
            self._check_end()
            piece, self._tail = self._tail[:size], self._tail[size:]
        return piece

    def _check_end(self) -> None:
        if self._stream_has_ended:
            return
        if self._missing < 0 or self._read_stream(1):
            raise StreamError("The file is longer than expected")
        self._stream_has_ended = True

    def _read_stream(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except Exception as error:
            # The content comes from another network; its errors must not be taken for those of the
            # API.
            raise StreamError(f"The file could not be read ({type(error).__name__})") from error
