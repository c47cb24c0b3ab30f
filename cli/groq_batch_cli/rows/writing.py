"""Writes rows one after the other as JSONL, CSV or Parquet."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from groq_batch_cli.errors import CommandError
from groq_batch_cli.lines import output
from groq_batch_cli.rows.formats import Format, arrow
from groq_batch_cli.rows.reading import Row, RowFile, as_text

_BATCH_ROWS = 2048


class RowWriter(Protocol):
    """Takes rows."""

    def write(self, row: Row) -> None:
        """Append a row."""


class JsonlWriter:
    """Writes each row as a JSON object."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, row: Row) -> None:
        """Append a row."""
        text = json.dumps(row, ensure_ascii=False, default=as_text)
        self._stream.write(text.encode("utf-8", "replace") + b"\n")


class CsvWriter:
    """Writes each row as a line of CSV, under a line with the columns."""

    def __init__(self, stream: TextIO, columns: Sequence[str], *, delimiter: str) -> None:
        self._writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        self._columns = columns
        self._writer.writerow(columns)

    def write(self, row: Row) -> None:
        """Append a row."""
        self._writer.writerow([as_text(row.get(name)) for name in self._columns])


class ParquetWriter:
    """Writes rows in groups."""

    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer = writer
        self._schema = schema
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        """Append a row."""
        self._rows.append(row)
        if len(self._rows) == _BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are still held.

        Raises:
            CommandError: A value does not fit the type of its column.
        """
        if not self._rows:
            return
        import pyarrow  # noqa: PLC0415 - see ``arrow``

        try:
            table = pyarrow.Table.from_pylist(self._rows, schema=self._schema)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
            raise CommandError(
                f"A column has values of different types ({error}). Write JSONL or CSV instead."
            ) from None
        self._writer.write_table(table)
        self._rows = []


@contextlib.contextmanager
def jsonl_writer(path: Path | None) -> Iterator[RowWriter]:
    """Open a JSONL file, or standard output for None, for the time of a ``with`` block."""
    with output(path) as stream:
        yield JsonlWriter(stream)


@contextlib.contextmanager
def csv_writer(path: Path, columns: Sequence[str], kind: Format) -> Iterator[RowWriter]:
    """Open a CSV file for the time of a ``with`` block."""
    import io  # noqa: PLC0415

    with output(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
        yield CsvWriter(text, columns, delimiter="\t" if kind is Format.TSV else ",")
        text.flush()
        text.detach()


@contextlib.contextmanager
def parquet_writer(path: Path, schema: Any) -> Iterator[RowWriter]:
    """Open a Parquet file for the time of a ``with`` block."""
    arrow()
    import pyarrow.parquet  # noqa: PLC0415

    with output(path) as stream, pyarrow.parquet.ParquetWriter(stream, schema) as file:
        writer = ParquetWriter(file, schema)
        yield writer
        writer.flush()


def columns_of(file: RowFile) -> list[str]:
    """Return the columns of a file, in the order in which they first appear."""
    if file.format is Format.PARQUET:
        return list(file.arrow_schema().names)
    columns: dict[str, None] = {}
    with file.rows() as rows:
        for row in rows:
            columns.update(dict.fromkeys(row))
            if file.format is not Format.JSONL:
                break
    return list(columns)


def arrow_schema_of(file: RowFile) -> Any:
    """Return the Parquet schema of a file: its own, or the one that all its rows fit into.

    Raises:
        CommandError: There is none.
    """
    arrow()
    import pyarrow  # noqa: PLC0415 - see ``arrow``

    if file.format is Format.PARQUET:
        return file.arrow_schema()
    schemas: list[Any] = []
    with file.rows() as rows:
        for block in _blocks(rows):
            try:
                found = pyarrow.Table.from_pylist(_with_all_columns(block)).schema
                schemas = [pyarrow.unify_schemas([*schemas, found], promote_options="permissive")]
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
                raise CommandError(
                    f"A column of {file.name} has values of different types ({error}). Write JSONL "
                    f"or CSV instead."
                ) from None
    return _without_null_types(schemas[0]) if schemas else pyarrow.schema([])


def _blocks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    block: list[Row] = []
    for row in rows:
        block.append(row)
        if len(block) == _BATCH_ROWS:
            yield block
            block = []
    if block:
        yield block


def _with_all_columns(block: list[Row]) -> list[Row]:
    """Return rows of which the first has all columns: it is the one that Arrow looks at."""
    columns: Row = {}
    for row in block:
        columns.update(dict.fromkeys(row))
    return [{**columns, **block[0]}, *block[1:]]


def _without_null_types(schema: Any) -> Any:
    """Return a schema in which columns without any value are of texts."""
    import pyarrow  # noqa: PLC0415 - see ``arrow``

    return pyarrow.schema(
        [
            field.with_type(pyarrow.string()) if pyarrow.types.is_null(field.type) else field
            for field in schema
        ]
    )
