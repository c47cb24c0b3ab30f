"""With which status a job ends, and which reason its report gives."""

from __future__ import annotations

from typing import Any

import pytest

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.reason import Reason
from groq_batch.domain.shard import Shard
from groq_batch.domain.times import timestamp_of
from groq_batch.records.job import JobRecord, Stop
from groq_batch.records.on_demand import CallsEnd, OnDemandProgress
from groq_batch.records.shard_result import ShardResult
from groq_batch.steps.finish_job.ending_job import EndingJob
from groq_batch.steps.finish_job.final_status import final_status
from tests.samples import OPTIONS, job_request
from tests.unit.steps.situations import NOW

CANCELLED = Stop(status="cancelled", code="cancelled", message="Stopped.", at=timestamp_of(NOW))
FAILURE = Reason("internal_error", "The execution failed.")
FAILED = Stop.failed(FAILURE, at=timestamp_of(NOW))
DENIED = Reason(ErrorCode.PERMISSION_DENIED, "Denied.")


def record(**fields: Any) -> JobRecord:
    """Return the record of an accepted job with two shards of two requests."""
    shards = (Shard(number=1, requests=2), Shard(number=2, requests=2))
    return JobRecord(
        **{"accepted": True, "options": OPTIONS, "shards": shards, "total": 4, **fields}
    )


def rows(number: int, succeeded: int = 2, **fields: Any) -> ShardResult:
    """Return the summary of a shard whose every request had its outcome before a stop."""
    return ShardResult(
        **{"attempt": 1, "number": number, "succeeded": succeeded, "was_stopped": False, **fields}
    )


def ended(*summaries: ShardResult, **fields: Any) -> EndingJob:
    return EndingJob(
        **{"request": job_request(), "job": record(), "summaries": summaries, **fields}
    )


def calls(**fields: Any) -> OnDemandProgress:
    return OnDemandProgress(attempt=2, budget_usd=0.00001, ask_until=NOW, max_tries=3, **fields)


def message(known: EndingJob, **arguments: Any) -> str:
    _, reason = final_status(known, **{"was_sent": True, **arguments})
    assert reason is not None
    return reason.message or ""


def test_final_status_counts_the_last_attempt_of_each_shard() -> None:
    assert final_status(ended(rows(1), rows(2)), was_sent=True) == ("succeeded", None)
    assert final_status(ended(rows(1), rows(2, 1)), was_sent=True) == ("partial", None)
    again = rows(2, attempt=2)
    assert final_status(ended(rows(1), rows(2, 1), again), was_sent=True) == ("succeeded", None)


def test_final_status_of_an_input_that_was_not_accepted_or_not_read() -> None:
    rejected = ended(job=record(accepted=False), stop=CANCELLED)
    assert final_status(rejected, was_sent=False) == ("rejected", None)
    unread = ended(job=record(accepted=False, failure=DENIED))
    assert final_status(unread, was_sent=False) == ("failed", DENIED)


def test_final_status_without_a_record_tells_whether_batches_are_known() -> None:
    known = ended(job=None)
    status, reason = final_status(known, was_sent=False)
    assert (status, reason and reason.code) == ("failed", ErrorCode.INTERNAL_ERROR)
    assert "before its input was checked" in message(known, was_sent=False)
    assert "look for the answers in the Groq console" in message(known)


def test_final_status_without_the_rows_of_a_shard_says_how_many_are_missing() -> None:
    known = ended(rows(1))
    status, _ = final_status(known, was_sent=True)
    assert status == "failed"
    assert "the rows of 1 of its 2 shards" in message(known)
    # A failure that has no other cause than that is described by it; a stop of the user is not.
    assert "the rows of 1 of its 2 shards" in message(ended(rows(1), stop=FAILED))
    cancelled = ended(rows(1), stop=CANCELLED)
    assert final_status(cancelled, was_sent=True) == ("cancelled", Reason("cancelled", "Stopped."))


@pytest.mark.parametrize("summary", [rows(2), rows(2, 1)])
def test_final_status_of_a_failure_after_all_outcomes_is_that_without_it(
    summary: ShardResult,
) -> None:
    without = final_status(ended(rows(1), summary), was_sent=True)
    assert final_status(ended(rows(1), summary, stop=FAILED), was_sent=True) == without


@pytest.mark.parametrize(
    ("summary", "fields"),
    [
        (rows(2, 1, to_retry=1), {}),
        (rows(2, 1, kept=1), {}),
        (rows(2, was_stopped=True), {}),
        (rows(2, was_stopped=None), {}),
        (rows(2), {"job": record(has_canary=True)}),
    ],
)
def test_final_status_of_a_failure_before_all_outcomes_is_the_failure(
    summary: ShardResult, fields: dict[str, Any]
) -> None:
    known = ended(rows(1), summary, stop=FAILED, **fields)
    assert final_status(known, was_sent=True) == ("failed", FAILURE)


def test_final_status_of_a_cancelled_job_is_never_overridden_by_its_outcomes() -> None:
    known = ended(rows(1), rows(2), stop=CANCELLED)
    assert final_status(known, was_sent=True) == ("cancelled", Reason("cancelled", "Stopped."))


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (None, "the deadline was 2027-01-15T08:00:00.000Z. Each row"),
        (calls(ended=CallsEnd.BUDGET), "was 0.00001 USD: deadline-max-usd"),
        (calls(ended=CallsEnd.CANARY), "before the canary had an answer"),
        (calls(pause=DENIED), "2027-01-15T08:00:00.000Z. Denied. Each row"),
        (calls(ended=CallsEnd.TIME), "the deadline was 2027-01-15T08:00:00.000Z. Each row"),
    ],
)
def test_final_status_after_a_deadline_says_why_requests_have_no_answer(
    progress: OnDemandProgress | None, said: str
) -> None:
    late = record(deadline_at=NOW)
    known = ended(rows(1), rows(2, 1, deadline_passed=1), job=late, calls=progress)
    status, reason = final_status(known, was_sent=True)
    assert (status, reason and reason.code) == ("partial", ErrorCode.DEADLINE_PASSED)
    assert message(known).startswith("1 request has no answer")
    assert said in message(known)


def test_final_status_after_a_deadline_counts_requests_of_all_shards() -> None:
    late = record(deadline_at=NOW)
    summaries = [rows(number, 0, deadline_passed=1_000) for number in (1, 2)]
    assert message(ended(*summaries, job=late)).startswith("2,000 requests have no answer")


def test_final_status_of_results_that_were_denied_is_that_denial() -> None:
    for known in (ended(rows(1), rows(2)), ended(stop=CANCELLED), ended(job=None)):
        assert final_status(known, was_sent=True, denied=DENIED) == ("failed", DENIED)


@pytest.mark.parametrize(
    ("known", "status", "code"),
    [
        (ended(rows(1), rows(2)), "failed", ErrorCode.PERMISSION_DENIED),
        (ended(rows(1), rows(2, 1)), "failed", ErrorCode.PERMISSION_DENIED),
        (ended(stop=CANCELLED), "cancelled", ErrorCode.CANCELLED),
    ],
)
def test_final_status_with_an_unreadable_report_fails_only_what_would_be_delivered(
    known: EndingJob, status: str, code: ErrorCode
) -> None:
    found, reason = final_status(known, was_sent=True, unreadable="reports/a.jsonl.json")
    assert (found, reason and reason.code) == (status, code)
    said = message(known, unreadable="reports/a.jsonl.json")
    assert ("reports/a.jsonl.json" in said) is (code == ErrorCode.PERMISSION_DENIED)
