"""Puts answers back beside the rows that they were asked for.

Results have one row for each request, in order, so one pass over both files is enough; every
``custom_id`` is compared on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from groq_batch_cli.answers import Answer, read_answer
from groq_batch_cli.errors import CommandError
from groq_batch_cli.ids import RowIds
from groq_batch_cli.rows.reading import Row
from groq_batch_cli.schemas import AnswerSchema
from groq_batch_cli.text import one_line, shorten

ANSWER = "answer"
FINISH_REASON = "finish_reason"
ERROR_CODE = "error_code"
ERROR_MESSAGE = "error_message"

_LONGEST_ID = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerColumns:
    """The columns that a join adds.

    Attributes:
        prefix: What their names begin with.
        schema: The schema of the answers; None when they are texts.
        are_flat: Whether each property of the schema has a column of its own, as CSV and Parquet
            need it; otherwise an answer is one value.
    """

    prefix: str = ""
    schema: AnswerSchema | None = None
    are_flat: bool = False

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [
            *self._answer_names,
            *(self.prefix + name for name in (FINISH_REASON, ERROR_CODE, ERROR_MESSAGE)),
        ]

    @property
    def properties(self) -> dict[str, Any]:
        """The properties that have columns of their own, with their schemas."""
        return self.schema.properties if self.schema is not None and self.are_flat else {}

    @property
    def _answer_names(self) -> list[str]:
        if self.properties:
            return [f"{self.prefix}{ANSWER}_{name}" for name in self.properties]
        return [self.prefix + ANSWER]

    def values(self, answer: Answer) -> list[Any]:
        """Return what stands in the columns for an answer."""
        if self.properties:
            found = answer.value if isinstance(answer.value, dict) else {}
            values = [found.get(name) for name in self.properties]
        else:
            values = [answer.value]
        return [*values, answer.finish_reason, answer.error_code, answer.error_message]


@dataclass(slots=True)
class JoinCounts:
    """What was joined: rows in all, and those without an answer."""

    rows: int = 0
    errors: int = 0


def check_columns(existing: Iterable[str], added: Sequence[str]) -> None:
    """Check that no column would be lost.

    Raises:
        CommandError: The rows have a column of one of the new names.
    """
    taken = [name for name in existing if name in set(added)]
    if taken:
        raise CommandError(
            f"The rows have a column {one_line(taken[0])} already. Give the new columns another "
            f"name: --prefix groq_"
        )


def join(
    rows: Iterable[Row],
    results: Iterable[bytes],
    *,
    ids: RowIds,
    columns: AnswerColumns,
    names: tuple[str, str],
    counts: JoinCounts,
) -> Iterator[Row]:
    """Yield each row with its answer.

    Args:
        rows: The rows.
        results: The result rows.
        ids: How the requests got their ids.
        columns: The columns to add.
        names: What messages call the two files.
        counts: Is filled in.

    Raises:
        CommandError: The results are not those of these rows; says what differs.
    """
    added = columns.names
    taken = frozenset(added)
    for number, (row, line) in enumerate(zip_longest(rows, results), start=1):
        if row is None or line is None:
            raise CommandError(_other_length(number - 1, names, rows_are_longer=line is None))
        answer = read_answer(line, as_json=columns.schema is not None)
        try:
            expected = ids.of(number, row)
        except CommandError as error:
            raise CommandError(f"{names[0]}: {error}") from None
        if answer.custom_id != expected:
            raise CommandError(
                f"Row {number} of {names[0]} has the id {_shown(expected)}, but row {number} of "
                f"{names[1]} is of {_shown(answer.custom_id)}. Join the rows that the requests "
                f"were made of, in the same order, with the same --id."
            )
        if not taken.isdisjoint(row):
            check_columns(row, added)
        counts.rows += 1
        counts.errors += answer.error_code is not None
        yield {**row, **dict(zip(added, columns.values(answer), strict=True))}


def _other_length(number: int, names: tuple[str, str], *, rows_are_longer: bool) -> str:
    longer, shorter = names if rows_are_longer else names[::-1]
    return (
        f"{shorter} ends after {number:,} rows, but {longer} has more. Join the rows that the "
        f"requests were made of with all of their results."
    )


def _shown(custom_id: str | None) -> str:
    return "no custom_id" if custom_id is None else repr(shorten(one_line(custom_id), _LONGEST_ID))
