"""Check open jobs, and how long Step Functions took for the last Map Run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from groq_batch.bucket.s3_errors import error_code
from groq_batch.domain import object_keys
from groq_batch.domain.job_options import window_hours
from groq_batch.domain.overdue import FIRST_OVERDUE_SECONDS, overdue_seconds
from groq_batch.records.job import JobRecord
from groq_batch_cli.aws import Stack
from groq_batch_cli.doctor.findings import Finding, to_do, unknown, well
from groq_batch_client.found_jobs import recorded_jobs
from groq_batch_client.text import counted, duration, listed

OPEN_JOBS = "open jobs"
MAP_RUN = "last Map Run"

_MAX_JOBS = 5
_MAX_EVENTS = 25_000
"""Maximum number of events of an execution: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""
_ENDS = frozenset({"MapRunSucceeded", "MapRunFailed", "MapRunAborted"})


def look_at_open_jobs(stack: Stack, now: datetime) -> Finding:
    """Check for jobs that are open longer than the window of a batch."""
    storage = stack.storage
    ages = {
        item.key.removeprefix(object_keys.OPEN_JOBS_PREFIX): now.timestamp() - item.modified_at
        for item in storage.objects(object_keys.OPEN_JOBS_PREFIX)
    }
    limits = {
        job_id: _limit_seconds(stack, job_id)
        for job_id, age in ages.items()
        if age > FIRST_OVERDUE_SECONDS
    }
    hanging = sorted(job for job, limit in limits.items() if ages[job] > limit)
    if hanging:
        return to_do(
            OPEN_JOBS,
            f"{counted(len(hanging), 'job')} of {len(ages):,} should have ended: {listed(hanging)}",
            "`groq-batch status JOB` shows what each waits for; see docs/operations.md, Alarm: "
            "overdue jobs.",
        )
    if not ages:
        return well(OPEN_JOBS, "none")
    return well(OPEN_JOBS, f"{len(ages):,}, the oldest for {duration(max(ages.values()))}")


def _limit_seconds(stack: Stack, job_id: str) -> int:
    """Return the age from which on a job is overdue; without its record, by the stack's options."""
    record = JobRecord.load(stack.storage, object_keys.WorkKeys(job_id))
    if record is not None:
        return overdue_seconds(record.options.window_seconds, has_canary=record.has_canary)
    hours = window_hours(stack.parameters.get("CompletionWindow", "24h")) or 24
    has_canary = stack.parameters.get("CanaryRequests", "0") != "0"
    return overdue_seconds(hours * 3600, has_canary=has_canary)


def look_at_map_run(stack: Stack) -> Finding:
    """Show how long the newest Map Run of the last jobs took."""
    states = stack.client("stepfunctions")
    jobs = [job_id for job_id, _ in recorded_jobs(stack.storage)[:_MAX_JOBS]]
    for job_id in jobs:
        pages = states.get_paginator("get_execution_history").paginate(
            executionArn=stack.execution_arn(job_id),
            reverseOrder=True,
            includeExecutionData=False,
        )
        try:
            events = (event for page in pages for event in page["events"])
            took = map_run_seconds(islice(events, _MAX_EVENTS))
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                raise
            # Step Functions keeps an execution for 90 days after its end.
            continue
        if took is not None:
            return well(MAP_RUN, f"{duration(took)}, of the job {job_id}")
    return unknown(MAP_RUN, _no_map_run(jobs))


def _no_map_run(jobs: Sequence[str]) -> str:
    if not jobs:
        return "no job has run yet; groq-batch doctor --job runs one"
    return f"the history of the last {counted(len(jobs), 'job')} shows no completed one"


def map_run_seconds(newest_first: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the duration of the last completed Map Run; None if there is none.

    Args:
        newest_first: The events of an execution's history.
    """
    ended: datetime | None = None
    for event in newest_first:
        if event["type"] in _ENDS:
            ended = ended or event["timestamp"]
        elif event["type"] == "MapRunStarted" and ended is not None:
            return float((ended - event["timestamp"]).total_seconds())
    return None
