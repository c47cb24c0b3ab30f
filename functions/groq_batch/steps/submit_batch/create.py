"""Create the batch of an uploaded shard attempt, and record that it exists."""

from __future__ import annotations

from contextlib import closing

from groq_batch.domain.batch import ENDPOINT, Batch
from groq_batch.groq.errors import GroqApiError, RequestRefusedError, log_fields
from groq_batch.records.submission import LeaseLostError, Stage, Submission
from groq_batch.request_file.lines import LineReader
from groq_batch.request_file.shard_parts import common_audio_url
from groq_batch.steps.outcomes import SETTLED, StepOutcome
from groq_batch.steps.submit_batch.leased_attempt import LeasedAttempt
from groq_batch.steps.submit_batch.search import first_batch
from groq_batch.telemetry.log import logger


def create_batch(leased: LeasedAttempt) -> StepOutcome:
    """Create the batch; if its endpoint is refused, once more with another endpoint.

    Raises:
        GroqApiError: The batch was not created, or that is unknown.
        LeaseLostError: Another invocation has taken over.
    """
    endpoint = leased.held.record.endpoint
    if endpoint is None:
        endpoint = (_audio_url(leased) if leased.asks_by_url else None) or ENDPOINT
    try:
        return _create_with(leased, endpoint)
    except RequestRefusedError as error:
        audio_url = _audio_url(leased) if error.names_endpoint else None
        if audio_url in (None, endpoint):
            raise
        logger.info("The endpoint was refused", **log_fields(error))
    # A refused create has made no batch.
    return _create_with(leased, audio_url)


def _audio_url(leased: LeasedAttempt) -> str | None:
    """Return the audio URL common to all lines of the shard; None if there is none."""
    with closing(leased.storage.chunks(leased.lines_key)) as pieces:
        return common_audio_url(LineReader(pieces))


def _create_with(leased: LeasedAttempt, endpoint: str) -> StepOutcome:
    held = leased.held
    file_id = held.record.file_id
    assert file_id is not None  # noqa: S101  (uploaded just before)
    if leased.is_not_wanted:
        held.release(stage=Stage.ABANDONED)
        return SETTLED
    # The last write before the call that costs money: it proves that the lease is still held, and a
    # later invocation that finds this stage knows that a batch may exist.
    held.update(stage=Stage.CREATING, endpoint=endpoint)
    if not held.is_fresh:
        # The write was so slow that another invocation may have taken over since.
        held.release(stage=Stage.UPLOADED)
        return StepOutcome.wait(5)
    batch = leased.client.create_batch(
        input_file_id=file_id,
        endpoint=endpoint,
        completion_window=leased.job.options.completion_window,
        metadata=leased.metadata,
    )
    logger.info("Created a batch", batch_id=batch.id)
    try:
        record_batch(leased, batch)
    except LeaseLostError:
        _cancel_if_second(leased, batch)
        raise
    return leased.created


def record_batch(leased: LeasedAttempt, batch: Batch) -> None:
    """Record the batch; then check that it is wanted and the only one.

    Raises:
        LeaseLostError: Another invocation has taken over.
    """
    created = {"stage": Stage.CREATED, "unknown_since": None, "error": None}
    if leased.was_unknown:
        leased.held.update(batch=batch, **created)
    else:
        # Nothing is left to find out; other invocations leave a recorded batch alone.
        leased.held.release(batch=batch, **created)
    leased.storage.put_bytes(leased.keys.submitted, b"")
    if leased.was_unknown:
        first = _first_batch_if_found(leased)
        if first is not None and first.id != batch.id:
            logger.warning("Cancelled a second batch of one shard attempt", batch_id=batch.id)
            _cancel(leased, batch)
            batch = first
    if leased.is_not_wanted:
        _cancel(leased, batch)
    if leased.was_unknown:
        leased.held.release(batch=batch)


def _first_batch_if_found(leased: LeasedAttempt) -> Batch | None:
    try:
        return first_batch(leased)
    except GroqApiError as error:
        # The batch is recorded; a failing search must not undo that.
        logger.warning("The list could not be read again", **log_fields(error))
        return None


def _cancel_if_second(leased: LeasedAttempt, batch: Batch) -> None:
    """After a lost lease, cancel our batch if the new owner has recorded another one."""
    found = Submission.load(leased.storage, leased.record_key)
    if found and found.value.batch is not None and found.value.batch.id != batch.id:
        _cancel(leased, batch)


def _cancel(leased: LeasedAttempt, batch: Batch) -> None:
    try:
        leased.client.cancel_batch(batch.id)
    except GroqApiError as error:
        # The status check cancels running batches of a stopped job again, and the end of the job
        # cancels batches without a record.
        logger.warning("A batch could not be cancelled", batch_id=batch.id, **log_fields(error))
