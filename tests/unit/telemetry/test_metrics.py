"""What is published: lines that CloudWatch reads as metrics, one dimension, nothing of a user's."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from groq_batch.domain.batch import Batch
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NotSentError,
    RateLimitedError,
    UnknownOutcomeError,
)
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "my-stack")
    monkeypatch.setenv("LOG_LEVEL", "WARN")
    logger.clear_state()
    yield
    logger.clear_state()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (one,) = lines(capsys)
    return one


def values(one: dict[str, Any]) -> dict[str, list[float]]:
    """Return the metrics of a line, after a look at what CloudWatch makes of it."""
    (directive,) = one["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "GroqBatch"
    assert directive["Dimensions"] == [["service"]]
    assert one["service"] == "my-stack"
    found = {}
    for metric in directive["Metrics"]:
        assert metric["Unit"] == metrics.UNITS[metric["Name"]].value
        found[metric["Name"]] = one[metric["Name"]]
        assert 1 <= len(found[metric["Name"]]) <= 100
    return found


def report(**changes: Any) -> dict[str, Any]:
    return {
        "status": "partial",
        "requests": {"total": 10, "succeeded": 6, "failed": 2, "invalid": 2},
        "batches": [{"attempt": 1}, {"attempt": 3}, {"attempt": 2}],
        "usage": {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100},
        "cost_usd": {"estimated": 1.0, "actual": 0.25},
        "timing": {"seconds": 12.5},
        **changes,
    }


def test_end_of_a_job(capsys: pytest.CaptureFixture[str]):
    metrics.job_ended(report())
    assert values(line(capsys)) == {
        "JobsSucceeded": [0],
        "JobsPartial": [1],
        "JobsRejected": [0],
        "JobsFailed": [0],
        "JobsCancelled": [0],
        "JobSeconds": [12.5],
        "Requests": [10],
        "RequestsFailed": [2],
        "RequestsInvalid": [2],
        "PromptTokens": [70],
        "CompletionTokens": [30],
        "Attempts": [3],
        "RequestFailureShare": [25],
        "CostUsd": [0.25],
    }


@pytest.mark.parametrize("status", metrics.ENDED)
def test_every_end_is_counted_by_its_own_name(status: str, capsys: pytest.CaptureFixture[str]):
    metrics.job_ended(report(status=status))
    counted = values(line(capsys))
    assert [name for name in metrics.ENDED.values() if counted[name] == [1]] == [
        f"Jobs{status.capitalize()}"
    ]


def test_what_is_not_known_or_did_not_happen_is_left_out(capsys: pytest.CaptureFixture[str]):
    nothing = {"total": 3, "succeeded": 0, "failed": 0, "invalid": 3}
    metrics.job_ended(
        report(requests=nothing, batches=[], cost_usd={"estimated": None, "actual": None})
    )
    assert {"CostUsd", "Attempts", "RequestFailureShare"} & set(values(line(capsys))) == set()


@pytest.mark.parametrize("status", ["rejected", "cancelled"])
def test_jobs_that_nobody_wanted_answered_are_no_share_of_failures(
    status: str, capsys: pytest.CaptureFixture[str]
):
    requests = {"total": 3, "succeeded": 0, "failed": 2, "invalid": 1}
    metrics.job_ended(report(status=status, requests=requests))
    assert "RequestFailureShare" not in values(line(capsys))


@pytest.mark.parametrize(("unasked", "share"), [(0, [25]), (1, [100 / 7]), (2, [0]), (3, [0])])
def test_rows_that_were_not_asked_in_time_are_no_share_of_failures(
    unasked: int, share: list[float], capsys: pytest.CaptureFixture[str]
):
    metrics.job_ended(report(), unasked=unasked)
    assert values(line(capsys))["RequestFailureShare"] == share


def test_job_of_which_nothing_was_asked_has_no_share_of_failures(
    capsys: pytest.CaptureFixture[str],
):
    requests = {"total": 3, "succeeded": 0, "failed": 3, "invalid": 0}
    metrics.job_ended(report(status="failed", requests=requests, batches=[]), unasked=3)
    assert "RequestFailureShare" not in values(line(capsys))


def test_look_at_the_batches(capsys: pytest.CaptureFixture[str]):
    ended = [
        Batch(id="a", status="completed", created_at=1000, ended_at=1060),
        Batch(id="b", status="expired", ended_at=1100),
        # A clock that is ahead of ours, and an API that names no time.
        Batch(id="c", status="failed", created_at=1200, ended_at=1190),
        Batch(id="d", status="cancelled", created_at=1000),
    ]
    metrics.batches_checked(ended, now=1105.5)
    assert values(line(capsys)) == {
        "StatusChecks": [1],
        "GroqErrors": [0],
        "BatchSeconds": [60, 0],
        "DetectionLagSeconds": [45.5, 5.5, 0],
    }


def test_look_without_an_end(capsys: pytest.CaptureFixture[str]):
    metrics.batches_checked([], now=0)
    assert values(line(capsys)) == {"StatusChecks": [1], "GroqErrors": [0]}


def test_a_line_holds_no_more_values_than_cloudwatch_takes(capsys: pytest.CaptureFixture[str]):
    ended = [Batch(id="a", status="completed", created_at=0, ended_at=n) for n in range(1, 251)]
    logger.append_keys(job_id="job-1")
    metrics.batches_checked(ended, now=250)
    written = lines(capsys)
    published = [values(one) for one in written]
    assert [seconds for one in published for seconds in one["BatchSeconds"]] == list(range(1, 251))
    assert sum(len(one.get("StatusChecks", [])) for one in published) == 1
    assert {one["job_id"] for one in written} == {"job-1"}


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (AccountError("no", code="invalid_api_key"), "AccountErrors"),
        (RateLimitedError("later", retry_after_seconds=3), "RateLimits"),
        (NotSentError("cut"), "GroqErrors"),
        (UnknownOutcomeError("cut"), "GroqErrors"),
    ],
)
def test_errors_of_the_api(error: GroqApiError, name: str, capsys: pytest.CaptureFixture[str]):
    metrics.groq_failed(error.category)
    assert values(line(capsys)) == {name: [1]}


def test_open_jobs(capsys: pytest.CaptureFixture[str]):
    jobs = metrics.OpenJobs()
    jobs.add(age_seconds=30, is_overdue=False)
    jobs.add(age_seconds=90_000, is_overdue=True)
    jobs.publish()
    metrics.OpenJobs().publish()
    some, none = map(values, lines(capsys))
    assert some == {"OpenJobs": [2], "OldestJobSeconds": [90_000], "JobsOverdue": [1]}
    # Zero is published as well: nothing would be taken for "not known".
    assert none == {"OpenJobs": [0], "OldestJobSeconds": [0], "JobsOverdue": [0]}


def test_lines_tell_what_they_are_about_and_nothing_else(capsys: pytest.CaptureFixture[str]):
    logger.append_keys(job_id="job-1", shard=2, attempt=1, key="input/secret-name.jsonl")
    metrics.job_started()
    written = line(capsys)
    assert (written["job_id"], written["shard"], written["attempt"]) == ("job-1", 2, 1)
    assert "secret-name" not in json.dumps(written)
    assert values(written) == {"JobsStarted": [1]}


def test_lambda_does_not_take_a_line_for_one_that_may_be_dropped(
    capsys: pytest.CaptureFixture[str],
):
    """Lambda drops lines below the stack's level, and takes those without a level for INFO."""
    metrics.job_started()
    written = line(capsys)
    assert written["level"] == "WARN"
    assert written["timestamp"].startswith("20")
    assert written["timestamp"].endswith("+00:00")


def test_nothing_is_written_through_the_log(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG, logger="groq-batch"):
        metrics.job_started()
    assert not [one for one in caplog.records if one.name == "groq-batch"]
