"""Collect one shard attempt: fetch the batch's files and settle every request of the shard.

The rows of an attempt are merged with those of the attempt before, in the order of the requests,
so that after every attempt a shard's results are complete: a success stays, everything else is
replaced by what is known now. What may be tried again becomes the same shard of the next attempt.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import zlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec

from groq_batch import layout, metrics
from groq_batch.batches import Batch, BatchIssue
from groq_batch.boards import Board, BoardEntry
from groq_batch.checks import shown
from groq_batch.errors import AccountError, GroqApiError, NotFoundError, RateLimitedError
from groq_batch.groq_api import GroqClient
from groq_batch.jobs import (
    JobRecord,
    JobRequest,
    ShardRecord,
    ShardSummary,
    Stop,
    is_closed,
)
from groq_batch.jsonl import decompress
from groq_batch.measures import count_name
from groq_batch.observability import facts, logger
from groq_batch.read_ahead import read_ahead
from groq_batch.rows import Row, RowOutcome, classify_row, pipeline_row
from groq_batch.storage import READ_BYTES, LineReader, ObjectWriter, Storage
from groq_batch.submissions import Stage
from groq_batch.submit import LONGEST_RETRY_AFTER_SECONDS, account_refusal, backoff_seconds

_MAX_ERRORS = 100
_MISSING_FILE_TRIES = 5
_ROUNDS_WITH_RESULTS = 3
"""How often the results of a shard are fetched once the job has given up waiting. A function that
dies of them each time, for want of memory, then stores the shard's rows without them."""

_MAX_MESSAGE = 500
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOutcome:
    """What the state machine does next with this shard attempt.

    Attributes:
        outcome: ``settled``, ``wait`` (try again after ``wait_seconds``) or ``deferred`` (the job
            decides, not the shard).
        wait_seconds: Seconds to wait before the next try; an integer, as Wait states want it.
    """

    outcome: str
    wait_seconds: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return asdict(self)


class DiskFullError(Exception):
    """The result files do not fit into the function's temporary storage."""


def download_shard(
    *,
    storage: Storage,
    client: GroqClient,
    job_id: str,
    shard_key: str,
    tries: int,
    folder: Path | None = None,
) -> DownloadOutcome:
    """Collect a shard attempt's rows and store the shard's results, failed lines and left-overs.

    Args:
        storage: The bucket.
        client: The Groq API.
        job_id: The job.
        shard_key: The key of the shard attempt's request lines.
        tries: How often this shard attempt has been tried in this round.
        folder: Where the result files are kept while they are read; the temporary folder when None.

    Raises:
        ValueError: ``shard_key`` is not a shard's, or the job has no record.
        DiskFullError: The result files do not fit on the disk.
    """
    attempt, number = layout.shard_of_key(shard_key)
    keys = layout.WorkKeys(job_id)
    if is_closed(storage, keys) or storage.exists(keys.summary(attempt, number)):
        return DownloadOutcome(outcome="settled")
    job = JobRecord.load(storage, keys)
    board = Board.load(storage, keys, attempt)
    if job is None or board is None:
        raise ValueError(f"The job {job_id} has no record of attempt {attempt}")
    entry = board.entries.get(number, BoardEntry())
    index = ResultIndex()
    work = Path(tempfile.mkdtemp(prefix="results-", dir=folder))
    try:
        try:
            if board.lost and board.download_rounds > _ROUNDS_WITH_RESULTS:
                index.is_lost = True
            elif entry.batch is not None:
                entry.batch = _look_again(client, entry.batch, tries)
                if not entry.batch.is_terminal and not board.lost:
                    return DownloadOutcome(outcome="deferred")
                _fetch(client, entry.batch, index, work, tries)
        except GroqApiError as error:
            logger.warning("Results could not be fetched", **facts(error))
            metrics.groq_failed(error)
            if not board.lost:
                return _after_error(storage, keys, error, tries)
            index.is_lost = True
        _settle_shard(
            storage=storage,
            keys=keys,
            job=job,
            attempt=attempt,
            number=number,
            entry=entry,
            index=index,
        )
    finally:
        index.close()
        shutil.rmtree(work, ignore_errors=True)
    return DownloadOutcome(outcome="settled")


def settle_shard_at_last(
    *, storage: Storage, client: GroqClient, job_id: str, shard_key: str
) -> None:
    """Store a shard's rows with what Groq gives now; the last resort of a job.

    A shard that has been collected is left as it is. The attempt's board says that nobody waits for
    its batches any more.

    Args:
        storage: The bucket.
        client: The Groq API.
        job_id: The job.
        shard_key: The key of the shard attempt's request lines.
    """
    try:
        download_shard(
            storage=storage,
            client=client,
            job_id=job_id,
            shard_key=shard_key,
            tries=_MISSING_FILE_TRIES,
        )
    except Exception:  # noqa: BLE001
        # Whatever keeps this shard's rows from being read must not keep the job from its end.
        logger.exception("A shard could not be collected; its requests get rows that say so")
        _settle_without_results(storage, job_id, shard_key)


def _settle_without_results(storage: Storage, job_id: str, shard_key: str) -> None:
    """Store a shard's rows without what Groq knows of them."""
    attempt, number = layout.shard_of_key(shard_key)
    keys = layout.WorkKeys(job_id)
    job = JobRecord.load(storage, keys)
    board = Board.load(storage, keys, attempt)
    if job is None or board is None:
        return
    index = ResultIndex()
    index.is_lost = True
    _settle_shard(
        storage=storage,
        keys=keys,
        job=job,
        attempt=attempt,
        number=number,
        entry=board.entries.get(number, BoardEntry()),
        index=index,
    )


def _settle_shard(
    *,
    storage: Storage,
    keys: layout.WorkKeys,
    job: JobRecord,
    attempt: int,
    number: int,
    entry: BoardEntry,
    index: ResultIndex,
) -> None:
    """Write a shard's rows, failed lines and left-overs, and last the summary that says so."""
    summary = _Settlement(
        storage=storage,
        keys=keys,
        job=job,
        stop=Stop.load(storage, keys),
        attempt=attempt,
        number=number,
        entry=entry,
        index=index,
    ).run()
    storage.put_json(keys.summary(attempt, number), summary.to_json())
    logger.info(
        "Collected a shard",
        succeeded=summary.succeeded,
        failed=summary.failed,
        left_over=summary.left_over,
        anomalies=summary.anomalies,
    )


def _look_again(client: GroqClient, batch: Batch, tries: int) -> Batch:
    """Return the batch as it is now where the board's view of it may be too old to settle on.

    That is a batch that was running when last seen, and one that has done work but names no file:
    its files may show later than its end.

    Raises:
        GroqApiError: Groq cannot be asked now.
    """
    has_files = batch.output_file_id is not None or batch.error_file_id is not None
    if batch.is_terminal and (has_files or batch.status == "failed"):
        return batch
    batch = client.retrieve_batch(batch.id)
    has_files = batch.output_file_id is not None or batch.error_file_id is not None
    done = batch.counts.completed + batch.counts.failed
    if batch.is_terminal and done and not has_files and tries < _MISSING_FILE_TRIES:
        raise NotFoundError(f"Batch {batch.id} has ended but names no file yet.")
    return batch


def _after_error(
    storage: Storage, keys: layout.WorkKeys, error: GroqApiError, tries: int
) -> DownloadOutcome:
    """Wait for an API out of reach; leave a fault of the account to the job, which reports it."""
    if isinstance(error, AccountError):
        account_refusal(error).record(storage, keys)
        return DownloadOutcome(outcome="deferred")
    seconds = backoff_seconds(tries)
    if isinstance(error, RateLimitedError) and error.retry_after_seconds is not None:
        seconds = min(error.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
    return DownloadOutcome(outcome="wait", wait_seconds=max(1, math.ceil(seconds)))


# -- the rows of the API -------------------------------------------------------------------------


class _CustomId(msgspec.Struct):
    """What every line has, be it a request or a row; decoding it skips the rest."""

    custom_id: str


_custom_id = msgspec.json.Decoder(_CustomId)
_text = msgspec.json.Decoder(str)


def _id_of_row(line: bytes) -> str | None:
    """Return whose row a line is; None when it cannot be read as one."""
    try:
        return _custom_id.decode(line).custom_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        row = classify_row(line)
    return row.custom_id if row else None


class ResultIndex:
    """Finds the API's row of a custom_id in files on disk; keeps places, never rows."""

    def __init__(self) -> None:
        # File, offset and length of a row.
        self._places: dict[str, tuple[int, int, int]] = {}
        self._sources: list[BinaryIO] = []
        self.repeated = 0
        self.unreadable = 0
        self.is_lost = False

    def __len__(self) -> int:
        return len(self._places)

    def keep(self, source: BinaryIO) -> BinaryIO:
        """Take a file over: it is closed with the index."""
        self._sources.append(source)
        return source

    def add(self, source: BinaryIO) -> None:
        """Index a file; of an id that comes twice a success is kept, else the first row.

        Args:
            source: A file that was given to ``keep``.
        """
        number = self._sources.index(source)
        source.seek(0)
        offset = 0
        for line in source:
            length = len(line)
            custom_id = _id_of_row(line)
            if custom_id is None:
                self.unreadable += bool(line.strip())
            elif custom_id not in self._places:
                self._places[custom_id] = (number, offset, length)
            else:
                self.repeated += 1
                if _is_success(line) and not _is_success(self._row_at(self._places[custom_id])):
                    self._places[custom_id] = (number, offset, length)
            offset += length

    def read(self, custom_id: str) -> bytes | None:
        """Return a row without its line end, or None when the API gave none for this id."""
        place = self._places.get(custom_id)
        if place is None:
            return None
        return self._row_at(place).removeprefix(BOM_UTF8).rstrip(b"\r\n")

    def _row_at(self, place: tuple[int, int, int]) -> bytes:
        number, offset, length = place
        # Without a position of its own: the file may be being read from its beginning to its end.
        return os.pread(self._sources[number].fileno(), length, offset)

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.close()


def _is_success(line: bytes) -> bool:
    row = classify_row(line)
    return row is not None and row.outcome is RowOutcome.SUCCESS


def _fetch(client: GroqClient, batch: Batch, index: ResultIndex, work: Path, tries: int) -> None:
    """Download and index the files of a batch that has ended.

    Raises:
        GroqApiError: Groq cannot be read now. A file that does not exist counts as one that is lost
            once it has been missing for some tries.
    """
    for name, file_id in (("output", batch.output_file_id), ("errors", batch.error_file_id)):
        if file_id is None:
            continue
        target = index.keep((work / name).open("w+b"))
        try:
            client.download_file(file_id, target)
        except NotFoundError:
            if tries < _MISSING_FILE_TRIES:
                raise
            index.is_lost = True
            logger.warning("A result file does not exist any more", file_id=file_id)
            continue
        except OSError as error:
            raise DiskFullError(
                f"The results of batch {batch.id} do not fit into the temporary storage of the "
                f"function; give DownloadResultsFunction more EphemeralStorage ({error.strerror})"
            ) from error
        index.add(target)


# -- settling ------------------------------------------------------------------------------------


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
class _Settlement:
    """Writes what is known of a shard's requests after one attempt."""

    storage: Storage
    keys: layout.WorkKeys
    job: JobRecord
    stop: Stop | None
    attempt: int
    number: int
    entry: BoardEntry
    index: ResultIndex

    def run(self) -> ShardSummary:
        summary = ShardSummary(attempt=self.attempt, number=self.number)
        answers = _Answers(summary)
        path_is_gzip = self._is_gzip()
        sent = self._sent_lines()
        issues = self._issues_by_position()
        earlier = self._earlier_rows(path_is_gzip)
        retry_allowed = self.stop is None and self.attempt < self.job.options.max_attempts
        with (
            _RequestLines(self.storage, self.keys.shard(1, self.number)) as lines,
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
            for line_number, item in enumerate(self._region(lines), start=self._first_line()):
                before = next(earlier) if earlier is not None else None
                if isinstance(item, _SkippedLine):
                    results.write(item.row())
                    for piece in item.pieces:
                        failed.write(piece)
                    continue
                place, custom_id = item
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
                line = lines.line(place) + b"\n"
                failed.write(line)
                if retry_allowed and verdict.retry:
                    left_over.write(line)
                    summary.left_over += 1
                known_line = line_number if self._lines_are_known() else None
                summary.measures.failures.add(verdict.code, known_line, verdict.message)
                if len(summary.errors) < _MAX_ERRORS:
                    summary.errors.append(
                        {
                            "line": known_line,
                            "custom_id": shown(custom_id),
                            "code": verdict.code,
                            "message": verdict.message,
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

    def _first_line(self) -> int:
        """Return the place among the input's non-blank lines of the shard's first one, from 1."""
        before = (item for item in self.job.shards if item.number < self.number)
        return 1 + sum(item.requests + item.skipped for item in before)

    def _lines_are_known(self) -> bool:
        """Tell whether those places are the lines' numbers: no line of the input is blank."""
        return self.job.lines == self.job.total

    def _region(self, lines: _RequestLines) -> Iterator[tuple[int, str] | _SkippedLine]:
        """Yield the non-blank input lines of the shard in order, of good ones place and id."""
        shard = next(item for item in self.job.shards if item.number == self.number)
        good = enumerate(self._custom_ids(shard, lines))
        if shard.skipped:
            raw = _Raw(self.storage.open(self.keys.skipped_raw(self.number)))
            position = 0
            for index_line in LineReader(self.storage.chunks(self.keys.skipped_index(self.number))):
                problem = msgspec.json.decode(index_line)
                while position < problem["position"]:
                    yield next(good)
                    position += 1
                yield _SkippedLine(problem, raw.pieces(problem["bytes"] + 1))
                position += 1
        yield from good

    def _custom_ids(self, shard: ShardRecord, lines: _RequestLines) -> Iterator[str]:
        """Yield the ids of the shard's requests in order.

        Raises:
            ValueError: There are not as many as the plan says.
        """
        ids = shard.ids
        if not ids.part:
            # They were not kept when this job was prepared.
            for place in range(shard.requests):
                yield _custom_id.decode(lines.line(place)).custom_id
            return
        key = self.keys.custom_ids(ids.part)
        count = 0
        with closing(self.storage.chunks(key, first=ids.first, length=ids.size)) as pieces:
            for line in LineReader(pieces):
                count += 1
                yield _text.decode(line)
        if count != shard.requests:
            raise ValueError(
                f"{key} has {count} ids for shard {shard.number}, not {shard.requests} as the plan "
                f"says"
            )

    def _sent_lines(self) -> _SentLines:
        if self.attempt == 1:
            return _SentLines()
        lines = LineReader(self.storage.chunks(self.keys.shard(self.attempt, self.number)))
        positions = {
            _custom_id.decode(line).custom_id: position
            for position, line in enumerate(lines, start=1)
        }
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

    def add(self, row: Row) -> None:
        """Count an answer."""
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
            if row.usage is not None:
                used = summary.usage.setdefault(row.model or "", [0, 0, 0])
                used[0] += row.usage.prompt_tokens
                used[1] += row.usage.completion_tokens
                used[2] += row.usage.total_tokens


def _issue_text(issue: BatchIssue) -> str:
    return f"{issue.code or 'refused'}: {issue.message or 'no text given'}"[:_MAX_MESSAGE]


class _RequestLines:
    """The lines of a shard, read as far as they are asked for: of most shards none is."""

    def __init__(self, storage: Storage, key: str) -> None:
        self._storage = storage
        self._key = key
        self._pieces: Generator[bytes] | None = None
        self._lines: Iterator[bytes] = iter(())
        self._next = 0
        self._line = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pieces is not None:
            self._pieces.close()

    def line(self, place: int) -> bytes:
        """Return a line without its end; places, from 0, are asked for in order, some twice.

        Raises:
            ValueError: There is no such line.
        """
        if self._pieces is None:
            self._pieces = read_ahead(self._storage.chunks(self._key))
            self._lines = iter(LineReader(self._pieces))
        if place >= self._next:
            skipped = place - self._next
            line = next(islice(self._lines, skipped, None), None)
            if line is None:
                raise ValueError(f"{self._key} has fewer lines than its plan says")
            self._line, self._next = line, place + 1
        return self._line


@dataclass(frozen=True, slots=True)
class _SkippedLine:
    """A bad line: what is wrong with it, and its bytes with the line end.

    It comes in pieces, for nothing limits the size of a line that is too long; they must be taken
    before the next line is asked for.
    """

    problem: dict[str, Any]
    pieces: Iterator[bytes]

    def row(self) -> bytes:
        """Return its result row."""
        found = self.problem
        return pipeline_row(found["custom_id"], code=found["code"], message=found["message"])


class _Raw:
    """Reads stretches of known length from a stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def pieces(self, length: int) -> Iterator[bytes]:
        """Yield the next ``length`` bytes."""
        missing = length
        while missing:
            piece = self._stream.read(min(missing, READ_BYTES))
            if not piece:
                raise ValueError("The stored bad lines are shorter than their index says")
            yield piece
            missing -= len(piece)


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
