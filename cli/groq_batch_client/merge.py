"""Merge the results of retries into the results of a job.

``failed/`` has the failed lines of a job in the order of the input, and a retry has one row for
each line that it sent, in the same order. So one pass over both files is enough: the next row of
the retry replaces a failed row if it has the same request. Otherwise the failed row stays, which is
right only for requests that the retry skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from groq_batch.domain.json_data import DECODE_ERRORS
from groq_batch.domain.result_row import custom_id_of, is_success
from groq_batch_client.errors import JobError
from groq_batch_client.retry_selection import Standing, standing_of
from groq_batch_client.text import counted, one_line, shorten

_LONGEST_ID = 60


@dataclass(slots=True)
class _Layer:
    """Counts of one retry: all rows, rows that it answered, rows still without a success."""

    rows: int = 0
    answered: int = 0
    left: int = 0

    def count(self, row: bytes) -> bytes:
        """Count and return the newest row of a request that had no success."""
        if is_success(row):
            self.answered += 1
        else:
            self.left += 1
        return row


@dataclass(slots=True)
class MergeCounts:
    """Counts of a merge; complete after all rows have been read."""

    layers: list[_Layer] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The counts as text."""
        left = f", {self.left:,} still without a success" if self.left else ""
        return f"{counted(self.layers[0].rows, 'row')}, {self.answered:,} new answers{left}"

    @property
    def answered(self) -> int:
        """Number of rows that the retries turned into a success."""
        return sum(layer.answered for layer in self.layers)

    @property
    def left(self) -> int:
        """Number of rows still without a success."""
        return self.layers[-1].left


@dataclass(frozen=True, slots=True)
class NamedRows:
    """Result rows, with their name in messages."""

    name: str
    rows: Iterable[bytes]


def merge(original: NamedRows, retries: Sequence[NamedRows]) -> tuple[Iterable[bytes], MergeCounts]:
    """Return the rows of a job, with rows of its retries in place of failed ones.

    Args:
        original: The job's result rows.
        retries: The result rows of its retry, then those of the retry of that retry, and so on.

    Returns:
        The rows, and counts that are complete after reading them. Reading raises a ``JobError`` if
        a file is not a retry of the one before.
    """
    counts = MergeCounts()
    merged = original
    for retried in retries:
        layer = _Layer()
        counts.layers.append(layer)
        merged = NamedRows(retried.name, _merged(merged, retried, layer))
    return merged.rows, counts


def _merged(original: NamedRows, retried: NamedRows, counts: _Layer) -> Iterator[bytes]:
    names = (original.name, retried.name)
    retries = enumerate(retried.rows, start=1)
    place, other = next(retries, _NO_ROW)
    for number, row in enumerate(original.rows, start=1):
        counts.rows += 1
        if is_success(row):
            yield row
        elif place and _id(row) == _id(other):
            yield counts.count(other)
            place, other = next(retries, _NO_ROW)
        elif standing_of(row)[0] is Standing.RETRYABLE:
            raise _not_its_retry(names, (number, row), (place, other))
        else:
            yield counts.count(row)
    if place:
        raise JobError(
            f"{names[1]} has more rows than {names[0]} has failures: row {place} ({_shown(other)}) "
            f"is left over. Merge a job with the retry of its own failed lines."
        )


_NO_ROW = (0, b"")


def _not_its_retry(
    names: tuple[str, str], failure: tuple[int, bytes], retry: tuple[int, bytes]
) -> JobError:
    """Return the error for a row that the retry should have sent."""
    (number, row), (place, other) = failure, retry
    if not place:
        return JobError(
            f"{names[1]} has fewer rows than {names[0]} has failures: row {number} of "
            f"{names[0]} ({_shown(row)}) has none. Merge a job with the retry of its own "
            f"failed lines."
        )
    return JobError(
        f"Row {number} of {names[0]}, without a success, is of {_shown(row)}, but row "
        f"{place} of {names[1]} is of {_shown(other)}. Merge a job with the retry of its "
        f"own failed lines."
    )


def _id(row: bytes) -> str | None:
    try:
        return custom_id_of(row)
    except DECODE_ERRORS:
        return None


def _shown(row: bytes) -> str:
    custom_id = _id(row)
    return "no custom_id" if custom_id is None else shorten(one_line(custom_id), _LONGEST_ID)
