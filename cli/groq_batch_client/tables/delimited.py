"""Read and write CSV and TSV; every cell is a text.

CSV follows RFC 4180: cells with a separator, a quote or a line end are in double quotes. Python's
reader in strict mode parses it: of the libraries tried, only this one never drops or joins rows
silently. TSV follows IANA's text/tab-separated-values: quotes are plain text, and a cell cannot
contain a tab or a line end.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO

import msgspec

from groq_batch_client.errors import TableError
from groq_batch_client.tables.batches import ROWS_OF_A_BATCH, Batch, MissingColumnError
from groq_batch_client.tables.formats import SEPARATORS, Format, pyarrow_for
from groq_batch_client.tables.names import check_unique, quoted

_LONGEST_CELL = min(sys.maxsize, 2**31 - 1)
_SEPARATORS = {",": "commas", ";": "';'", "\t": "tabs", "|": "'|'"}
_TSV_ESCAPES = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})

_encode = msgspec.json.Encoder().encode


class TextBatch(Batch):
    """Rows of texts."""

    def __init__(self, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
        self.names = names
        self._columns = dict(zip(names, columns, strict=True))
        self.rows = len(columns[0]) if columns else 0

    def texts(self, name: str) -> list[str]:
        """Return a column."""
        if name not in self._columns:
            raise MissingColumnError(0, list(self._columns))
        return list(self._columns[name])

    def objects(self) -> list[bytes]:
        """Return each row as a JSON object of texts."""
        fields = [(f"cell_{place}", str) for place in range(len(self._columns))]
        names = dict(zip((name for name, _ in fields), self._columns, strict=True))
        row = msgspec.defstruct("Row", fields, rename=names, gc=False)
        return list(map(_encode, map(row, *self._columns.values())))

    def arrow(self, schema: Any) -> list[Any]:
        """Return the columns as Arrow arrays of texts."""
        pyarrow = pyarrow_for("Parquet")
        return [pyarrow.array(self._columns[name], pyarrow.string()) for name in schema.names]


class DelimitedReader:
    """Reads the rows of a CSV or TSV file.

    Attributes:
        names: The columns, from the first line.
        left_out: Number of rows without any value skipped so far.
    """

    def __init__(self, stream: BinaryIO, kind: Format, table: str, *, separator: str = ",") -> None:
        """Read the header line.

        Args:
            stream: The bytes of the file.
            kind: CSV or TSV.
            table: The name of the file in messages.
            separator: The character between the columns of a CSV file.

        Raises:
            TableError: There is none, or two columns have the same name.
        """
        self._table = table
        self._kind = kind
        self._separator = separator
        self.left_out = 0
        # Only a line feed ends a line; a carriage return before it is part of the line end.
        text = io.TextIOWrapper(stream, "utf-8-sig", newline="\n")
        self._rows: Any
        if kind is Format.CSV:
            csv.field_size_limit(_LONGEST_CELL)
            self._rows = csv.reader(text, strict=True, delimiter=separator)
        else:
            self._rows = _TsvRows(text)
        header = next(iter(self._take(1)), None)
        if header is None:
            raise TableError(f"{table} is empty. Its first line must name the columns.")
        if not any(header):
            raise TableError(
                f"{table} begins with a blank line. The first line must name the columns."
            )
        if kind is Format.TSV and any("\r" in name for name in header):
            raise TableError(
                f"Line 1 of {table} is not TSV: it has a carriage return (CR). End lines with a "
                f"line feed (LF or CRLF)."
            )
        self.names = header
        if kind is Format.CSV:
            _check_separator(header, separator, table)
        check_unique(header, table)

    def batches(self) -> Iterator[TextBatch]:
        """Yield the rows that have a value.

        Raises:
            TableError: A row cannot be read, or has too few or too many values.
        """
        width = len(self.names)
        while True:
            line = self._rows.line_num
            rows = self._take(ROWS_OF_A_BATCH)
            if not rows:
                return
            if set(map(len, rows)) != {width}:
                rows = self._without_blank_lines(rows, width, line)
            full = [row for row in rows if any(row)]
            self.left_out += len(rows) - len(full)
            if full:
                yield TextBatch(self.names, list(zip(*full, strict=True)))

    def _take(self, most: int) -> list[list[str]]:
        begin, rows = self._rows.line_num, []
        try:
            for row in islice(self._rows, most):
                rows.append(row)  # noqa: PERF402 - rows before an error tell its line
        except csv.Error as error:
            raise TableError(self._not_csv(str(error), begin, rows)) from None
        except UnicodeDecodeError as error:
            # The next decoded text begins in the line after the last yielded one.
            line = self._rows.line_num + 1 + error.object[: error.start].count(b"\n")
            raise TableError(
                f"Line {line} of {self._table} is not UTF-8. Save the file as UTF-8 (in Excel as "
                f"'CSV UTF-8')."
            ) from None
        return rows

    def _not_csv(self, said: str, begin: int, rows: list[list[str]]) -> str:
        """Return the message for an error of the CSV parser.

        Args:
            said: The parser's message.
            begin: Number of lines before ``rows``.
            rows: The last rows before the error.
        """
        line, advice = self._rows.line_num, ""
        if said.startswith("new-line character"):
            said = "it has a carriage return (CR) outside of quotes"
            advice = (
                " End lines with a line feed (LF or CRLF), and put values with line ends in double "
                "quotes."
            )
        elif said.startswith("unexpected end"):
            # The parser notices it at the end of the file.
            line = begin + 1 + sum(_lines_of(row) for row in rows)
            said = "a double quote opens a value that is never closed"
            advice = ' Close it. Within a quoted value, write a double quote twice ("").'
        elif "expected after" in said:
            advice = ' Within a quoted value, write a double quote twice ("").'
        return f"Line {line} of {self._table} is not CSV: {said}.{advice}"

    def _without_blank_lines(self, rows: list[list[str]], width: int, line: int) -> list[list[str]]:
        """Yield the rows except blank lines; a row with another width is an error."""
        kept = []
        for row in rows:
            line += 1
            if not row and width == 1:
                # The only value is empty; it counts as a row without any value.
                row = [""]  # noqa: PLW2901
            # A blank line in TSV is read as one empty cell.
            if row and not (row == [""] and width > 1):
                if len(row) != width:
                    raise TableError(self._wrong_width(row, width, line))
                kept.append(row)
            line += _lines_of(row) - 1
        return kept

    def _wrong_width(self, row: list[str], width: int, line: int) -> str:
        found = len(row)
        values = f"{found:,} value{'' if found == 1 else 's'}"
        mark = "a comma" if self._separator == "," else repr(self._separator)
        advice = f"Put values with {mark}, a quote or a line end in double quotes."
        if self._kind is Format.TSV:
            advice = "A value in TSV cannot have tabs or line ends."
        if found > width and not any(row[width:]):
            advice = "The values beyond are empty: remove them, or name their columns in line 1."
        return (
            f"Line {line} of {self._table} has {values}, but there are {width:,} columns. {advice}"
        )


class _TsvRows:
    """Splits lines at tabs.

    Attributes:
        line_num: Number of lines read.
    """

    def __init__(self, lines: io.TextIOWrapper) -> None:
        self._lines = lines
        self.line_num = 0

    def __iter__(self) -> Iterator[list[str]]:
        for line in self._lines:
            self.line_num += 1
            yield line.rstrip("\r\n").split("\t")


def _lines_of(row: list[str]) -> int:
    """Return the number of lines that a row of CSV takes."""
    return 1 + sum(cell.count("\n") for cell in row)


def _check_separator(header: list[str], separator: str, table: str) -> None:
    """Detect another separator: it leaves one column, or a line ``sep=;``."""
    hint = re.fullmatch(r"sep=(.?)", separator.join(header), re.IGNORECASE)
    if hint is not None:
        stated = hint[1] or ","
        advice = "" if stated == separator else f", and {_use_separator(stated)}"
        raise TableError(
            f"{table} begins with {quoted(hint[0])}, which tells Excel that {stated!r} separates "
            f"the columns. Remove this line{advice}."
        )
    if len(header) != 1:
        return
    for other, said in _SEPARATORS.items():
        if other != separator and other in header[0]:
            advice = _use_separator(other)
            raise TableError(
                f"The columns of {table} are separated by {said}. {advice[0].upper()}{advice[1:]}."
            )


def _use_separator(separator: str) -> str:
    if separator == "\t":
        return "name the file with .tsv at the end"
    if separator == ",":
        return "leave out --separator"
    if separator in SEPARATORS:
        return (
            f"give groq-batch make and join --separator {shlex.quote(separator)}, or save the file "
            f"with commas between the columns"
        )
    return "save the file with commas between the columns"


# -- writing -------------------------------------------------------------------------------------


class CsvWriter:
    """Writes CSV rows after a header line."""

    def __init__(self, stream: BinaryIO, names: Sequence[str], *, separator: str = ",") -> None:
        self._stream = stream
        self._separator = separator
        # Also quote a lone carriage return, which Python's writer omits in some versions.
        self._needs_quotes = re.compile(rf'["\r\n{re.escape(separator)}]')
        self.write([[name] for name in names])

    def write(self, columns: Sequence[Sequence[str]]) -> None:
        """Append rows, given as columns of texts."""
        cells = [self._quoted_cells(column, alone=len(columns) == 1) for column in columns]
        lines = map(self._separator.join, zip(*cells, strict=True))
        self._stream.write(("\n".join(lines) + "\n").encode("utf-8", "replace"))

    def _quoted_cells(self, column: Sequence[str], *, alone: bool) -> Sequence[str]:
        """Quote cells that require it; most columns have none."""
        if self._needs_quotes.search("\x1e".join(column)) is None and not (alone and "" in column):
            return column
        return [
            f'"{cell.replace(chr(34), chr(34) * 2)}"'
            if self._needs_quotes.search(cell) is not None or (alone and not cell)
            else cell
            for cell in column
        ]


class TsvWriter:
    """Writes TSV rows; tabs and line ends become backslash-t, -n and -r."""

    def __init__(self, stream: BinaryIO, names: Sequence[str]) -> None:
        self._stream = stream
        self.write([[name] for name in names])

    def write(self, columns: Sequence[Sequence[str]]) -> None:
        """Append rows, given as columns of texts."""
        escaped = [
            [cell.translate(_TSV_ESCAPES) for cell in column]
            if any(one in text for one in "\t\n\r")
            else column
            for column in columns
            for text in ("\x1e".join(column),)
        ]
        lines = map("\t".join, zip(*escaped, strict=True))
        self._stream.write(("\n".join(lines) + "\n").encode("utf-8", "replace"))
