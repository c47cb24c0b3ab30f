"""Which kind of file a name stands for."""

from __future__ import annotations

from enum import StrEnum

from groq_batch_cli.errors import CommandError
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
        CommandError: The name tells none.
    """
    if name == STDIN:
        return Format.JSONL
    lowered = name.lower()
    plain = lowered.removesuffix(".gz")
    for ending, kind in _ENDINGS.items():
        if plain.endswith(ending) and (plain == lowered or kind is not Format.PARQUET):
            return kind
    endings = ", ".join(_ENDINGS)
    raise CommandError(
        f"{name} has to end in one of {endings} (JSONL and CSV also with .gz behind it), so that "
        f"its format is known."
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
