"""Decide with which status a job ends, and which reason its final report gives. Without I/O."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.reason import Reason
from groq_batch.domain.times import timestamp_of
from groq_batch.records.job import JobRecord
from groq_batch.records.on_demand import CallsEnd, OnDemandProgress
from groq_batch.steps.finish_job.ending_job import EndingJob

DELIVERED_STATUSES = ("succeeded", "partial")
"""The statuses of a job that ended by itself and whose results are delivered."""
_UNREAD = (
    "The job ended before its input was checked. Start it again; if it happens again, check the "
    "log of PrepareInputFunction."
)
_LOST = (
    "The job's working files were removed while it ran, so its batches could not be collected; "
    "those that still ran were cancelled. Groq keeps their files for up to 30 days: look for the "
    "answers in the Groq console before you send the file again, because they may have been billed."
)
_UNCOLLECTED = (
    "The job was ended before the rows of {missing} of its {all} shards were stored, or these were "
    "removed. Look for their batches in the Groq console before you send those requests again: "
    "they may have been billed."
)


class FinalStatus(NamedTuple):
    """How a job ends.

    Attributes:
        status: The status of its report.
        reason: Why it failed, was stopped or has no answer for some requests; None if nothing
            concerns the whole job.
    """

    status: str
    reason: Reason | None = None


def final_status(
    known: EndingJob,
    *,
    was_sent: bool,
    denied: Reason | None = None,
    unreadable: str | None = None,
) -> FinalStatus:
    """Return a job's final status and the reason for it.

    Args:
        known: The records of the job.
        was_sent: Whether a batch of the job is known.
        denied: Why results could not be delivered; None if they were.
        unreadable: Key of an unreadable report that blocks the job's path; None without one.
    """
    if denied is not None:
        return FinalStatus("failed", denied)
    ending = _status_by_records(known, was_sent=was_sent)
    if unreadable is not None and ending.status in DELIVERED_STATUSES:
        return FinalStatus("failed", _denied_reading(unreadable))
    return ending


def _status_by_records(known: EndingJob, *, was_sent: bool) -> FinalStatus:
    """Return how a job ends if everything that is stored of it can be delivered."""
    job, stop = known.job, known.stop
    if job is not None and job.failure is not None:
        return FinalStatus("failed", job.failure)
    lost = _lost(known, was_sent=was_sent)
    if lost is None and _was_stopped_too_late(known):
        stop = None
    if stop is not None and (job is None or job.accepted):
        if stop.code == ErrorCode.INTERNAL_ERROR and lost is not None:
            return FinalStatus(stop.status, lost)
        return FinalStatus(stop.status, Reason(stop.code, stop.message))
    if job is None:
        return FinalStatus("failed", lost or Reason(ErrorCode.INTERNAL_ERROR, _UNREAD))
    if not job.accepted:
        return FinalStatus("rejected")
    if lost is not None:
        return FinalStatus("failed", lost)
    latest = known.latest
    if sum(summary.succeeded for summary in latest) == job.total:
        return FinalStatus("succeeded")
    passed = sum(summary.deadline_passed for summary in latest)
    reason = _deadline_passed(passed, job, known.calls) if passed else None
    return FinalStatus("partial", reason)


def _was_stopped_too_late(known: EndingJob) -> bool:
    """Tell whether a failure stopped a job only after all its requests had their outcome.

    For example, S3 could not be written to while the results were delivered. Such a job ends as it
    would have ended without the failure.
    """
    job, stop = known.job, known.stop
    return (
        stop is not None
        and stop.code in (ErrorCode.INTERNAL_ERROR, ErrorCode.TIMED_OUT)
        and job is not None
        and job.accepted
        and not job.awaits_verdict
        and all(summary.is_undisturbed for summary in known.latest)
    )


def _lost(known: EndingJob, *, was_sent: bool) -> Reason | None:
    """Return the reason of a job that lacks its record, or rows of shards; None if it has all."""
    if known.job is None:
        return Reason(ErrorCode.INTERNAL_ERROR, _LOST) if was_sent else None
    if not known.uncollected:
        return None
    text = _UNCOLLECTED.format(missing=known.uncollected, all=len(known.job.shards))
    return Reason(ErrorCode.INTERNAL_ERROR, text)


def _deadline_passed(count: int, job: JobRecord, calls: OnDemandProgress | None) -> Reason:
    """Return the reason of a job whose deadline left requests unanswered."""
    moment = timestamp_of(job.deadline_at or 0.0)
    left = "1 request has" if count == 1 else f"{count:,} requests have"
    text = f"{left} no answer; the deadline was {moment}."
    if calls is not None and calls.ended is CallsEnd.BUDGET:
        budget = Decimal(f"{calls.budget_usd:.4g}")
        text += (
            f" The budget for ordinary calls after it was {budget:f} USD: deadline-max-usd, or "
            f"what was left of the cost cap if that was less."
        )
    elif calls is not None and calls.ended is CallsEnd.CANARY:
        text += " It passed before the canary had an answer, so nothing else was sent."
    elif calls is not None and calls.pause is not None:
        text += f" {calls.pause.message}"
    return Reason(
        ErrorCode.DEADLINE_PASSED,
        f"{text} Each row has the reason; to get the rest, run failed/ again.",
    )


def denied_writing(key: str, work: str) -> Reason:
    """Return the reason of a job whose results S3 does not allow to be written.

    Args:
        key: Key that could not be written or deleted.
        work: URI of the job's working files.
    """
    return Reason(
        ErrorCode.PERMISSION_DENIED,
        f"S3 does not allow the functions to write or remove {key}; a policy or a lock "
        f"denies it. The addresses of the results are in outputs; results that are null there are "
        f"in the folders results and failed of {work}, one object for each shard, until that "
        f"expires. Allow the access before the next upload.",
    )


def _denied_reading(key: str) -> Reason:
    """Return the reason of a job that cannot use its path because of an unreadable report.

    Args:
        key: Key of the report that S3 does not return.
    """
    return Reason(
        ErrorCode.PERMISSION_DENIED,
        f"S3 does not allow the functions to read {key}, which an earlier job has "
        f"written; a policy denies it, or it is encrypted with a former key of the bucket. The "
        f"addresses of this job's results are in outputs. Allow the functions' roles kms:Decrypt "
        f"on that key, or remove the earlier report, before the next upload.",
    )
