"""Join answers to the original rows.

Results have one row for each request, in order, so one pass over both files is enough. It compares
every ``custom_id``.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import msgspec

from groq_batch_client.answers import NOT_AS_SCHEMA, Answer, Answers, read_answers
from groq_batch_client.dedupe import SharedAnswers
from groq_batch_client.errors import TableError
from groq_batch_client.output import output
from groq_batch_client.row_ids import RowIds
from groq_batch_client.schemas import AnswerSchema, Kind
from groq_batch_client.tables.batches import Batch
from groq_batch_client.tables.delimited import CsvWriter, TsvWriter
from groq_batch_client.tables.formats import Format
from groq_batch_client.tables.json_lines import JsonWriter
from groq_batch_client.tables.names import quoted
from groq_batch_client.tables.table import OpenTable, TableFile, check_readable_twice

ANSWER = "answer"
TOOL_CALLS = "tool_calls"
FINISH_REASON = "finish_reason"
ERROR_CODE = "error_code"
ERROR_MESSAGE = "error_message"

_LARGEST_INTEGER = 2**63 - 1
_LARGEST_NUMBER = sys.float_info.max

_USE_DEDUPED = " If you ran make with --dedupe, give its .rows file with --deduped."

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerColumns:
    """The columns that a join adds.

    Attributes:
        prefix: Prefix of their names.
        schema: The schema of the answers; None if they are texts.
        are_flat: Whether each property of the schema has its own column, as CSV and Parquet need;
            the column ``answer`` then has the texts that do not match the schema. Otherwise an
            answer is one value.
    """

    prefix: str = ""
    schema: AnswerSchema | None = None
    are_flat: bool = False

    @property
    def properties(self) -> dict[str, Kind]:
        """The properties that have their own columns, with their kinds."""
        return self.schema.properties if self.schema is not None and self.are_flat else {}

    @property
    def kinds(self) -> dict[str, Kind]:
        """The columns by name, with their kinds."""
        own = {f"{self.prefix}{ANSWER}_{name}": kind for name, kind in self.properties.items()}
        others: dict[str, Kind] = {
            self.prefix + ANSWER: "json" if self.schema is not None else "string",
            self.prefix + TOOL_CALLS: "json",
            **dict.fromkeys(
                (self.prefix + name for name in (FINISH_REASON, ERROR_CODE, ERROR_MESSAGE)),
                "string",
            ),
        }
        return own | others

    def values(self, answers: Answers) -> list[list[Any]]:
        """Return the columns for answers."""
        columns: list[list[Any]] = []
        rows = answers.rows or []
        properties = self.properties
        for name, kind in properties.items():
            columns.append([_property(one, name, kind) for one in rows])
        wholes = answers.values
        if self.schema is not None:
            wholes = [_whole(one, properties.keys()) for one in rows]
            # Only this step notices a value that is too large for its column.
            answers.error_codes = [one.error_code for one in rows]
            answers.error_messages = [one.error_message for one in rows]
        return [
            *columns,
            wholes,
            answers.tool_calls,
            answers.finish_reasons,
            answers.error_codes,
            answers.error_messages,
        ]


def _whole(answer: Answer, properties: Set[str]) -> Any:
    """Return an answer for the column ``answer``, or None if columns of its own hold all of it.

    Args:
        answer: The answer.
        properties: The properties that have columns of their own.
    """
    if answer.is_kept_as_text:
        return answer.text
    if not (properties and answer.is_value):
        return answer.value
    has_others = isinstance(answer.value, dict) and not answer.value.keys() <= properties
    return answer.text if answer.error_code or has_others else None


def _property(answer: Answer, name: str, kind: Kind) -> Any:
    """Return a property of an answer if it has the kind of its column, else None.

    No value is lost: if it does not match, the column ``answer`` has the text of the answer.
    """
    value = answer.value.get(name) if answer.is_value and isinstance(answer.value, dict) else None
    if value is None or kind == "json":
        return value
    if kind == "string":
        return value if isinstance(value, str) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if abs(value) > (_LARGEST_NUMBER if kind == "number" else _LARGEST_INTEGER):
        if answer.error_code is None:
            answer.error_code = NOT_AS_SCHEMA
            answer.error_message = (
                f"{name} is too large a number for a column of its kind ({kind})."
            )
        return None
    if kind == "number":
        return float(value)
    return int(value) if value == int(value) else None


@dataclass(slots=True)
class JoinCounts:
    """Totals of a join.

    Attributes:
        rows: Number of rows.
        errors: Number of rows without a valid answer.
        left_out: Number of rows without any value, which have no request.
    """

    rows: int = 0
    errors: int = 0
    left_out: int = 0


class JoinWriter(Protocol):
    """Writes rows with answers."""

    def write(self, batch: Batch, answers: list[list[Any]]) -> None:
        """Append rows, with the answers as columns."""


def join(
    table: OpenTable,
    results: Iterable[bytes],
    writer: JoinWriter,
    *,
    ids: RowIds,
    columns: AnswerColumns,
    names: tuple[str, str],
    shared: SharedAnswers | None = None,
) -> JoinCounts:
    """Write each row together with its answer.

    Args:
        table: The rows.
        results: The result rows.
        writer: Writes the rows.
        ids: How the requests got their ids.
        columns: The columns to add.
        names: The names of the two files in messages.
        shared: Gives the results of requests that several rows share; None if each row has its
            own.

    Raises:
        TableError: The results do not belong to these rows; the message says what differs.
    """
    counts = JoinCounts()
    added = frozenset(columns.kinds)
    lines = iter(results)
    for batch in table.batches:
        first = counts.rows + 1
        expected = ids.of(first, batch, names[0])
        if shared is None:
            found = list(islice(lines, batch.rows))
            answers = read_answers(found, columns.schema)
        else:
            taken_results = shared.take(expected)
            found = [line for line, _ in taken_results]
            answers = read_answers(found, columns.schema)
            # A shared result has the id of its first row.
            expected = [
                own if is_own else other or own
                for own, other, (_, is_own) in zip(
                    expected, answers.custom_ids, taken_results, strict=True
                )
            ]
        _check_ids(expected, answers.custom_ids, found, first, names, ids.option)
        if len(found) < batch.rows:
            raise TableError(
                _other_length(counts.rows + len(found), names, rows_are_longer=True)
                + (_USE_DEDUPED if ids.option.startswith("--") else "")
            )
        taken = batch.keys_among(added)
        if taken is not None:
            raise TableError(_taken(taken))
        if counts.rows == 0:
            _check_results(found, names[1])
        values = columns.values(answers)
        writer.write(batch, values)
        counts.rows += batch.rows
        counts.errors += len(found) - answers.error_codes.count(None)
    if shared is not None:
        shared.close()
    elif next(lines, None) is not None:
        raise TableError(_other_length(counts.rows, names, rows_are_longer=False))
    counts.left_out = table.left_out
    return counts


def _check_results(lines: list[bytes], name: str) -> None:
    """Check that rows are results: requests and problems of the input have ids, too.

    Raises:
        TableError: They are not.
    """
    try:
        row = json.loads(lines[0])
    except (ValueError, RecursionError):
        return
    if isinstance(row, dict) and not {"response", "error"} & row.keys():
        raise TableError(
            f"{name} holds no results: its first row has neither response nor error. Give the "
            f"results file of the job, such as requests.results.jsonl."
        )


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _check_ids(
    expected: list[str],
    found: list[str | None],
    lines: list[bytes],
    first: int,
    names: tuple[str, str],
    option: str,
) -> None:
    if expected[: len(found)] == found:
        return
    place = next(
        n for n, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]
    )
    other = found[place]
    shown = "no custom_id" if other is None else quoted(other)
    # Only the command line builds shared requests.
    deduped = "; with --deduped if you ran make with --dedupe" if option.startswith("--") else ""
    advice = (
        f"Join the rows that the requests were built from, in the same order, with the same "
        f"{option}{deduped}."
    )
    if other is None and not _is_object(lines[place]):
        advice = (
            "It is not a JSON object, as in a file that was cut short. Fetch the results again."
        )
    raise TableError(
        f"Row {first + place:,} of {names[0]} has the id {quoted(expected[place])}, but row "
        f"{first + place:,} of {names[1]} is of {shown}. {advice}"
    )


def _other_length(number: int, names: tuple[str, str], *, rows_are_longer: bool) -> str:
    longer, shorter = names if rows_are_longer else names[::-1]
    rows = "1 row" if number == 1 else f"{number:,} rows"
    return (
        f"{shorter} ends after {rows}, but {longer} has more. Join the rows that the requests were "
        f"built from with all their results."
    )


def _taken(name: str) -> str:
    return (
        f"The rows already have a column {quoted(name)}. Give the new columns another name: "
        f"--prefix groq_"
    )


def check_columns(existing: Iterable[str], columns: AnswerColumns) -> None:
    """Check that no column would be overwritten.

    Raises:
        TableError: The rows have a column with one of the new names.
    """
    added = columns.kinds.keys()
    taken = next((name for name in existing if name in added), None)
    if taken is not None:
        raise TableError(_taken(taken))


# -- writers -------------------------------------------------------------------------------------


@contextlib.contextmanager
def open_writer(
    table: TableFile, out: Path | None, kind: Format, columns: AnswerColumns
) -> Iterator[JoinWriter]:
    """Open an output file for rows with answers within a ``with`` block.

    Args:
        table: The rows. For CSV, TSV and Parquet, a first pass reads their columns. CSV is written
            with the separator that they were read with.
        out: The file; None means standard output.
        kind: Its format.
        columns: The columns to add.

    Raises:
        TableError: The format cannot represent the rows; raised before anything is written.
    """
    if kind is Format.JSONL:
        with output(out) as stream:
            yield _JsonJoin(JsonWriter(stream, list(columns.kinds)))
        return
    check_readable_twice(table, kind)
    if kind is Format.PARQUET:
        from groq_batch_client.join_parquet import open_parquet_join  # noqa: PLC0415 - pyarrow

        with open_parquet_join(table, out, columns) as writer:
            yield writer
        return
    names = table.column_names()
    check_columns(names, columns)
    with output(out) as stream:
        every = [*names, *columns.kinds]
        text = (
            CsvWriter(stream, every, separator=table.separator)
            if kind is Format.CSV
            else TsvWriter(stream, every)
        )
        yield _TextJoin(text, names)


@dataclass(frozen=True, slots=True)
class _JsonJoin:
    stream: JsonWriter

    def write(self, batch: Batch, answers: list[list[Any]]) -> None:
        """Append rows."""
        self.stream.write(batch.objects(), answers)


@dataclass(frozen=True, slots=True)
class _TextJoin:
    stream: CsvWriter | TsvWriter
    names: list[str]

    def write(self, batch: Batch, answers: list[list[Any]]) -> None:
        """Append rows."""
        self.stream.write([*batch.cells(self.names), *(texts(column) for column in answers)])


def texts(column: Sequence[Any]) -> list[str]:
    """Return JSON values as texts: texts unchanged, null as empty, others as JSON."""
    if column.count(None) == len(column):
        return [""] * len(column)
    return [
        one if isinstance(one, str) else "" if one is None else _encode(one).decode()
        for one in column
    ]
