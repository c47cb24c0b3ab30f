"""Submit one shard attempt: upload its requests to Groq and create its batch, at most once.

The API has no idempotency key, so this step relies on three things: a lease that lets one
invocation at a time work on the shard attempt, a record written before every call that costs money,
and metadata by which a batch can be found again. After an unknown outcome, no batch is created
before the quarantine has passed and a search of the whole list has found nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.batch import ENDPOINT, Batch
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.polling import within_deadline
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NotFoundError,
    NotSentError,
    RateLimitedError,
    RequestRefusedError,
    UnknownOutcomeError,
    log_fields,
    reason_of,
)
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.records.closed import is_closed, unless_closed
from groq_batch.records.job import JobRecord
from groq_batch.records.stored import MissingRecordError
from groq_batch.records.submission import (
    CLOCK_MARGIN_SECONDS,
    QUARANTINE_SECONDS,
    LeaseLostError,
    Stage,
    Submission,
    SubmissionLease,
)
from groq_batch.request_file.lines import LineReader
from groq_batch.request_file.shard_parts import common_audio_url
from groq_batch.steps.outcomes import (
    DEFERRED,
    SETTLED,
    UNREADABLE_SECRET_PAUSES_SECONDS,
    StepOutcome,
    account_hold,
    backoff_seconds,
    pause_seconds,
)
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

_SECOND_LOOK_SECONDS = 10
_MISSING_FILE_TRIES = 5
_CHECKED_UPLOAD_BYTES = 4_000_000
"""A smaller upload, in bytes, takes no longer than checking whether the account would accept it."""
_MAX_TRIES_OF_A_ROUND = 8
"""After this many tries, a quarter of an hour unless the API asks for more, the shard is left to
the job, which reports what it waits for and has the shard tried again."""


def submit_shard(
    *,
    storage: Storage,
    client: GroqClient,
    job_id: str,
    shard_key: str,
    owner: str,
    tries: int,
    first_check_seconds: int = 1,
    clock: Callable[[], float] = time.time,
) -> StepOutcome:
    """Submit one shard attempt as far as possible without waiting.

    Args:
        storage: The bucket.
        client: The Groq API.
        job_id: The job.
        shard_key: Key of the shard's request lines.
        owner: Identifies this invocation.
        tries: How often this shard attempt has been tried in this round.
        first_check_seconds: Seconds between the creation of a batch and its first status check.
        clock: Returns seconds since 1970.

    Returns:
        What to do next. No response of the API makes this function raise.

    Raises:
        ValueError: ``shard_key`` is not the key of a shard.
    """
    attempt, number = object_keys.shard_of_key(shard_key)
    keys = object_keys.WorkKeys(job_id)
    record_key = keys.submission(attempt, number)
    if is_closed(storage, keys):
        return SETTLED
    found = Submission.load(storage, record_key)
    plan = AttemptPlan.load(storage, keys, attempt) or AttemptPlan(attempt=attempt)
    job = JobRecord.required(storage, keys)
    # An older version may have left a shard here as it was before it was divided.
    if (found is not None and found.value.stage.is_settled) or number in plan.divided:
        if found is None or found.value.batch is None:
            return SETTLED
        return _not_beyond_deadline(_created_outcome(first_check_seconds), job, clock())
    origin = plan.origin_of(number)
    if found is None:
        kept = _kept_from_sending(
            storage, keys, job, is_wanted=job.may_send(origin, attempt), now=clock()
        )
        if kept is not None:
            return kept
    elif found.value.lease_until > clock():
        return StepOutcome.wait(found.value.lease_until - clock() + 1)
    try:
        held = SubmissionLease.claim(storage, record_key, found, owner=owner, clock=clock)
    except ConflictError:
        return StepOutcome.wait(5)
    step = _Step(
        storage=storage,
        client=client,
        keys=keys,
        attempt=attempt,
        number=number,
        tries=tries,
        first_check_seconds=first_check_seconds,
        clock=clock,
        held=held,
        job=job,
        sending=job.sending(origin, attempt),
        asks_by_url=number in plan.by_url,
    )
    try:
        with held:
            outcome = unless_closed(storage, keys, step.run, lambda: SETTLED)
    except LeaseLostError:
        return StepOutcome.wait(5)
    return _not_beyond_deadline(outcome, job, clock())


def _created_outcome(first_check_seconds: int) -> StepOutcome:
    """Return the outcome of a shard attempt whose batch exists, with the wait before its check."""
    return StepOutcome(outcome="settled", wait_seconds=first_check_seconds)


def _kept_from_sending(
    storage: Storage,
    keys: object_keys.WorkKeys,
    job: JobRecord,
    *,
    is_wanted: bool,
    now: float,
) -> StepOutcome | None:
    """Return the outcome of a shard attempt that must not begin; None if it may.

    Nothing was sent for it, so there is nothing to search for at Groq.
    """
    if not is_wanted or job.is_past_deadline(now) or storage.exists(keys.stopped):
        return SETTLED
    return DEFERRED if storage.exists(keys.account_hold) else None


def _not_beyond_deadline(outcome: StepOutcome, job: JobRecord, now: float) -> StepOutcome:
    """Shorten an outcome's wait so that it ends at the job's deadline, if that is in the future.

    This includes a batch just created: the first status check of an only shard follows that wait.
    """
    seconds = within_deadline(outcome.wait_seconds, deadline_at=job.deadline_at, now=now)
    return replace(outcome, wait_seconds=seconds)


class _RequestStream(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _CountingStream:
    """Passes a stream through and counts its lines."""

    def __init__(self, stream: _RequestStream) -> None:
        self._stream = stream
        self.lines = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self.lines += data.count(b"\n")
        return data


@dataclass(slots=True, kw_only=True)
class _Step:
    """One invocation's work on a shard attempt whose lease it holds.

    Its file and its batch at Groq are named by the shard's number within the attempt, as in the
    report: the shards after a canary also begin with 1.
    """

    storage: Storage
    client: GroqClient
    keys: object_keys.WorkKeys
    attempt: int
    number: int
    tries: int
    first_check_seconds: int
    clock: Callable[[], float]
    held: SubmissionLease
    sending: int
    asks_by_url: bool
    job: JobRecord
    was_unknown: bool = False

    @property
    def _is_not_wanted(self) -> bool:
        """Whether the job sends nothing any more: it was stopped, or its deadline has passed."""
        return self.job.is_past_deadline(self.clock()) or self.storage.exists(self.keys.stopped)

    def run(self) -> StepOutcome:
        unknown_since = self.held.record.unknown_since
        if unknown_since is not None:
            remaining = unknown_since + QUARANTINE_SECONDS - self.clock()
            if remaining > 0:
                self.held.release()
                return StepOutcome.wait(remaining)
            try:
                if self._find_what_was_sent():
                    return SETTLED
            except GroqApiError as error:
                return self._search_failed(error)
            self.was_unknown = True
        if self._is_not_wanted:
            self.held.release(stage=Stage.ABANDONED, unknown_since=None)
            return SETTLED
        if self.storage.exists(self.keys.account_hold):
            self.held.release(unknown_since=None)
            return DEFERRED
        try:
            if self.held.record.file_id is None:
                size = self._shard_size()
                if size > _CHECKED_UPLOAD_BYTES:
                    self._check_account()
                self._upload(size)
            return self._create()
        except GroqApiError as error:
            return self._sending_failed(error)

    # -- searching -------------------------------------------------------------------------------

    def _find_what_was_sent(self) -> bool:
        """Search for a file or batch that an earlier invocation may have created; adopt a batch."""
        batch = self._first_batch()
        if batch is not None:
            logger.info("Adopted a batch that already existed", batch_id=batch.id)
            self._created(batch)
            return True
        file_id = self.held.record.file_id
        if file_id is None:
            name = object_keys.groq_file_name(self.keys.job, self.sending, self.number)
            size = self._shard_size()
            for file in self.client.list_files():
                if file.filename == name and file.bytes in (size, None):
                    file_id = file.id
                    break
        self.held.update(
            stage=Stage.UPLOADED if file_id else Stage.CLAIMED,
            file_id=file_id,
            unknown_since=None,
        )
        return False

    def _first_batch(self) -> Batch | None:
        """Return the oldest batch of this shard attempt in the list, searched as far as needed.

        None can be older than this shard attempt's record.
        """
        metadata = object_keys.batch_metadata(self.keys.job, self.sending, self.number)
        file_id = self.held.record.file_id
        begun_at = self.held.record.begun_at
        since = None if begun_at is None else begun_at - CLOCK_MARGIN_SECONDS
        candidates = [
            batch
            for batch in self.client.batches_since(since)
            if metadata.items() <= (batch.metadata or {}).items()
            or (file_id is not None and batch.input_file_id == file_id)
        ]
        return min(candidates, key=lambda batch: (batch.created_at or 0, batch.id), default=None)

    # -- sending ---------------------------------------------------------------------------------

    def _check_account(self) -> None:
        """Make a small call before the job's first upload, which may take minutes if it is large.

        This reveals a wrong key or plan within a second. Any other failure is left to the upload.

        Raises:
            AccountError: The account or its configuration is at fault.
        """
        if self.storage.exists(self.keys.submitted):
            return
        try:
            next(self.client.all_batches(), None)
        except AccountError:
            raise
        except GroqApiError as error:
            logger.info("The account could not be checked", **log_fields(error))

    def _shard_size(self) -> int:
        head = self.storage.head(self.keys.shard(self.attempt, self.number))
        if head is None:
            raise MissingRecordError(f"The request lines of {self.held.record.owner} are gone")
        return head.size

    def _upload(self, size: int) -> None:
        streams: list[_CountingStream] = []

        def open_stream() -> _CountingStream:
            key = self.keys.shard(self.attempt, self.number)
            streams.append(_CountingStream(self.storage.open(key)))
            return streams[-1]

        # Proves that the lease is still held: an upload may take minutes and creates a file.
        if not self.held.is_fresh:
            self.held.update()
        file = self.client.upload_file(
            filename=object_keys.groq_file_name(self.keys.job, self.sending, self.number),
            open_stream=open_stream,
            size=size,
        )
        try:
            self.held.update(stage=Stage.UPLOADED, file_id=file.id, requests=streams[-1].lines)
        except LeaseLostError:
            self._delete_if_unwanted(file.id)
            raise
        logger.info("Uploaded a shard", file_id=file.id, bytes=size)

    def _create(self) -> StepOutcome:
        """Create the batch; if its endpoint is refused, once more with another endpoint."""
        endpoint = self.held.record.endpoint
        if endpoint is None:
            endpoint = (self._audio_url() if self.asks_by_url else None) or ENDPOINT
        try:
            return self._create_with(endpoint)
        except RequestRefusedError as error:
            audio_url = self._audio_url() if error.names_endpoint else None
            if audio_url in (None, endpoint):
                raise
            logger.info("The endpoint was refused", **log_fields(error))
        # A refused create has made no batch.
        return self._create_with(audio_url)

    def _audio_url(self) -> str | None:
        """Return the audio URL common to all lines of the shard; None if there is none."""
        key = self.keys.shard(self.attempt, self.number)
        with closing(self.storage.chunks(key)) as pieces:
            return common_audio_url(LineReader(pieces))

    def _create_with(self, endpoint: str) -> StepOutcome:
        file_id = self.held.record.file_id
        assert file_id is not None  # noqa: S101  (uploaded just before)
        if self._is_not_wanted:
            self.held.release(stage=Stage.ABANDONED)
            return SETTLED
        # The last write before the call that costs money: it proves that the lease is still held,
        # and a later invocation that finds this stage knows that a batch may exist.
        self.held.update(stage=Stage.CREATING, endpoint=endpoint)
        if not self.held.is_fresh:
            # The write was so slow that another invocation may have taken over since.
            self.held.release(stage=Stage.UPLOADED)
            return StepOutcome.wait(5)
        batch = self.client.create_batch(
            input_file_id=file_id,
            endpoint=endpoint,
            completion_window=self.job.options.completion_window,
            metadata=object_keys.batch_metadata(self.keys.job, self.sending, self.number),
        )
        logger.info("Created a batch", batch_id=batch.id)
        try:
            self._created(batch)
        except LeaseLostError:
            self._cancel_if_second(batch)
            raise
        return _created_outcome(self.first_check_seconds)

    def _created(self, batch: Batch) -> None:
        """Record the batch; then check that it is wanted and the only one."""
        created = {"stage": Stage.CREATED, "unknown_since": None, "error": None}
        if self.was_unknown:
            self.held.update(batch=batch, **created)
        else:
            # Nothing is left to find out; other invocations leave a recorded batch alone.
            self.held.release(batch=batch, **created)
        self.storage.put_bytes(self.keys.submitted, b"")
        if self.was_unknown:
            first = self._first_batch_or_none()
            if first is not None and first.id != batch.id:
                logger.warning("Cancelled a second batch of one shard attempt", batch_id=batch.id)
                self._cancel(batch)
                batch = first
        if self._is_not_wanted:
            self._cancel(batch)
        if self.was_unknown:
            self.held.release(batch=batch)

    def _first_batch_or_none(self) -> Batch | None:
        try:
            return self._first_batch()
        except GroqApiError as error:
            # The batch is recorded; a failing search must not undo that.
            logger.warning("The list could not be read again", **log_fields(error))
            return None

    def _cancel_if_second(self, batch: Batch) -> None:
        """After a lost lease, cancel our batch if the new owner has recorded another one."""
        found = Submission.load(self.storage, self.keys.submission(self.attempt, self.number))
        if found and found.value.batch is not None and found.value.batch.id != batch.id:
            self._cancel(batch)

    def _delete_if_unwanted(self, file_id: str) -> None:
        """After a lost lease, delete our file unless the new owner has found and adopted it."""
        found = Submission.load(self.storage, self.keys.submission(self.attempt, self.number))
        if found and found.value.file_id == file_id:
            return
        try:
            self.client.delete_file(file_id)
        except GroqApiError as error:
            # The end of the job deletes it, unless that has passed; Groq deletes it after 30 days
            # (https://console.groq.com/docs/batch).
            logger.warning("A file could not be deleted", file_id=file_id, **log_fields(error))

    def _cancel(self, batch: Batch) -> None:
        try:
            self.client.cancel_batch(batch.id)
        except GroqApiError as error:
            # The status check cancels running batches of a stopped job again, and the end of the
            # job cancels batches without a record.
            logger.warning("A batch could not be cancelled", batch_id=batch.id, **log_fields(error))

    # -- failures --------------------------------------------------------------------------------

    def _sending_failed(self, error: GroqApiError) -> StepOutcome:
        """Record a failure of the upload or the create and return how to continue."""
        logger.warning("A shard was not submitted", **log_fields(error))
        metrics.groq_failed(error.category)
        stage = Stage.UPLOADED if self.held.record.file_id else Stage.CLAIMED
        note = reason_of(error)
        if isinstance(error, UnknownOutcomeError):
            self.held.release(unknown_since=self.clock(), may_have_orphans=True, error=note)
            return StepOutcome.wait(QUARANTINE_SECONDS)
        if isinstance(error, RateLimitedError | NotSentError):
            self.held.release(stage=stage, error=note)
            return self._later(pause_seconds(error, self.tries))
        if isinstance(error, AccountError):
            self.held.release(stage=stage, error=note)
            return self._account_refuses(error)
        creating = self.held.record.stage is Stage.CREATING
        if isinstance(error, NotFoundError) and creating and self.tries < _MISSING_FILE_TRIES:
            # Groq does not (yet) have the uploaded file: forget it and upload once more.
            self.held.release(stage=Stage.CLAIMED, file_id=None, error=note)
            return StepOutcome.wait(backoff_seconds(self.tries))
        if isinstance(error, RequestRefusedError):
            self.held.release(stage=Stage.REFUSED, error=note)
            return SETTLED
        raise error

    def _search_failed(self, error: GroqApiError) -> StepOutcome:
        """Record that a search at Groq failed, so the outcome remains unknown."""
        logger.warning("Groq could not be checked", **log_fields(error))
        metrics.groq_failed(error.category)
        self.held.release(error=reason_of(error))
        if isinstance(error, AccountError):
            return self._account_refuses(error)
        return self._later(pause_seconds(error, self.tries))

    def _later(self, seconds: float) -> StepOutcome:
        """Try again after some seconds, or leave that to the job."""
        return StepOutcome.wait(seconds) if self.tries < _MAX_TRIES_OF_A_ROUND else DEFERRED

    def _account_refuses(self, error: AccountError) -> StepOutcome:
        """Leave it to the job, unless it may be temporary: a network proxy, a deployment."""
        if error.code == ErrorCode.PERMISSION_DENIED and self.tries == 0:
            return StepOutcome.wait(_SECOND_LOOK_SECONDS)
        if (
            error.code == ErrorCode.SECRET_UNREADABLE
            and self.tries < len(UNREADABLE_SECRET_PAUSES_SECONDS)
            and not self.storage.exists(self.keys.submitted)
        ):
            return StepOutcome.wait(UNREADABLE_SECRET_PAUSES_SECONDS[self.tries])
        account_hold(error, now=self.clock()).record(self.storage, self.keys)
        return DEFERRED
