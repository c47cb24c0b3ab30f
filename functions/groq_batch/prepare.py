"""Prepare a job: read the input once, check all of it, cut it into shards, decide.

Nothing is sent before the last line has passed. The shards are uploads that S3 holds back until
they are completed, so that a rejected file leaves nothing behind.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from groq_batch import layout
from groq_batch.checks import Problem, problem_row
from groq_batch.config import Settings
from groq_batch.cost import estimate_cost_usd, unknown_models
from groq_batch.delivery import Delivery
from groq_batch.jobs import (
    MAX_KEPT_PROBLEMS,
    JobRecord,
    JobRequest,
    ShardRecord,
    is_closed,
    timestamp,
)
from groq_batch.observability import logger
from groq_batch.options import JobOptions, parse_options
from groq_batch.reports import running_report
from groq_batch.split import InputSummary, SplitLimits, split_input
from groq_batch.status import FIRST_PAUSE_SECONDS
from groq_batch.storage import (
    MissingObjectError,
    ObjectHead,
    ObjectWriter,
    Storage,
    UnreadableObjectError,
)
from groq_batch.upload_keys import check_key

_COMMITTERS = 16
_MISSING_INPUT_TRIES = 5
_MISSING_INPUT_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What the state machine goes on with.

    Attributes:
        accepted: Whether there is something to send.
        attempt: The first attempt.
        shards_prefix: Where its shards stand.
        polls: Status checks made: none.
        resume_in: Waiting time, in seconds, before shards that could not be sent are tried again.
    """

    accepted: bool
    attempt: int
    shards_prefix: str
    polls: int = 0
    resume_in: int = FIRST_PAUSE_SECONDS

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {
            "accepted": self.accepted,
            "attempt": self.attempt,
            "shards_prefix": self.shards_prefix,
            "polls": self.polls,
            "resume_in": self.resume_in,
        }


def prepare_input(
    *,
    storage: Storage,
    settings: Settings,
    job_id: str,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Preparation:
    """Check a job's input and make its plan.

    Args:
        storage: The bucket.
        settings: The stack's settings.
        job_id: The job.
        clock: Seconds since 1970.
        sleep: Waits some seconds; used for an object that S3 does not show yet.

    Returns:
        How to go on. A job that had been prepared before gives the same answer again.

    Raises:
        ValueError: There is no such job.
    """
    keys = layout.WorkKeys(job_id)
    request = JobRequest.load(storage, job_id)
    if request is None:
        raise ValueError(f"There is no job {job_id}: {layout.job_key(job_id)} does not exist")
    if is_closed(storage, keys):
        return _preparation(keys, accepted=False)
    record = JobRecord.load(storage, keys)
    delivery = Delivery(storage, request)
    if record is None:
        key_problem = check_key(request.key)
        delivery.begin(running_report(request, None))
        step = _Preparing(storage, settings, request, keys, sleep)
        record = step.run(key_problem, timestamp(datetime.fromtimestamp(clock(), UTC)))
        storage.put_json(keys.job_record, record.to_json())
        logger.info(
            "Prepared the input",
            accepted=record.accepted,
            lines=record.lines,
            good=record.good,
            invalid=record.invalid,
            shards=len(record.shards),
        )
    delivery.write_running(running_report(request, record))
    return _preparation(keys, accepted=record.accepted)


def _preparation(keys: layout.WorkKeys, *, accepted: bool) -> Preparation:
    return Preparation(accepted=accepted, attempt=1, shards_prefix=keys.shards(1))


def _job_problem(code: str, message: str) -> Problem:
    return Problem(line=None, custom_id=None, code=code, message=message)


class _Preparing:
    """One preparation."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        request: JobRequest,
        keys: layout.WorkKeys,
        sleep: Callable[[float], None],
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._request = request
        self._keys = keys
        self._sleep = sleep

    def run(self, key_problem: Problem | None, now: str) -> JobRecord:
        """Check everything and return the plan."""
        defaults = self._settings.default_options
        try:
            head = self._head()
        except (MissingObjectError, UnreadableObjectError) as error:
            return self._unreadable(error, now)
        if key_problem is not None:
            return self._rejected(defaults, [key_problem], now, head)
        options, problems = parse_options(
            head.metadata,
            defaults=defaults,
            work_retention_days=self._settings.work_retention_days,
        )
        if problems:
            return self._rejected(options, problems, now, head)
        sink = _Sink(self._storage, self._keys, compress=layout.is_gzip(self._request.path))
        try:
            summary = split_input(
                self._storage.chunks(self._request.key, version_id=self._request.version_id),
                gzipped=layout.is_gzip(self._request.key),
                limits=SplitLimits(
                    max_requests=self._settings.max_requests_per_batch,
                    max_bytes=self._settings.max_bytes_per_batch,
                    max_line_bytes=self._settings.max_line_bytes,
                ),
                skip_invalid=options.skip_invalid_lines,
                sink=sink,
            )
            return self._decide(summary, options, sink, head, now)
        except (MissingObjectError, UnreadableObjectError) as error:
            sink.abort()
            return self._unreadable(error, now)
        except BaseException:
            sink.abort()
            raise

    def _head(self) -> ObjectHead:
        """Read the metadata of the version, giving a new bucket some seconds to show it."""
        for _ in range(_MISSING_INPUT_TRIES):
            head = self._storage.head(self._request.key, version_id=self._request.version_id)
            if head is not None:
                return head
            self._sleep(_MISSING_INPUT_PAUSE_SECONDS)
        raise MissingObjectError(self._request.key)

    def _decide(
        self,
        summary: InputSummary,
        options: JobOptions,
        sink: _Sink,
        head: ObjectHead,
        now: str,
    ) -> JobRecord:
        estimate = estimate_cost_usd(summary.models)
        whole = (
            [summary.fatal]
            if summary.fatal is not None
            else self._too_expensive(summary, options, estimate)
        )
        for problem in whole:
            if problem is not summary.fatal:
                sink.problems().write(problem_row(problem))
        problems = [*whole, *(item for item in summary.problems if item not in whole)]
        total_problems = summary.problems_total + sum(
            1 for problem in whole if problem is not summary.fatal
        )
        bad_lines = summary.invalid > 0 and not options.skip_invalid_lines
        accepted = not whole and not bad_lines and summary.good > 0
        sink.finish(accepted=accepted)
        return JobRecord(
            accepted=accepted,
            options=options,
            input_bytes=head.size,
            lines=summary.lines,
            total=summary.total,
            good=summary.good,
            invalid=summary.invalid,
            shards=tuple(
                ShardRecord(
                    number=shard.number,
                    requests=shard.requests,
                    bytes=shard.bytes,
                    skipped=shard.skipped,
                )
                for shard in summary.shards
            )
            if accepted
            else (),
            problems=tuple(problems[:MAX_KEPT_PROBLEMS]),
            problems_total=total_problems,
            estimated_cost_usd=estimate,
            prepared_at=now,
        )

    def _too_expensive(
        self, summary: InputSummary, options: JobOptions, estimate: float | None
    ) -> list[Problem]:
        """Hold the estimate against the cap; with a cap every model needs a known price."""
        cap = options.max_job_cost_usd
        if not cap or not summary.good:
            return []
        unknown = unknown_models(summary.models)
        if unknown:
            names = ", ".join(name[:100] for name in unknown[:5])
            return [
                _job_problem(
                    "too_expensive",
                    f"A cost cap of {cap:g} USD is set, but the price of {names} is not known. Run "
                    f"the file without a cap, or use models with a known price.",
                )
            ]
        if estimate is not None and estimate > cap:
            return [
                _job_problem(
                    "too_expensive",
                    f"The estimated cost of {estimate:.6g} USD is above the cap of {cap:g} USD. "
                    f"Raise max-job-cost-usd or split the file.",
                )
            ]
        return []

    def _rejected(
        self, options: JobOptions, problems: list[Problem], now: str, head: ObjectHead
    ) -> JobRecord:
        """Reject a job for something that needs no look into its input."""
        sink = _Sink(self._storage, self._keys, compress=layout.is_gzip(self._request.path))
        for problem in problems:
            sink.problems().write(problem_row(problem))
        sink.finish(accepted=False)
        return JobRecord(
            accepted=False,
            options=options,
            input_bytes=head.size,
            problems=tuple(problems),
            problems_total=len(problems),
            prepared_at=now,
        )

    def _unreadable(self, error: Exception, now: str) -> JobRecord:
        if isinstance(error, MissingObjectError):
            text = (
                "The uploaded object does not exist any more; it was deleted before it could be "
                "read. Upload it again."
            )
        else:
            text = (
                "S3 refuses to hand out the uploaded object. If it is encrypted with a key of your "
                "own, allow the function to use it (kms:Decrypt), then upload the file again."
            )
        return JobRecord(
            accepted=False,
            options=self._settings.default_options,
            failure={"code": "input_unreadable", "message": text},
            prepared_at=now,
        )


class _Sink:
    """Takes what the splitting finds into objects that are completed only at the end."""

    def __init__(self, storage: Storage, keys: layout.WorkKeys, *, compress: bool) -> None:
        self._storage = storage
        self._keys = keys
        self._shards: list[ObjectWriter] = []
        self._open: dict[str, ObjectWriter] = {}
        self._current = 0
        self._problems = _ProblemWriter(storage.writer(keys.invalid), compress=compress)

    def shard(self, number: int) -> ObjectWriter:
        return self._writer(number, self._keys.shard(1, number))

    def skipped_index(self, number: int) -> ObjectWriter:
        return self._writer(number, self._keys.skipped_index(number))

    def skipped_raw(self, number: int) -> ObjectWriter:
        return self._writer(number, self._keys.skipped_raw(number))

    def problems(self) -> _ProblemWriter:
        return self._problems

    def finish(self, *, accepted: bool) -> None:
        """Complete the shards of an accepted job, drop those of a rejected one."""
        self._seal_current()
        self._each(ObjectWriter.commit if accepted else ObjectWriter.abort)
        self._problems.commit()

    def abort(self) -> None:
        """Drop everything."""
        self._shards += self._open.values()
        self._open = {}
        self._each(ObjectWriter.abort)
        self._problems.abort()

    def _writer(self, number: int, key: str) -> ObjectWriter:
        if number != self._current:
            # The one before is complete: its last bytes go to S3 and leave the memory.
            self._seal_current()
            self._current = number
        if key not in self._open:
            self._open[key] = self._storage.writer(key)
        return self._open[key]

    def _seal_current(self) -> None:
        for writer in self._open.values():
            writer.seal()
            self._shards.append(writer)
        self._open = {}

    def _each(self, act: Callable[[ObjectWriter], Any]) -> None:
        with ThreadPoolExecutor(max_workers=_COMMITTERS) as pool:
            list(pool.map(act, self._shards))
        self._shards = []


class _ProblemWriter:
    """Problem rows into ``invalid``, compressed like the input."""

    def __init__(self, writer: ObjectWriter, *, compress: bool) -> None:
        self._writer = writer
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31) if compress else None
        self._used = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append rows."""
        self._used = True
        self._writer.write(self._gzip.compress(data) if self._gzip else data)

    def commit(self) -> None:
        """Make the object visible if there is anything in it."""
        if not self._used:
            self._writer.abort()
            return
        if self._gzip is not None:
            self._writer.write(self._gzip.flush())
        self._writer.commit()

    def abort(self) -> None:
        """Drop it."""
        self._writer.abort()
