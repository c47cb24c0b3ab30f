"""Write rows with answers as Parquet; append answer columns to the unchanged columns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow

from groq_batch_client.errors import TableError
from groq_batch_client.join import AnswerColumns, check_columns, texts
from groq_batch_client.output import output
from groq_batch_client.schemas import Kind
from groq_batch_client.tables.batches import Batch
from groq_batch_client.tables.parquet import ParquetWriter, check_storable
from groq_batch_client.tables.table import TableFile

TYPES: dict[Kind, Any] = {
    "string": pyarrow.string(),
    "json": pyarrow.string(),
    "number": pyarrow.float64(),
    "integer": pyarrow.int64(),
    "boolean": pyarrow.bool_(),
}


@contextlib.contextmanager
def open_parquet_join(
    table: TableFile, out: Path | None, columns: AnswerColumns
) -> Iterator[ParquetJoin]:
    """Open an output file within a ``with`` block.

    Raises:
        TableError: Parquet cannot represent the rows; raised before anything is written.
    """
    rows = table.arrow_schema()
    check_columns(rows.names, columns)
    check_storable(rows)
    added = [pyarrow.field(name, TYPES[kind]) for name, kind in columns.kinds.items()]
    schema = pyarrow.schema([*rows, *added], metadata=rows.metadata)
    with output(out) as stream:
        writer = ParquetWriter(stream, schema)
        try:
            yield ParquetJoin(writer, rows, list(columns.kinds.values()))
            writer.close()
        except BaseException:
            writer.abandon()
            raise


@dataclass(frozen=True, slots=True)
class ParquetJoin:
    """Writes rows with answers."""

    writer: ParquetWriter
    rows: Any
    kinds: Sequence[Kind]

    def write(self, batch: Batch, answers: list[list[Any]]) -> None:
        """Append rows, with the answers as columns."""
        added = [
            answer_array(column, kind) for column, kind in zip(answers, self.kinds, strict=True)
        ]
        self.writer.write([*batch.arrow(self.rows), *added])


def answer_array(column: Sequence[Any], kind: Kind) -> Any:
    """Return an answer column as an Arrow array of its kind, or of JSON texts."""
    values = column
    if kind == "json":
        values = [
            None if one is None else text for one, text in zip(column, texts(column), strict=True)
        ]
    try:
        return pyarrow.array(values, TYPES[kind])
    except (pyarrow.ArrowException, OverflowError) as error:
        raise TableError(f"Parquet cannot represent the answers: {error}. Write JSONL.") from None
