"""Merge an attempt's rows into an origin shard's rows, and select the requests to send again.

An origin shard is a shard as cut from the input. In a later attempt its requests are in one shard,
or in several if it was divided. The rows of an attempt are merged with those of the attempt before,
in the order of the requests. So after every attempt an origin shard's results are complete: a
success is kept, everything else is replaced by the latest outcome (see ``merged_row``). Requests
that may be retried go into the same shard of the next attempt (see ``merge_rules``). A shard that
the API refused as a whole is copied there whole, or is divided by a separate step.

With ``retry-invalid-output``, a request whose answer does not have the requested form may be
retried as well. That answer remains the request's row until a newer answer arrives; a failure does
not replace it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from groq_batch.bucket.concat import join
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.s3_errors import MissingObjectError
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.result_row import classify_row, custom_id_of
from groq_batch.records.job import JobRequest
from groq_batch.records.shard_result import ShardResult
from groq_batch.request_file.lines import LineReader, decompress
from groq_batch.steps.download_results.merge_counts import RowCounter
from groq_batch.steps.download_results.merge_rules import MergeRules
from groq_batch.steps.download_results.merged_row import (
    GivenRow,
    MergedRow,
    SentRequest,
    row_after,
    row_before,
    with_form,
)
from groq_batch.steps.download_results.outputs import LinesToRetry, RowWriter
from groq_batch.steps.download_results.schema_checks import SchemaChecks
from groq_batch.steps.download_results.sent_shards import SentLines, SentShard
from groq_batch.steps.download_results.shard_lines import ShardLines, SkippedLine


@dataclass(slots=True, kw_only=True)
class ShardMerger:
    """Writes the rows of an origin shard's requests after one attempt.

    Attributes:
        storage: The bucket.
        keys: Keys of the job's working files.
        rules: What decides about the requests.
        shards: The attempt's shards with requests of the origin shard.
        uses_kept_ids: Whether to use the stored ids; otherwise the lines themselves are parsed.
    """

    storage: Storage
    keys: object_keys.WorkKeys
    rules: MergeRules
    shards: Sequence[SentShard]
    uses_kept_ids: bool = True

    def run(self) -> ShardResult:
        """Write results, failed lines and lines to retry of an origin shard; return the counts."""
        rules, storage, keys = self.rules, self.storage, self.keys
        place = (rules.attempt, rules.origin)
        summary = ShardResult(
            attempt=rules.attempt,
            number=rules.origin,
            on_demand=rules.calls is not None,
            was_stopped=rules.stop is not None,
        )
        counter = RowCounter(summary)
        is_gzip = self._is_gzip()
        sent = self._sent_lines()
        for shard in self.shards:
            shard.read_refusal(self._lines_of(shard), is_sent_again=rules.may_send_again)
        earlier = self._earlier_rows(compressed=is_gzip)
        checks_form = rules.job.options.retry_invalid_output
        may_retry, keeps_for_deadline = rules.may_retry, rules.keeps_for_deadline
        with (
            ShardLines(
                storage, keys, rules.job, rules.origin, uses_kept_ids=self.uses_kept_ids
            ) as lines,
            SchemaChecks() as schemas,
            RowWriter(ObjectWriter(storage, keys.results(*place)), compressed=is_gzip) as results,
            RowWriter(ObjectWriter(storage, keys.failed(*place)), compressed=is_gzip) as failed,
            LinesToRetry(storage) as to_retry,
        ):
            lines_are_known = lines.lines_are_known
            for line_number, item in enumerate(lines, start=lines.first_line):
                before = next(earlier) if earlier is not None else None
                if isinstance(item, SkippedLine):
                    results.write(item.row())
                    for piece in item.pieces:
                        failed.write(piece)
                    continue
                position, custom_id = item
                read_line = partial(lines.request_line, position)
                found = sent.find(custom_id)
                merged = self._merged(found, custom_id, before, read_line)
                if checks_form and merged.succeeded:
                    merged = with_form(rules, merged, read_line(), before, schemas)
                counter.add(merged, read_line)
                results.write(merged.row + b"\n")
                goes_again = False
                if found is not None and may_retry and merged.retry:
                    goes_again = not keeps_for_deadline
                    summary.to_retry += goes_again
                    summary.kept += keeps_for_deadline
                    if found[0].refused is None:
                        to_retry.write(rules.key_of_retry(keys, found[0].number), read_line())
                if merged.succeeded:
                    continue
                failed.write(read_line())
                known_line = line_number if lines_are_known else None
                counter.add_failure(merged, known_line, custom_id, goes_again=goes_again)
        counter.count_answers()
        for shard in self.shards:
            self._conclude(shard, summary)
        summary.unchecked_output = schemas.unknown
        summary.results_bytes = results.bytes_written
        summary.failed_bytes = failed.bytes_written
        return summary

    def _merged(
        self,
        found: tuple[SentShard, int] | None,
        custom_id: str,
        before: bytes | None,
        read_line: Callable[[], bytes],
    ) -> MergedRow:
        """Return a request's row after the attempt, whether it was part of the attempt or not."""
        if found is None:
            if before is None:
                raise ValueError("A request of the first attempt was not sent")
            return row_before(before)
        shard, position = found
        row = shard.index.read(custom_id)
        known = classify_row(row) if row is not None else None
        given = GivenRow(row, known) if row is not None and known is not None else None
        if self.rules.calls is None:
            shard.index.unreadable += row is not None and known is None
        request = SentRequest(shard, position, custom_id, given, before, read_line)
        merged = row_after(self.rules, request)
        shard.succeeded += merged.answer is not None
        return merged

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
            source = self.keys.shard(self.rules.attempt, shard.number)
            head = self.storage.head(source)
            if head is None:
                raise MissingObjectError(source)
            with ObjectWriter(
                self.storage, self.keys.shard(self.rules.attempt + 1, shard.number)
            ) as writer:
                join(self.storage, [StoredObject(source, head.size)], writer)

    def _is_gzip(self) -> bool:
        request = JobRequest.load(self.storage, self.keys.job)
        return request is not None and object_keys.is_gzip(request.path)

    def _lines_of(self, shard: SentShard) -> Iterator[bytes]:
        return iter(
            LineReader(self.storage.chunks(self.keys.shard(self.rules.attempt, shard.number)))
        )

    def _sent_lines(self) -> SentLines:
        if self.rules.is_first_attempt:
            (shard,) = self.shards
            shard.lines = self.rules.job.origin(self.rules.origin).requests
            return SentLines(self.shards, None)
        positions: dict[str, int] = {}
        for shard in self.shards:
            before = len(positions)
            for line in self._lines_of(shard):
                positions[custom_id_of(line)] = len(positions) + 1
            shard.lines = len(positions) - before
        return SentLines(self.shards, positions)

    def _earlier_rows(self, *, compressed: bool) -> Iterator[bytes] | None:
        """Return the rows after the previous attempt, in the order of the origin shard."""
        if self.rules.is_first_attempt:
            return None
        # An origin shard without requests to retry is not part of the next attempt, so the previous
        # attempt has its rows. Only a shard that used up its attempts before ordinary calls may be
        # older.
        attempt = self.rules.attempt - 1
        while self.rules.calls is not None and not self._was_collected(attempt):
            attempt -= 1
        pieces: Iterable[bytes] = self.storage.chunks(self.keys.results(attempt, self.rules.origin))
        return iter(LineReader(decompress(pieces) if compressed else pieces))

    def _was_collected(self, attempt: int) -> bool:
        """Tell whether the origin shard was part of an attempt; its first one always counts."""
        is_first = attempt <= (self.rules.job.first_attempt_of(self.rules.origin) or 1)
        return is_first or self.storage.exists(self.keys.summary(attempt, self.rules.origin))
