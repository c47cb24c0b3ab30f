"""Data frames of pandas, Polars and Arrow: rows to ask for, and the same kind back with answers.

Columns come over Arrow's C interface one by one
(https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html), and only those that
are needed: a frame as a whole fails for one column that Arrow has no type for. The given frame is
never converted; answers are put beside its own columns, so that no type changes.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from groq_batch_client.errors import TableError, WrongArgumentError
from groq_batch_client.tables.batches import ROWS_OF_A_BATCH, Batch, MissingColumnError
from groq_batch_client.tables.formats import pyarrow_for
from groq_batch_client.tables.names import check_unique, listed, missing_column, quoted
from groq_batch_client.tables.table import OpenTable

NAME = "the frame"
"""What messages call a frame."""

_PURPOSE = "A data frame"


def is_frame(source: Any) -> bool:
    """Tell whether something is a frame of pandas, Polars, Arrow or of a library like them."""
    if library_of(source) in ("pandas", "polars"):
        return type(source).__name__ in ("DataFrame", "LazyFrame")
    return hasattr(source, "__arrow_c_stream__")


def library_of(source: Any) -> str:
    """Return the library that something is of."""
    return type(source).__module__.partition(".")[0]


class FrameTable:
    """A frame as a table whose rows are read in batches.

    Attributes:
        name: What messages call it.
        frame: The frame itself, or the Arrow table of what can be read only once.
        names: Its columns.
    """

    name = NAME

    def __init__(self, frame: Any) -> None:
        """Take a frame.

        Raises:
            TableError: pyarrow is not installed, or two columns have one name.
            WrongArgumentError: It has no rows yet (a LazyFrame).
        """
        pyarrow = pyarrow_for(_PURPOSE)
        if type(frame).__name__ == "LazyFrame":
            raise WrongArgumentError("A LazyFrame has no rows yet. Give what its .collect() gives.")
        self._library = library_of(frame)
        if self._library not in ("pandas", "polars"):
            self._library = "pyarrow"
            frame = frame if isinstance(frame, pyarrow.Table) else pyarrow.table(frame)
        self.frame = frame
        columns = frame.column_names if self._library == "pyarrow" else frame.columns
        self.names = [str(name) for name in columns]
        check_unique(self.names, self.name)

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.frame)

    @contextlib.contextmanager
    def open(self, columns: Sequence[str] | None = None) -> Iterator[OpenTable]:
        """Read some columns, or all for None, for the time of a ``with`` block.

        Raises:
            TableError: There is no such column, or it holds what Arrow has no type for.
        """
        yield OpenTable(self._batches(self.names if columns is None else columns), self.names)

    def _batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        from groq_batch_client.tables.parquet import ArrowBatch  # noqa: PLC0415 - pyarrow

        if not columns:
            for first in range(0, self.rows, ROWS_OF_A_BATCH):
                yield _Places(min(ROWS_OF_A_BATCH, self.rows - first), self.names)
            return
        pyarrow = pyarrow_for(_PURPOSE)
        table = pyarrow.Table.from_arrays([self._column(name) for name in columns], columns)
        for batch in table.to_batches(max_chunksize=ROWS_OF_A_BATCH):
            if batch.num_rows:
                yield ArrowBatch(batch)

    def _column(self, name: str) -> Any:
        """Return a column as an Arrow array in chunks."""
        if name not in self.names:
            raise TableError(f"{self.name}: {missing_column(name, self.names)}.")
        place = self.names.index(name)
        pyarrow = pyarrow_for(_PURPOSE)
        try:
            if self._library == "pyarrow":
                return self.frame.column(place)
            if self._library == "polars":
                series = self.frame.to_series(place)
                if series.dtype == _polars().Object:
                    # It would be exported as the addresses of its objects.
                    raise TypeError("it holds objects of Python")  # noqa: TRY301
                # As a frame of its own: Polars 1.19 hands out a bare series without its type.
                return pyarrow.table(series.to_frame()).column(0)
            series = self.frame.iloc[:, place]
            if hasattr(series, "__arrow_c_stream__"):
                return pyarrow.chunked_array(series)
            found = pyarrow.Array.from_pandas(series)
        except Exception as error:
            # Each library has errors of its own for a value that Arrow has no type for.
            said = " ".join(str(error).split()).removesuffix(".")
            raise TableError(
                f"The column {quoted(name)} of {self.name} cannot be read as one of Arrow's types: "
                f"{said}. Turn its values into texts, or leave it out of the prompt."
            ) from error
        is_chunked = isinstance(found, pyarrow.ChunkedArray)
        return found if is_chunked else pyarrow.chunked_array([found])

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        """Return the frame with further columns, given as Arrow arrays; its own are as they were.

        Raises:
            TableError: It has a column of one of these names.
        """
        taken = [name for name in columns if name in self.names]
        if taken:
            raise TableError(
                f"The rows have columns {listed(taken)} already. Rename them before the rows are "
                f"asked for, or give prefix= to the answers' columns."
            )
        if self._library == "pandas":
            found = self.frame.copy(deep=False)
            # Where names have several levels a new one has nothing in the others.
            more = ("",) * (found.columns.nlevels - 1)
            for name, column in columns.items():
                found[(name, *more) if more else name] = _pandas_array(column)
            return found
        if self._library == "polars":
            return self.frame.with_columns(
                _polars().from_arrow(column).alias(name) for name, column in columns.items()
            )
        table = self.frame
        for name, column in columns.items():
            table = table.append_column(name, column)
        return table


class _Places:
    """Rows of which no column is needed."""

    def __init__(self, rows: int, names: Sequence[str]) -> None:
        self.rows = rows
        self._names = names

    def texts(self, name: str) -> list[str]:
        """Return a column; there is none."""
        del name
        raise MissingColumnError(0, self._names)

    def cells(self, names: Sequence[str]) -> list[list[str]]:
        """Return columns; there are none."""
        return [self.texts(name) for name in names]

    def objects(self) -> list[bytes]:
        """Return the rows as objects without keys."""
        return [b"{}"] * self.rows

    def keys_among(self, names: frozenset[str]) -> str | None:
        """Return one of the names that is a column; the frame has looked for them itself."""
        del names
        return None

    def arrow(self, schema: Any) -> list[Any]:
        """Return columns; there are none."""
        del schema
        return []


# -- frames out of Arrow -------------------------------------------------------------------------


def frame_of(table: Any) -> Any:
    """Return an Arrow table as a frame of Polars, or of pandas if only that is installed.

    Without either it stays what it is. Whole numbers and truth values of pandas are of its nullable
    types, so that none becomes a fraction for a missing neighbour.
    """
    if importlib.util.find_spec("polars") is not None:
        return _polars().from_arrow(table)
    if importlib.util.find_spec("pandas") is not None:
        return table.to_pandas(types_mapper=_nullable)
    return table


def _polars() -> Any:
    import polars  # noqa: PLC0415 - only there when frames of it are used

    return polars


def _pandas_array(column: Any) -> Any:
    return column.to_pandas(types_mapper=_nullable).array


def _nullable(kind: Any) -> Any:
    """Return the nullable type of pandas for an Arrow type; None for the usual one."""
    import pandas  # noqa: PLC0415 - only there when frames of it are used

    types = pyarrow_for(_PURPOSE).types
    if types.is_boolean(kind):
        return pandas.BooleanDtype()
    if types.is_float64(kind):
        return pandas.Float64Dtype()
    if not types.is_integer(kind):
        return None
    name = str(kind)
    return pandas.api.types.pandas_dtype(name.replace("uint", "UInt").replace("int", "Int"))
