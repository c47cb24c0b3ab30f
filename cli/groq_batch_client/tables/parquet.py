"""Read and write Parquet; keep schema, metadata and types, and append columns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow
import pyarrow.parquet

from groq_batch_client.errors import TableError
from groq_batch_client.tables.arrow_values import json_row, objects_of, texts_of
from groq_batch_client.tables.batches import Batch, MissingColumnError
from groq_batch_client.tables.names import check_unique

_BATCH_BYTES = 8_000_000
"""Size of the pieces to read and write, so that memory does not grow with the file."""

_MAX_ROWS = 8192
_GROUP_ROWS = 65_536
_MIN_ROW_BYTES = 1
_BUFFER_BYTES = 65_536


class ArrowBatch(Batch):
    """Rows of an Arrow record batch."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.rows = data.num_rows
        self.names: list[str] = data.schema.names

    def texts(self, name: str) -> list[str]:
        """Return a column."""
        if name not in self.names:
            raise MissingColumnError(0, self.names)
        return texts_of(self.data.column(self.names.index(name)), name)

    def objects(self) -> list[bytes]:
        """Return each row as a JSON object."""
        names = self.names
        columns = [objects_of(self.data.column(n), name) for n, name in enumerate(names)]
        if not names:
            return [b"{}"] * self.rows
        return [json_row(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]

    def arrow(self, schema: Any) -> list[Any]:
        """Return the columns unchanged."""
        del schema  # The schema is that of the columns.
        return list(self.data.columns)


class ParquetReader:
    """Reads the rows of a Parquet file.

    Attributes:
        schema: Its Arrow schema, with metadata.
        names: The columns.
    """

    def __init__(self, file: Any, table: str) -> None:
        self._file = file
        self._table = table
        with reading(table):
            self.schema = file.schema_arrow
        self.names = list(self.schema.names)
        check_unique(self.names, table)
        self.left_out = 0

    def batches(self, columns: Sequence[str] | None) -> Iterator[ArrowBatch]:
        """Yield rows with some columns, or all columns for None.

        Raises:
            TableError: The file is damaged, or has no such column.
        """
        if columns is not None:
            missing = [name for name in columns if name not in self.names]
            if missing:
                raise MissingColumnError(0, self.names)
            # Parquet would read a name with a dot as a field of another column too.
            indexes = {self.names.index(name) for name in columns}
            columns = [self.names[place] for place in sorted(indexes)]
        rows = _rows_of_a_batch(self._file.metadata)
        with reading(self._table):
            for batch in self._file.iter_batches(
                batch_size=rows, columns=columns, use_threads=False
            ):
                if columns is not None:
                    batch = batch.select(columns)  # noqa: PLW2901
                if batch.num_rows:
                    yield ArrowBatch(batch)


def _rows_of_a_batch(metadata: Any) -> int:
    size = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
    row = max(size // max(metadata.num_rows, 1), _MIN_ROW_BYTES)
    return int(min(max(_BATCH_BYTES // row, 1), _MAX_ROWS))


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[ParquetReader]:
    """Open a file within a ``with`` block.

    Raises:
        TableError: It does not exist, or is not Parquet.
    """
    if not path.exists():
        raise TableError(f"{path} does not exist.")
    with reading(str(path)):
        file = pyarrow.parquet.ParquetFile(
            path,
            pre_buffer=False,
            buffer_size=_BUFFER_BYTES,
            # Dates after the year 2262 from old writers would overflow.
            coerce_int96_timestamp_unit="us",
        )
    with file:
        yield ParquetReader(file, str(path))


@contextlib.contextmanager
def reading(table: str) -> Iterator[None]:
    """Turn Arrow errors about a file within a ``with`` block into a ``TableError``."""
    try:
        yield
    except (pyarrow.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split()).removesuffix(".")
        raise TableError(f"{table} cannot be read as Parquet: {said}.") from None


class ParquetWriter:
    """Writes rows in row groups of about 8 MB."""

    def __init__(self, stream: BinaryIO, schema: Any) -> None:
        try:
            self._file = pyarrow.parquet.ParquetWriter(
                stream, schema, compression="zstd", write_batch_size=64
            )
        except (pyarrow.ArrowException, OSError) as error:
            raise TableError(_unwritable(error)) from None
        self._schema = schema
        self._held: list[Any] = []
        self._bytes = 0
        self._rows = 0

    def write(self, columns: Sequence[Any]) -> None:
        """Append rows, given as Arrow arrays in the order of the schema.

        Raises:
            TableError: Parquet cannot represent a value.
        """
        try:
            batch = pyarrow.RecordBatch.from_arrays(list(columns), schema=self._schema)
        except pyarrow.ArrowException as error:
            raise TableError(_unwritable(error)) from None
        self._held.append(batch)
        self._bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._bytes >= _BATCH_BYTES or self._rows >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write the buffered rows and the end of the file."""
        self._flush()
        self._file.close()

    def abandon(self) -> None:
        """Abandon the file without its end; its stream may already be closed."""
        # Otherwise garbage collection would try to close it and print an error.
        self._file.is_open = False

    def _flush(self) -> None:
        if not self._held:
            return
        try:
            self._file.write_table(pyarrow.Table.from_batches(self._held, schema=self._schema))
        except (pyarrow.ArrowException, OverflowError) as error:
            raise TableError(_unwritable(error)) from None
        self._held, self._bytes, self._rows = [], 0, 0


def _unwritable(error: Exception) -> str:
    said = " ".join(str(error).split()).removesuffix(".")
    return f"Parquet cannot represent these rows: {said}. Write JSONL or CSV."


def check_storable(schema: Any) -> None:
    """Check that Parquet supports columns of these types, before any work is done.

    Raises:
        TableError: It does not; the message names the column.
    """
    for field in schema:
        sink = pyarrow.BufferOutputStream()
        try:
            with pyarrow.parquet.ParquetWriter(sink, pyarrow.schema([field])) as writer:
                writer.write_table(pyarrow.schema([field]).empty_table())
        except (pyarrow.ArrowException, OSError) as error:
            said = " ".join(str(error).split()).removesuffix(".")
            raise TableError(
                f"Parquet cannot represent the column {field.name!r} ({said}). Write JSONL or CSV."
            ) from None
