"""Write a file that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from groq_batch_client.file_errors import STDOUT, NamedFile, naming
from groq_batch_client.tables.formats import pyarrow_for

_GZIP_LEVEL = 6


@contextlib.contextmanager
def output(path: Path | None) -> Iterator[BinaryIO]:
    """Open a file for writing, or standard output for None, within a ``with`` block.

    The file appears under its name when the block ends, so it is never visible in part. A name that
    ends in ``.gz`` or ``.zst``, in upper or lower case, compresses it. A path that is not a regular
    file, such as ``/dev/null`` or a pipe, is written directly.
    """
    if path is None:
        with naming(STDOUT):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():
        with naming(path), path.open("wb") as stream:
            yield stream
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    try:
        with (
            io.BufferedWriter(NamedFile(draft, becomes=path)) as plain,
            _packed(cast("BinaryIO", plain), path.name.lower()) as packed,
        ):
            yield packed
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _packed(plain: BinaryIO, name: str) -> Iterator[BinaryIO]:
    if name.endswith(".gz"):
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, cast("Any", plain), mtime=0) as packed:
            yield cast("BinaryIO", packed)
    elif name.endswith(".zst"):
        pyarrow = pyarrow_for("A file that ends in .zst")
        # Closing the compressed stream would close the one below, which its owner closes.
        with pyarrow.CompressedOutputStream(
            pyarrow.PythonFile(_Kept(plain), mode="w"), "zstd"
        ) as zstd:
            yield cast("BinaryIO", zstd)
    else:
        yield plain


class _Kept(io.RawIOBase):
    """Forwards writes; closing it keeps the underlying stream open."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._stream.write(data)
