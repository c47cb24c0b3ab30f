"""Say in a job's report why it waits, or why it gives up its batches."""

from __future__ import annotations

from collections.abc import Sequence

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.reason import Reason
from groq_batch.domain.times import timestamp_of
from groq_batch.groq.errors import GroqApiError
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.on_demand import OnDemandProgress

GRACE_SECONDS = 24 * 3600
"""Seconds after the end of the last window for which a job waits for an unresponsive API."""
GONE_SECONDS = 600
"""How many seconds Groq must report a batch as unknown before a stopped job gives it up."""
_SHOWN_BATCHES = 3
TIMED_OUT = Reason(
    ErrorCode.TIMED_OUT,
    f"Groq gave no result within the completion window and {GRACE_SECONDS // 3600} more hours. "
    "Check the batches in the Groq console; send the requests in failed/ again when the cause "
    "is known.",
)
NOT_STORED = Reason(
    ErrorCode.INTERNAL_ERROR,
    "The results of a batch could not be fetched and stored within the completion window and "
    f"{GRACE_SECONDS // 3600} hours more. Check the log of DownloadResultsFunction; send the "
    "requests in failed/ again when the cause is known.",
)
NOT_DIVIDED = Reason(
    ErrorCode.INTERNAL_ERROR,
    "Groq refused a batch as a whole, and it could not be divided to be sent again within "
    f"{GRACE_SECONDS // 3600} hours. Check the log of DownloadResultsFunction; send the requests "
    "in failed/ again when the cause is known.",
)


def no_answer(error: GroqApiError) -> Reason:
    """Return why the last check got nothing from Groq."""
    return Reason(
        ErrorCode.GROQ_UNAVAILABLE,
        f"The last status check got no answer from Groq. {error} The batches continue at Groq, "
        f"and this job continues as soon as Groq answers.",
    )


def pause_of_calls(calls: OnDemandProgress, *, now: float) -> Reason | None:
    """Return why ordinary calls pause, as the running report says it.

    The reason is reported until a call is answered, also while the calls are retried.
    """
    if calls.pause is None:
        return None
    does = "are being retried"
    if calls.pause_until > now:
        again = timestamp_of(calls.pause_until)
        does = f"pause until {again}"
    last = timestamp_of(calls.ask_until)
    return Reason(
        calls.pause.code,
        f"The ordinary calls after the deadline {does}, and end at {last}. {calls.pause.message}",
    )


def unsent_shards(state: AttemptState) -> Reason | None:
    """Return why shards could not be sent yet; None if nothing prevents it."""
    open_entries = (state.entries[number] for number in state.open_numbers)
    errors = [entry.error for entry in open_entries if entry.error]
    if not errors:
        return None
    return Reason(
        ErrorCode.GROQ_UNAVAILABLE,
        f"{len(errors)} of {len(state.entries)} shards could not be sent to Groq yet. "
        f"{errors[0].message} The job tries again.",
    )


def unknown_batches(gone: Sequence[ShardState], *, is_stopped: bool) -> Reason:
    """Return the reason for batches that Groq does not know (any more)."""
    names = ", ".join(entry.batch.id for entry in gone[:_SHOWN_BATCHES] if entry.batch is not None)
    more = f" and {len(gone) - _SHOWN_BATCHES} more" if len(gone) > _SHOWN_BATCHES else ""
    waits = (
        f"The job waits until the window and {GRACE_SECONDS // 3600} hours have passed. To collect "
        f"the rows of the other batches now, stop the job's execution."
    )
    if is_stopped:
        waits = (
            f"The job was stopped. If Groq still does not know it {GONE_SECONDS // 60} minutes "
            f"after the stop, the job delivers the rows of the other batches without it."
        )
    return Reason(
        ErrorCode.BATCH_NOT_FOUND,
        f"Groq does not know {names}{more} (any more). {waits}",
    )
