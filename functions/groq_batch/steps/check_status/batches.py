"""Bring an attempt's batches up to date with Groq, and cancel those that must not run any more."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from groq_batch.domain.batch import Batch
from groq_batch.domain.parallel import in_parallel
from groq_batch.domain.times import seconds_of
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    RateLimitedError,
    log_fields,
    reason_of,
)
from groq_batch.records.attempt import ShardState
from groq_batch.steps.check_status.reasons import (
    GONE_SECONDS,
    no_answer,
    unknown_batches,
    unsent_shards,
)
from groq_batch.steps.check_status.situation import Situation
from groq_batch.steps.outcomes import pause_seconds
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

_LONGEST_OVERDUE_SECONDS = 900
_SHORTEST_OVERDUE_SECONDS = 10
_LONGEST_PAUSE_SECONDS = 3600
_CANCELLERS = 8
_WRITES_RESULTS = "finalizing"


def update_batches(client: GroqClient, known: Situation) -> list[Batch]:
    """Update the batches from the API; if it does not respond, no batch changes.

    Returns:
        The batches that this check is the first to see ended.
    """
    state = known.state
    # A stopped job sends nothing more.
    state.last_check_error = unsent_shards(state) if known.stop is None else None
    pending = {entry.batch.id: entry for entry in state.pending if entry.batch is not None}
    if not pending:
        return []
    try:
        found = client.batches_by_id(list(pending))
    except GroqApiError as error:
        _record_failure(known, error)
        return []
    state.rate_limits, state.groq_error = 0, None
    read = {batch_id: found.batches[batch_id] for batch_id in found.batches if batch_id in pending}
    for batch_id, batch in read.items():
        pending[batch_id].batch = batch
    _record_unknown(known, [pending[name] for name in sorted(found.unknown & pending.keys())])
    unwanted = {
        batch_id: entry
        for batch_id, entry in pending.items()
        if entry.batch is not None and must_be_cancelled(entry.batch, known)
    }
    _cancel(client, unwanted)
    return [batch for batch in read.values() if batch.is_terminal]


def must_be_cancelled(batch: Batch, known: Situation) -> bool:
    """Tell whether a batch is to be cancelled.

    That is every one of a stopped job, and every overdue one; after the deadline, all except those
    whose results are being written.
    """
    if batch.is_terminal or batch.status == "cancelling":
        return False
    is_too_late = known.is_late and batch.status != _WRITES_RESULTS
    return (
        known.stop is not None
        or is_too_late
        or _is_overdue(known.with_credible_dates(batch), known.now)
    )


def _is_overdue(batch: Batch, now: float) -> bool:
    """Tell whether a batch has exceeded its window by more than a small share of it."""
    if batch.expires_at is None:
        return False
    window = batch.expires_at - (batch.created_at or batch.expires_at)
    margin = min(max(window * 0.01, _SHORTEST_OVERDUE_SECONDS), _LONGEST_OVERDUE_SECONDS)
    return now > batch.expires_at + margin


def _record_failure(known: Situation, error: GroqApiError) -> None:
    """Record that Groq gave no batch, and wait as long as it asks to."""
    logger.warning("The batches could not be read", **log_fields(error))
    metrics.groq_failed(error.category)
    state = known.state
    state.groq_error = None
    if isinstance(error, AccountError):
        state.groq_error = reason_of(error)
    else:
        state.last_check_error = no_answer(error)
    if isinstance(error, RateLimitedError):
        pause = pause_seconds(error, state.rate_limits)
        known.not_before = min(int(pause) + 1, _LONGEST_PAUSE_SECONDS)
        state.rate_limits += 1


def _record_unknown(known: Situation, gone: Sequence[ShardState]) -> None:
    """Record which batches Groq does not know; a stopped job gives them up after a while.

    They count as cancelled then. A temporary 404 must not lose rows that were paid for.
    """
    state, stop = known.state, known.stop
    if not gone:
        state.absent_since = None
        return
    state.last_check_error = unknown_batches(gone, is_stopped=stop is not None)
    state.absent_since = state.absent_since or known.now
    if stop is None or known.now <= max(state.absent_since, seconds_of(stop.at)) + GONE_SECONDS:
        return
    for entry in gone:
        if entry.batch is not None:
            logger.warning("A batch no longer exists", batch_id=entry.batch.id)
            entry.batch = replace(entry.batch, status="cancelled")


def _cancel(client: GroqClient, unwanted: dict[str, ShardState]) -> None:
    def cancel(batch_id: str) -> None:
        try:
            unwanted[batch_id].batch = client.cancel_batch(batch_id)
        except GroqApiError as error:
            # Retried by the next status check.
            logger.warning("A batch could not be cancelled", batch_id=batch_id, **log_fields(error))

    in_parallel(cancel, unwanted, workers=_CANCELLERS)
