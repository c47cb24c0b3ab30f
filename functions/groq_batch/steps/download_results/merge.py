"""Merge an attempt's rows into an origin shard's rows, and select the requests to send again.

An origin shard is a shard as cut from the input. In a later attempt its requests are in one shard,
or in several if it was divided. The rows of an attempt are merged with those of the attempt before,
in the order of the requests. So after every attempt an origin shard's results are complete: a
success is kept, everything else is replaced by the latest outcome. Requests that may be retried go
into the same shard of the next attempt. A shard that the API refused as a whole is copied there
whole, or is divided by a separate step.

With ``retry-invalid-output``, a request whose answer does not have the requested form may be
retried as well. That answer remains the request's row until a newer answer arrives; a failure does
not replace it.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import msgspec

from groq_batch.bucket.concat import join
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.s3_errors import MissingObjectError
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.answer_stats import count_name
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.prices import table_prices
from groq_batch.domain.problem import shown
from groq_batch.domain.result_row import (
    Row,
    RowOutcome,
    classify_row,
    custom_id_of,
    model_of,
    pipeline_row,
)
from groq_batch.records.job import JobRecord, JobRequest, Stop
from groq_batch.records.on_demand import OnDemandProgress
from groq_batch.records.shard_result import ShardResult
from groq_batch.request_file.lines import LineReader, decompress
from groq_batch.steps.download_results.output_checks import is_invalid_output
from groq_batch.steps.download_results.schema_checks import SchemaChecks
from groq_batch.steps.download_results.sent_shards import SentLines, SentShard
from groq_batch.steps.download_results.shard_lines import ShardLines, SkippedLine
from groq_batch.steps.download_results.unanswered import SEND_AGAIN, UnansweredReason

_MAX_ERRORS = 100
_MAX_MESSAGE = 500
_NO_CODE = "unknown"
_NO_TEXT = "The API gave no text for this error; see its code, and the row in the results."
_UNKNOWN_CREATE = (
    "The creation of a batch with this request had no answer, and Groq's list of batches could not "
    "be read since. It may have been billed, so it is not sent again automatically. Look for the "
    "batch in the Groq console."
)
_WRITE_BYTES = 256 * 1024
_COUNTED_AT_ONCE = 1000


class _MergedRow(msgspec.Struct, frozen=True, gc=False):
    """A request's row after this attempt.

    Attributes:
        row: The row.
        succeeded: Whether the row is an answer.
        retry: Whether the request may be sent again, if attempts are left.
        code: The code of its error.
        message: The text of its error.
        is_invalid: Whether it is an answer that does not have the requested form.
    """

    row: bytes
    succeeded: bool
    retry: bool
    code: str | None = None
    message: str | None = None
    model: str | None = None
    is_invalid: bool = False


@dataclass(slots=True, kw_only=True)
class ShardMerger:
    """Writes the rows of an origin shard's requests after one attempt."""

    storage: Storage
    keys: object_keys.WorkKeys
    job: JobRecord
    stop: Stop | None
    attempt: int
    origin: int
    shards: Sequence[SentShard]
    uses_kept_ids: bool = True
    past_deadline: bool = False
    calls: OnDemandProgress | None = None

    def run(self) -> ShardResult:
        """Write results, failed lines and lines to retry of an origin shard; return the counts."""
        summary = ShardResult(
            attempt=self.attempt,
            number=self.origin,
            on_demand=self.calls is not None,
            was_stopped=self.stop is not None,
        )
        answers = _Answers(summary)
        path_is_gzip = self._is_gzip()
        may_retry = self._may_retry
        sent = self._sent_lines()
        for shard in self.shards:
            shard.read_refusal(self._lines_of(shard), is_sent_again=self._may_send_again)
        earlier = self._earlier_rows(path_is_gzip)
        with (
            ShardLines(
                self.storage,
                self.keys,
                self.job,
                self.origin,
                uses_kept_ids=self.uses_kept_ids,
            ) as origin,
            SchemaChecks() as schemas,
            _Output(
                ObjectWriter(self.storage, self.keys.results(self.attempt, self.origin)),
                path_is_gzip,
            ) as results,
            _Output(
                ObjectWriter(self.storage, self.keys.failed(self.attempt, self.origin)),
                path_is_gzip,
            ) as failed,
            _LinesToRetry(self.storage) as to_retry,
        ):
            for line_number, item in enumerate(origin, start=origin.first_line):
                before = next(earlier) if earlier is not None else None
                if isinstance(item, SkippedLine):
                    results.write(item.row())
                    for piece in item.pieces:
                        failed.write(piece)
                    continue
                place, custom_id = item
                answers.request = (origin, place)
                found = sent.find(custom_id)
                verdict = (
                    self._settled_before(before)
                    if before is not None and found is None
                    else self._settle(found, custom_id, before, answers)
                )
                if verdict.succeeded and self.job.options.retry_invalid_output:
                    verdict = self._with_form(verdict, origin.request_line(place), before, schemas)
                summary.deadline_passed += verdict.code == ErrorCode.DEADLINE_PASSED
                results.write(verdict.row + b"\n")
                model = verdict.model or model_of(origin.request_line(place))
                summary.count_line(model, succeeded=verdict.succeeded)
                again_in = found[0] if may_retry and verdict.retry and found is not None else None
                if again_in is not None and again_in.refused is None:
                    to_retry.write(self._key_of_retry(again_in), origin.request_line(place))
                goes_again = again_in is not None and not self._keeps_for_deadline
                summary.to_retry += goes_again
                summary.kept += again_in is not None and not goes_again
                if verdict.succeeded:
                    summary.succeeded += 1
                    summary.invalid_output += verdict.is_invalid
                    continue
                failed.write(origin.request_line(place))
                known_line = line_number if origin.lines_are_known else None
                _count_failure(summary, verdict, known_line, custom_id, goes_again=goes_again)
        answers.count()
        for shard in self.shards:
            self._conclude(shard, summary)
        summary.unchecked_output = schemas.unknown
        summary.results_bytes = results.bytes_written
        summary.failed_bytes = failed.bytes_written
        return summary

    def _conclude(self, shard: SentShard, summary: ShardResult) -> None:
        """Count a shard's batch; copy a refused shard that is not divided to the next attempt."""
        batch = shard.entry.batch
        if batch is not None:
            summary.sent += shard.lines
            summary.batches[shard.number] = (shard.lines, shard.succeeded)
            summary.file_ids += [one for one in (batch.output_file_id, batch.error_file_id) if one]
        summary.anomalies += shard.index.repeated + shard.index.unreadable
        if shard.refused is None:
            return
        summary.refused[shard.number] = shard.refused
        if shard.refused.parts == 1:
            source = self.keys.shard(self.attempt, shard.number)
            head = self.storage.head(source)
            if head is None:
                raise MissingObjectError(source)
            with ObjectWriter(
                self.storage, self.keys.shard(self.attempt + 1, shard.number)
            ) as writer:
                join(self.storage, [StoredObject(source, head.size)], writer)

    @property
    def _may_retry(self) -> bool:
        """Whether unanswered requests are kept for another attempt.

        With a deadline they are kept even if all attempts are used up: if the deadline passes
        before the job ends, they are sent as ordinary calls.
        """
        if self.stop is not None or self.calls is not None:
            return False
        return not self._is_last_attempt or self.job.deadline_at is not None

    @property
    def _is_last_attempt(self) -> bool:
        return self.attempt >= self.job.last_attempt_of(self.origin)

    @property
    def _keeps_for_deadline(self) -> bool:
        """Whether what may be asked again is kept apart until the deadline, for no batch may.

        After the deadline attempts do not matter any more: it is open, used up or not.
        """
        return self._is_last_attempt and not self.past_deadline

    def _key_of_retry(self, shard: SentShard) -> str:
        """Return the key for the lines of a shard that are kept for another attempt.

        Ordinary calls are made in file order, so lines for them are kept by origin shard.
        """
        if self.past_deadline:
            return self.keys.shard(self.attempt + 1, self.origin)
        if self._keeps_for_deadline:
            return self.keys.kept_shard(self.origin)
        return self.keys.shard(self.attempt + 1, shard.number)

    # -- the origin shard --------------------------------------------------------------------------

    @property
    def _may_send_again(self) -> bool:
        """Whether requests of the origin shard may be sent in another batch."""
        return self._may_retry and not (self._is_last_attempt or self.past_deadline)

    @property
    def _is_first_attempt(self) -> bool:
        return self.attempt == self.job.first_attempt_of(self.origin)

    def _is_gzip(self) -> bool:
        request = JobRequest.load(self.storage, self.keys.job)
        return request is not None and object_keys.is_gzip(request.path)

    def _lines_of(self, shard: SentShard) -> Iterator[bytes]:
        return iter(LineReader(self.storage.chunks(self.keys.shard(self.attempt, shard.number))))

    def _sent_lines(self) -> SentLines:
        if self._is_first_attempt:
            (shard,) = self.shards
            shard.lines = self.job.origin(self.origin).requests
            return SentLines(self.shards, None)
        positions: dict[str, int] = {}
        for shard in self.shards:
            before = len(positions)
            for line in self._lines_of(shard):
                positions[custom_id_of(line)] = len(positions) + 1
            shard.lines = len(positions) - before
        return SentLines(self.shards, positions)

    def _earlier_rows(self, compressed: bool) -> Iterator[bytes] | None:
        """Return the rows after the previous attempt, in the order of the origin shard."""
        if self._is_first_attempt:
            return None
        # An origin shard without requests to retry is not part of the next attempt, so the previous
        # attempt has its rows. Only a shard that used up its attempts before ordinary calls may be
        # older.
        attempt = self.attempt - 1
        while self.calls is not None and not self._was_collected(attempt):
            attempt -= 1
        pieces: Iterable[bytes] = self.storage.chunks(self.keys.results(attempt, self.origin))
        return iter(LineReader(decompress(pieces) if compressed else pieces))

    def _was_collected(self, attempt: int) -> bool:
        """Tell whether the origin shard was part of an attempt; its first one always counts."""
        is_first = attempt <= (self.job.first_attempt_of(self.origin) or 1)
        return is_first or self.storage.exists(self.keys.summary(attempt, self.origin))

    # -- outcome of a request --------------------------------------------------------------------

    def _settled_before(self, row: bytes, *, retry: bool = False) -> _MergedRow:
        known = classify_row(row)
        if known is None:
            raise ValueError("A stored result row cannot be read")
        return _MergedRow(
            row=row,
            succeeded=known.outcome is RowOutcome.SUCCESS,
            retry=retry,
            code=known.code,
            message=known.message,
            model=known.model,
        )

    def _settle(
        self,
        found: tuple[SentShard, int] | None,
        custom_id: str,
        before: bytes | None,
        answers: _Answers,
    ) -> _MergedRow:
        now = self._settled_now(found, custom_id, before, answers)
        if now.succeeded or before is None:
            return now
        earlier = self._settled_before(before)
        if not earlier.succeeded:
            return now
        # It was sent again because of its form; the outcome decides whether it may be retried
        # again.
        again = now.retry and self.job.options.retry_invalid_output
        return msgspec.structs.replace(earlier, retry=again)

    def _with_form(
        self, verdict: _MergedRow, line: bytes, before: bytes | None, schemas: SchemaChecks
    ) -> _MergedRow:
        """Return the outcome of an answered request, considering the form that it requested.

        Args:
            verdict: The newest answer, and whether the request may be sent again because of its
                form.
            line: The request.
            before: Its row after the previous attempt.
            schemas: Validates answers against schemas.
        """
        if not is_invalid_output(verdict.row, line, schemas):
            return msgspec.structs.replace(verdict, retry=False)
        if before is not None and before != verdict.row:
            earlier = self._settled_before(before)
            if earlier.succeeded and not is_invalid_output(before, line, schemas):
                return earlier
        again = verdict.retry and self._may_send_again
        return msgspec.structs.replace(verdict, is_invalid=True, retry=again)

    def _settled_now(
        self,
        found: tuple[SentShard, int] | None,
        custom_id: str,
        before: bytes | None,
        answers: _Answers,
    ) -> _MergedRow:
        """Return the outcome of a request in this attempt."""
        if found is None:
            raise ValueError("A request of the first attempt was not sent")
        shard, position = found
        if self.calls is not None:
            return self._settle_called(shard, position, custom_id, before, answers)
        row = shard.index.read(custom_id)
        known = classify_row(row) if row is not None else None
        if row is not None and known is not None:
            if known.outcome is RowOutcome.SUCCESS:
                shard.succeeded += 1
                answers.add(known)
                again = self.job.options.retry_invalid_output
                return _MergedRow(row=row, succeeded=True, retry=again, model=known.model)
            return _from_row(row, known)
        shard.index.unreadable += row is not None
        if before is not None and not shard.was_sent:
            return self._settled_before(before, retry=self.past_deadline)
        code, message, retry = self._without_row(shard, position)
        return _from_pipeline(custom_id, code, message, retry=retry)

    def _settle_called(
        self,
        shard: SentShard,
        position: int,
        custom_id: str,
        before: bytes | None,
        answers: _Answers,
    ) -> _MergedRow:
        """Return the outcome of a request in an attempt of ordinary calls."""
        assert self.calls is not None  # noqa: S101  (checked by the caller)
        row = shard.index.read(custom_id)
        known = classify_row(row) if row is not None else None
        if row is not None and known is not None:
            answers.asked()
            if known.outcome is RowOutcome.SUCCESS:
                answers.add(known)
                return _MergedRow(row=row, succeeded=True, retry=False)
            return msgspec.structs.replace(_from_row(row, known), retry=False)
        left = UnansweredReason.of(
            self.calls,
            shard.number,
            position,
            before=classify_row(before) if before is not None else None,
            has_price=lambda: self._has_price(answers),
        )
        if left.was_begun:
            answers.asked()
        if left.code != ErrorCode.OUTCOME_UNKNOWN and self.stop is not None:
            if before is not None and self.stop.status != "cancelled":
                return self._settled_before(before)
            is_cancelled = self.stop.status == "cancelled"
            code: str = ErrorCode.CANCELLED if is_cancelled else ErrorCode.NOT_SENT
            message = self.stop.message
        else:
            code, message = left.code, left.message
        return _from_pipeline(custom_id, code, message, retry=False)

    def _has_price(self, answers: _Answers) -> bool:
        """Tell whether the price of the current request's model is known."""
        prices = self.job.prices or table_prices()
        return prices.of(answers.model()) is not None

    def _without_row(self, shard: SentShard, position: int) -> tuple[str, str, bool]:
        """Return code, message and whether to retry, for a request without a row."""
        batch, index = shard.entry.batch, shard.index
        if not shard.was_sent and shard.may_have_been_sent:
            return ErrorCode.OUTCOME_UNKNOWN, _UNKNOWN_CREATE, False
        if not shard.was_sent:
            reason = "Its batch could not be created."
            if self.stop is not None:
                reason = self.stop.message
            elif self.past_deadline:
                reason = "The deadline passed before its batch was created."
            return ErrorCode.NOT_SENT, f"This request was not sent. {reason}", self.past_deadline
        if position in shard.issues:
            return ErrorCode.BATCH_FAILED, shard.refusal_text(position), False
        if batch is None or batch.status == "failed":
            # The batch ran nothing. If it has rows after all and they are lost, they were paid for.
            return ErrorCode.BATCH_FAILED, shard.refusal_text(position), not index.is_lost
        if self.stop is not None and batch.status != "completed":
            if self.stop.status == "cancelled":
                return ErrorCode.CANCELLED, self.stop.message, False
            return ErrorCode.MISSING, f"The batch gave no answer: {self.stop.message}", False
        if index.is_lost:
            text = (
                f"The results of batch {batch.id} could not be fetched from Groq, so this answer "
                f"is lost. {SEND_AGAIN}"
            )
            return ErrorCode.MISSING, text, False
        text = (
            f"Batch {batch.id} ended as {batch.status} without a row for this request. {SEND_AGAIN}"
        )
        return ErrorCode.MISSING, text, batch.is_terminal


def _count_failure(
    summary: ShardResult,
    verdict: _MergedRow,
    line: int | None,
    custom_id: str,
    *,
    goes_again: bool,
) -> None:
    """Count a request without a success; the summary lists the first of them individually."""
    summary.failed += 1
    if not goes_again:
        count_name(summary.failed_for_good, verdict.code or _NO_CODE)
    summary.stats.failures.add(verdict.code, line, verdict.message)
    if len(summary.errors) < _MAX_ERRORS:
        summary.errors.append(
            {
                "line": line,
                "custom_id": shown(custom_id),
                "code": verdict.code,
                "message": verdict.message or _NO_TEXT,
            }
        )


def _from_row(row: bytes, known: Row) -> _MergedRow:
    """Return the outcome of a row without an answer."""
    return _MergedRow(
        row=row,
        succeeded=False,
        retry=known.outcome is RowOutcome.RETRYABLE,
        code=known.code,
        message=(known.message or "")[:_MAX_MESSAGE] or None,
    )


def _from_pipeline(custom_id: str, code: str, message: str, *, retry: bool) -> _MergedRow:
    """Return the outcome of a request without a row of the API, with a row of the pipeline."""
    row = pipeline_row(custom_id, code=code, message=message).rstrip(b"\n")
    return _MergedRow(row=row, succeeded=False, retry=retry, code=code, message=message)


class _Answers:
    """Counts the usage of this attempt's answers, many at a time for speed."""

    def __init__(self, summary: ShardResult) -> None:
        self._summary = summary
        self._rows: list[Row] = []
        self.request: tuple[ShardLines, int] | None = None

    def model(self) -> str:
        """Return the model that the current request names."""
        if self.request is None:
            return ""
        origin, place = self.request
        return model_of(origin.request_line(place))

    def asked(self) -> None:
        """Count the current request as one for which an ordinary call was begun."""
        self._summary.asked += 1

    def add(self, row: Row) -> None:
        """Count the answer to the current request."""
        if not row.model and self.request is not None:
            # Audio answers name no model: use the requested one.
            row = msgspec.structs.replace(row, model=self.model())
        self._rows.append(row)
        if len(self._rows) == _COUNTED_AT_ONCE:
            self.count()

    def count(self) -> None:
        """Add the collected counts to the summary."""
        rows, self._rows = self._rows, []
        summary, stats = self._summary, self._summary.stats
        summary.batch_succeeded += len(rows)
        usages = [row.usage for row in rows if row.usage is not None]
        stats.prompt_tokens.add_all([usage.prompt_tokens for usage in usages])
        stats.completion_tokens.add_all([usage.completion_tokens for usage in usages])
        seconds = [row.seconds for row in rows if row.seconds is not None]
        stats.milliseconds.add_all([round(value * 1000) for value in seconds])
        for reason, count in Counter(row.finish_reason or "" for row in rows).items():
            if reason:
                count_name(stats.finish_reasons, reason, count)
        for row in rows:
            tokens = None
            if row.usage is not None:
                tokens = (row.usage.prompt_tokens, row.usage.completion_tokens)
                used = summary.usage.setdefault(row.model or "", [0, 0, 0])
                used[0] += row.usage.prompt_tokens
                used[1] += row.usage.completion_tokens
                used[2] += row.usage.total_tokens
            summary.answers[row.model or ""].add(tokens, row.audio_seconds)


class _LinesToRetry(ExitStack):
    """The lines of an attempt's shards that are kept for another attempt.

    Each writer buffers one part of an upload, but together no more than an origin shard's size.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self._storage = storage
        self._outputs: dict[str, _Output] = {}

    def write(self, key: str, line: bytes) -> None:
        """Append a line to the object at a key."""
        output = self._outputs.get(key)
        if output is None:
            writer = ObjectWriter(self._storage, key)
            output = self.enter_context(_Output(writer, compressed=False))
            self._outputs[key] = output
        output.write(line)


class _Output:
    """Writes bytes into an object, optionally as one gzip member; without bytes, no object."""

    def __init__(self, writer: ObjectWriter, compressed: bool) -> None:
        self._writer = writer
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31) if compressed else None
        self._is_empty = True
        # Rows are written in groups: handling each on its own would cost more than the rest.
        self._rows: list[bytes] = []
        self._size = 0
        self.bytes_written = 0

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes) -> None:
        """Buffer bytes, and write them on once there are enough."""
        self._rows.append(data)
        self._size += len(data)
        if self._size >= _WRITE_BYTES:
            self._pass_on()

    def _pass_on(self) -> None:
        if not self._rows:
            return
        data = b"".join(self._rows)
        self._rows, self._size, self._is_empty = [], 0, False
        self._writer.write(self._gzip.compress(data) if self._gzip else data)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._pass_on()
        if kind is not None or self._is_empty:
            self._writer.abort()
            return
        if self._gzip is not None:
            self._writer.write(self._gzip.flush())
        self.bytes_written = self._writer.bytes_written
        self._writer.commit()
