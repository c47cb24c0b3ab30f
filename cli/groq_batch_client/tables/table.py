"""Open a table by its file name, and write one with answer columns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groq_batch_client.errors import WrongArgumentError
from groq_batch_client.tables.batches import Batch
from groq_batch_client.tables.delimited import DelimitedReader
from groq_batch_client.tables.formats import (
    STDIN,
    Compression,
    FileKind,
    Format,
    kind_of,
    pyarrow_for,
)
from groq_batch_client.tables.json_lines import json_batches
from groq_batch_client.tables.sources import open_bytes


@dataclass(slots=True)
class OpenTable:
    """An open table.

    Attributes:
        batches: Its rows.
        names: Its columns; None if each row has its own keys (JSONL).
        reader: The reader.
    """

    batches: Iterator[Batch]
    names: list[str] | None
    reader: Any = None

    @property
    def left_out(self) -> int:
        """Number of rows without any value skipped so far."""
        return int(getattr(self.reader, "left_out", 0))


class TableFile:
    """A table in a file, which can be read several times, or on standard input, only once.

    Attributes:
        name: Its name in messages.
        kind: Its format and compression.
        separator: The character between the columns if it is CSV.
    """

    def __init__(self, argument: str) -> None:
        """Describe the table that the user named ``argument``.

        Raises:
            WrongArgumentError: Its name has no known suffix.
        """
        self.argument = argument
        self.name = "<stdin>" if argument == STDIN else argument
        self.kind: FileKind = kind_of(argument)
        self.separator = ","
        if self.kind.format is Format.PARQUET:
            pyarrow_for("Parquet")
        if self.kind.compression is Compression.ZSTD:
            pyarrow_for("A file that ends in .zst")

    def use_separator(self, separator: str) -> None:
        """Expect another separator than the comma.

        Raises:
            WrongArgumentError: The table is not CSV.
        """
        if separator != self.separator and self.kind.format is not Format.CSV:
            raise WrongArgumentError(f"A separator is for CSV, and {self.name} is not CSV.")
        self.separator = separator

    @property
    def path(self) -> Path | None:
        """Its path; None for standard input."""
        return None if self.argument == STDIN else Path(self.argument)

    @contextlib.contextmanager
    def open(self, columns: Sequence[str] | None = None) -> Iterator[OpenTable]:
        """Open it for reading within a ``with`` block.

        Args:
            columns: The needed columns, if the format can skip the others; None means all.

        Raises:
            TableError: It cannot be read; reading may raise this too.
        """
        if self.kind.format is Format.PARQUET:
            from groq_batch_client.tables.parquet import open_parquet  # noqa: PLC0415 - pyarrow

            with open_parquet(Path(self.argument)) as parquet:
                yield OpenTable(parquet.batches(columns), parquet.names, parquet)
            return
        with open_bytes(self.argument, self.kind) as stream:
            if self.kind.format is Format.JSONL:
                yield OpenTable(json_batches(stream, self.name), None)
            else:
                reader = DelimitedReader(
                    stream, self.kind.format, self.name, separator=self.separator
                )
                yield OpenTable(reader.batches(), reader.names, reader)

    def column_names(self) -> list[str]:
        """Return the columns. For JSONL this reads all rows.

        Raises:
            TableError: It cannot be read.
        """
        with self.open() as table:
            if table.names is not None:
                return table.names
            keys: dict[str, None] = {}
            for batch in table.batches:
                keys.update(batch.keys)  # type: ignore[attr-defined]
            return list(keys)

    def arrow_schema(self) -> Any:
        """Return the Arrow schema: its own, one of texts, or one that fits all JSON rows.

        Raises:
            TableError: It cannot be read.
        """
        pyarrow = pyarrow_for("Parquet")
        if self.kind.format is Format.JSONL:
            from groq_batch_client.tables.json_to_arrow import schema_of  # noqa: PLC0415 - pyarrow

            with self.open() as table:
                return schema_of(table.batches)  # type: ignore[arg-type]
        with self.open() as table:
            if self.kind.format is Format.PARQUET:
                return table.reader.schema
            return pyarrow.schema([(name, pyarrow.string()) for name in table.names or []])


def check_readable_twice(table: TableFile, kind: Format) -> None:
    """Check that a table can be read twice, for its columns and for its rows.

    Raises:
        WrongArgumentError: It is standard input.
    """
    if table.argument == STDIN:
        raise WrongArgumentError(
            f"Writing {kind.value} requires reading the rows twice, which standard input does not "
            f"allow. Give them as a file, or write JSONL."
        )
