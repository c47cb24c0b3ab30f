"""Select the unanswered requests that are worth a retry.

A request that the pipeline gave up may be worth one: it was never sent, or its attempts were used
up. A final error means that the same request would fail again. If the outcome of a request is not
known, its answer may already have been paid for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

import msgspec

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.result_row import (
    RETRYABLE_CODES,
    Row,
    RowOutcome,
    classify_row,
)
from groq_batch_client.answers import UNREADABLE
from groq_batch_client.text import listed, one_line

_UNANSWERED_CODES = frozenset(
    {ErrorCode.NOT_SENT, ErrorCode.MISSING, ErrorCode.CANCELLED, ErrorCode.DEADLINE_PASSED}
)
"""Codes of rows that the pipeline writes for requests without an error of their own."""

_NOT_ITS_FAULT = ("Another line of the batch was refused.", "Groq refused the batch:")
"""Message prefixes of lines that Groq rejected with their batch, not for themselves."""

_REFUSAL_CODE = re.compile(r"([a-z0-9_.]+): ")


class Standing(Enum):
    """State of a request after its job."""

    ANSWERED = auto()
    RETRYABLE = auto()
    FINAL = auto()
    UNKNOWN = auto()


class _Source(msgspec.Struct):
    """Source of a row. Rows of the pipeline have neither id nor response."""

    id: str | None = None
    response: msgspec.Raw | None = None


_decode_source = msgspec.json.Decoder(_Source).decode


def standing_of(line: bytes) -> tuple[Standing, str]:
    """Return the state of the request of a result row, and its error code.

    Args:
        line: The row. If it is answered, the code is empty.
    """
    row = classify_row(line)
    if row is None:
        # An unreadable line has no custom_id, so it cannot be sent again.
        return Standing.FINAL, _code_of_unreadable(line)
    code = one_line(row.code or UNREADABLE)
    match row.outcome:
        case RowOutcome.SUCCESS:
            return Standing.ANSWERED, ""
        case RowOutcome.RETRYABLE:
            return Standing.RETRYABLE, code
    return _standing_of_pipeline_row(row) if _is_of_pipeline(line) else Standing.FINAL, code


def _is_of_pipeline(line: bytes) -> bool:
    try:
        source = _decode_source(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return source.id is None and source.response is None


def _standing_of_pipeline_row(row: Row) -> Standing:
    if row.code == ErrorCode.OUTCOME_UNKNOWN:
        return Standing.UNKNOWN
    if row.code in _UNANSWERED_CODES:
        return Standing.RETRYABLE
    if row.code == ErrorCode.BATCH_FAILED:
        message = row.message or ""
        refusal = _REFUSAL_CODE.match(message)
        passes = refusal is not None and refusal[1] in RETRYABLE_CODES
        return (
            Standing.RETRYABLE if passes or message.startswith(_NOT_ITS_FAULT) else Standing.FINAL
        )
    return Standing.FINAL


def _code_of_unreadable(line: bytes) -> str:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNREADABLE
    error = row.get("error") if isinstance(row, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return one_line(code) if isinstance(code, str) else UNREADABLE


@dataclass(slots=True)
class Leftovers:
    """Selection among the failed request lines of a job.

    Attributes:
        chosen: One byte for each line, in order: 1 if it is sent again.
        final: Number of lines skipped because their error is final, by code.
        unknown: Number of lines skipped because their outcome is not known.
        answered: Number of lines that an earlier retry has answered.
    """

    chosen: bytearray = field(default_factory=bytearray)
    final: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    answered: int = 0

    @property
    def number(self) -> int:
        """Number of lines to send again."""
        return self.chosen.count(1)

    @property
    def left_out(self) -> int:
        """Number of unanswered lines that are skipped."""
        return sum(self.final.values()) + self.unknown

    @property
    def are_all(self) -> bool:
        """Whether to send every line again, so that S3 can copy the file."""
        return self.number == len(self.chosen)

    @property
    def left_out_text(self) -> str:
        """The skipped lines as text."""
        parts = []
        if self.final:
            codes = listed([f"{number:,} {code}" for code, number in self.final.most_common()])
            parts.append(f"{sum(self.final.values()):,} whose error is final ({codes})")
        if self.unknown:
            parts.append(
                f"{self.unknown:,} whose outcome is not known (they may have been answered and "
                f"paid for)"
            )
        return ", ".join(parts)

    def take(self, line: bytes, *, everything: bool) -> None:
        """Decide about the next failed request.

        Args:
            line: Its newest row.
            everything: Whether to skip only requests that have an answer by now.
        """
        standing, code = standing_of(line)
        is_chosen = standing is Standing.RETRYABLE or (
            everything and standing is not Standing.ANSWERED
        )
        self.chosen.append(is_chosen)
        if is_chosen:
            return
        if standing is Standing.ANSWERED:
            self.answered += 1
        elif standing is Standing.UNKNOWN:
            self.unknown += 1
        else:
            self.final[code] += 1


def leftovers(rows: Iterable[tuple[bytes, bytes]], *, everything: bool) -> Leftovers:
    """Decide which request lines of ``failed/`` to send again.

    Args:
        rows: The result rows of the job, each with the newest row of its request: the same row, or
            that of a retry. Unanswered rows are in the order of the lines in ``failed/``.
        everything: Whether to send final errors and unknown outcomes too.
    """
    found = Leftovers()
    for row, newest in rows:
        if standing_of(row)[0] is not Standing.ANSWERED:
            found.take(newest, everything=everything)
    return found
