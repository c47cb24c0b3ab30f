"""Prepare a job: read the input once, check all of it, cut it into shards, decide.

Nothing is sent before the last line has passed. The shards are uploads that S3 holds back until
they are completed, so that a rejected file leaves nothing behind; which ones are completed is
decided once, when the plan is written down (see ``plans``). The job's record comes last: where it
stands, everything that it tells of stands as well.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from groq_batch import layout
from groq_batch.checks import Problem, problem_row
from groq_batch.config import Settings
from groq_batch.cost import estimate_cost_usd, unknown_models
from groq_batch.delivery import Delivery
from groq_batch.held_uploads import HeldUpload, HeldWriter, complete_all
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
from groq_batch.plans import Plan
from groq_batch.reports import running_report
from groq_batch.split import InputSummary, ShardSummary, SplitLimits, split_input
from groq_batch.status import FIRST_PAUSE_SECONDS
from groq_batch.storage import (
    ConflictError,
    MissingObjectError,
    ObjectHead,
    Storage,
    UnreadableObjectError,
)
from groq_batch.upload_keys import check_key

_SEALED_AT_ONCE = 4
_DROPPED_AT_ONCE = 16
_INPUT_TRIES = 5
_INPUT_PAUSE_SECONDS = 2.0
_SHOWN_NAMES = 5
_SHOWN_NAME_CHARACTERS = 100


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
        if storage.exists(keys.stopped):
            return _preparation(keys, accepted=False)
        key_problem = check_key(request.key)
        delivery.begin(running_report(request, None))
        plan = Plan.load(storage, keys)
        if plan is None:
            now = timestamp(datetime.fromtimestamp(clock(), UTC))
            plan = _Preparing(storage, settings, request, keys, sleep).run(key_problem, now)
        complete_all(storage, plan.uploads)
        record = plan.record
        # Whoever stopped the job meanwhile has found no record, and ends the job without rows.
        if storage.exists(keys.stopped):
            return _preparation(keys, accepted=False)
        _write_record(storage, keys, record)
    delivery.write_running(running_report(request, record))
    return _preparation(keys, accepted=record.accepted)


def _write_record(storage: Storage, keys: layout.WorkKeys, record: JobRecord) -> None:
    try:
        storage.put_json(keys.job_record, record.to_json(), if_none_match=True)
    except ConflictError:
        # Another invocation was first; what it wrote comes from the same plan.
        return
    logger.info(
        "Prepared the input",
        accepted=record.accepted,
        lines=record.lines,
        good=record.good,
        invalid=record.invalid,
        shards=len(record.shards),
        bytes=record.input_bytes,
        problems=record.problems_total,
        code=record.failure["code"] if record.failure else None,
    )


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

    def run(self, key_problem: Problem | None, now: str) -> Plan:
        """Check everything; returns the plan that stands, be it this invocation's or another's."""
        sink = _Sink(self._storage, self._keys, compress=layout.is_gzip(self._request.path))
        try:
            record = self._check(key_problem, sink, now)
            plan = Plan(record=record, uploads=sink.hold(shards=record.accepted))
        except BaseException:
            sink.abort()
            raise
        # From here on a failure leaves the uploads alone, for the plan may stand. Those that no
        # plan names are dropped by S3 after some days.
        standing = plan.propose(self._storage, self._keys)
        sink.abort(keep=standing.uploads)
        return standing

    def _check(self, key_problem: Problem | None, sink: _Sink, now: str) -> JobRecord:
        """Check everything and return the record of it."""
        head = None
        try:
            head = self._head()
            if key_problem is not None:
                return self._rejected_unread(key_problem, sink, head, now)
            options, problems = parse_options(
                head.metadata,
                defaults=self._settings.default_options,
                work_retention_days=self._settings.work_retention_days,
            )
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
                check_only=bool(problems),
            )
        except (MissingObjectError, UnreadableObjectError) as error:
            return self._unreadable(error, head, now)
        if not problems and summary.fatal is None:
            problems = _too_expensive(summary, options)
        for problem in problems:
            sink.problems().write(problem_row(problem))
        return _decided(summary, options, problems, input_bytes=head.size, now=now)

    def _head(self) -> ObjectHead:
        """Read the metadata of the version.

        A bucket that is new may take some seconds to show an object, a role that is new to get its
        permissions.

        Raises:
            MissingObjectError: It does not exist.
            UnreadableObjectError: S3 refuses to hand it out.
        """
        refusal: Exception = MissingObjectError(self._request.key)
        for tries_left in reversed(range(_INPUT_TRIES)):
            try:
                head = self._storage.head(self._request.key, version_id=self._request.version_id)
            except UnreadableObjectError as error:
                refusal = error
            else:
                if head is not None:
                    return head
            if tries_left:
                self._sleep(_INPUT_PAUSE_SECONDS)
        raise refusal

    def _rejected_unread(
        self, problem: Problem, sink: _Sink, head: ObjectHead, now: str
    ) -> JobRecord:
        """Reject an upload for its key, whatever is in it."""
        sink.problems().write(problem_row(problem))
        return JobRecord(
            accepted=False,
            options=self._settings.default_options,
            input_bytes=head.size,
            problems=(problem,),
            problems_total=1,
            prepared_at=now,
        )

    def _unreadable(self, error: Exception, head: ObjectHead | None, now: str) -> JobRecord:
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
            input_bytes=head.size if head else 0,
            prepared_at=now,
        )


def _decided(
    summary: InputSummary,
    options: JobOptions,
    problems: list[Problem],
    *,
    input_bytes: int,
    now: str,
) -> JobRecord:
    """Return the record of an input that was read.

    Args:
        summary: What was found in it.
        options: The options in force.
        problems: Further ones, that reject the job.
        input_bytes: Size of the object.
        now: The time.
    """
    bad_lines_reject = summary.invalid > 0 and not options.skip_invalid_lines
    rejected = bool(problems) or summary.fatal is not None or bad_lines_reject
    accepted = not rejected and summary.good > 0
    return JobRecord(
        accepted=accepted,
        options=options,
        input_bytes=input_bytes,
        lines=summary.lines,
        total=summary.total,
        good=summary.good,
        invalid=summary.invalid,
        shards=tuple(_shard_record(shard) for shard in summary.shards) if accepted else (),
        problems=tuple([*problems, *summary.problems][:MAX_KEPT_PROBLEMS]),
        problems_total=len(problems) + summary.problems_total,
        estimated_cost_usd=estimate_cost_usd(summary.models),
        prepared_at=now,
    )


def _too_expensive(summary: InputSummary, options: JobOptions) -> list[Problem]:
    """Hold the estimate against the cap; with a cap every model needs a known price."""
    cap = options.max_job_cost_usd
    if not cap or not summary.good:
        return []
    unknown = unknown_models(summary.models)
    if unknown:
        names = ", ".join(name[:_SHOWN_NAME_CHARACTERS] for name in unknown[:_SHOWN_NAMES])
        more = f" and {len(unknown) - _SHOWN_NAMES} more" if len(unknown) > _SHOWN_NAMES else ""
        return [
            _job_problem(
                "too_expensive",
                f"A cost cap of {cap:g} USD is set, but the price of {names}{more} is not known. "
                f"Run the file without a cap (max-job-cost-usd=0), or use models with a known "
                f"price.",
            )
        ]
    estimate = estimate_cost_usd(summary.models)
    if estimate is not None and estimate > cap:
        return [
            _job_problem(
                "too_expensive",
                f"The estimated cost of {estimate:.6g} USD is above the cap of {cap:g} USD. "
                f"Raise max-job-cost-usd or split the file.",
            )
        ]
    return []


def _shard_record(shard: ShardSummary) -> ShardRecord:
    return ShardRecord(
        number=shard.number, requests=shard.requests, bytes=shard.bytes, skipped=shard.skipped
    )


class _Sink:
    """Takes what the splitting finds into uploads that S3 holds back."""

    def __init__(self, storage: Storage, keys: layout.WorkKeys, *, compress: bool) -> None:
        self._storage = storage
        self._keys = keys
        self._open: dict[str, HeldWriter] = {}
        self._current = 0
        self._ended: list[HeldWriter] = []
        self._pool = ThreadPoolExecutor(max_workers=_SEALED_AT_ONCE)
        self._sealing: list[Future[None]] = []
        self._problems = _ProblemWriter(HeldWriter(storage, keys.invalid), compress=compress)

    def shard(self, number: int) -> HeldWriter:
        return self._writer(number, self._keys.shard(1, number))

    def skipped_index(self, number: int) -> HeldWriter:
        return self._writer(number, self._keys.skipped_index(number))

    def skipped_raw(self, number: int) -> HeldWriter:
        return self._writer(number, self._keys.skipped_raw(number))

    def problems(self) -> _ProblemWriter:
        return self._problems

    def hold(self, *, shards: bool) -> tuple[HeldUpload, ...]:
        """End the writing.

        Args:
            shards: Whether the job goes on with its shards, not only with its problems.

        Returns:
            What the job goes on with.
        """
        uploads: list[HeldUpload] = []
        if shards:
            self._seal_current()
            self._wait_for_sealing(0)
            uploads += [writer.hold() for writer in self._ended]
        problems = self._problems.hold()
        return (*uploads, problems) if problems is not None else tuple(uploads)

    def abort(self, *, keep: Collection[HeldUpload] = ()) -> None:
        """Drop everything but what is to be kept."""
        self._pool.shutdown()
        kept = {upload.upload_id for upload in keep}
        writers = (*self._ended, *self._open.values(), self._problems.writer)
        with ThreadPoolExecutor(max_workers=_DROPPED_AT_ONCE) as pool:
            list(pool.map(HeldWriter.abort, (one for one in writers if one.upload_id not in kept)))

    def _writer(self, number: int, key: str) -> HeldWriter:
        if number != self._current:
            # The one before is complete: its last bytes go to S3 and leave the memory.
            self._seal_current()
            self._current = number
        if key not in self._open:
            self._open[key] = HeldWriter(self._storage, key)
        return self._open[key]

    def _seal_current(self) -> None:
        for writer in self._open.values():
            self._ended.append(writer)
            self._sealing.append(self._pool.submit(writer.seal))
        self._open = {}
        self._wait_for_sealing(_SEALED_AT_ONCE)

    def _wait_for_sealing(self, most: int) -> None:
        """Wait until few enough writers are being sealed; they hold a few parts each."""
        while len(self._sealing) > most:
            self._sealing.pop(0).result()


class _ProblemWriter:
    """Problem rows into ``invalid``, compressed like the input."""

    def __init__(self, writer: HeldWriter, *, compress: bool) -> None:
        self.writer = writer
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31) if compress else None
        self._is_used = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append rows."""
        self._is_used = True
        self.writer.write(self._gzip.compress(data) if self._gzip else data)

    def hold(self) -> HeldUpload | None:
        """End the writing; returns what completes the upload, None if nothing was written."""
        if not self._is_used:
            return None
        if self._gzip is not None:
            self.writer.write(self._gzip.flush())
        return self.writer.hold()
