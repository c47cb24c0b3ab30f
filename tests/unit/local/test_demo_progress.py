"""How far a job is, in words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from local.demo.progress import bar, news, progress_text


def report(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "status": "running",
        "input": {"lines": 0},
        "requests": {"total": 0, "invalid": 0},
        "progress": {"completed": 0, "total": 0},
        "batches": [],
        "cost_usd": {"estimated": None},
        "errors": [],
        "errors_total": 0,
    }
    return {**copy.deepcopy(value), **changes}


def checked(**changes: Any) -> dict[str, Any]:
    return report(
        input={"lines": 22},
        requests={"total": 22, "invalid": 0},
        progress={"completed": 0, "total": 22},
        cost_usd={"estimated": 0.0025},
        **changes,
    )


def batch(shard: int, attempt: int, status: str, **counts: int) -> dict[str, Any]:
    counts = {"requests": 11, "succeeded": 0, "failed": 0, **counts}
    return {
        "id": f"batch_{attempt}_{shard}",
        "shard": shard,
        "attempt": attempt,
        "status": status,
        **counts,
    }


FAULT = {"line": None, "custom_id": None, "code": "spend_limit", "message": "Raise the limit."}


@pytest.mark.parametrize(
    ("done", "total", "filled"),
    [(0, 22, 0), (1, 22, 0), (11, 22, 10), (21, 22, 19), (22, 22, 20), (25, 22, 20), (0, 0, 0)],
)
def test_bar(done: int, total: int, filled: int) -> None:
    assert bar(done, total) == "█" * filled + "░" * (20 - filled)
    assert bar(done, total, unicode=False) == "#" * filled + "." * (20 - filled)


class TestProgressText:
    def test_before_the_job(self) -> None:
        assert progress_text(None) == "Waiting for the upload's job to start"

    def test_while_the_file_is_checked(self) -> None:
        assert progress_text(report()) == "Checking every line of the file"

    def test_when_no_line_is_good(self) -> None:
        assert progress_text(report(input={"lines": 3})) == "Writing the report"

    def test_before_the_first_batch(self) -> None:
        assert progress_text(checked()) == "Sending 22 requests to Groq"

    def test_batches_of_the_latest_attempt_are_counted(self) -> None:
        batches = [
            batch(1, 1, "completed"),
            batch(1, 2, "in_progress"),
            batch(2, 2, "in_progress"),
            batch(3, 2, "validating"),
        ]
        text = progress_text(checked(batches=batches), unicode=False)
        assert text == (
            "." * 20 + " 0 of 22 requests done, attempt 2: 2 batches in progress, "
            "1 batch validating"
        )


class TestNews:
    def test_nothing_happened(self) -> None:
        running = checked(batches=[batch(1, 1, "in_progress")])
        assert news(None, None) == []
        assert news(None, report()) == []
        assert news(running, copy.deepcopy(running)) == []

    def test_checks(self) -> None:
        assert news(report(), checked()) == [
            "Checked 22 requests: all good, estimated cost $0.002500"
        ]
        assert news(None, checked()) == news(report(), checked())

    def test_checks_that_found_bad_lines(self) -> None:
        bad = report(input={"lines": 9}, requests={"total": 8, "invalid": 2}, errors_total=2)
        assert news(report(), bad) == ["Checked 8 requests: 2 cannot be sent"]

    def test_file_that_cannot_be_run_does_not_wait(self) -> None:
        error = {**FAULT, "code": "empty_file"}
        bad = report(input={"lines": 1}, errors=[error], errors_total=1)
        assert news(report(), bad) == ["Checked 0 requests: the file cannot be run"]

    def test_batches_are_sent_and_end(self) -> None:
        sent = checked(batches=[batch(1, 1, "validating"), batch(2, 1, "validating")])
        assert news(checked(), sent) == ["Attempt 1: 22 requests sent in 2 batches"]
        ended = checked(
            batches=[
                batch(1, 1, "completed", succeeded=11),
                batch(2, 1, "expired", succeeded=9, failed=2),
            ]
        )
        assert news(sent, ended) == [
            "Attempt 1: batch 1 completed, 11 answered",
            "Attempt 1: batch 2 expired, 9 answered, 2 failed",
        ]

    def test_next_attempt(self) -> None:
        first = batch(2, 1, "completed", succeeded=10, failed=1)
        after = checked(batches=[first, batch(2, 2, "completed", requests=1, succeeded=1)])
        assert news(checked(batches=[first]), after) == [
            "Attempt 2: 1 request sent again in 1 batch",
            "Attempt 2: batch completed, 1 answered",
        ]

    def test_fault_that_is_waited_out(self) -> None:
        batches = [batch(1, 1, "in_progress")]
        well, ill = checked(batches=batches), checked(batches=batches, errors=[FAULT])
        assert news(well, ill) == ["The job waits: Raise the limit."]
        assert news(ill, copy.deepcopy(ill)) == []
        assert news(ill, well) == ["The job continues"]

    def test_end_of_the_job_is_no_news(self) -> None:
        batches = [batch(1, 1, "completed")]
        running = checked(batches=batches, errors=[FAULT])
        assert news(running, checked(batches=batches, status="failed", errors=[FAULT])) == []
        assert news(running, {**checked(batches=batches), "status": "partial"}) == []

    def test_problem_of_a_line_is_no_fault(self) -> None:
        error = {"line": 3, "custom_id": None, "code": "invalid_json", "message": "No JSON."}
        batches = [batch(1, 1, "in_progress")]
        after = checked(batches=batches, errors=[error], errors_total=1)
        assert news(checked(batches=batches), after) == []
