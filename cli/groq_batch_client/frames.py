"""Read rows from pandas, Polars and Arrow data frames, and add answers to them.

Columns are read one by one over Arrow's C interface
(https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html), and only the
needed ones: reading a whole frame would fail for one column that has no Arrow type. The given frame
is never converted; answers become new columns next to its own, so no type changes.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from groq_batch_client.errors import TableError, WrongArgumentError
from groq_batch_client.tables.batches import ROWS_OF_A_BATCH, Batch, MissingColumnError
from groq_batch_client.tables.formats import pyarrow_for
from groq_batch_client.tables.names import check_unique, missing_column, quoted
from groq_batch_client.tables.table import OpenTable

NAME = "the frame"
"""The name of a frame in messages."""

_PURPOSE = "A data frame"

_LIBRARIES = ("pandas", "polars")
"""Libraries whose frames come back as such; any other comes back as an Arrow table."""

_encode = msgspec.json.Encoder().encode


def is_frame(source: Any) -> bool:
    """Tell whether an object is a pandas, Polars, Arrow or similar data frame."""
    if library_of(source) in _LIBRARIES:
        return any(one.__name__ in ("DataFrame", "LazyFrame") for one in type(source).__mro__)
    return hasattr(source, "__arrow_c_stream__")


def library_of(source: Any) -> str:
    """Return the name of the library that an object, or a base of its class, belongs to."""
    modules = [one.__module__.partition(".")[0] for one in type(source).__mro__]
    return next((one for one in modules if one in _LIBRARIES), modules[0])


class FrameTable:
    """A frame as a table whose rows are read in batches.

    Attributes:
        name: Its name in messages.
        frame: The frame itself, or an Arrow table if the source can be read only once.
        names: Its columns.
    """

    name = NAME

    def __init__(self, frame: Any) -> None:
        """Wrap a frame.

        Raises:
            TableError: pyarrow is not installed, or two columns have one name.
            WrongArgumentError: It has no rows yet (a LazyFrame), or no columns.
        """
        pyarrow = pyarrow_for(_PURPOSE)
        if type(frame).__name__ == "LazyFrame":
            raise WrongArgumentError(
                "A LazyFrame has no rows yet. Give the result of its .collect()."
            )
        self._library = library_of(frame)
        if self._library not in _LIBRARIES:
            self._library = "pyarrow"
            try:
                frame = frame if isinstance(frame, pyarrow.Table) else pyarrow.table(frame)
            except pyarrow.ArrowInvalid:
                # As for the stream of a single array.
                raise WrongArgumentError(
                    f"{type(frame).__name__} has no columns with names. Give a table, such as "
                    f"pyarrow.table({{'text': …}})."
                ) from None
        self.frame = frame
        columns = frame.column_names if self._library == "pyarrow" else frame.columns
        self.names = [str(name) for name in columns]
        check_unique(self.names, self.name)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.frame)

    @contextlib.contextmanager
    def open(self, columns: Sequence[str] | None = None) -> Iterator[OpenTable]:
        """Read some columns, or all for None, within a ``with`` block.

        Raises:
            TableError: There is no such column, or Arrow has no type for its values.
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
                    # Such a column would be exported as memory addresses.
                    raise TypeError("it has Python objects")  # noqa: TRY301
                # Export a one-column frame: Polars 1.19 exports a bare series without its type.
                return pyarrow.table(series.to_frame()).column(0)
            series = self.frame.iloc[:, place]
            json_texts = _json_texts(series)
            if json_texts is not None:
                return pyarrow.chunked_array([json_texts], pyarrow.string())
            if hasattr(series, "__arrow_c_stream__"):
                return pyarrow.chunked_array(series)
            found = pyarrow.Array.from_pandas(series)
        except Exception as error:
            # Each library raises other errors for values without an Arrow type.
            said = " ".join(str(error).split()).removesuffix(".")
            raise TableError(
                f"The column {quoted(name)} of {self.name} cannot be read as an Arrow type: "
                f"{said}. Turn its values into texts, or leave it out of the prompt."
            ) from error
        is_chunked = isinstance(found, pyarrow.ChunkedArray)
        return found if is_chunked else pyarrow.chunked_array([found])

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        """Return the frame with new columns from Arrow arrays; existing columns do not change.

        None of the names may be a column already.
        """
        if self._library == "pandas":
            found = self.frame.copy(deep=False)
            # If column names have several levels, the other levels of a new name are empty.
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


def _json_texts(series: Any) -> list[str | None] | None:
    """Return the JSON texts of a pandas column of dicts and lists; None for another column.

    As one Arrow type, each dict would get the keys of all others, and each number their type.
    """
    if series.dtype != object:
        return None
    values = [
        None if is_missing else value
        for value, is_missing in zip(series, series.isna(), strict=True)
    ]
    first = next((one for one in values if one is not None), None)
    if not isinstance(first, dict | list):
        return None
    try:
        if not all(_is_json(one) for one in values):
            return None
        return [None if one is None else _encode(one).decode() for one in values]
    except (OverflowError, RecursionError, UnicodeEncodeError):
        return None


def _is_json(value: Any) -> bool:
    """Tell whether a value consists of the types of JSON alone, without those of numpy."""
    if isinstance(value, list):
        return all(_is_json(one) for one in value)
    if isinstance(value, dict):
        return all(type(name) is str and _is_json(one) for name, one in value.items())
    return value is None or type(value) in (str, bool, int, float)


class _Places(Batch):
    """Rows without any needed column."""

    def __init__(self, rows: int, names: Sequence[str]) -> None:
        self.rows = rows
        self.names = names

    def texts(self, name: str) -> list[str]:
        """Return a column; there is none."""
        del name
        raise MissingColumnError(0, self.names)

    def objects(self) -> list[bytes]:
        """Return the rows as objects without keys."""
        return [b"{}"] * self.rows

    def arrow(self, schema: Any) -> list[Any]:
        """Return columns; there are none."""
        del schema
        return []


# -- frames out of Arrow -------------------------------------------------------------------------


def frame_of(table: Any) -> Any:
    """Convert an Arrow table to a Polars frame, or to pandas if only that is installed.

    Without either, return the table. In pandas, integers and booleans get nullable types, because a
    missing value would otherwise turn a column of integers into floats.
    """
    if importlib.util.find_spec("polars") is not None:
        return _polars().from_arrow(table)
    if importlib.util.find_spec("pandas") is not None:
        return table.to_pandas(types_mapper=_nullable)
    return table


def _polars() -> Any:
    import polars  # noqa: PLC0415 - optional dependency

    return polars


def _pandas_array(column: Any) -> Any:
    return column.to_pandas(types_mapper=_nullable).array


def _nullable(kind: Any) -> Any:
    """Return the nullable pandas type for an Arrow type; None for the default type."""
    import pandas  # noqa: PLC0415 - optional dependency

    types = pyarrow_for(_PURPOSE).types
    if types.is_boolean(kind):
        return pandas.BooleanDtype()
    if types.is_float64(kind):
        return pandas.Float64Dtype()
    if not types.is_integer(kind):
        return None
    name = str(kind)
    return pandas.api.types.pandas_dtype(name.replace("uint", "UInt").replace("int", "Int"))
