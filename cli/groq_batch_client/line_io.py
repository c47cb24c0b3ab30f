"""Read lines of local files and S3 objects, decompressing gzip."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.request_file.lines import LineReader, NotGzipError, decompress
from groq_batch_client.errors import RequestsError
from groq_batch_client.request_files import RequestFile

_GZIP_LEVEL = 6
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
"""Mode of zlib that expects the header and trailer of a gzip file."""


def lines_of(chunks: Iterable[bytes], *, is_gzip: bool, name: str) -> Iterator[bytes]:
    """Yield the lines of a file without line ends; only the byte 0x0A ends a line.

    Args:
        chunks: The bytes of the file.
        is_gzip: Whether they are compressed.
        name: The name of the file in messages.

    Raises:
        RequestsError: The file should be gzip, but is not or is damaged.
    """
    try:
        yield from LineReader(decompress(chunks) if is_gzip else chunks)
    except NotGzipError:
        raise RequestsError(
            f"{name} ends in .gz, but it is not gzip, or it is damaged or cut short."
        ) from None


@contextlib.contextmanager
def local_lines(path: str) -> Iterator[Iterator[bytes]]:
    """Open a file of lines, or standard input for ``-``, within a ``with`` block."""
    file = RequestFile(path)
    with file.chunks() as chunks:
        yield lines_of(chunks, is_gzip=chunks.is_gzip, name=file.shown)


def stored_lines(
    storage: Storage,
    key: str,
    progress: Callable[[int], None] | None = None,
    *,
    version_id: str | None = None,
) -> Iterator[bytes]:
    """Yield the lines of an object in the bucket.

    Args:
        storage: The bucket.
        key: The key of the object.
        progress: Called with the number of bytes of each piece read.
        version_id: The version to read; None means the current one.
    """
    chunks: Iterable[bytes] = storage.chunks(key, version_id=version_id)
    if progress is not None:
        chunks = _told(chunks, progress)
    return lines_of(chunks, is_gzip=object_keys.is_gzip(key), name=key)


def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress pieces of gzip data."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    for piece in pieces:
        if data := packer.compress(piece):
            yield data
    yield packer.flush()


def _told(chunks: Iterable[bytes], progress: Callable[[int], None]) -> Iterator[bytes]:
    for chunk in chunks:
        progress(len(chunk))
        yield chunk
