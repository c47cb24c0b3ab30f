"""Reads rows one after the other, whatever the size of their file."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from groq_batch.request_file.lines import is_blank
from groq_batch_cli.errors import CommandError
from groq_batch_cli.lines import local_lines
from groq_batch_cli.request_files import STDIN
from groq_batch_cli.rows.formats import Format, arrow, format_of
from groq_batch_cli.text import one_line

Row = dict[str, Any]

_BATCH_ROWS = 2048
_BOM = "\ufeff"
_LONGEST_CSV_FIELD = min(sys.maxsize, 2**31 - 1)
_DELIMITERS = {Format.CSV: ",", Format.TSV: "\t"}

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class RowFile:
    """A file of rows, which may be read several times; standard input once.

    Attributes:
        name: What messages call it.
        format: Its format.
    """

    def __init__(self, argument: str) -> None:
        """Read the file that the user called ``argument``.

        Raises:
            CommandError: Its name does not tell its format.
        """
        self.name = "<stdin>" if argument == STDIN else argument
        self.format = format_of(argument)
        self._argument = argument

    @property
    def path(self) -> Path | None:
        """Where it is; None for standard input."""
        return None if self._argument == STDIN else Path(self._argument)

    @property
    def can_be_read_again(self) -> bool:
        """Whether it is a file, not standard input."""
        return self._argument != STDIN

    @contextlib.contextmanager
    def rows(self) -> Iterator[Iterator[Row]]:
        """Open it for the time of a ``with`` block.

        Raises:
            CommandError: It cannot be read, or one of its rows cannot; says which.
        """
        if self.format is Format.PARQUET:
            with _parquet_file(self._argument) as file:
                yield _parquet_rows(file, self.name)
            return
        with local_lines(self._argument) as lines:
            if self.format is Format.JSONL:
                yield _jsonl_rows(lines, self.name)
            else:
                yield _csv_rows(lines, self.name, _DELIMITERS[self.format])

    def arrow_schema(self) -> Any:
        """Return the schema of a Parquet file."""
        with _parquet_file(self._argument) as file:
            return file.schema_arrow


def _jsonl_rows(lines: Iterable[bytes], name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        data = line.removeprefix(_BOM.encode()) if number == 1 else line
        if is_blank(data):
            continue
        try:
            yield _decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            column = _half_pair_column(data)
            if column is not None:
                raise CommandError(
                    f"Line {number} of {name} holds half of a surrogate pair in its column "
                    f"{one_line(column)!r}, often half of an emoji that was cut. Remove it or "
                    f"write it whole."
                ) from None
            raise CommandError(
                f"Line {number} of {name} is not a JSON object ({error}). A file of rows has one "
                f"on each line."
            ) from None


def _half_pair_column(data: bytes) -> str | None:
    """Return the column of a JSON object that has no form in UTF-8; None if that is not its fault.

    Python's own parser takes half of a surrogate pair, such as a lone backslash-u-d800.
    """
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for column, value in row.items() if isinstance(row, dict) else ():
        try:
            json.dumps([column, value], ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return str(column)
    return None


def _csv_rows(lines: Iterable[bytes], name: str, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CSV_FIELD)
    reader = csv.reader(_text(lines, name), delimiter=delimiter, strict=True)
    try:
        columns = next(reader, None)
        if columns is None:
            raise CommandError(f"{name} is empty. Its first line has to name the columns.")
        if len(set(columns)) < len(columns):
            twice = next(one for one in columns if columns.count(one) > 1)
            raise CommandError(f"{name} has two columns named {twice!r}. Rename one.")
        for values in reader:
            if not values:
                continue
            if len(values) != len(columns):
                raise CommandError(
                    f"Line {reader.line_num} of {name} has {len(values)} values, but there are "
                    f"{len(columns)} columns. Values with a {delimiter!r} or a line end stand in "
                    f"double quotes."
                )
            yield dict(zip(columns, values, strict=True))
    except csv.Error as error:
        raise CommandError(f"Line {reader.line_num} of {name} is not CSV: {error}.") from None


def _text(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise CommandError(
                f"Line {number} of {name} is not UTF-8. Save the file as UTF-8."
            ) from None
        yield (text.removeprefix(_BOM) if number == 1 else text) + "\n"


@contextlib.contextmanager
def _parquet_file(path: str) -> Iterator[Any]:
    arrow()
    import pyarrow.lib  # noqa: PLC0415
    import pyarrow.parquet  # noqa: PLC0415

    if not Path(path).exists():
        raise CommandError(f"{path} does not exist.")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except pyarrow.lib.ArrowInvalid as error:
        raise _no_parquet(path, error) from None


def _parquet_rows(file: Any, name: str) -> Iterator[Row]:
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            yield from batch.to_pylist()
    except OSError as error:
        # The operating system's, or Arrow's own about damaged pages.
        raise _no_parquet(name, error) from None


def _no_parquet(name: str, error: Exception) -> CommandError:
    said = one_line(str(error)).removesuffix(".")
    return CommandError(f"{name} cannot be read as Parquet: {said}.")


def as_text(value: Any) -> str:
    """Return a value as it stands in a prompt, an id or a CSV file.

    Texts stand as they are, no value as nothing, the others as JSON.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
