"""Submit one shard attempt: upload its requests to Groq and create its batch, at most once.

The API has no idempotency key, so this step is built on three things: a lease that lets one
invocation at a time hold the shard attempt, a record that is written before everything that costs,
and metadata by which a batch is found again. An outcome that is not known is never followed by
another create before the quarantine has passed and a look over the whole list found nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.batch import ENDPOINT, Batch
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NotFoundError,
    NotSentError,
    RateLimitedError,
    RequestRefusedError,
    UnknownOutcomeError,
    error_json,
    log_fields,
)
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.records.closed import is_closed, unless_closed
from groq_batch.records.job import JobRecord
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
    LONGEST_RETRY_AFTER_SECONDS,
    SETTLED,
    UNREADABLE_SECRET_PAUSES_SECONDS,
    StepOutcome,
    account_hold,
    backoff_seconds,
)
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

_SECOND_LOOK_SECONDS = 10
_MISSING_FILE_TRIES = 5
_CHECKED_UPLOAD_BYTES = 4_000_000
"""A smaller upload takes no longer than the question whether the account would take it."""
_MOST_TRIES_OF_A_ROUND = 8
"""After so many tries, a quarter of an hour unless the API asks for more, a shard is left to the
job, which tells its user what it waits for and has the shard tried again."""


def submit_shard(
    *,
    storage: Storage,
    client: GroqClient,
    job_id: str,
    shard_key: str,
    owner: str,
    tries: int,
    first_look_seconds: int = 1,
    clock: Callable[[], float] = time.time,
) -> StepOutcome:
    """Bring one shard attempt as far as it goes without waiting.

    Args:
        storage: The bucket.
        client: The Groq API.
        job_id: The job.
        shard_key: The key of the shard's request lines.
        owner: Names this invocation.
        tries: How often this shard attempt has been tried in this round.
        first_look_seconds: How long a batch is left alone after its creation.
        clock: Seconds since 1970.

    Returns:
        What to do next. Nothing that the API answers makes this function raise.

    Raises:
        ValueError: ``shard_key`` is not a shard's.
    """
    attempt, number = object_keys.shard_of_key(shard_key)
    keys = object_keys.WorkKeys(job_id)
    record_key = keys.submission(attempt, number)
    if is_closed(storage, keys):
        return SETTLED
    found = Submission.load(storage, record_key)
    plan = AttemptPlan.load(storage, keys, attempt) or AttemptPlan(attempt=attempt)
    job = JobRecord.load(storage, keys)
    if job is None:
        raise ValueError("The job has no record; its preparation has not ended")
    # An older version may have left a shard here as it was before it was divided.
    if (found is not None and found[0].stage.is_settled) or number in plan.divided:
        if found is None or found[0].batch is None:
            return SETTLED
        return _not_beyond_deadline(_created_outcome(first_look_seconds), job, clock())
    origin = plan.origin_of(number)
    if found is None:
        kept = _kept_from_sending(
            storage, keys, job, is_wanted=job.may_send(origin, attempt), now=clock()
        )
        if kept is not None:
            return kept
    elif found[0].lease_until > clock():
        return StepOutcome.wait(found[0].lease_until - clock() + 1)
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
        first_look_seconds=first_look_seconds,
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


def _created_outcome(first_look_seconds: int) -> StepOutcome:
    """Return the outcome of a shard attempt whose batch exists: it is left alone at first."""
    return StepOutcome(outcome="settled", wait_seconds=first_look_seconds)


def _kept_from_sending(
    storage: Storage,
    keys: object_keys.WorkKeys,
    job: JobRecord,
    *,
    is_wanted: bool,
    now: float,
) -> StepOutcome | None:
    """Return the outcome of a shard attempt that is not begun; None when it may be.

    Nothing was sent for it, so there is nothing to find out either.
    """
    if not is_wanted or job.is_past_deadline(now) or storage.exists(keys.stopped):
        return SETTLED
    return DEFERRED if storage.exists(keys.account_hold) else None


def _not_beyond_deadline(outcome: StepOutcome, job: JobRecord, now: float) -> StepOutcome:
    """Return an outcome whose wait ends at the job's deadline, if that is still to come.

    That of a batch just created counts as well: the first look at an only shard comes after it.
    """
    if job.deadline_at is None or job.is_past_deadline(now):
        return outcome
    seconds = math.ceil(min(outcome.wait_seconds, job.deadline_at - now))
    return replace(outcome, wait_seconds=max(seconds, 1))


class _RequestStream(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _CountingStream:
    """Passes a stream on and counts its lines."""

    def __init__(self, stream: _RequestStream) -> None:
        self._stream = stream
        self.lines = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self.lines += data.count(b"\n")
        return data


@dataclass(slots=True, kw_only=True)
class _Step:
    """One invocation's work on a shard attempt that it holds.

    Its file and its batch at Groq have the number that the attempt has for this shard, as in the
    report: the shards behind a canary begin with 1 as well.
    """

    storage: Storage
    client: GroqClient
    keys: object_keys.WorkKeys
    attempt: int
    number: int
    tries: int
    first_look_seconds: int
    clock: Callable[[], float]
    held: SubmissionLease
    sending: int
    asks_by_url: bool
    job: JobRecord
    doubtful: bool = False

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
                return self._look_failed(error)
            self.doubtful = True
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

    # -- finding out -----------------------------------------------------------------------------

    def _find_what_was_sent(self) -> bool:
        """Look for what an invocation before this one may have left at Groq; adopt a batch."""
        batch = self._first_batch()
        if batch is not None:
            logger.info("Adopted a batch that had been created before", batch_id=batch.id)
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
        """Return the oldest batch of this shard attempt in the list, as far back as it can be.

        None was created before this shard attempt's record was.
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
        """Ask something small before the job's first upload, which may take minutes if it is large.

        A wrong key or plan is then known in a second. Any other failure is the upload's to meet.

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
            raise ValueError(f"The request lines of {self.held.record.owner} are gone")
        return head.size

    def _upload(self, size: int) -> None:
        streams: list[_CountingStream] = []

        def open_stream() -> _CountingStream:
            key = self.keys.shard(self.attempt, self.number)
            streams.append(_CountingStream(self.storage.open(key)))
            return streams[-1]

        # Proves that the lease is still held: an upload may take minutes and leaves a file.
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
        """Create the batch; once more, with another endpoint, where the first is refused."""
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
        # A create that was refused has made no batch.
        return self._create_with(audio_url)

    def _audio_url(self) -> str | None:
        """Return the audio URL that all lines of the shard have, None when there is none."""
        key = self.keys.shard(self.attempt, self.number)
        with closing(self.storage.chunks(key)) as pieces:
            return common_audio_url(LineReader(pieces))

    def _create_with(self, endpoint: str) -> StepOutcome:
        file_id = self.held.record.file_id
        assert file_id is not None  # noqa: S101  (uploaded just before)
        if self._is_not_wanted:
            self.held.release(stage=Stage.ABANDONED)
            return SETTLED
        # Written last before the request that costs: it proves that the lease is still held, and
        # whoever finds this stage later knows that a batch may exist.
        self.held.update(stage=Stage.CREATING, endpoint=endpoint)
        if not self.held.is_fresh:
            # The write took so long that somebody else may have taken over since it was done.
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
        return _created_outcome(self.first_look_seconds)

    def _created(self, batch: Batch) -> None:
        """Record the batch; then make sure that it is wanted and the only one."""
        created = {"stage": Stage.CREATED, "unknown_since": None, "error": None}
        if self.doubtful:
            self.held.update(batch=batch, **created)
        else:
            # Nothing is left to find out; nobody else does anything about a batch that is recorded.
            self.held.release(batch=batch, **created)
        self.storage.put_bytes(self.keys.submitted, b"")
        if self.doubtful:
            first = self._first_batch_or_none()
            if first is not None and first.id != batch.id:
                logger.warning("Cancelled a second batch of one shard attempt", batch_id=batch.id)
                self._cancel(batch)
                batch = first
        if self._is_not_wanted:
            self._cancel(batch)
        if self.doubtful:
            self.held.release(batch=batch)

    def _first_batch_or_none(self) -> Batch | None:
        try:
            return self._first_batch()
        except GroqApiError as error:
            # The batch is recorded; a look that fails must not undo that.
            logger.warning("The list could not be read again", **log_fields(error))
            return None

    def _cancel_if_second(self, batch: Batch) -> None:
        """After a lost lease: our batch goes if the new owner has recorded another one."""
        found = Submission.load(self.storage, self.keys.submission(self.attempt, self.number))
        if found and found[0].batch is not None and found[0].batch.id != batch.id:
            self._cancel(batch)

    def _delete_if_unwanted(self, file_id: str) -> None:
        """After a lost lease: our file goes, unless the new owner has found and taken it."""
        found = Submission.load(self.storage, self.keys.submission(self.attempt, self.number))
        if found and found[0].file_id == file_id:
            return
        try:
            self.client.delete_file(file_id)
        except GroqApiError as error:
            # The end of the job deletes it, unless it is over; Groq does after 30 days.
            logger.warning("A file could not be deleted", file_id=file_id, **log_fields(error))

    def _cancel(self, batch: Batch) -> None:
        try:
            self.client.cancel_batch(batch.id)
        except GroqApiError as error:
            # The status check cancels again what still runs of a stopped job, and the end of the
            # job cancels batches that no record names.
            logger.warning("A batch could not be cancelled", batch_id=batch.id, **log_fields(error))

    # -- what went wrong -------------------------------------------------------------------------

    def _sending_failed(self, error: GroqApiError) -> StepOutcome:
        """Record a failure of the upload or the create and say how to go on."""
        logger.warning("A shard was not submitted", **log_fields(error))
        metrics.groq_failed(error.category)
        stage = Stage.UPLOADED if self.held.record.file_id else Stage.CLAIMED
        note = error_json(error)
        if isinstance(error, UnknownOutcomeError):
            self.held.release(unknown_since=self.clock(), doubtful=True, error=note)
            return StepOutcome.wait(QUARANTINE_SECONDS)
        if isinstance(error, RateLimitedError):
            self.held.release(stage=stage, error=note)
            return self._later(self._rate_limit_seconds(error))
        if isinstance(error, NotSentError):
            self.held.release(stage=stage, error=note)
            return self._later(backoff_seconds(self.tries))
        if isinstance(error, AccountError):
            self.held.release(stage=stage, error=note)
            return self._account_refuses(error)
        creating = self.held.record.stage is Stage.CREATING
        if isinstance(error, NotFoundError) and creating and self.tries < _MISSING_FILE_TRIES:
            # The uploaded file is not there (yet): forget it and upload once more.
            self.held.release(stage=Stage.CLAIMED, file_id=None, error=note)
            return StepOutcome.wait(backoff_seconds(self.tries))
        if isinstance(error, RequestRefusedError):
            self.held.release(stage=Stage.REFUSED, error=note)
            return SETTLED
        raise error

    def _look_failed(self, error: GroqApiError) -> StepOutcome:
        """A look at Groq failed, so the outcome stays unknown."""
        logger.warning("Groq could not be looked at", **log_fields(error))
        metrics.groq_failed(error.category)
        self.held.release(error=error_json(error))
        if isinstance(error, AccountError):
            return self._account_refuses(error)
        if isinstance(error, RateLimitedError):
            return self._later(self._rate_limit_seconds(error))
        return self._later(backoff_seconds(self.tries))

    def _later(self, seconds: float) -> StepOutcome:
        """Try again after some seconds, or leave that to the job."""
        return StepOutcome.wait(seconds) if self.tries < _MOST_TRIES_OF_A_ROUND else DEFERRED

    def _account_refuses(self, error: AccountError) -> StepOutcome:
        """Leave it to the job, unless it may pass: the whim of a network front, a deployment."""
        if error.code == "permission_denied" and self.tries == 0:
            return StepOutcome.wait(_SECOND_LOOK_SECONDS)
        if (
            error.code == "secret_unreadable"
            and self.tries < len(UNREADABLE_SECRET_PAUSES_SECONDS)
            and not self.storage.exists(self.keys.submitted)
        ):
            return StepOutcome.wait(UNREADABLE_SECRET_PAUSES_SECONDS[self.tries])
        account_hold(error, now=self.clock()).record(self.storage, self.keys)
        return DEFERRED

    def _rate_limit_seconds(self, error: RateLimitedError) -> float:
        if error.retry_after_seconds is None:
            return backoff_seconds(self.tries)
        return min(error.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
