"""Guesses of how fast a job goes and how long it still takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch_client.follow import Followed
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.pace import Look, Pace, pace_of_looks, pace_of_report
from groq_batch_client.text import rough_duration

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_report(*batches: tuple[int, int, int], total: int = 1000, done: int = 0) -> dict[str, Any]:
    """Return a report of batches made at 11:59, each with attempt, requests and outcomes."""
    return {
        "status": "running",
        "requests": {"total": total},
        "progress": {"completed": done, "total": total},
        **ReportedUsage().to_json(),
        "errors": [],
        "batches": [
            {
                "attempt": attempt,
                "status": "in_progress",
                "requests": requests,
                "succeeded": outcomes,
                "failed": 0,
                "created_at": "2026-03-01T11:59:00.000Z",
            }
            for attempt, requests, outcomes in batches
        ],
    }


def test_pace_of_report_is_the_mean_of_the_attempt_under_way() -> None:
    report = a_report((1, 1000, 1000), (2, 50, 10), (2, 50, 20))
    pace = pace_of_report(report, NOON)
    assert pace is not None
    assert (pace.rate, pace.seconds_left) == (0.5, 140.0)


@pytest.mark.parametrize(
    ("report", "written_at"),
    [
        pytest.param(None, NOON, id="no report"),
        pytest.param(a_report(), NOON, id="no batch"),
        pytest.param(a_report((1, 500, 4)), NOON, id="the first few of many"),
        pytest.param(a_report((1, 500, 0)), NOON, id="nothing yet"),
        pytest.param(a_report((1, 500, 500)), NOON, id="all of them"),
        pytest.param(a_report((1, 500, 100)), NOON - timedelta(seconds=55), id="some seconds"),
        pytest.param(a_report((1, 500, 100)), None, id="of no known time"),
        pytest.param({**a_report((1, 9, 1)), "status": "partial"}, NOON, id="ended"),
    ],
)
def test_pace_of_report_without_ground_is_none(report: Any, written_at: Any) -> None:
    assert pace_of_report(report, written_at) is None


def test_pace_of_looks_counts_from_when_it_began_to_move() -> None:
    waiting = [Look(float(at), 0) for at in range(0, 3600, 60)]
    moving = [Look(3600.0, 10), Look(3610.0, 110), Look(3620.0, 210)]
    pace = pace_of_looks([*waiting, *moving], 1210)
    assert pace == Pace(10.0, 100.0)


def test_pace_of_looks_counts_what_was_of_late() -> None:
    slow = [Look(60.0 * n, n) for n in range(60)]
    fast = [Look(3600.0 + 60 * n, 60 + 600 * n) for n in range(10)]
    pace = pace_of_looks([*slow, *fast], 10_000)
    assert pace is not None
    assert pace.rate == 10.0


def test_pace_of_looks_of_reports_a_quarter_of_an_hour_apart_is_no_burst() -> None:
    looks = [Look(900.0 * n, 90 * n) for n in range(6)]
    pace = pace_of_looks(looks, 900)
    assert pace is not None
    assert (pace.rate_text, pace.left_text(0)) == ("6.0/min", "~1 h 20 min")


@pytest.mark.parametrize(
    "looks",
    [
        [],
        [Look(0.0, 0)],
        [Look(0.0, 0), Look(5.0, 4), Look(10.0, 9)],
        [Look(0.0, 0), Look(1.0, 1), Look(2.0, 2), Look(3.0, 3)],
    ],
)
def test_pace_of_too_few_looks_is_none(looks: list[Look]) -> None:
    assert pace_of_looks(looks, 1000) is None


def test_time_left_goes_on_from_the_report() -> None:
    pace = Pace(10.0, 600.0)
    assert pace.left_text(0) == "~10 min"
    assert pace.left_text(300) == "~5 min"
    assert pace.left_text(-30) == "~10 min"
    assert pace.left_text(600) == ""


def follow_reports(*reports: tuple[float, int]) -> list[list[str]]:
    """Return what is said of a job of 500 requests when so many seconds and requests are done."""
    one = Followed("x", FoundJob(path="x.jsonl", job_id="j"))
    said = []
    sent = NOON - timedelta(minutes=1)
    for seconds, done in reports:
        moment = sent + timedelta(seconds=seconds)
        report = a_report((1, 500, done), total=500, done=done)
        found = FoundJob(path="x.jsonl", job_id="j", report=report, reported_at=moment)
        one.take(found, moment.timestamp())
        said.append(one.words())
    return said


def test_first_outcomes_of_a_job_are_no_ground_for_a_guess() -> None:
    assert follow_reports((5, 0), (6, 4), (8, 60), (20, 400)) == [
        ["500 requests"],
        ["4 of 500 requests (0 %)"],
        ["60 of 500 requests (12 %)"],
        ["400 of 500 requests (80 %)", "28/s", "~5 s left"],
    ]


def test_report_that_is_looked_at_again_is_no_standstill() -> None:
    one = Followed("x", FoundJob(path="x.jsonl", job_id="j"))
    for minute in range(120):
        written = minute // 15 * 15
        report = a_report((1, 10_000, 10 * written), total=10_000, done=10 * written)
        at = NOON + timedelta(minutes=written)
        found = FoundJob(path="x.jsonl", job_id="j", report=report, reported_at=at)
        one.take(found, (NOON + timedelta(minutes=minute)).timestamp())
    assert one.pace is not None
    assert one.pace.rate_text == "10.0/min"


def test_pace_of_an_attempt_says_nothing_of_the_next() -> None:
    one = Followed("x", FoundJob(path="x.jsonl", job_id="j"))
    for second in range(0, 100, 10):
        report = a_report((1, 1000, 10 * second), done=10 * second)
        at = NOON + timedelta(seconds=second)
        one.take(FoundJob(path="x.jsonl", job_id="j", report=report, reported_at=at), 0.0)
    assert one.pace is not None
    report = a_report((1, 1000, 990), (2, 10, 0), done=990)
    later = NOON + timedelta(seconds=100)
    one.take(FoundJob(path="x.jsonl", job_id="j", report=report, reported_at=later), 0.0)
    assert one.pace is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1, "5 s"),
        (43, "45 s"),
        (89, "1 min"),
        (600, "10 min"),
        (3599, "60 min"),
        (3601, "1 h"),
        (5000, "1 h 20 min"),
        (86_400, "1 d"),
        (100_000, "1 d 4 h"),
    ],
)
def test_rough_duration(seconds: float, expected: str) -> None:
    assert rough_duration(seconds) == expected
