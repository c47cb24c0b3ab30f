"""Read a job's input once, alone or by many invocations, and make the plan of the job."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from groq_batch.bucket.copying_writer import CopySource
from groq_batch.bucket.pending_upload import PendingUpload, abort_all, complete_all
from groq_batch.bucket.prefetch import RANGE_BYTES, prefetch, read_version
from groq_batch.bucket.s3_errors import MissingObjectError, UnreadableObjectError
from groq_batch.bucket.storage import ObjectHead, Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.input_key import check_key
from groq_batch.domain.job_options import JobOptions, parse_options
from groq_batch.domain.problem import Problem
from groq_batch.domain.shard import SplitLimits
from groq_batch.domain.times import timestamp_of
from groq_batch.records.job import JobRecord, JobRequest
from groq_batch.records.model_listing import ModelListing, model_checker
from groq_batch.request_file.input_summary import InputSummary, lacks_canary, merge_summaries
from groq_batch.request_file.splitter import EMPTY_FILE, split_input
from groq_batch.settings import Settings
from groq_batch.steps.prepare_input.acceptance import DENIED, REPLACED, Terms, decide
from groq_batch.steps.prepare_input.fan_out import FanOut, is_large, new_range_plan
from groq_batch.steps.prepare_input.plan import Plan
from groq_batch.steps.prepare_input.range_plan import CutOutcome, PendingTasks, RangePlan
from groq_batch.steps.prepare_input.shard_writer import ShardWriter

_INPUT_TRIES = 5
_INPUT_PAUSE_SECONDS = 2.0


class _NoCanaryError(Exception):
    """A file was split for a canary, but has no more valid lines than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputReader:
    """Reads and checks the input of one job.

    Attributes:
        storage: The bucket.
        settings: The stack's settings.
        request: The request that the job was started for.
        keys: Keys of its working files.
        listing: The account's models; None if the list was not requested.
        clock: Returns seconds since 1970.
        sleep: Waits some seconds; used while S3 does not show the object yet.
    """

    storage: Storage
    settings: Settings
    request: JobRequest
    keys: object_keys.WorkKeys
    listing: ModelListing | None
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def plan(self) -> Plan | PendingTasks:
        """Check the key and the input.

        Returns:
            The stored plan, which may be another invocation's, or the tasks to do first.
        """
        head = None
        try:
            head = self._head()
            problem = check_key(self.request.key)
            return self._read(head) if problem is None else self._reject_unread(problem, head)
        except (MissingObjectError, UnreadableObjectError) as error:
            failure = REPLACED if isinstance(error, MissingObjectError) else DENIED
            record = JobRecord(
                accepted=False,
                options=self.settings.default_options,
                failure=failure,
                input_bytes=head.size if head else 0,
                prepared_at=self._now(),
            )
            return Plan(record=record, uploads=()).propose(self.storage, self.keys)

    def _head(self) -> ObjectHead:
        """Read the metadata of the object's version, with some tries.

        It can take some seconds until a new bucket shows an object and until the permissions of a
        new role work.

        Raises:
            MissingObjectError: The version does not exist, or another upload has replaced it.
            UnreadableObjectError: S3 denies access to it.
        """
        expected = self.request.etag
        refusal: Exception = MissingObjectError(self.request.key)
        for tries_left in reversed(range(_INPUT_TRIES)):
            try:
                head = self.storage.head(self.request.key, version_id=self.request.version_id)
            except UnreadableObjectError as error:
                refusal = error
            else:
                if head is not None and expected in ("", head.etag.strip('"')):
                    return head
            if tries_left:
                self.sleep(_INPUT_PAUSE_SECONDS)
        raise refusal

    def _reject_unread(self, problem: Problem, head: ObjectHead) -> Plan:
        """Reject an upload because of its key, without reading it."""
        record = JobRecord(
            accepted=False,
            options=self.settings.default_options,
            input_bytes=head.size,
            problems=(problem,),
            problems_total=1,
            prepared_at=self._now(),
        )
        with self._uploads() as uploads:
            uploads.problems.write(problem)
            plan = _plan_of(record, (), uploads)
        return self._propose(plan, uploads)

    def _read(self, head: ObjectHead) -> Plan | PendingTasks:
        """Read the input in this invocation, or have many invocations read it."""
        settings, request = self.settings, self.request
        range_plan = RangePlan.load(self.storage, self.keys)
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
                return self._read_alone(head, limits, self._terms(options, problems, head.size))
            range_plan = new_range_plan(
                size=head.size,
                range_bytes=settings.max_bytes_per_range,
                limits=limits,
                options=options,
                option_problems=problems,
            ).propose(self.storage, self.keys)
        found = FanOut(self.storage, self.keys, range_plan).advance()
        return found if isinstance(found, PendingTasks) else self._join(range_plan, found)

    def _terms(self, options: JobOptions, problems: Sequence[Problem], input_bytes: int) -> Terms:
        return Terms(
            options=options,
            option_problems=problems,
            stack_cap_usd=self.settings.default_options.max_job_cost_usd,
            input_bytes=input_bytes,
            started_at=self.request.started_at,
        )

    def _read_alone(self, head: ObjectHead, limits: SplitLimits, terms: Terms) -> Plan:
        try:
            return self._split(head, limits, terms, canary=terms.options.canary_requests)
        except _NoCanaryError:
            return self._split(head, limits, terms)

    def _split(
        self, head: ObjectHead, limits: SplitLimits, terms: Terms, *, canary: int = 0
    ) -> Plan:
        """Read the input once.

        Raises:
            _NoCanaryError: The file has too few valid lines for a canary.
        """
        request, options = self.request, terms.options
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
                    check_only=bool(terms.option_problems),
                    models=model_checker(self.listing, options),
                    canary=canary,
                )
                summary = uploads.write(events)
            if lacks_canary(summary, canary):
                raise _NoCanaryError
            record = self._decide(summary, terms, uploads)
            plan = _plan_of(record, uploads.finish_shards() if record.accepted else (), uploads)
        return self._propose(plan, uploads)

    def _pieces(self, head: ObjectHead) -> Generator[bytes]:
        """Read the input; a large one in byte ranges, several at a time."""
        key, version_id = self.request.key, self.request.version_id
        if version_id is None:
            return prefetch(self.storage.chunks(key, etag=head.etag))
        if head.size <= RANGE_BYTES:
            return prefetch(self.storage.chunks(key, version_id=version_id))
        return read_version(self.storage, key, version_id=version_id, length=head.size)

    def _join(self, range_plan: RangePlan, cuts: list[CutOutcome]) -> Plan:
        """Make one plan of what many invocations have read."""
        summary = merge_summaries(cut.summary for cut in cuts)
        problems = [cut.problems for cut in cuts if cut.problems is not None]
        shards = tuple(upload for cut in cuts for upload in cut.shards)
        complete_all(self.storage, problems)
        with self._uploads() as uploads:
            uploads.problems.join(
                self.storage, [StoredObject(upload.key, upload.size) for upload in problems]
            )
            if not summary.total:
                summary.reject(EMPTY_FILE)
                uploads.problems.write(EMPTY_FILE)
            terms = self._terms(range_plan.options, range_plan.option_problems, range_plan.size)
            record = self._decide(summary, terms, uploads)
            plan = _plan_of(record, shards if record.accepted else (), uploads)
        stored = self._propose(plan, uploads)
        kept = {upload.upload_id for upload in stored.uploads}
        abort_all(self.storage, (one for one in shards if one.upload_id not in kept))
        return stored

    def _decide(self, summary: InputSummary, terms: Terms, uploads: ShardWriter) -> JobRecord:
        record, problems = decide(summary, terms, self.listing, now=self._now())
        for problem in problems:
            uploads.problems.write(problem)
        return record

    def _uploads(
        self, source: CopySource | None = None, *, has_canary: bool = False
    ) -> ShardWriter:
        return ShardWriter(
            self.storage,
            self.keys,
            problems_key=self.keys.invalid,
            compress=object_keys.is_gzip(self.request.path),
            source=source,
            has_canary=has_canary,
        )

    def _propose(self, plan: Plan, uploads: ShardWriter) -> Plan:
        """Store the plan unless there is one; return the stored plan, and abort other uploads.

        A failure here aborts no uploads, because the plan may be stored. A lifecycle rule of the
        bucket aborts uploads that no plan names after some days.
        """
        stored = plan.propose(self.storage, self.keys)
        uploads.abort(keep=stored.uploads)
        return stored

    def _now(self) -> str:
        return timestamp_of(self.clock())


def _plan_of(record: JobRecord, shards: tuple[PendingUpload, ...], uploads: ShardWriter) -> Plan:
    problems = uploads.problems.hold()
    return Plan(record=record, uploads=(*shards, problems) if problems else shards)
