"""Build a job's report, the content of ``reports/<path>.json``, for running and ended jobs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from groq_batch import __version__
from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch
from groq_batch.domain.canary import CANARY_SHARD
from groq_batch.domain.job_status import RUNNING
from groq_batch.domain.json_data import to_json_data
from groq_batch.domain.reason import Reason
from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch.domain.times import (
    optional_timestamp,
    parse_timestamp,
    seconds_of,
    timestamp,
    timestamp_of,
)
from groq_batch.records.attempt import AttemptState
from groq_batch.records.job import JobRecord, JobRequest
from groq_batch.records.on_demand import OnDemandProgress
from groq_batch.records.shard_result import (
    ShardResult,
    job_usage,
    latest_summaries,
    total_tokens,
)

MAX_ERRORS = 100
"""Maximum number of errors in a report; ``errors_total`` counts all."""
_UNSHOWABLE = re.compile('[\x00-\x1f"\\\\\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]')
"""Characters that JSON cannot hold unescaped, that end a line, or change the text direction."""


def running_report(
    request: JobRequest,
    job: JobRecord | None,
    *,
    states: Sequence[AttemptState] = (),
    calls: OnDemandProgress | None = None,
) -> dict[str, Any]:
    """Return the report of a running job; its batches have the API's counts.

    Args:
        request: The request that the job was started for.
        job: The job's record; None before the preparation has ended.
        states: The attempts' states so far, in order.
        calls: The record of ordinary calls after the deadline; None before there are any.
    """
    good = job.good if job else 0
    invalid = job.invalid if job else 0
    report = _base(request, job, states=states, summaries={})
    current = _current(states)
    if current is not None:
        begun = good
        if job is not None and job.awaits_verdict:
            begun = job.origin(CANARY_SHARD).requests
        done, asked = current.done, _requests_of(job, current)
        if calls is not None:
            done, asked = calls.ended_calls, calls.requests
        report["progress"]["completed"] = min(max(begun - asked, 0) + done, begun)
        last = states[-1]
        reason = last.groq_error or last.account_error or last.last_check_error or last.refusal
        if reason is not None:
            _put_first(report, reason)
    report["progress"]["total"] = good
    report["requests"]["invalid"] = invalid
    if calls is not None:
        report["on_demand"] = _on_demand(calls.begun, calls.succeeded, calls.cost_usd)
    return report


def final_report(
    request: JobRequest,
    job: JobRecord | None,
    *,
    status: str,
    reason: Reason | None,
    states: Sequence[AttemptState],
    summaries: Sequence[ShardResult],
    outputs: dict[str, str | None],
    finished_at: datetime,
) -> dict[str, Any]:
    """Return the report of a job that has ended.

    Args:
        request: The request that the job was started for.
        job: The job's record; None if the job ended before the preparation did.
        status: The job's final status.
        reason: Code and message of a job that failed or was stopped; its first error.
        states: The attempts' states, in order.
        summaries: The counts of every shard attempt.
        outputs: URIs of the results, the failed lines and the problems.
        finished_at: When the job ended.
    """
    by_place = {(s.attempt, s.number): s for s in summaries}
    report = _base(request, job, states=states, summaries=by_place)
    last = latest_summaries(summaries)
    usage, prices = job_usage(summaries), job.prices if job else None
    succeeded = sum(summary.succeeded for summary in last)
    good = job.good if job else succeeded + sum(summary.failed for summary in last)
    if job is None:
        # Its record was removed while it ran; the rows collected before that are known.
        report["requests"]["total"] = good
    report["status"] = status
    report["requests"]["succeeded"] = succeeded
    report["requests"]["failed"] = good - succeeded
    report["requests"]["invalid"] = job.invalid if job else 0
    if job is not None and job.options.retry_invalid_output:
        report["requests"]["invalid_output"] = sum(summary.invalid_output for summary in last)
        report["requests"]["unchecked_output"] = sum(summary.unchecked_output for summary in last)
    report["progress"] = {
        "completed": good if status != "rejected" else 0,
        "total": good if status != "rejected" else 0,
    }
    if job is not None and job.deadline_at is not None:
        report["on_demand"] = _on_demand(
            sum(summary.asked for summary in summaries),
            sum(summary.batch_succeeded for summary in summaries if summary.on_demand),
            usage.calls_usd(prices),
        )
    report |= ReportedUsage(
        **total_tokens(summaries),
        estimated_usd=job.estimated_cost_usd if job else None,
        actual_usd=usage.cost_usd(prices),
    ).to_json()
    row_errors = sum(summary.failed for summary in last)
    for summary in last:
        report["errors"].extend(summary.errors)
    report["errors"] = report["errors"][:MAX_ERRORS]
    report["errors_total"] += row_errors
    if reason is not None:
        _put_first(report, reason)
    report["outputs"] = outputs
    started = parse_timestamp(request.started_at)
    report["timing"]["finished_at"] = timestamp(finished_at)
    report["timing"]["seconds"] = round((finished_at - started).total_seconds(), 3)
    return report


def event_detail(report: dict[str, Any]) -> dict[str, Any]:
    """Return the detail of the event about a job's end: the report without its two lists."""
    detail = {name: value for name, value in report.items() if name not in ("batches", "errors")}
    if "shown" not in report["input"]:  # The report is from an earlier version.
        detail["input"] = {**report["input"], "shown": shown_key(report["input"]["key"])}
    return detail


def shown_key(key: str) -> str:
    """Return a key for display: of limited length, in one line, and without quotes.

    EventBridge inserts texts into an email unescaped ("EventBridge does not escape values extracted
    by Input Path"): an uploader's quotation mark would end the email's text, so that the email is
    not sent, or continues with the uploader's text. See
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html.
    """
    return _UNSHOWABLE.sub("?", key)


def _base(
    request: JobRequest,
    job: JobRecord | None,
    *,
    states: Sequence[AttemptState],
    summaries: dict[tuple[int, int], ShardResult],
) -> dict[str, Any]:
    problems = [to_json_data(problem) for problem in job.problems] if job else []
    return {
        "schema_version": 1,
        "job_id": request.job_id,
        "status": RUNNING,
        "input": {
            "bucket": request.bucket,
            "key": request.key,
            "shown": shown_key(request.key),
            "version_id": request.version_id,
            "bytes": job.input_bytes if job else request.input_bytes,
            "lines": job.lines if job else 0,
        },
        "folder": object_keys.folder(request.key),
        "requests": {
            "total": job.total if job else 0,
            "succeeded": 0,
            "failed": 0,
            "invalid": 0,
        },
        "progress": {"completed": 0, "total": 0},
        "batches": [
            _batch_entry(
                entry.batch,
                number,
                _own_attempt(job, state, number),
                entry.requests,
                summaries.get((state.attempt, state.origin_of(number))),
            )
            for state in states
            for number, entry in sorted(state.entries.items())
            if entry.batch is not None
        ],
        **ReportedUsage(estimated_usd=job.estimated_cost_usd if job else None).to_json(),
        "prices": job.prices.about() if job and job.prices else None,
        "canary": _canary(job),
        "on_demand": _on_demand(0, 0, 0.0) if job and job.deadline_at is not None else None,
        "timing": {
            "started_at": request.started_at,
            "submitted_at": _submitted_at(request, states),
            "finished_at": None,
            "seconds": None,
        },
        "errors": problems[:MAX_ERRORS],
        "errors_total": job.problems_total if job else 0,
        "outputs": {"results": None, "failed": None, "invalid": None},
        "version": __version__,
    }


def _on_demand(requests: int, succeeded: int, cost_usd: float | None) -> dict[str, Any]:
    return {
        "requests": requests,
        "succeeded": succeeded,
        "failed": requests - succeeded,
        "cost_usd": cost_usd,
    }


def _current(states: Sequence[AttemptState]) -> AttemptState | None:
    """Return the attempt whose batches show a job's progress; None before there is any.

    An attempt that begins after the deadline has no batches; then it is the one before.
    """
    begun = (state for state in reversed(states) if state.has_batches or not state.past_deadline)
    return next(begun, states[-1] if states else None)


def _canary(job: JobRecord | None) -> dict[str, Any] | None:
    """Return the result of the canary; None in a job without one."""
    if job is None or not job.has_canary:
        return None
    verdict = job.verdict
    return {
        "requests": job.origin(CANARY_SHARD).requests,
        "failed": verdict.failed if verdict is not None else 0,
        "projected_cost_usd": verdict.projected_cost_usd if verdict is not None else None,
        "passed": verdict.passed if verdict is not None else None,
    }


def _batch_entry(
    batch: Batch,
    shard: int,
    attempt: int,
    requests: int | None,
    summary: ShardResult | None,
) -> dict[str, Any]:
    """Return a batch's entry in the report.

    Counts come from the batch's rows once they have been read, before that from the API.
    """
    sent = requests if requests is not None else batch.counts.total
    succeeded = batch.counts.completed
    if summary is not None:
        sent, succeeded = summary.counts_of(shard)
    return {
        "id": batch.id,
        "shard": shard,
        "attempt": attempt,
        "status": batch.status,
        "requests": sent,
        "succeeded": succeeded,
        "failed": sent - succeeded if summary else batch.counts.failed,
        "created_at": optional_timestamp(batch.created_at),
        "ended_at": optional_timestamp(batch.ended_at),
    }


def _requests_of(job: JobRecord | None, state: AttemptState) -> int:
    """Return the number of requests of an attempt, also of shards that are not sent yet."""
    if job is None:
        return state.requests
    unsent = {
        number
        for number, entry in state.entries.items()
        if entry.requests is None and entry.batch is None
    }
    return state.requests + sum(
        shard.requests
        for shard in job.shards
        if shard.number in unsent and job.first_attempt_of(shard.number) == state.attempt
    )


def _own_attempt(job: JobRecord | None, state: AttemptState, shard: int) -> int:
    """Return an attempt's number counted from a shard's first attempt, also after a canary."""
    if job is None:
        return state.attempt
    return job.own_attempt(state.origin_of(shard), state.attempt)


def _submitted_at(request: JobRequest, states: Sequence[AttemptState]) -> str | None:
    """Return when the first batch was created, but no time before the job's start.

    The API dates batches in whole seconds, and by its own clock.
    """
    times = [
        entry.batch.created_at
        for state in states
        for entry in state.entries.values()
        if entry.batch is not None and entry.batch.created_at is not None
    ]
    if not times:
        return None
    return timestamp_of(max(min(times), seconds_of(request.started_at)))


def _put_first(report: dict[str, Any], reason: Reason) -> None:
    entry = {
        "line": None,
        "custom_id": None,
        "code": reason.code,
        "message": reason.message,
    }
    report["errors"] = [entry, *report["errors"]][:MAX_ERRORS]
    report["errors_total"] += 1


def delivery_outputs(
    keys: object_keys.DeliveryKeys, url: Any, *, results: bool, failed: bool, invalid: bool
) -> dict[str, str | None]:
    """Return the URIs of the delivered objects that exist."""
    return {
        "results": url(keys.results) if results else None,
        "failed": url(keys.failed) if failed else None,
        "invalid": url(keys.invalid) if invalid else None,
    }
