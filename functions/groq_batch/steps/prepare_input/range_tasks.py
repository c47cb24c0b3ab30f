"""Do the tasks of preparing a large input, one per invocation; see ``range_plan``."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from groq_batch.bucket.copying_writer import CopySource
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.prefetch import read_version
from groq_batch.bucket.s3_errors import MissingObjectError, UnreadableObjectError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.json_data import from_json_data, to_json_data
from groq_batch.domain.parallel import in_parallel
from groq_batch.records import stored
from groq_batch.records.closed import is_closed, unless_closed
from groq_batch.records.job import JobRecord, JobRequest
from groq_batch.records.model_listing import ModelListing, model_checker
from groq_batch.records.stored import MissingRecordError
from groq_batch.request_file.byte_ranges import ByteRange, owned_lines
from groq_batch.request_file.id_partitions import (
    REPEAT_BYTES,
    USE_BYTES,
    IdRecorder,
    KnownDuplicates,
    find_repeats,
    repeats_of_range,
)
from groq_batch.request_file.input_summary import InputSummary, lacks_canary
from groq_batch.request_file.split_events import SplitEvent, summary_of
from groq_batch.request_file.splitter import FilePart, split_input
from groq_batch.steps.prepare_input.range_plan import (
    CUT,
    MATCH,
    SCAN,
    UNREADABLE,
    CutOutcome,
    CutTask,
    MatchOutcome,
    RangePlan,
    ScanOutcome,
)
from groq_batch.steps.prepare_input.shard_writer import ShardWriter
from groq_batch.telemetry.log import logger


def prepare_range(*, storage: Storage, job_id: str, task_key: str) -> None:
    """Do one task of the preparation of a large input, unless its outcome is stored.

    Does nothing for a job that was stopped or has been prepared.

    Args:
        storage: The bucket.
        job_id: The job.
        task_key: The key of the task.

    Raises:
        ValueError: There is no such job or task.
    """
    keys = object_keys.WorkKeys(job_id)
    unless_closed(storage, keys, lambda: _do_task(storage, keys, task_key), lambda: None)


def _do_task(storage: Storage, keys: object_keys.WorkKeys, task_key: str) -> None:
    job_id = keys.job
    if storage.exists(keys.stopped) or is_closed(storage, keys):
        return
    phase, number = object_keys.task_of_key(task_key)
    if storage.exists(keys.outcome(phase, number)) or JobRecord.load(storage, keys) is not None:
        return
    request = JobRequest.load(storage, job_id)
    range_plan = RangePlan.load(storage, keys)
    task = storage.get_json(task_key)
    if request is None or range_plan is None or task is None:
        raise MissingRecordError(f"There is no task {task_key} of a job {job_id}")
    tasks = _Tasks(storage, request, keys, range_plan)
    {SCAN: tasks.scan, MATCH: tasks.match, CUT: tasks.cut}[phase](number, task.value)


class _Tasks:
    """The tasks of one job."""

    def __init__(
        self,
        storage: Storage,
        request: JobRequest,
        keys: object_keys.WorkKeys,
        range_plan: RangePlan,
    ) -> None:
        self._storage = storage
        self._request = request
        self._keys = keys
        self._range_plan = range_plan

    # -- scan ------------------------------------------------------------------------------------

    def scan(self, number: int, task: dict[str, Any]) -> None:
        """Check and count the lines of a range, and record their ids."""
        del task
        range_plan = self._range_plan
        recorder = IdRecorder(
            key=bytes.fromhex(range_plan.digest_key), partitions=range_plan.partitions
        )
        part = FilePart(
            number=number,
            begins_file=number == 1,
            first_line=1,
            first_shard=1,
            duplicates=recorder,
        )
        try:
            with self._lines_of(range_plan.ranges[number - 1]) as (_, lines):
                check_only = bool(range_plan.option_problems)
                summary = summary_of(self._split(lines, part, check_only=check_only))
        except (MissingObjectError, UnreadableObjectError) as error:
            self._unreadable(SCAN, number, error)
            return
        with ObjectWriter(self._storage, self._keys.uses(number)) as writer:
            for records in recorder.partitions:
                writer.write(records)
        outcome = ScanOutcome(
            lines=summary.lines,
            good=summary.good,
            invalid=summary.invalid,
            shards=len(summary.shards),
            uses=tuple(len(records) // USE_BYTES for records in recorder.partitions),
        )
        self._write(SCAN, number, to_json_data(outcome))
        logger.info(
            "Scanned a range",
            range=number,
            lines=summary.lines,
            good=summary.good,
            invalid=summary.invalid,
        )

    # -- match -----------------------------------------------------------------------------------

    def match(self, number: int, task: dict[str, Any]) -> None:
        """Find the ids of a partition that are used more than once."""
        segments = enumerate(task["segments"], start=1)
        uses = in_parallel(lambda numbered: self._uses(*numbered), segments)
        found = find_repeats(uses)
        with ObjectWriter(self._storage, self._keys.repeats(number)) as writer:
            for records in found.values():
                writer.write(records)
        repeats = [(place, len(records) // REPEAT_BYTES) for place, records in found.items()]
        self._write(MATCH, number, to_json_data(MatchOutcome(repeats=tuple(repeats))))
        logger.info(
            "Matched the ids of a partition",
            partition=number,
            repeated=sum(count for _, count in repeats),
        )

    def _uses(self, number: int, segment: tuple[int, int]) -> bytes:
        first, length = segment
        return self._read(self._keys.uses(number), first, length)

    def _read(self, key: str, first: int, length: int) -> bytes:
        if not length:
            return b""
        with closing(self._storage.chunks(key, first=first, length=length)) as pieces:
            return b"".join(pieces)

    # -- cut -------------------------------------------------------------------------------------

    def cut(self, number: int, task: dict[str, Any]) -> None:
        """Write the shards and the problems of some ranges."""
        plan = from_json_data(task["cut"], CutTask)
        if not self._cut(number, plan, task):
            # The file has no more valid lines than a canary: all of it is sent at once.
            self._cut(number, replace(plan, canary=0), task)

    def _cut(self, number: int, plan: CutTask, task: dict[str, Any]) -> bool:
        """Split some ranges; if the file needs no canary, write nothing and return False."""
        range_plan, keys = self._range_plan, self._keys
        first_lines: list[int] = self._first_lines()
        ranges = range_plan.ranges[plan.first : plan.last + 1]
        part = FilePart(
            number=number,
            begins_file=plan.first == 0,
            first_line=first_lines[plan.first],
            first_shard=plan.first_shard,
            duplicates=KnownDuplicates(self._repeats(task["repeats"], first_lines)),
        )
        span = ByteRange(ranges[0].first, ranges[-1].end)
        try:
            with (
                self._lines_of(span) as (first, lines),
                ShardWriter(
                    self._storage,
                    keys,
                    part=number,
                    problems_key=keys.problems(number),
                    source=self._copy_source(first),
                    has_canary=plan.canary > 0,
                ) as uploads,
            ):
                check_only = not plan.writes_shards
                events = self._split(lines, part, check_only=check_only, canary=plan.canary)
                summary = uploads.write(events)
                is_whole = len(ranges) == len(range_plan.ranges)
                if is_whole and lacks_canary(summary, plan.canary):
                    uploads.abort()
                    return False
                _hold_to_plan(summary, plan)
                outcome = CutOutcome(
                    summary=summary,
                    shards=uploads.finish_shards() if plan.writes_shards else (),
                    problems=uploads.problems.hold(),
                )
        except (MissingObjectError, UnreadableObjectError) as error:
            self._unreadable(CUT, number, error)
            return True
        # A failure from here on must not abort the uploads, because the outcome may be stored.
        first_outcome = self._write(CUT, number, to_json_data(outcome))
        is_unreadable = UNREADABLE in first_outcome
        kept = () if is_unreadable else from_json_data(first_outcome, CutOutcome).uploads
        uploads.abort(keep=kept)
        logger.info(
            "Cut a range",
            range=number,
            shards=len(summary.shards),
            good=summary.good,
            invalid=summary.invalid,
        )
        return True

    def _first_lines(self) -> list[int]:
        found = self._storage.get_json(self._keys.first_lines)
        if found is None:
            raise MissingRecordError(f"{self._keys.first_lines} does not exist")
        lines: list[int] = found.value["first_lines"]
        return lines

    def _repeats(
        self, places: list[tuple[int, list[tuple[int, int, int]]]], first_lines: list[int]
    ) -> Iterator[tuple[int, int]]:
        """Yield the lines that repeat an id, reading the records of one range at a time."""
        for place, segments in places:
            records = [
                self._read(self._keys.repeats(partition), first, length)
                for partition, first, length in segments
            ]
            yield from repeats_of_range(records, place, first_lines)

    # -- all -------------------------------------------------------------------------------------

    @contextmanager
    def _lines_of(self, span: ByteRange) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Read a range; yield the offset of its first line, and its lines."""
        with closing(self._pieces_of(span)) as pieces:
            yield owned_lines(pieces, span)

    def _pieces_of(self, span: ByteRange) -> Generator[bytes]:
        """Read a range, and on from its end until the reader has its last line."""
        key, version_id = self._request.key, self._request.version_id
        if version_id is None:
            raise ValueError(f"{key} has no version, and cannot be read in ranges")
        yield from read_version(
            self._storage,
            key,
            version_id=version_id,
            first=span.read_from,
            length=span.end - span.read_from,
        )
        if span.end < self._range_plan.size:
            yield from self._storage.chunks(key, version_id=version_id, first=span.end)

    def _copy_source(self, begins_at: int) -> CopySource | None:
        version_id = self._request.version_id
        return CopySource(self._request.key, version_id, begins_at) if version_id else None

    def _split(
        self,
        lines: Iterator[bytes],
        part: FilePart,
        *,
        check_only: bool,
        canary: int = 0,
    ) -> Iterator[SplitEvent]:
        range_plan = self._range_plan
        return split_input(
            lines,
            gzipped=False,
            limits=range_plan.limits,
            skip_invalid=range_plan.options.skip_invalid_lines,
            check_only=check_only,
            part=part,
            models=model_checker(ModelListing.load(self._storage, self._keys), range_plan.options),
            checks=range_plan.checks,
            canary=canary,
        )

    def _unreadable(self, phase: str, number: int, error: Exception) -> None:
        reason = "gone" if isinstance(error, MissingObjectError) else "refused"
        self._write(phase, number, {UNREADABLE: reason})
        logger.warning("The input could not be read", reason=reason)

    def _write(self, phase: str, number: int, outcome: dict[str, Any]) -> dict[str, Any]:
        """Store an outcome unless there is one; return the stored outcome."""
        return stored.put_json_once(self._storage, self._keys.outcome(phase, number), outcome)


def _hold_to_plan(summary: InputSummary, plan: CutTask) -> None:
    """Make sure that no shard has a number of the next task.

    Raises:
        RuntimeError: There are too many shards.
    """
    if len(summary.shards) > plan.most_shards:
        raise RuntimeError(
            f"The ranges make {len(summary.shards)} shards, and have numbers for "
            f"{plan.most_shards}; were the checks changed while the job was prepared?"
        )
