"""Prepare a job: read and check the input, split it into shards, accept or reject it.

One invocation reads an input of the usual size once. Many invocations read a large one (see
``range_plan``); this module then returns the next tasks until all are done.

Nothing is sent to Groq before the last line has passed. The shards are multipart uploads that are
completed only after that, so that a rejected file leaves no objects. Which uploads are completed is
decided once, when the plan is stored (see ``plan``). The job's record is stored last: if it exists,
so does everything that it names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace

from groq_batch.bucket.copying_writer import CopySource
from groq_batch.bucket.pending_upload import PendingUpload, abort_all, complete_all
from groq_batch.bucket.prefetch import RANGE_BYTES, prefetch, read_version
from groq_batch.bucket.s3_errors import ConflictError, MissingObjectError, UnreadableObjectError
from groq_batch.bucket.storage import ObjectHead, Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.cost import estimate_cost_usd
from groq_batch.domain.cost_cap import check_cap
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.input_key import check_key
from groq_batch.domain.job_options import JobOptions, parse_options
from groq_batch.domain.machine_version import FIRST_MACHINE, ONLY_SHARD, READS_MODELS
from groq_batch.domain.only_shard import StepAnswer
from groq_batch.domain.polling import FIRST_PAUSE_SECONDS
from groq_batch.domain.prices import Prices, job_prices
from groq_batch.domain.problem import Problem
from groq_batch.domain.reason import Reason
from groq_batch.domain.shard import SplitLimits
from groq_batch.domain.times import seconds_of, timestamp_of
from groq_batch.records.closed import is_closed, unless_closed
from groq_batch.records.job import JobRecord, JobRequest, Stop
from groq_batch.records.model_listing import ModelListing, model_checker
from groq_batch.reports.delivery import Delivery
from groq_batch.reports.report import running_report
from groq_batch.request_file.input_summary import (
    MAX_KEPT_PROBLEMS,
    InputSummary,
    lacks_canary,
    merge_summaries,
)
from groq_batch.request_file.splitter import EMPTY_FILE, split_input
from groq_batch.settings import Settings
from groq_batch.steps.outcomes import Output
from groq_batch.steps.prepare_input.fan_out import FanOut, is_large, new_range_plan
from groq_batch.steps.prepare_input.plan import Plan
from groq_batch.steps.prepare_input.range_plan import CutOutcome, RangePlan
from groq_batch.steps.prepare_input.shard_writer import ProblemWriter, ShardWriter
from groq_batch.telemetry.log import logger

_INPUT_TRIES = 5
_INPUT_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation(Output):
    """Output of the step, with initial values for the state machine's counters.

    Attributes:
        accepted: Whether there are requests to send.
        attempt: Number of the first attempt.
        shards_prefix: Prefix of its shards.
        tasks_prefix: Prefix of tasks to do before this step is called again; empty if none.
        polls: Number of status checks so far.
        resume_in: Seconds to wait before shards that could not be sent are tried again.
        shard_key: Key of the attempt's only shard; empty if it has several.
        tries: Number of tries to send that shard so far.
        outcome: The last outcome of a step for that shard; empty before the first.
    """

    accepted: bool
    attempt: int
    shards_prefix: str
    tasks_prefix: str = ""
    polls: int = 0
    resume_in: int = FIRST_PAUSE_SECONDS
    shard_key: str = ""
    tries: int = 0
    outcome: str = ""


def prepare_input(
    *,
    storage: Storage,
    settings: Settings,
    job_id: str,
    machine: int = FIRST_MACHINE,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Preparation:
    """Check a job's input and store its plan, or return the next tasks for that.

    Args:
        storage: The bucket.
        settings: The stack's settings.
        job_id: The job.
        machine: Version of the state machine definition that the job's execution runs.
        clock: Returns seconds since 1970.
        sleep: Waits some seconds; used while S3 does not show the object yet.

    Returns:
        The output for the state machine; the same again for a job that has been prepared.

    Raises:
        ValueError: There is no such job.
    """
    keys = object_keys.WorkKeys(job_id)
    request = JobRequest.required(storage, job_id)
    preparing = _Preparing(storage, settings, request, keys, machine, sleep, clock)
    return unless_closed(
        storage, keys, preparing.prepare, lambda: _preparation(keys, accepted=False)
    )


def _write_record(storage: Storage, keys: object_keys.WorkKeys, record: JobRecord) -> None:
    try:
        storage.put_json(keys.job_record, record.to_json(), if_none_match=True)
    except ConflictError:
        if not storage.exists(keys.job_record):
            raise
        # Another invocation was first; its record comes from the same plan.
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
        code=record.failure.code if record.failure else None,
    )


def _preparation(keys: object_keys.WorkKeys, *, accepted: bool) -> Preparation:
    return Preparation(accepted=accepted, attempt=1, shards_prefix=keys.shards(1))


class _NoCanaryError(Exception):
    """A file was split for a canary, but has no more valid lines than that."""


class _Preparing:
    """The preparation of one job."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        request: JobRequest,
        keys: object_keys.WorkKeys,
        machine: int,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._request = request
        self._keys = keys
        self._machine = machine
        self._sleep = sleep
        self._clock = clock
        self._listing: ModelListing | None = None

    def prepare(self) -> Preparation:
        """Do what earlier invocations have not done."""
        storage, keys, request = self._storage, self._keys, self._request
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
                self._listing = self._models()
                if self._listing is not None and self._listing.refusal is not None:
                    stop = Stop.failed(self._listing.refusal, at=self._listing.at)
                    stop.write(storage, keys)
                    return _preparation(keys, accepted=False)
                found = self._check(key_problem)
                if isinstance(found, str):
                    return replace(_preparation(keys, accepted=False), tasks_prefix=found)
                plan = found
            complete_all(storage, plan.uploads)
            record = plan.record
            # If the job was stopped meanwhile, cancel_job saw no record and ends it without rows.
            if storage.exists(keys.stopped):
                return _preparation(keys, accepted=False)
            _write_record(storage, keys, record)
        delivery.write_running(running_report(request, record))
        step = StepAnswer(knows_only_shards=self._machine >= ONLY_SHARD)
        numbers = [shard.number for shard in record.shards]
        first = [number for number in numbers if record.first_attempt_of(number) == 1]
        only = step.key_of(keys, 1, first)
        return replace(_preparation(keys, accepted=record.accepted), shard_key=only)

    def _models(self) -> ModelListing | None:
        """Return the account's list of models; the first one stored is used for the whole job.

        None if the execution's definition has no step that reads the list.
        """
        if self._machine < READS_MODELS:
            return None
        found = ModelListing.load(self._storage, self._keys)
        # If the list could not be read, store an empty one, so that a later list changes nothing.
        return found or ModelListing(at=self._now()).propose(self._storage, self._keys)

    def _now(self) -> str:
        return timestamp_of(self._clock())

    def _check(self, key_problem: Problem | None) -> Plan | str:
        """Check the key and the input.

        Returns:
            The stored plan, which may be another invocation's, or the prefix of the tasks to do
            first.
        """
        head = None
        try:
            head = self._head()
            if key_problem is not None:
                return self._rejected_unread(key_problem, head)
            return self._read(head)
        except (MissingObjectError, UnreadableObjectError) as error:
            return self._propose(Plan(record=self._unreadable(error, head), uploads=()))

    def _read(self, head: ObjectHead) -> Plan | str:
        """Read the input in this invocation, or have many invocations read it."""
        settings, request = self._settings, self._request
        range_plan = RangePlan.load(self._storage, self._keys)
        if range_plan is None:
            options, problems = parse_options(
                head.metadata,
                defaults=settings.default_options,
                work_retention_days=settings.work_retention_days,
            )
            limits = SplitLimits(
                max_requests=settings.max_requests_per_batch,
                max_bytes=settings.max_bytes_per_batch,
                max_line_bytes=settings.max_line_bytes,
            )
            # Without a version, the object might change from one range to the next.
            can_be_divided = request.version_id is not None and not object_keys.is_gzip(request.key)
            if not can_be_divided or not is_large(head.size, settings.max_bytes_per_range):
                return self._read_alone(head, limits, options, problems)
            range_plan = new_range_plan(
                size=head.size,
                range_bytes=settings.max_bytes_per_range,
                limits=limits,
                options=options,
                option_problems=problems,
            ).propose(self._storage, self._keys)
        found = FanOut(self._storage, self._keys, range_plan).advance()
        return found if isinstance(found, str) else self._read_by_many(range_plan, found)

    def _read_alone(
        self, head: ObjectHead, limits: SplitLimits, options: JobOptions, problems: list[Problem]
    ) -> Plan:
        try:
            return self._cut(head, limits, options, problems, canary=options.canary_requests)
        except _NoCanaryError:
            return self._cut(head, limits, options, problems)

    def _cut(
        self,
        head: ObjectHead,
        limits: SplitLimits,
        options: JobOptions,
        problems: list[Problem],
        *,
        canary: int = 0,
    ) -> Plan:
        """Read the input once.

        Raises:
            _NoCanaryError: The file has too few valid lines for a canary.
        """
        request = self._request
        is_gzip = object_keys.is_gzip(request.key)
        source = None
        if request.version_id is not None and not is_gzip:
            source = CopySource(request.key, request.version_id)
        with self._uploads(source, has_canary=canary > 0) as uploads:
            with closing(self._pieces(head)) as pieces:
                events = split_input(
                    pieces,
                    gzipped=is_gzip,
                    limits=limits,
                    skip_invalid=options.skip_invalid_lines,
                    check_only=bool(problems),
                    models=model_checker(self._listing, options),
                    canary=canary,
                    size=0 if is_gzip else head.size,
                )
                summary = uploads.write(events)
            if lacks_canary(summary, canary):
                raise _NoCanaryError
            record = self._decide(summary, options, problems, head.size, uploads.problems)
            plan = _new_plan(record, uploads.finish_shards() if record.accepted else (), uploads)
        return self._propose(plan, uploads)

    def _pieces(self, head: ObjectHead) -> Generator[bytes]:
        """Read the input; a large one in byte ranges, several at a time."""
        key, version_id = self._request.key, self._request.version_id
        if version_id is None:
            return prefetch(self._storage.chunks(key, etag=head.etag))
        if head.size <= RANGE_BYTES:
            return prefetch(self._storage.chunks(key, version_id=version_id))
        return read_version(self._storage, key, version_id=version_id, length=head.size)

    def _read_by_many(self, range_plan: RangePlan, cuts: list[CutOutcome]) -> Plan:
        summary = merge_summaries(cut.summary for cut in cuts)
        problems = [cut.problems for cut in cuts if cut.problems is not None]
        shards = tuple(upload for cut in cuts for upload in cut.shards)
        complete_all(self._storage, problems)
        with self._uploads() as uploads:
            uploads.problems.join(
                self._storage, [StoredObject(upload.key, upload.size) for upload in problems]
            )
            if not summary.total:
                summary.reject(EMPTY_FILE)
                uploads.problems.write(EMPTY_FILE)
            record = self._decide(
                summary,
                range_plan.options,
                list(range_plan.option_problems),
                range_plan.size,
                uploads.problems,
            )
            plan = _new_plan(record, shards if record.accepted else (), uploads)
        stored = self._propose(plan, uploads)
        kept = {upload.upload_id for upload in stored.uploads}
        abort_all(self._storage, (one for one in shards if one.upload_id not in kept))
        return stored

    def _decide(
        self,
        summary: InputSummary,
        options: JobOptions,
        problems: list[Problem],
        input_bytes: int,
        writer: ProblemWriter,
    ) -> JobRecord:
        """Return the record of an input that was read; write problems of its options and cost."""
        listing = self._listing
        prices = job_prices(
            summary.models,
            listing.prices if listing is not None else None,
            listing.day if listing is not None else "",
        )
        if not problems and summary.fatal is None:
            too_expensive = check_cap(
                summary.models,
                cap_usd=options.max_job_cost_usd,
                stack_cap_usd=self._settings.default_options.max_job_cost_usd,
                prices=prices,
            )
            problems = [too_expensive] if too_expensive is not None else []
        for problem in problems:
            writer.write(problem)
        record = _decided(
            summary, options, problems, prices, input_bytes=input_bytes, now=self._now()
        )
        if options.deadline_seconds is None:
            return record
        started = seconds_of(self._request.started_at)
        return replace(record, deadline_at=started + options.deadline_seconds)

    def _uploads(
        self, source: CopySource | None = None, *, has_canary: bool = False
    ) -> ShardWriter:
        return ShardWriter(
            self._storage,
            self._keys,
            problems_key=self._keys.invalid,
            compress=object_keys.is_gzip(self._request.path),
            source=source,
            has_canary=has_canary,
        )

    def _head(self) -> ObjectHead:
        """Read the metadata of the object's version, with some tries.

        It can take some seconds until a new bucket shows an object and until the permissions of a
        new role work.

        Raises:
            MissingObjectError: The version does not exist, or another upload has replaced it.
            UnreadableObjectError: S3 denies access to it.
        """
        expected = self._request.etag
        refusal: Exception = MissingObjectError(self._request.key)
        for tries_left in reversed(range(_INPUT_TRIES)):
            try:
                head = self._storage.head(self._request.key, version_id=self._request.version_id)
            except UnreadableObjectError as error:
                refusal = error
            else:
                if head is not None and expected in ("", head.etag.strip('"')):
                    return head
            if tries_left:
                self._sleep(_INPUT_PAUSE_SECONDS)
        raise refusal

    def _rejected_unread(self, problem: Problem, head: ObjectHead) -> Plan:
        """Reject an upload because of its key, without reading it."""
        record = JobRecord(
            accepted=False,
            options=self._settings.default_options,
            input_bytes=head.size,
            problems=(problem,),
            problems_total=1,
            prepared_at=self._now(),
        )
        with self._uploads() as uploads:
            uploads.problems.write(problem)
            plan = _new_plan(record, (), uploads)
        return self._propose(plan, uploads)

    def _propose(self, plan: Plan, uploads: ShardWriter | None = None) -> Plan:
        """Store the plan unless there is one; return the stored plan, and abort other uploads.

        A failure here aborts no uploads, because the plan may be stored. A lifecycle rule of the
        bucket aborts uploads that no plan names after some days.
        """
        stored = plan.propose(self._storage, self._keys)
        if uploads is not None:
            uploads.abort(keep=stored.uploads)
        return stored

    def _unreadable(self, error: Exception, head: ObjectHead | None) -> JobRecord:
        if isinstance(error, MissingObjectError):
            text = (
                "The uploaded object no longer exists; another upload has replaced it, or it was "
                "deleted before it could be read. Upload it again."
            )
        else:
            text = (
                "S3 denies access to the uploaded object. If it is encrypted with your own KMS "
                "key, allow the function to use it (kms:Decrypt), then upload the file again."
            )
        return JobRecord(
            accepted=False,
            options=self._settings.default_options,
            failure=Reason(ErrorCode.INPUT_UNREADABLE, text),
            input_bytes=head.size if head else 0,
            prepared_at=self._now(),
        )


def _new_plan(record: JobRecord, shards: tuple[PendingUpload, ...], uploads: ShardWriter) -> Plan:
    problems = uploads.problems.hold()
    return Plan(record=record, uploads=(*shards, problems) if problems else shards)


def _decided(
    summary: InputSummary,
    options: JobOptions,
    problems: list[Problem],
    prices: Prices,
    *,
    input_bytes: int,
    now: str,
) -> JobRecord:
    """Return the record of an input that was read.

    Args:
        summary: The totals of the input.
        options: The options in force.
        problems: Problems of the options or the cost, which reject the job.
        prices: The prices of the job.
        input_bytes: Size of the object.
        now: The time of the record.
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
        shards=tuple(summary.shards) if accepted else (),
        has_canary=accepted and 0 < options.canary_requests < summary.good,
        problems=tuple([*problems, *summary.problems][:MAX_KEPT_PROBLEMS]),
        problems_total=len(problems) + summary.problems_total,
        estimated_cost_usd=estimate_cost_usd(summary.models, prices),
        prices=prices,
        prepared_at=now,
    )
