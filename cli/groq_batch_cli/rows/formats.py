"""Which kind of file a name stands for."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import PurePath

from groq_batch_cli.errors import CommandError, WrongUsageError
from groq_batch_cli.request_files import STDIN


class Format(StrEnum):
    """A kind of file with rows."""

    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"


_ENDINGS = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}


def format_of(name: str) -> Format:
    """Return the format of a file by its name; standard input and output are JSONL.

    Raises:
        WrongUsageError: The name tells none.
    """
    if name == STDIN:
        return Format.JSONL
    lowered = name.lower()
    plain = lowered.removesuffix(".gz")
    for ending, kind in _ENDINGS.items():
        if plain.endswith(ending) and (plain == lowered or kind is not Format.PARQUET):
            return kind
    endings = ", ".join(_ENDINGS)
    raise WrongUsageError(
        f"{name} has to end in one of {endings} (JSONL and CSV also with .gz behind it), so that "
        f"its format is known."
    )


_OTHER_TABLES = (".xlsx", ".xlsm", ".xls", ".ods", ".feather", ".arrow", ".avro", ".orc")
"""Endings of tables that ``groq-batch make`` does not read."""


def advice_for_table(name: str) -> str | None:
    """Return what to do with a table that is given where requests belong; None for no table."""
    stem = PurePath(name).name.split(".")[0]
    try:
        kind = format_of(name)
    except WrongUsageError:
        if not name.lower().endswith(_OTHER_TABLES):
            return None
        return (
            f"{name} is a table, not a file of requests. Save it as CSV, then turn its rows into "
            f"requests: {_make_command(f'{stem}.csv', stem)}"
        )
    if kind is Format.JSONL:
        return None
    return (
        f"{name} is a table, not a file of requests. Turn its rows into requests first: "
        f"{_make_command(name, stem)}"
    )


def _make_command(table: str, stem: str) -> str:
    return (
        f"groq-batch make {shlex.quote(table)} --model MODEL --prompt '... {{COLUMN}} ...' "
        f"--out {shlex.quote(f'{stem}.jsonl')}"
    )


def arrow() -> object:
    """Import and return ``pyarrow``.

    Raises:
        CommandError: It is not installed.
    """
    try:
        import pyarrow  # noqa: PLC0415 - large, and needed for Parquet only
    except ImportError:
        raise CommandError(
            "Parquet needs the library pyarrow, which is not installed. Install it: "
            "pip install 'groq-batch[parquet]', or pip install pyarrow"
        ) from None
    return pyarrow
