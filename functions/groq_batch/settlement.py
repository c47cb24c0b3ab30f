"""Settles every request of a shard after an attempt: its row, and whether it is tried again.

The rows of an attempt are merged with those of the attempt before, in the order of the requests,
so that after every attempt a shard's results are complete: a success stays, everything else is
replaced by what is known now. What may be tried again becomes the same shard of the next attempt.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import msgspec

from groq_batch import layout
from groq_batch.batches import Batch, BatchIssue
from groq_batch.boards import BoardEntry
from groq_batch.checks import shown
from groq_batch.jobs import JobRecord, JobRequest, ShardSummary, Stop
from groq_batch.jsonl import decompress
from groq_batch.measures import count_name
from groq_batch.regions import Region, SkippedLine
from groq_batch.result_index import ResultIndex
from groq_batch.rows import Row, RowOutcome, classify_row, custom_id_of, model_of, pipeline_row
from groq_batch.storage import LineReader, ObjectWriter, Storage
from groq_batch.submissions import Stage

_MAX_ERRORS = 100
_MAX_MESSAGE = 500
_NO_TEXT = "The API gave no text for this error; see its code, and the row in the results."
_WRITE_BYTES = 256 * 1024
_COUNTED_AT_ONCE = 1000

TRANSIENT_BATCH_CODES = frozenset(
    {
        "capacity_exceeded",
        "capacity_exhausted",
        "internal_error",
        "internal_server_error",
        "rate_limit_exceeded",
        "server_error",
        "service_unavailable",
        "token_limit_exceeded",
    }
)
"""Codes of a batch refused as a whole that the same requests may not meet again: field reports of
Groq, and OpenAI's and Azure's documents for APIs of the same shape. Any other refusal stands."""


class _Verdict(msgspec.Struct, frozen=True, gc=False):
    """A request's row after this attempt."""

    row: bytes
    succeeded: bool
    retry: bool
    code: str | None = None
    message: str | None = None


@dataclass(slots=True)
class _SentLines:
    """Tells where a request stands in this attempt's file, from 1.

    The file of the first attempt is what is being settled, line by line, and is not read for this.
    """

    positions: dict[str, int] | None = None
    count: int = 0

    def position_of(self, custom_id: str) -> int | None:
        """Return the next request's line; None when it is not in the file."""
        if self.positions is not None:
            return self.positions.get(custom_id)
        self.count += 1
        return self.count


@dataclass(slots=True, kw_only=True)
class Settlement:
    """Writes what is known of a shard's requests after one attempt."""

    storage: Storage
    keys: layout.WorkKeys
    job: JobRecord
    stop: Stop | None
    attempt: int
    number: int
    entry: BoardEntry
    index: ResultIndex
    uses_kept_ids: bool = True

    def run(self) -> ShardSummary:
        """Write a shard's results, failed lines and left-overs; returns what was counted."""
        summary = ShardSummary(attempt=self.attempt, number=self.number)
        answers = _Answers(summary)
        path_is_gzip = self._is_gzip()
        sent = self._sent_lines()
        self._give_up_unknown_lines(sent)
        issues = self._issues_by_position()
        earlier = self._earlier_rows(path_is_gzip)
        retry_allowed = self.stop is None and self.attempt < self.job.options.max_attempts
        with (
            Region(
                self.storage,
                self.keys,
                self.job,
                self.number,
                uses_kept_ids=self.uses_kept_ids,
            ) as region,
            _Output(
                self.storage.writer(self.keys.results(self.attempt, self.number)), path_is_gzip
            ) as results,
            _Output(
                self.storage.writer(self.keys.failed(self.attempt, self.number)), path_is_gzip
            ) as failed,
            _Output(
                self.storage.writer(self.keys.shard(self.attempt + 1, self.number)), False
            ) as left_over,
        ):
            for line_number, item in enumerate(region, start=region.first_line):
                before = next(earlier) if earlier is not None else None
                if isinstance(item, SkippedLine):
                    results.write(item.row())
                    for piece in item.pieces:
                        failed.write(piece)
                    continue
                place, custom_id = item
                answers.request = (region, place)
                position = sent.position_of(custom_id)
                verdict = (
                    self._settled_before(before)
                    if before is not None and position is None
                    else self._settle(custom_id, before, issues.get(position or 0), answers)
                )
                results.write(verdict.row + b"\n")
                if verdict.succeeded:
                    summary.succeeded += 1
                    continue
                summary.failed += 1
                line = region.request_line(place)
                failed.write(line)
                if retry_allowed and verdict.retry:
                    left_over.write(line)
                    summary.left_over += 1
                known_line = line_number if region.lines_are_known else None
                summary.measures.failures.add(verdict.code, known_line, verdict.message)
                if len(summary.errors) < _MAX_ERRORS:
                    summary.errors.append(
                        {
                            "line": known_line,
                            "custom_id": shown(custom_id),
                            "code": verdict.code,
                            "message": verdict.message or _NO_TEXT,
                        }
                    )
        answers.count()
        batch = self.entry.batch
        if batch is not None:
            summary.sent = sent.count
            summary.file_ids = [one for one in (batch.output_file_id, batch.error_file_id) if one]
        summary.anomalies = self.index.repeated + self.index.unreadable
        summary.results_bytes = results.bytes_written
        summary.failed_bytes = failed.bytes_written
        return summary

    # -- what the shard holds --------------------------------------------------------------------

    def _is_gzip(self) -> bool:
        request = JobRequest.load(self.storage, self.keys.job)
        return request is not None and layout.is_gzip(request.path)

    def _sent_lines(self) -> _SentLines:
        if self.attempt == 1:
            return _SentLines()
        lines = LineReader(self.storage.chunks(self.keys.shard(self.attempt, self.number)))
        positions = {custom_id_of(line): position for position, line in enumerate(lines, start=1)}
        return _SentLines(positions, len(positions))

    def _earlier_rows(self, compressed: bool) -> Iterator[bytes] | None:
        """Return the rows after the attempt before, in the order of the region."""
        if self.attempt == 1:
            return None
        # A shard without left-overs is not part of the next attempt, so the attempt before has it.
        pieces: Iterable[bytes] = self.storage.chunks(
            self.keys.results(self.attempt - 1, self.number)
        )
        return iter(LineReader(decompress(pieces) if compressed else pieces))

    def _give_up_unknown_lines(self, sent: _SentLines) -> None:
        """Take what the API says of a line that was not sent as said of the whole batch."""
        if self.entry.batch is None:
            return
        count = sent.count
        if sent.positions is None:
            count = next(one.requests for one in self.job.shards if one.number == self.number)
        errors = tuple(
            issue if (issue.line or 0) <= count else replace(issue, line=None)
            for issue in self.entry.batch.errors
        )
        self.entry.batch = replace(self.entry.batch, errors=errors)

    def _issues_by_position(self) -> dict[int, BatchIssue]:
        if self.entry.batch is None:
            return {}
        return {issue.line: issue for issue in self.entry.batch.errors if issue.line}

    # -- what becomes of a request ---------------------------------------------------------------

    def _settled_before(self, row: bytes) -> _Verdict:
        known = classify_row(row)
        if known is None:
            raise ValueError("A stored result row cannot be read")
        return _Verdict(
            row=row,
            succeeded=known.outcome is RowOutcome.SUCCESS,
            retry=False,
            code=known.code,
            message=known.message,
        )

    def _settle(
        self, custom_id: str, before: bytes | None, issue: BatchIssue | None, answers: _Answers
    ) -> _Verdict:
        row = self.index.read(custom_id)
        known = classify_row(row) if row is not None else None
        if row is not None and known is not None:
            return self._from_row(row, known, answers)
        self.index.unreadable += row is not None
        if before is not None and self._was_not_sent():
            return self._settled_before(before)
        code, message, retry = self._without_row(issue)
        return _Verdict(
            row=pipeline_row(custom_id, code=code, message=message).rstrip(b"\n"),
            succeeded=False,
            retry=retry,
            code=code,
            message=message,
        )

    def _from_row(self, row: bytes, known: Row, answers: _Answers) -> _Verdict:
        if known.outcome is RowOutcome.SUCCESS:
            answers.add(known)
            return _Verdict(row=row, succeeded=True, retry=False)
        return _Verdict(
            row=row,
            succeeded=False,
            retry=known.outcome is RowOutcome.RETRYABLE,
            code=known.code,
            message=(known.message or "")[:_MAX_MESSAGE] or None,
        )

    def _was_not_sent(self) -> bool:
        return self.entry.batch is None and self.entry.stage is not Stage.REFUSED

    def _without_row(self, issue: BatchIssue | None) -> tuple[str, str, bool]:
        """Return code, message and whether to try again for a request that has no row."""
        batch = self.entry.batch
        if batch is None:
            return self._not_created()
        if issue is not None:
            return "batch_failed", _issue_text(issue), False
        if batch.status == "failed":
            return self._failed_batch(batch)
        if self.stop is not None and batch.status != "completed":
            if self.stop.status == "cancelled":
                return "cancelled", self.stop.message, False
            return "missing", f"The batch gave no answer: {self.stop.message}", False
        if self.index.is_lost:
            text = (
                f"The results of batch {batch.id} could not be fetched from Groq, so this answer "
                f"is lost. Send the request again from failed/."
            )
            return "missing", text, False
        text = (
            f"Batch {batch.id} ended as {batch.status} without a row for this request. Send the "
            f"request again from failed/."
        )
        return "missing", text, batch.is_terminal

    def _not_created(self) -> tuple[str, str, bool]:
        error = self.entry.error or {}
        if self.entry.stage is Stage.REFUSED:
            text = f"{error.get('code') or 'refused'}: {error.get('message') or 'no text given'}"
            return "batch_failed", f"Groq refused the batch: {text}"[:_MAX_MESSAGE], False
        reason = self.stop.message if self.stop else "Its batch could not be created."
        return "not_sent", f"This request was not sent. {reason}", False

    def _failed_batch(self, batch: Batch) -> tuple[str, str, bool]:
        """A batch refused at validation ran nothing; what was not at fault may run without it."""
        whole = [issue for issue in batch.errors if not issue.line]
        if batch.errors and not whole:
            text = _issue_text(batch.errors[0])
            return "batch_failed", f"Another line of the batch was refused. {text}", True
        text = _issue_text(whole[0]) if whole else "Groq gave no reason."
        may_pass = any(issue.code in TRANSIENT_BATCH_CODES for issue in whole)
        return "batch_failed", text, may_pass


class _Answers:
    """Counts what the answers of this attempt took, many at a time for the sake of speed."""

    def __init__(self, summary: ShardSummary) -> None:
        self._summary = summary
        self._rows: list[Row] = []
        self.request: tuple[Region, int] | None = None

    def add(self, row: Row) -> None:
        """Count the answer to the request at hand."""
        if not row.model and self.request is not None:
            # As of audio: then it is the one that was asked.
            region, place = self.request
            row = msgspec.structs.replace(row, model=model_of(region.request_line(place)))
        self._rows.append(row)
        if len(self._rows) == _COUNTED_AT_ONCE:
            self.count()

    def count(self) -> None:
        """Put what was added into the summary."""
        rows, self._rows = self._rows, []
        summary, measures = self._summary, self._summary.measures
        summary.batch_succeeded += len(rows)
        usages = [row.usage for row in rows if row.usage is not None]
        measures.prompt_tokens.add_all([usage.prompt_tokens for usage in usages])
        measures.completion_tokens.add_all([usage.completion_tokens for usage in usages])
        seconds = [row.seconds for row in rows if row.seconds is not None]
        measures.milliseconds.add_all([round(value * 1000) for value in seconds])
        for reason, count in Counter(row.finish_reason or "" for row in rows).items():
            if reason:
                count_name(measures.finish_reasons, reason, count)
        for row in rows:
            tokens = None
            if row.usage is not None:
                tokens = (row.usage.prompt_tokens, row.usage.completion_tokens)
                used = summary.usage.setdefault(row.model or "", [0, 0, 0])
                used[0] += row.usage.prompt_tokens
                used[1] += row.usage.completion_tokens
                used[2] += row.usage.total_tokens
            summary.answers[row.model or ""].add(tokens, row.audio_seconds)


def _issue_text(issue: BatchIssue) -> str:
    return f"{issue.code or 'refused'}: {issue.message or 'no text given'}"[:_MAX_MESSAGE]


class _Output:
    """Bytes into an object, compressed as one gzip member when asked; no bytes, no object."""

    def __init__(self, writer: ObjectWriter, compressed: bool) -> None:
        self._writer = writer
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31) if compressed else None
        self._is_empty = True
        # Rows are passed on together: each on its own would cost more than is done with it.
        self._rows: list[bytes] = []
        self._size = 0
        self.bytes_written = 0

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes) -> None:
        """Append bytes."""
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._pass_on()
        if kind is not None or self._is_empty:
            self._writer.abort()
            return
        if self._gzip is not None:
            self._writer.write(self._gzip.flush())
        self.bytes_written = self._writer.bytes_written
        self._writer.commit()
