"""Publish the stack's own metrics, written to the log in CloudWatch's embedded metric format.

Every metric has one dimension, ``service``, with the stack's name: metrics of two stacks do not
mix, and the number of billed metrics does not grow with jobs, keys or models. The subject of a line
(``job_id``, ``shard``, ``attempt``) is in its properties, which can be searched in the logs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from groq_batch.domain.batch import Batch
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch.telemetry.log import logger

NAMESPACE = "GroqBatch"
ENDED = {
    "succeeded": "JobsSucceeded",
    "partial": "JobsPartial",
    "rejected": "JobsRejected",
    "failed": "JobsFailed",
    "cancelled": "JobsCancelled",
}
"""The metric that counts jobs, by final status."""
_COUNT, _SECONDS, _NUMBER = MetricUnit.Count, MetricUnit.Seconds, MetricUnit.NoUnit
UNITS: dict[str, MetricUnit] = {
    "JobsStarted": _COUNT,
    **dict.fromkeys(ENDED.values(), _COUNT),
    "JobSeconds": _SECONDS,
    "Attempts": _COUNT,
    "Requests": _COUNT,
    "RequestsFailed": _COUNT,
    "RequestsInvalid": _COUNT,
    "RequestFailureShare": MetricUnit.Percent,
    "PromptTokens": _COUNT,
    "CompletionTokens": _COUNT,
    "CostUsd": _NUMBER,
    "StatusChecks": _COUNT,
    "BatchSeconds": _SECONDS,
    "DetectionLagSeconds": _SECONDS,
    "OpenJobs": _COUNT,
    "OldestJobSeconds": _SECONDS,
    "JobsOverdue": _COUNT,
    "AccountErrors": _COUNT,
    "RateLimits": _COUNT,
    "GroqErrors": _COUNT,
    "ReportPagesFailed": _COUNT,
}
"""Every metric and its unit. Each name is billed once per stack."""
UNASKED_CODES = frozenset({ErrorCode.NOT_SENT, ErrorCode.DEADLINE_PASSED})
"""Codes of requests that were not sent in time, so they do not count for the success rate."""
_FAILURES = {"account": "AccountErrors", "rate_limit": "RateLimits", "other": "GroqErrors"}
_PROPERTIES = ("job_id", "shard", "attempt")
_WITHOUT_SHARE = ("rejected", "cancelled")
"""Final statuses without a failure share: their requests were not sent, or no longer wanted."""
_VALUES_OF_A_LINE = 99
"""Maximum number of values per line. A line may hold 100 values of a metric, but Powertools prints
one by itself when it has that many."""


def job_started() -> None:
    """Count a job that was started."""
    _publish({"JobsStarted": [1]})


def job_ended(report: Mapping[str, Any], *, unasked: int = 0) -> None:
    """Publish the metrics of an ended job.

    Args:
        report: Its final report.
        unasked: Number of failed requests with one of the ``UNASKED_CODES``.
    """
    requests, usage = report["requests"], ReportedUsage.of(report)
    values: dict[str, list[float]] = {
        # Includes zeros, so that a sum over hours without failures is 0, not missing.
        **{name: [float(status == report["status"])] for status, name in ENDED.items()},
        "JobSeconds": [report["timing"]["seconds"]],
        "Requests": [requests["total"]],
        "RequestsFailed": [requests["failed"]],
        "RequestsInvalid": [requests["invalid"]],
        "PromptTokens": [usage.prompt_tokens],
        "CompletionTokens": [usage.completion_tokens],
    }
    if report["batches"]:
        values["Attempts"] = [max(batch["attempt"] for batch in report["batches"])]
    failed = max(requests["failed"] - unasked, 0)
    asked = requests["succeeded"] + failed
    if asked and report["status"] not in _WITHOUT_SHARE:
        values["RequestFailureShare"] = [100 * failed / asked]
    if usage.actual_usd is not None:
        values["CostUsd"] = [usage.actual_usd]
    _publish(values)


def batches_checked(ended: Iterable[Batch], *, now: float) -> None:
    """Publish the metrics of a status check.

    Args:
        ended: Batches that this check was the first to see ended.
        now: Time of the check, in seconds since 1970.
    """
    seconds: list[float] = []
    lags: list[float] = []
    for batch in ended:
        if batch.ended_at is None:
            continue
        lags.append(max(now - batch.ended_at, 0.0))
        if batch.created_at is not None:
            seconds.append(max(batch.ended_at - batch.created_at, 0))
    _publish(
        {
            "StatusChecks": [1],
            # Includes zeros, so that the average is the share of calls without an answer from Groq.
            "GroqErrors": [0],
            "BatchSeconds": seconds,
            "DetectionLagSeconds": lags,
        }
    )


def groq_failed(category: str) -> None:
    """Count a call of the API that did not succeed.

    Args:
        category: The operator's kind of action: ``account``, ``rate_limit`` or ``other``.
    """
    _publish({_FAILURES[category]: [1]})


def report_page_failed() -> None:
    """Count a report page that could not be created, written or deleted."""
    _publish({"ReportPagesFailed": [1]})


class OpenJobs(msgspec.Struct):
    """Counts the jobs without a final report.

    Attributes:
        count: Number of jobs.
        oldest_seconds: Age of the oldest job.
        overdue: Number of jobs that are older than their completion window.
    """

    count: int = 0
    oldest_seconds: float = 0.0
    overdue: int = 0

    def add(self, *, age_seconds: float, is_overdue: bool) -> None:
        """Count one job."""
        self.count += 1
        self.oldest_seconds = max(self.oldest_seconds, age_seconds)
        self.overdue += is_overdue

    def publish(self) -> None:
        """Publish the counts."""
        _publish(
            {
                "OpenJobs": [self.count],
                "OldestJobSeconds": [self.oldest_seconds],
                "JobsOverdue": [self.overdue],
            }
        )


def _publish(values: Mapping[str, Sequence[float]]) -> None:
    longest = max(map(len, values.values()))
    for start in range(0, longest, _VALUES_OF_A_LINE):
        end = start + _VALUES_OF_A_LINE
        _write({name: entries[start:end] for name, entries in values.items()})


def _write(values: Mapping[str, Sequence[float]]) -> None:
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    known = logger.get_current_keys()
    for name in _PROPERTIES:
        if known.get(name) is not None:
            metrics.add_metadata(name, known[name])
    # Lambda treats a line without level and time as INFO, and drops those of a stack that logs
    # warnings only: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    metrics.add_metadata("level", os.environ.get("LOG_LEVEL", "INFO"))
    metrics.add_metadata("timestamp", datetime.now(UTC).isoformat(timespec="milliseconds"))
    for name, entries in values.items():
        for entry in entries:
            metrics.add_metric(name=name, unit=UNITS[name], value=entry)
    # Written immediately and with its line end, because several threads start jobs.
    sys.stdout.write(json.dumps(metrics.serialize_metric_set(), separators=(",", ":")) + "\n")
    sys.stdout.flush()
