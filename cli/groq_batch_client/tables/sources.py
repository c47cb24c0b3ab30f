"""Open and decompress the bytes of a table, and reject files that are not text."""

from __future__ import annotations

import codecs
import contextlib
import io
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from groq_batch.request_file.lines import NotGzipError, PieceReader, decompress
from groq_batch_client.errors import TableError
from groq_batch_client.tables.formats import (
    COMPRESSION_ENDINGS,
    STDIN,
    Compression,
    FileKind,
    Format,
    pyarrow_for,
)

_CHUNK_BYTES = 1024 * 1024
_GZIP = b"\x1f\x8b"
_WHAT_IT_IS = (
    (_GZIP, "is compressed with gzip. Name it with .gz at the end"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd. Name it with .zst at the end"),
    (b"BZh91AY&SY", "is compressed with bzip2. Decompress it, or compress it with gzip"),
    (b"\xfd7zXZ\0", "is compressed with xz. Decompress it, or compress it with gzip"),
    (b"PK\x03\x04", "is a ZIP archive or an Excel workbook. Save the table as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook. Save the table as CSV (UTF-8)"),
    (b"PAR1", "is a Parquet file. Name it with .parquet at the end"),
    (b"ARROW1", "is an Arrow (Feather) file. Save the table as Parquet"),
    (b"SQLite format 3\0", "is an SQLite database. Export its table as CSV"),
    (b"%PDF-", "is a PDF document, not a table"),
    (
        b"\x00\x05\x16\x07",
        "is a macOS companion file (AppleDouble). Give the file without ._ in its name",
    ),
    (b"\xff\xfe\0\0", "is UTF-32, not UTF-8. Save it as UTF-8"),
    (b"\0\0\xfe\xff", "is UTF-32, not UTF-8. Save it as UTF-8"),
    (b"\xff\xfe", "is UTF-16, not UTF-8. Save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16, not UTF-8. Save it as UTF-8"),
)
"""First bytes of files that are not text, with what to do."""

_HTML = re.compile(rb"\s*<(!doctype html|html|head|body|table)\b", re.IGNORECASE)
_JSON = re.compile(rb"\s*(\{\s*\"|\[\s*\{)")

_SAMPLE_BYTES = 256


def open_results(argument: str) -> contextlib.AbstractContextManager[io.BufferedReader]:
    """Open a file of result rows with any suffix; decompress it if the suffix says so."""
    name = argument.lower()
    ending = next((one for one in COMPRESSION_ENDINGS if name.endswith(one)), None)
    compression = Compression.NONE if ending is None else COMPRESSION_ENDINGS[ending]
    return open_bytes(argument, FileKind(Format.JSONL, compression))


@contextlib.contextmanager
def open_bytes(argument: str, kind: FileKind) -> Iterator[io.BufferedReader]:
    """Open and decompress a text file within a ``with`` block.

    Args:
        argument: Its path, or ``-`` for standard input.
        kind: Its format and compression; standard input may always be compressed with gzip.

    Raises:
        TableError: It cannot be opened or is not text; reading may raise this too.
    """
    name = "<stdin>" if argument == STDIN else argument
    with contextlib.ExitStack() as resources:
        raw: Any
        if argument == STDIN:
            # Python has none where the caller has closed it.
            if sys.stdin is None:
                raise TableError("Standard input is closed. Name a file.")
            raw = sys.stdin.buffer
        else:
            try:
                raw = resources.enter_context(Path(argument).open("rb"))
            except OSError as error:
                raise TableError(f"{name} cannot be read: {error.strerror}.") from None
        chunks, compression = _read(raw, name), kind.compression
        if argument == STDIN:
            # Standard input has no name to tell its compression.
            first = next(chunks, b"")
            compression = Compression.GZIP if first.startswith(_GZIP) else Compression.NONE
            chunks = chain([first] if first else [], chunks)
        pieces = _unpacked(chunks, compression, name)
        checked = _without_nul(_looked_at(pieces, kind.format, compression, name), name)
        yield resources.enter_context(io.BufferedReader(PieceReader(checked), _CHUNK_BYTES))


def _read(stream: Any, name: str) -> Iterator[bytes]:
    try:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
    except OSError as error:
        raise TableError(f"{name} cannot be read: {error.strerror or error}.") from None


def _unpacked(chunks: Iterator[bytes], compression: Compression, name: str) -> Iterator[bytes]:
    if compression is Compression.NONE:
        return chunks
    if compression is Compression.GZIP:
        return _gunzipped(chunks, name)
    return _zstd_unpacked(chunks, name)


def _gunzipped(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    try:
        yield from decompress(chunks)
    except NotGzipError:
        raise TableError(
            f"{name} ends in .gz, but it is not gzip, or it is damaged or cut short."
        ) from None


def _zstd_unpacked(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    pyarrow = pyarrow_for("A file that ends in .zst")
    stream = pyarrow.PythonFile(io.BufferedReader(PieceReader(chunks)), mode="r")
    try:
        with pyarrow.CompressedInputStream(stream, "zstd") as unpacked:
            while chunk := unpacked.read(_CHUNK_BYTES):
                yield bytes(chunk)
    except OSError:
        raise TableError(
            f"{name} ends in .zst, but it is not zstd, or it is damaged or cut short."
        ) from None


def _looked_at(
    pieces: Iterator[bytes], kind: Format, compression: Compression, name: str
) -> Iterator[bytes]:
    """Forward pieces; raise an error if the file begins like one of another format."""
    first = next(pieces, b"")
    for begin, what in _WHAT_IT_IS:
        if first.startswith(begin):
            is_twice = begin == _GZIP and compression is Compression.GZIP
            said = "is compressed twice. Decompress it once" if is_twice else what
            raise TableError(f"{name} {said}.")
    if _is_utf16(first[:_SAMPLE_BYTES]):
        raise TableError(f"{name} is UTF-16, not UTF-8. Save it as UTF-8.")
    text = first[:_SAMPLE_BYTES].removeprefix(codecs.BOM_UTF8)
    if _HTML.match(text) is not None:
        raise TableError(
            f"{name} is a web page, such as a sign-in or error page saved in place of the table. "
            f"Download the table again."
        )
    if kind is not Format.JSONL and _JSON.match(text) is not None:
        raise TableError(
            f"{name} is JSON, not {kind.upper()}. Write one object on each line, and name the file "
            f"with .jsonl at the end."
        )
    if first:
        yield first
    yield from pieces


def _is_utf16(sample: bytes) -> bool:
    """Tell whether text is UTF-16 without a byte order mark: every other byte is mostly NUL."""
    fewer, more = sorted((sample[::2].count(0), sample[1::2].count(0)))
    return fewer == 0 and more > len(sample) // 4


def _without_nul(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    position = 0
    for piece in pieces:
        place = piece.find(b"\0")
        if place >= 0:
            if piece[place:].strip(b"\0"):
                said = (
                    "holds NUL bytes from byte {at:,} on, as happens in binary files, in UTF-16 "
                    "and if a crash interrupts the writing. Write it again, as UTF-8 text."
                )
            else:
                said = (
                    "ends in NUL bytes from byte {at:,} on, as happens if a crash interrupts the "
                    "writing. Write it again."
                )
            raise TableError(f"{name} {said.format(at=position + place)}")
        position += len(piece)
        yield piece
