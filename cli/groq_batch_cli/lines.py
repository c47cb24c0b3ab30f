"""Lines of files on this machine and of objects in the bucket, unpacked where necessary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from groq_batch import layout
from groq_batch.jsonl import NotGzipError, decompress
from groq_batch.storage import LineReader, Storage
from groq_batch_cli.errors import CommandError
from groq_batch_cli.request_files import RequestFile


def lines_of(chunks: Iterable[bytes], *, is_gzip: bool, name: str) -> Iterator[bytes]:
    """Yield the lines of a file without their line ends; only the byte 0x0A ends one.

    Args:
        chunks: The file's bytes.
        is_gzip: Whether they are compressed.
        name: What messages call the file.

    Raises:
        CommandError: The file is not gzip though it should be, or is damaged.
    """
    try:
        yield from LineReader(decompress(chunks) if is_gzip else chunks)
    except NotGzipError:
        raise CommandError(
            f"{name} ends in .gz, but it is not gzip, or it is damaged or cut short."
        ) from None


@contextlib.contextmanager
def local_lines(path: str) -> Iterator[Iterator[bytes]]:
    """Open a file of lines, or standard input for ``-``, for the time of a ``with`` block."""
    file = RequestFile(path)
    with file.chunks() as chunks:
        yield lines_of(chunks, is_gzip=chunks.is_gzip, name=file.shown)


def stored_lines(storage: Storage, key: str) -> Iterator[bytes]:
    """Yield the lines of an object of the bucket."""
    return lines_of(storage.chunks(key), is_gzip=layout.is_gzip(key), name=key)
