"""Read the request files that a user names."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from groq_batch.domain import object_keys
from groq_batch_client.errors import RequestsError

STDIN = "-"

_CHUNK_BYTES = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


def new_digest() -> Any:
    """Return a new hash object for the bytes of a file."""
    # About four times as fast as SHA-256 on processors without SHA instructions.
    return hashlib.blake2b(digest_size=32)


@dataclass(frozen=True, slots=True)
class RequestFile:
    """A request file, or standard input.

    Attributes:
        argument: Its name as the user wrote it.
        below: The folder that the user named, if the file was found in one.
    """

    argument: str
    below: str | None = None

    @property
    def is_stdin(self) -> bool:
        """Whether it is standard input."""
        return self.argument == STDIN

    @property
    def shown(self) -> str:
        """Its name in messages."""
        return "<stdin>" if self.is_stdin else self.argument

    @property
    def name(self) -> str:
        """Its name, with only those folders that are below the folder the user named."""
        path = Path(self.argument)
        return path.name if self.below is None else path.relative_to(self.below).as_posix()

    @property
    def size(self) -> int | None:
        """Its size in bytes; None if not known before reading."""
        return None if self.is_stdin else Path(self.argument).stat().st_size

    @contextlib.contextmanager
    def chunks(self, progress: Callable[[int], None] | None = None) -> Iterator[Chunks]:
        """Open the file within a ``with`` block.

        Args:
            progress: Called with the number of bytes of each chunk read.

        Raises:
            RequestsError: It cannot be read.
        """
        if self.is_stdin:
            # Python has none where the caller has closed it.
            if sys.stdin is None:
                raise RequestsError("Standard input is closed. Name a file.")
            yield Chunks(sys.stdin.buffer, self.shown, is_gzip=None, progress=progress)
            return
        with self._open() as stream:
            is_gzip = object_keys.is_gzip(self.name)
            yield Chunks(stream, self.shown, is_gzip=is_gzip, progress=progress)

    def _open(self) -> BinaryIO:
        try:
            return Path(self.argument).open("rb")
        except OSError as error:
            raise _unreadable(self.shown, error) from None


def _unreadable(name: str, error: OSError) -> RequestsError:
    return RequestsError(f"{name} cannot be read: {error.strerror}.")


class Chunks:
    """The bytes of an open file in pieces of at most 1 MiB.

    Attributes:
        is_gzip: Whether they are compressed, according to the name or, without a name, to the
            first two bytes.
    """

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        *,
        is_gzip: bool | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._stream = stream
        self._name = name
        self._progress = progress
        self._first = b""
        if is_gzip is None:
            self._first = self._read()
            is_gzip = self._first.startswith(_GZIP_MAGIC)
        self.is_gzip = is_gzip

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces.

        Raises:
            RequestsError: They cannot be read.
        """
        chunk = self._first or self._read()
        while chunk:
            if self._progress is not None:
                self._progress(len(chunk))
            yield chunk
            chunk = self._read()

    def _read(self) -> bytes:
        try:
            return self._stream.read(_CHUNK_BYTES)
        except OSError as error:
            raise _unreadable(self._name, error) from None
