"""Bring an attempt's batches up to date with Groq, and cancel those that must not run any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.steps.check_status.reasons import (
    GONE_SECONDS,
    no_answer,
    unknown_batches,
    unsent_shards,
)
from groq_batch.steps.check_status.situation import Check
from groq_batch.steps.outcomes import pause_seconds
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

_LONGEST_OVERDUE_SECONDS = 900
_SHORTEST_OVERDUE_SECONDS = 10
_LONGEST_PAUSE_SECONDS = 3600
_CANCELLERS = 8
_WRITES_RESULTS = "finalizing"


class BatchUpdate(NamedTuple):
    """What Groq has answered about an attempt's batches.

    Attributes:
        ended: The batches that this check is the first to see ended.
        not_before: Seconds that must pass before the next check, because Groq asks for it.
    """

    ended: Sequence[Batch] = ()
    not_before: int = 0


def update_batches(client: GroqClient, check: Check) -> BatchUpdate:
    """Update the batches from the API; if it does not respond, no batch changes."""
    state = check.state
    # A stopped job sends nothing more.
    state.last_check_error = unsent_shards(state) if check.stop is None else None
    pending = {entry.batch.id: entry for entry in state.pending if entry.batch is not None}
    if not pending:
        return BatchUpdate()
    try:
        found = client.batches_by_id(list(pending))
    except GroqApiError as error:
        return BatchUpdate(not_before=_record_failure(check.state, error))
    state.rate_limits, state.groq_error = 0, None
    read = {batch_id: found.batches[batch_id] for batch_id in found.batches if batch_id in pending}
    for batch_id, batch in read.items():
        pending[batch_id].batch = batch
    _record_unknown(check, [pending[name] for name in sorted(found.unknown & pending.keys())])
    unwanted = {
        batch_id: entry
        for batch_id, entry in pending.items()
        if entry.batch is not None and must_be_cancelled(entry.batch, check)
    }
    _cancel(client, unwanted)
    return BatchUpdate([batch for batch in read.values() if batch.is_terminal])


def must_be_cancelled(batch: Batch, check: Check) -> bool:
    """Tell whether a batch is to be cancelled.

    That is every one of a stopped job, and every overdue one; after the deadline, all except those
    whose results are being written.
    """
    if batch.is_terminal or batch.status == "cancelling":
        return False
    is_too_late = check.is_late and batch.status != _WRITES_RESULTS
    return check.stop is not None or is_too_late or _is_overdue(batch, check)


def _is_overdue(batch: Batch, check: Check) -> bool:
    """Tell whether a batch has exceeded its window by more than a small share of it."""
    begins, ends = check.window_of(batch)
    share = (ends - begins) * 0.01
    margin = min(max(share, _SHORTEST_OVERDUE_SECONDS), _LONGEST_OVERDUE_SECONDS)
    return check.now > ends + margin


def _record_failure(state: AttemptState, error: GroqApiError) -> int:
    """Record that Groq gave no batch; return how many seconds it asks to wait."""
    logger.warning("The batches could not be read", **log_fields(error))
    metrics.groq_failed(error.category)
    state.groq_error = None
    if isinstance(error, AccountError):
        state.groq_error = reason_of(error)
    else:
        state.last_check_error = no_answer(error)
    if not isinstance(error, RateLimitedError):
        return 0
    pause = pause_seconds(error, state.rate_limits)
    state.rate_limits += 1
    return min(int(pause) + 1, _LONGEST_PAUSE_SECONDS)


def _record_unknown(check: Check, gone: Sequence[ShardState]) -> None:
    """Record which batches Groq does not know; a stopped job gives them up after a while.

    They count as cancelled then. A temporary 404 must not lose rows that were paid for.
    """
    state, stop = check.state, check.stop
    if not gone:
        state.absent_since = None
        return
    state.last_check_error = unknown_batches(gone, is_stopped=stop is not None)
    state.absent_since = state.absent_since or check.now
    if stop is None or check.now <= max(state.absent_since, seconds_of(stop.at)) + GONE_SECONDS:
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
