"""Build data frames of answers, either with the original rows or by request id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from groq_batch_client.answers import Answers, read_answers
from groq_batch_client.errors import TableError
from groq_batch_client.frames import FrameTable, frame_of
from groq_batch_client.join import ANSWER, ERROR_CODE, AnswerColumns, join
from groq_batch_client.row_ids import RowIds
from groq_batch_client.schemas import AnswerSchema, Kind
from groq_batch_client.tables.batches import ROWS_OF_A_BATCH, Batch
from groq_batch_client.tables.formats import pyarrow_for
from groq_batch_client.tables.names import listed
from groq_batch_client.tables.table import TableFile

CUSTOM_ID = "custom_id"

_PURPOSE = "A data frame"


def frame_with_answers(
    rows: FrameTable | TableFile,
    results: Iterable[bytes],
    *,
    ids: RowIds,
    schema: AnswerSchema | None,
    prefix: str,
    name: str,
) -> Any:
    """Return rows with the answers in new columns.

    Args:
        rows: The rows; a frame comes back as a frame of the same library.
        results: The result rows of their requests.
        ids: How the requests got their ids.
        schema: The schema of the answers; None if they are texts.
        prefix: Prefix for the names of the new columns.
        name: The name of the results in messages.

    Raises:
        TableError: The results do not belong to these rows, or a column would be lost.
    """
    pyarrow = pyarrow_for(_PURPOSE)
    columns = AnswerColumns(prefix=prefix, schema=schema, are_flat=True)
    names = (rows.name, name)
    _check_names(rows, columns)
    if isinstance(rows, FrameTable):
        collected = _Collected(list(columns.kinds.values()))
        with rows.open([ids.column] if ids.column is not None else []) as table:
            join(table, results, collected, ids=ids, columns=columns, names=names)
        return rows.with_columns(dict(zip(columns.kinds, collected.columns(), strict=True)))
    rows_schema = rows.arrow_schema()
    collected = _Collected(list(columns.kinds.values()), rows_schema)
    with rows.open() as table:
        join(table, results, collected, ids=ids, columns=columns, names=names)
    whole = pyarrow.Table.from_batches(collected.given, schema=rows_schema)
    for one, column in zip(columns.kinds, collected.columns(), strict=True):
        whole = whole.append_column(one, column)
    return frame_of(whole)


def check_frame(rows: FrameTable | TableFile | None, *, schema: Any, prefix: str) -> None:
    """Check the requirements of a frame of answers before any answer is paid for.

    Args:
        rows: The rows that the answers are added to; None if there are none.
        schema: The schema of the answers.
        prefix: Prefix for the names of the new columns.

    Raises:
        TableError: pyarrow is not installed, or the rows have a column with a new name.
    """
    pyarrow_for(_PURPOSE)
    if rows is not None:
        _check_names(rows, AnswerColumns(prefix=prefix, schema=schema, are_flat=True))


def _check_names(rows: FrameTable | TableFile, columns: AnswerColumns) -> None:
    names = rows.names if isinstance(rows, FrameTable) else rows.column_names()
    taken = [one for one in names if one in columns.kinds]
    if taken:
        verb = "column" if len(taken) == 1 else "columns"
        raise TableError(
            f"{rows.name} already has the {verb} {listed(taken)}. Give prefix= for the columns of "
            f"the answers."
        )


def frame_of_answers(results: Iterable[bytes]) -> Any:
    """Return the answers by request id: ``custom_id``, ``answer``, ``error_code``."""
    pyarrow = pyarrow_for(_PURPOSE)
    kind = pyarrow.string()
    schema = pyarrow.schema([(name, kind) for name in (CUSTOM_ID, ANSWER, ERROR_CODE)])
    batches = [
        pyarrow.RecordBatch.from_arrays(
            [
                pyarrow.array(column, kind)
                for column in (answers.custom_ids, answers.values, answers.error_codes)
            ],
            schema=schema,
        )
        for answers in answers_of(results)
    ]
    return frame_of(pyarrow.Table.from_batches(batches, schema=schema))


def answers_of(results: Iterable[bytes]) -> Iterator[Answers]:
    """Yield the answers in result rows, many rows at a time."""
    lines = iter(results)
    while found := list(islice(lines, ROWS_OF_A_BATCH)):
        yield read_answers(found, None)


@dataclass(slots=True)
class _Collected:
    """Collects the output of a join as Arrow arrays.

    Attributes:
        kinds: The kinds of the answer columns.
        schema: The schema of the rows; None if their frame keeps them.
        given: The rows so far.
    """

    kinds: Sequence[Kind]
    schema: Any = None
    given: list[Any] = field(default_factory=list)
    _answers: list[list[Any]] = field(default_factory=list)

    def write(self, batch: Batch, answers: list[list[Any]]) -> None:
        """Append rows, with the answers as columns."""
        from groq_batch_client.join_parquet import answer_array  # noqa: PLC0415 - pyarrow

        if self.schema is not None:
            pyarrow = pyarrow_for(_PURPOSE)
            arrays = batch.arrow(self.schema)
            self.given.append(pyarrow.RecordBatch.from_arrays(arrays, schema=self.schema))
        self._answers.append(
            [answer_array(column, kind) for column, kind in zip(answers, self.kinds, strict=True)]
        )

    def columns(self) -> list[Any]:
        """Return the answer columns."""
        from groq_batch_client.join_parquet import TYPES  # noqa: PLC0415 - pyarrow

        pyarrow = pyarrow_for(_PURPOSE)
        return [
            pyarrow.chunked_array([batch[place] for batch in self._answers], TYPES[kind])
            for place, kind in enumerate(self.kinds)
        ]
