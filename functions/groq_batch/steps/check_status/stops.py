"""Stop a job when nothing of it may be sent any more: its account, its canary, or its time."""

from __future__ import annotations

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.reason import Reason
from groq_batch.domain.times import timestamp_of
from groq_batch.records.job import AccountHold, JobRecord, Stop
from groq_batch.records.submission import Stage
from groq_batch.steps.check_status.reasons import NOT_STORED, TIMED_OUT
from groq_batch.steps.check_status.situation import Check


def stop_of_account(storage: Storage, check: Check) -> Stop | None:
    """Stop the job for an account error that its shards met, as long as nothing was sent.

    Once a batch exists or may exist, the error is an outage: it is recorded in the attempt's state.
    """
    keys, state = check.keys, check.state
    hold = AccountHold.load(storage, keys)
    if hold is None:
        return None
    reason = Reason(hold.code, hold.message)
    may_exist = any(
        state.entries[number].stage == Stage.CREATING for number in state.undecided_numbers
    )
    if state.has_batches or may_exist or storage.exists(keys.submitted):
        state.account_error = reason
        storage.delete([keys.account_hold])
        return None
    return Stop.failed(reason, at=hold.at).write(storage, keys)


def stop_of_canary(
    storage: Storage, keys: object_keys.WorkKeys, job: JobRecord, stop: Stop | None, *, now: float
) -> Stop | None:
    """Stop the job whose canary has failed; if it was stopped before, that reason is kept."""
    verdict = job.verdict
    if stop is not None or verdict is None or not verdict.code:
        return stop
    at = timestamp_of(now)
    failed = Stop(status="partial", code=verdict.code, message=verdict.message, at=at)
    return failed.write(storage, keys)


def stop_of_time(storage: Storage, check: Check, *, is_collected: bool) -> Stop | None:
    """Stop waiting when the last window and the grace period have passed.

    Args:
        storage: The bucket.
        check: What the status check knows.
        is_collected: Whether the rows of all shards of the attempt are stored.
    """
    state = check.state
    if state.gave_up or is_collected or check.now <= check.end_of_waiting:
        return None
    if not (state.pending or state.open_numbers or state.download_rounds):
        return None  # The results were never requested: request them now.
    state.gave_up = True
    reason = NOT_STORED if state.download_rounds and not state.pending else TIMED_OUT
    state.download_rounds = 0
    reason = state.groq_error or state.account_error or reason
    return stop_failed(storage, check, reason)


def stop_failed(storage: Storage, check: Check, reason: Reason) -> Stop:
    """Stop the job because something has failed for good; return the stored stop."""
    return Stop.failed(reason, at=timestamp_of(check.now)).write(storage, check.keys)
