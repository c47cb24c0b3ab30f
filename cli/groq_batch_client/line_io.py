"""Lines of files on this machine and of objects in the bucket, unpacked where necessary."""

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
"""What zlib takes for: with the header and the end of a gzip file."""


def lines_of(chunks: Iterable[bytes], *, is_gzip: bool, name: str) -> Iterator[bytes]:
    """Yield the lines of a file without their line ends; only the byte 0x0A ends one.

    Args:
        chunks: The file's bytes.
        is_gzip: Whether they are compressed.
        name: What messages call the file.

    Raises:
        RequestsError: The file is not gzip though it should be, or is damaged.
    """
    try:
        yield from LineReader(decompress(chunks) if is_gzip else chunks)
    except NotGzipError:
        raise RequestsError(
            f"{name} ends in .gz, but it is not gzip, or it is damaged or cut short."
        ) from None


@contextlib.contextmanager
def local_lines(path: str) -> Iterator[Iterator[bytes]]:
    """Open a file of lines, or standard input for ``-``, for the time of a ``with`` block."""
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
    """Yield the lines of an object of the bucket.

    Args:
        storage: The bucket.
        key: The object.
        progress: Is told the number of bytes of each piece that was read.
        version_id: The version to read; the current one when None.
    """
    chunks: Iterable[bytes] = storage.chunks(key, version_id=version_id)
    if progress is not None:
        chunks = _told(chunks, progress)
    return lines_of(chunks, is_gzip=object_keys.is_gzip(key), name=key)


def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces of bytes compressed with gzip."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    for piece in pieces:
        if data := packer.compress(piece):
            yield data
    yield packer.flush()


def _told(chunks: Iterable[bytes], progress: Callable[[int], None]) -> Iterator[bytes]:
    for chunk in chunks:
        progress(len(chunk))
        yield chunk
