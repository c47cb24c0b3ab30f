"""Decide which row a request has after an attempt, and whether it may be sent again."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.prices import table_prices
from groq_batch.domain.result_row import Row, RowOutcome, classify_row, model_of, pipeline_row
from groq_batch.steps.download_results.merge_rules import MergeRules
from groq_batch.steps.download_results.output_checks import is_invalid_output
from groq_batch.steps.download_results.schema_checks import SchemaChecks
from groq_batch.steps.download_results.sent_shards import SentShard
from groq_batch.steps.download_results.unanswered import SEND_AGAIN, UnansweredReason

_UNKNOWN_CREATE = (
    "The creation of a batch with this request had no answer, and Groq's list of batches could not "
    "be read since. It may have been billed, so it is not sent again automatically. Look for the "
    "batch in the Groq console."
)


class GivenRow(NamedTuple):
    """A row that the API gave for a request, and its content."""

    row: bytes
    known: Row


class SentRequest(msgspec.Struct, frozen=True, gc=False):
    """A request that was part of the attempt.

    Attributes:
        shard: The attempt's shard of the request.
        position: Its line number in that shard, from 1.
        custom_id: Its id.
        given: The row that the attempt got from the API; None without one.
        before: Its row after the previous attempt; None in the first.
        read_line: Reads the request.
    """

    shard: SentShard
    position: int
    custom_id: str
    given: GivenRow | None
    before: bytes | None
    read_line: Callable[[], bytes]


class MergedRow(msgspec.Struct, frozen=True, gc=False):
    """A request's row after an attempt.

    Attributes:
        row: The row.
        succeeded: Whether the row is an answer.
        retry: Whether the request may be sent again, if attempts are left.
        code: The code of its error.
        message: The text of its error.
        model: The model that answered; None if that is not known.
        is_invalid: Whether it is an answer that does not have the requested form.
        answer: The answer that this attempt got, whether or not it becomes the row.
        was_called: Whether this attempt began an ordinary call for the request.
    """

    row: bytes
    succeeded: bool
    retry: bool
    code: str | None = None
    message: str | None = None
    model: str | None = None
    is_invalid: bool = False
    answer: Row | None = None
    was_called: bool = False


def row_before(row: bytes, *, retry: bool = False) -> MergedRow:
    """Return the outcome of a request that keeps the row of an earlier attempt.

    Raises:
        ValueError: The row cannot be read.
    """
    known = classify_row(row)
    if known is None:
        raise ValueError("A stored result row cannot be read")
    return MergedRow(
        row=row,
        succeeded=known.outcome is RowOutcome.SUCCESS,
        retry=retry,
        code=known.code,
        message=known.message,
        model=known.model,
    )


def row_after(rules: MergeRules, request: SentRequest) -> MergedRow:
    """Return the outcome of a request by what decides about all requests of its origin shard."""
    now = _row_of_batch(rules, request) if rules.calls is None else _row_of_call(rules, request)
    if now.succeeded or request.before is None:
        return now
    earlier = row_before(request.before)
    if not earlier.succeeded:
        return now
    # It was sent again because of its form; the outcome decides whether it may be retried again.
    again = now.retry and rules.job.options.retry_invalid_output
    return replace(earlier, retry=again, was_called=now.was_called)


def with_form(
    rules: MergeRules, merged: MergedRow, line: bytes, before: bytes | None, schemas: SchemaChecks
) -> MergedRow:
    """Return the outcome of an answered request, considering the form that it requested.

    Args:
        rules: What decides about all requests of the origin shard.
        merged: The newest answer, and whether the request may be sent again because of its form.
        line: The request.
        before: Its row after the previous attempt.
        schemas: Validates answers against schemas.
    """
    if not is_invalid_output(merged.row, line, schemas):
        return replace(merged, retry=False)
    if before is not None and before != merged.row:
        earlier = row_before(before)
        if earlier.succeeded and not is_invalid_output(before, line, schemas):
            return replace(earlier, answer=merged.answer, was_called=merged.was_called)
    again = merged.retry and rules.may_send_again
    return replace(merged, is_invalid=True, retry=again)


def _row_of_batch(rules: MergeRules, request: SentRequest) -> MergedRow:
    """Return the outcome of a request in an attempt of batches."""
    if request.given is not None:
        row, known = request.given
        if known.outcome is not RowOutcome.SUCCESS:
            return _unanswered_row(row, known)
        again = rules.job.options.retry_invalid_output
        return MergedRow(row=row, succeeded=True, retry=again, model=known.model, answer=known)
    if request.before is not None and not request.shard.was_sent:
        return row_before(request.before, retry=rules.past_deadline)
    code, message, retry = _without_row(rules, request.shard, request.position)
    return _pipeline_row(request.custom_id, code, message, retry=retry)


def _row_of_call(rules: MergeRules, request: SentRequest) -> MergedRow:
    """Return the outcome of a request in an attempt of ordinary calls."""
    assert rules.calls is not None  # noqa: S101  (checked by the caller)
    if request.given is not None:
        row, known = request.given
        if known.outcome is RowOutcome.SUCCESS:
            return MergedRow(row=row, succeeded=True, retry=False, answer=known, was_called=True)
        return replace(_unanswered_row(row, known), retry=False, was_called=True)

    def has_price() -> bool:
        prices = rules.job.prices or table_prices()
        return prices.of(model_of(request.read_line())) is not None

    before = request.before
    left = UnansweredReason.of(
        rules.calls,
        request.shard.number,
        request.position,
        before=classify_row(before) if before is not None else None,
        has_price=has_price,
    )
    code, message, stop = left.code, left.message, rules.stop
    if code != ErrorCode.OUTCOME_UNKNOWN and stop is not None:
        if before is not None and stop.status != "cancelled":
            return replace(row_before(before), was_called=left.was_begun)
        code = ErrorCode.CANCELLED if stop.status == "cancelled" else ErrorCode.NOT_SENT
        message = stop.message
    merged = _pipeline_row(request.custom_id, code, message, retry=False)
    return replace(merged, was_called=left.was_begun)


def _without_row(rules: MergeRules, shard: SentShard, position: int) -> tuple[str, str, bool]:
    """Return code, message and whether to retry, for a request without a row."""
    batch, index, stop = shard.entry.batch, shard.index, rules.stop
    if not shard.was_sent and shard.may_have_been_sent:
        return ErrorCode.OUTCOME_UNKNOWN, _UNKNOWN_CREATE, False
    if not shard.was_sent:
        reason = "Its batch could not be created."
        if stop is not None:
            reason = stop.message
        elif rules.past_deadline:
            reason = "The deadline passed before its batch was created."
        return ErrorCode.NOT_SENT, f"This request was not sent. {reason}", rules.past_deadline
    if position in shard.issues:
        return ErrorCode.BATCH_FAILED, shard.refusal_text(position), False
    if batch is None or batch.status == "failed":
        # The batch ran nothing. If it has rows after all and they are lost, they were paid for.
        return ErrorCode.BATCH_FAILED, shard.refusal_text(position), not index.is_lost
    if stop is not None and batch.status != "completed":
        if stop.status == "cancelled":
            return ErrorCode.CANCELLED, stop.message, False
        return ErrorCode.MISSING, f"The batch gave no answer: {stop.message}", False
    if index.is_lost:
        text = (
            f"The results of batch {batch.id} could not be fetched from Groq, so this answer "
            f"is lost. {SEND_AGAIN}"
        )
        return ErrorCode.MISSING, text, False
    text = f"Batch {batch.id} ended as {batch.status} without a row for this request. {SEND_AGAIN}"
    return ErrorCode.MISSING, text, batch.is_terminal


def _unanswered_row(row: bytes, known: Row) -> MergedRow:
    """Return the outcome of a row of the API without an answer."""
    return MergedRow(
        row=row,
        succeeded=False,
        retry=known.outcome is RowOutcome.RETRYABLE,
        code=known.code,
        message=known.message,
    )


def _pipeline_row(custom_id: str, code: str, message: str, *, retry: bool) -> MergedRow:
    """Return the outcome of a request without a row of the API, with a row of the pipeline."""
    row = pipeline_row(custom_id, code=code, message=message).rstrip(b"\n")
    return MergedRow(row=row, succeeded=False, retry=retry, code=code, message=message)
