"""Determine the format of a table from its file name."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from groq_batch_client.errors import TableError, WrongArgumentError

STDIN = "-"


class Format(StrEnum):
    """A table format."""

    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"


class Compression(StrEnum):
    """Compression of a whole file."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


FORMAT_ENDINGS = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}
COMPRESSION_ENDINGS = {".gz": Compression.GZIP, ".zst": Compression.ZSTD}

SEPARATORS = (",", ";", "|")
"""Characters that may separate the columns of a CSV file."""

_OTHER_TABLES = (".xlsx", ".xlsm", ".xls", ".ods", ".feather", ".arrow", ".avro", ".orc")
"""Suffixes of tables that ``groq-batch make`` does not read."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """Format and compression of a file."""

    format: Format
    compression: Compression


def kind_of(name: str) -> FileKind:
    """Return the format and compression of a file from its name, ignoring case.

    Standard input and output (``-``) are JSONL.

    Raises:
        WrongArgumentError: The name has no known suffix.
    """
    if name == STDIN:
        return FileKind(Format.JSONL, Compression.NONE)
    plain, compression = name.lower(), Compression.NONE
    for ending, one in COMPRESSION_ENDINGS.items():
        if plain.endswith(ending):
            plain, compression = plain.removesuffix(ending), one
    for ending, kind in FORMAT_ENDINGS.items():
        if plain.endswith(ending):
            if kind is Format.PARQUET and compression is not Compression.NONE:
                raise WrongArgumentError(
                    f"{name}: a Parquet file is compressed inside. Name it without "
                    f"{name[len(plain) :]}."
                )
            return FileKind(kind, compression)
    raise WrongArgumentError(
        f"{name} must end in one of {', '.join(FORMAT_ENDINGS)} (JSONL, CSV and TSV also with "
        f".gz or .zst after it), so that its format is known."
        + (" Save the table as CSV." if name.lower().endswith(_OTHER_TABLES) else "")
        + (" If it has one object on each line, name it .jsonl." if plain.endswith(".json") else "")
    )


def advice_for_table(name: str) -> str | None:
    """Return the advice for a table given instead of a request file; None if it is not a table."""
    stem = PurePath(name).name.split(".")[0]
    try:
        kind = kind_of(name).format
    except WrongArgumentError:
        if not name.lower().endswith(_OTHER_TABLES):
            return None
        return (
            f"{name} is a table, not a request file. Save it as CSV, then turn its rows into "
            f"requests: {_make_command(f'{stem}.csv', stem)}"
        )
    if kind is Format.JSONL:
        return None
    return (
        f"{name} is a table, not a request file. Turn its rows into requests first: "
        f"{_make_command(name, stem)}"
    )


def _make_command(table: str, stem: str) -> str:
    return (
        f"groq-batch make {shlex.quote(table)} --model MODEL --prompt '... {{COLUMN}} ...' "
        f"--out {shlex.quote(f'{stem}.jsonl')}"
    )


def pyarrow_for(purpose: str) -> Any:
    """Import and return ``pyarrow``, which is large and only some formats need.

    Args:
        purpose: What needs it, such as ``Parquet``; the first words of the error message.

    Raises:
        TableError: It is not installed.
    """
    try:
        import pyarrow  # noqa: PLC0415 - takes 0.1 s to import
    except ImportError:
        raise TableError(
            f"{purpose} needs the library pyarrow, which is not installed. Install it: "
            f"pip install pyarrow"
        ) from None
    return pyarrow
