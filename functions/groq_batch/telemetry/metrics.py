"""The stack's own metrics, written to the log in CloudWatch's embedded metric format.

Every metric has one dimension, ``service``, which is the stack's name: metrics of two stacks do not
mix, and no metric's price grows with the number of jobs, keys or models. What a line is about
(``job_id``, ``shard``, ``attempt``) stands in it as properties, which logs can be searched for.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from groq_batch.domain.batch import Batch
from groq_batch.telemetry.log import logger

NAMESPACE = "GroqBatch"
ENDED = {
    "succeeded": "JobsSucceeded",
    "partial": "JobsPartial",
    "rejected": "JobsRejected",
    "failed": "JobsFailed",
    "cancelled": "JobsCancelled",
}
"""The metric that counts the jobs of each final status."""
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
"""Every metric and its unit. Each name is billed once for the stack."""
UNASKED_CODES = frozenset({"not_sent", "deadline_passed"})
"""Codes of rows that say nothing of how well requests are answered: they were not asked in time."""
_FAILURES = {"account": "AccountErrors", "rate_limit": "RateLimits", "other": "GroqErrors"}
_PROPERTIES = ("job_id", "shard", "attempt")
_WITHOUT_SHARE = ("rejected", "cancelled")
"""Ends of jobs whose requests failed because nobody asked, or wanted to know any more."""
_VALUES_OF_A_LINE = 99
"""A line may hold 100 values of a metric; Powertools prints one by itself when it has as many."""


def job_started() -> None:
    """Count a job that was started."""
    _publish({"JobsStarted": [1]})


def job_ended(report: Mapping[str, Any], *, unasked: int = 0) -> None:
    """Publish what a job came to.

    Args:
        report: Its final report.
        unasked: How many of the failed requests have one of the ``UNASKED_CODES``.
    """
    requests, usage = report["requests"], report["usage"]
    values: dict[str, list[float]] = {
        # Zeros as well: a sum over hours without failures is 0 then, not missing.
        **{name: [float(status == report["status"])] for status, name in ENDED.items()},
        "JobSeconds": [report["timing"]["seconds"]],
        "Requests": [requests["total"]],
        "RequestsFailed": [requests["failed"]],
        "RequestsInvalid": [requests["invalid"]],
        "PromptTokens": [usage["prompt_tokens"]],
        "CompletionTokens": [usage["completion_tokens"]],
    }
    if report["batches"]:
        values["Attempts"] = [max(batch["attempt"] for batch in report["batches"])]
    failed = max(requests["failed"] - unasked, 0)
    asked = requests["succeeded"] + failed
    if asked and report["status"] not in _WITHOUT_SHARE:
        values["RequestFailureShare"] = [100 * failed / asked]
    if report["cost_usd"]["actual"] is not None:
        values["CostUsd"] = [report["cost_usd"]["actual"]]
    _publish(values)


def batches_checked(ended: Iterable[Batch], *, now: float) -> None:
    """Publish a look at the batches.

    Args:
        ended: Batches that it was the first to see ended.
        now: When it was, in seconds since 1970.
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
            # Zeros as well: an average tells the share of calls that Groq did not answer.
            "GroqErrors": [0],
            "BatchSeconds": seconds,
            "DetectionLagSeconds": lags,
        }
    )


def groq_failed(category: str) -> None:
    """Count a call of the API that did not succeed.

    Args:
        category: What an operator would do about it: ``account``, ``rate_limit`` or ``other``.
    """
    _publish({_FAILURES[category]: [1]})


def report_page_failed() -> None:
    """Count a report page that could not be made, written or removed."""
    _publish({"ReportPagesFailed": [1]})


@dataclass(slots=True)
class OpenJobs:
    """Counts the jobs without a final report.

    Attributes:
        count: How many there are.
        oldest_seconds: The age of the oldest.
        overdue: How many are older than their completion window.
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
    # A line without a level and a time counts as INFO, and Lambda drops those of a stack that logs
    # warnings only: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    metrics.add_metadata("level", os.environ.get("LOG_LEVEL", "INFO"))
    metrics.add_metadata("timestamp", datetime.now(UTC).isoformat(timespec="milliseconds"))
    for name, entries in values.items():
        for entry in entries:
            metrics.add_metric(name=name, unit=UNITS[name], value=entry)
    # Written at once with its line end: jobs are started by several threads.
    sys.stdout.write(json.dumps(metrics.serialize_metric_set(), separators=(",", ":")) + "\n")
    sys.stdout.flush()
