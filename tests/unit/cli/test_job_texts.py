"""Say in words how a job stands, how it ended, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from groq_batch_cli.ending import end_line, problem_lines
from groq_batch_cli.failures import ErrorCode, ErrorCodes
from groq_batch_cli.job_list import ListedJob
from groq_batch_cli.verbs.jobs import _show as show_jobs
from groq_batch_cli.verbs.status import status_lines
from groq_batch_client import job_view
from groq_batch_client.found_jobs import FoundJob
from tests.unit.cli.job_bucket import (
    NOON,
    Bucket,
    Tty,
    a_batch,
    a_terminal,
    fatal,
    make_report,
)


def status_of(
    report: dict[str, Any] | None,
    at: datetime = NOON,
    codes: ErrorCodes | None = None,
    **found: Any,
) -> list[str]:
    """Return what ``groq-batch status`` says of a job with a report."""
    job = FoundJob(path="x.jsonl", job_id="job-1", report=report, **found)
    return list(status_lines(job, a_terminal()[0], at, codes))


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (None, "starting"),
        (make_report(progress={"total": 0}), "checking"),
        (make_report(), "sending"),
        (make_report(batches=[a_batch()]), "running"),
        (make_report(batches=[a_batch("completed")]), "collecting"),
        (make_report(batches=[a_batch("completed"), a_batch("in_progress", 2)]), "attempt 2"),
        (make_report(status="partial"), "partial"),
    ],
)
def test_phase(report: dict[str, Any] | None, expected: str) -> None:
    assert job_view.phase(report, has_job=True) == expected


def test_upload_without_a_job_waits() -> None:
    assert job_view.phase(None, has_job=False) == "waiting"


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (None, ""),
        (make_report(progress={"completed": 5}), "~$1.00 of ~$2.00"),
        (make_report(cost_usd={"estimated": None}), ""),
        (make_report(status="succeeded", cost_usd={"actual": 1.5}), "$1.50"),
        (make_report(status="rejected"), ""),
    ],
)
def test_cost(report: dict[str, Any] | None, expected: str) -> None:
    assert job_view.cost_so_far(report) == expected


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (make_report(status="succeeded"), "10 requests answered"),
        (
            make_report(status="partial", requests={"succeeded": 8}),
            "8 of 10 requests answered, 2 not",
        ),
        (make_report(status="rejected", errors_total=3), "3 problems, nothing was sent"),
        (
            make_report(status="cancelled", requests={"succeeded": 1}),
            "1 of 10 requests answered",
        ),
        (make_report(status="failed", errors=[fatal("x")]), "Do this."),
        (make_report(status="failed"), "the report names no reason"),
        (make_report(progress={"total": 0}), "the file is being checked"),
        (make_report(progress={"completed": 5}), "5 of 10 requests done (50 %)"),
    ],
)
def test_headline(report: dict[str, Any], expected: str) -> None:
    assert job_view.headline(report) == expected


@pytest.mark.parametrize(
    ("status", "passed", "failed", "projected", "expected"),
    [
        ("running", None, 0, None, "50 requests, not judged yet"),
        ("cancelled", None, 50, None, "50 requests, not judged"),
        (
            "succeeded",
            True,
            2,
            4.0,
            "passed: 2 of 50 requests failed for good; at its rate the whole file costs $4.00",
        ),
        ("partial", False, 50, None, "failed: 50 of 50 requests failed for good"),
    ],
)
def test_canary_is_told(
    status: str, passed: bool | None, failed: int, projected: float | None, expected: str
) -> None:
    canary = {"requests": 50, "failed": failed, "projected_cost_usd": projected, "passed": passed}
    report = make_report(status=status) | {"canary": canary}
    assert job_view.canary_text(report) == expected
    assert f"  canary    {expected}" in status_of(report)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (0.41, "299 of 300 requests answered by ordinary calls for $0.4100"),
        (None, "299 of 300 requests answered by ordinary calls"),
    ],
)
def test_calls_after_a_deadline_are_told(cost: float | None, expected: str) -> None:
    calls = {"requests": 300, "succeeded": 299, "failed": 1, "cost_usd": cost}
    report = make_report(status="partial") | {"on_demand": calls}
    assert job_view.on_demand_text(report) == expected
    assert f"  deadline  {expected}" in status_of(report)
    none = report | {"on_demand": {**calls, "requests": 0}}
    assert not any("deadline" in line for line in status_of(none))


def test_a_job_that_makes_ordinary_calls_says_so() -> None:
    calls = {"requests": 3, "succeeded": 1, "failed": 0, "cost_usd": 0.0}
    report = make_report(status="running") | {"on_demand": calls}
    report["progress"] = {"completed": 1, "total": 9}
    assert job_view.phase(report, has_job=True) == "ordinary calls"


def test_job_that_a_rule_has_ended_tells_why() -> None:
    report = make_report(status="partial", errors=[fatal("canary_failed")])
    assert status_of(report)[1] == "  Do this."


def test_only_a_job_with_batches_or_calls_waits_for_groq() -> None:
    report = make_report(errors=[fatal("invalid_api_key")])
    assert job_view.reason(report) is None
    assert job_view.reason({**report, "batches": [a_batch()]}) == "Do this."
    # The deadline may pass before anything is sent.
    calls = {"requests": 1, "succeeded": 0, "failed": 1, "cost_usd": 0.0}
    assert job_view.reason({**report, "on_demand": calls}) == "Do this."


def test_list_of_jobs_on_a_narrow_terminal_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal, out, _ = a_terminal(Tty)
    report = make_report(status="partial", requests={"succeeded": 9, "failed": 1})
    job = FoundJob(path="team/questions.jsonl", job_id="questions-0123456789", report=report)
    one = ListedJob(job_id="questions-0123456789", job=job, at=NOON, status="partial")
    show_jobs([one], terminal, NOON)
    assert out.getvalue().splitlines()[1].split()[-1] == "questions-0123456789"


def test_end_of_a_job() -> None:
    terminal, _, _ = a_terminal()
    report = make_report(status="succeeded", cost_usd={"actual": 1.5}, timing={"seconds": 75.2})
    assert end_line("x", report, terminal) == (
        "x: succeeded, 10 requests answered, $1.50, 1 min 15 s"
    )


def test_end_of_a_failed_job_has_the_reason_last() -> None:
    terminal, _, _ = a_terminal()
    errors = [fatal("invalid_api_key", "Groq refuses the key. Store a valid one.")]
    report = make_report(status="failed", errors=errors, timing={"seconds": 2})
    assert end_line("x", report, terminal) == (
        "x: failed, 2 s: Groq refuses the key. Store a valid one."
    )


def test_problems_of_a_rejected_file() -> None:
    errors = [fatal("empty_file", "No\x1b request.")]
    errors += [
        {**fatal("duplicate_custom_id", f"Used on line {n - 1}."), "line": n, "custom_id": "a"}
        for n in range(2, 21)
    ]
    lines = list(problem_lines(make_report(errors=errors, errors_total=500)))
    assert lines[0] == "  the file: empty_file No request."
    assert lines[1] == "  line 2: duplicate_custom_id Used on line 1."
    assert len(lines) == 11
    assert lines[-1] == "  and 490 more"


def test_problem_that_many_lines_have_is_shown_once() -> None:
    errors = [
        {**fatal("unknown_model", "There is none."), "line": n, "custom_id": "a"}
        for n in range(1, 101)
    ]
    errors[3] = {**errors[3], "code": "invalid_body"}
    assert list(problem_lines(make_report(errors=errors, errors_total=200_000))) == [
        "  lines 1, 2, 3, 5, 6 and 94 more: unknown_model There is none.",
        "  line 4: invalid_body There is none.",
        "  and 199,900 more",
    ]


def test_status_of_a_running_job() -> None:
    report = make_report(
        progress={"completed": 4}, batches=[a_batch(succeeded=3, failed=1)], errors=[fatal("x")]
    )
    assert status_of(report) == [
        "x.jsonl: running, 4 of 10 requests done (40 %)",
        "  waits: Do this.",
        "  job       job-1",
        "  requests  10: 4 outcomes so far",
        "  cost      ~$0.8000 of ~$2.00",
        "  time      1 h 0 min",
        "  attempt 1  10 sent in 1 batch  3 answered  1 failed  1 in progress",
    ]


def test_status_of_a_job_that_has_ended() -> None:
    report = make_report(
        status="partial",
        requests={"succeeded": 8, "failed": 1, "invalid": 1},
        usage={"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11},
        outputs={"results": "s3://bucket/output/x.jsonl"},
        errors=[{**fatal("invalid_url"), "line": 3}],
        errors_total=2,
        timing={"seconds": 1.0},
    )
    assert status_of(report) == [
        "x.jsonl: partial, 8 of 10 requests answered, 2 not, 1 s",
        "  job       job-1",
        "  requests  10: 8 answered, 1 failed, 1 invalid",
        "  tokens    5 in, 6 out",
        "  time      1 s",
        "  results   s3://bucket/output/x.jsonl",
        "  line 3: invalid_url Do this.",
        "  and 1 more",
    ]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"invalid_output": 0}, "8 answered, 1 failed"),
        ({"invalid_output": 2}, "8 answered (2 not the JSON asked for), 1 failed"),
        (
            {"invalid_output": 2, "unchecked_output": 1},
            "8 answered (2 not the JSON asked for, 1 not checked against their schema), 1 failed",
        ),
    ],
)
def test_status_tells_answers_of_another_form(counts: dict[str, int], expected: str) -> None:
    report = make_report(
        status="partial",
        requests={"succeeded": 8, "failed": 1, **counts},
        timing={"seconds": 1.0},
    )
    assert f"  requests  10: {expected}" in status_of(report)


def test_status_of_a_running_job_tells_its_pace() -> None:
    report = make_report(
        requests={"total": 100},
        progress={"completed": 40, "total": 100},
        batches=[a_batch(requests=100, succeeded=39, failed=1)],
    )
    soon = status_of(report, NOON + timedelta(seconds=30), reported_at=NOON)
    assert "  pace      40.0/min, ~1 min left" in soon
    later = status_of(report, NOON + timedelta(minutes=10), reported_at=NOON)
    assert "  pace      40.0/min" in later


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("partial", "10: 1 answered, 7 failed, 2 invalid"),
        ("cancelled", "10: 1 answered, 7 not answered, 2 invalid"),
        ("failed", "10: 1 answered, 7 not answered, 2 invalid"),
        ("rejected", "10: 7 not sent, 2 invalid"),
    ],
)
def test_status_calls_requests_without_an_answer_what_they_are(status: str, expected: str) -> None:
    report = make_report(
        status=status,
        requests={"succeeded": 1, "failed": 7, "invalid": 2},
        timing={"seconds": 1.0},
    )
    assert f"  requests  {expected}" in status_of(report)


def test_status_lists_error_codes_with_their_counts() -> None:
    report = make_report(status="partial", timing={"seconds": 1.0})
    codes = ErrorCodes(
        (ErrorCode("context_length_exceeded", 1200, "Too long."), ErrorCode("missing", 3, "")), 1203
    )
    assert status_of(report, codes=codes)[-3:] == [
        "  1,203 errors by code:",
        "    1,200  context_length_exceeded  Too long.",
        "        3  missing",
    ]


def test_status_of_a_replaced_job_says_how_to_fetch_its_results(bucket: Bucket) -> None:
    first = bucket.run("x.jsonl")
    bucket.run("x.jsonl")
    terminal, _, _ = a_terminal()
    lines = list(status_lines(bucket.find(first), terminal, NOON))
    assert lines[0].startswith("x.jsonl: succeeded, 10 requests answered")
    assert lines[1].endswith(f"groq-batch results {first}")


@pytest.mark.parametrize(
    ("report", "why", "code"),
    [
        (None, "", None),
        (make_report(status="succeeded"), "", None),
        (make_report(status="failed", errors=[fatal("invalid_api_key")]), "invalid_api_key", ...),
        (make_report(status="cancelled", errors=[fatal("cancelled")]), "", "cancelled"),
        (make_report(status="rejected", errors=[fatal("empty_file")]), "empty_file", ...),
        (
            make_report(
                status="partial",
                errors=[{**fatal(code), "line": 3} for code in ("a", "b", "b", "c")],
            ),
            "b +2",
            "a",
        ),
        (
            make_report(
                status="partial",
                errors=[fatal("canary_failed"), *[{**fatal("b"), "custom_id": "x"}] * 2],
            ),
            "canary_failed",
            ...,
        ),
        (make_report(errors=[{**fatal("invalid_url"), "line": 3}], batches=[a_batch()]), "", None),
        (
            make_report(errors=[fatal("groq_unavailable")], batches=[a_batch()]),
            "groq_unavailable",
            ...,
        ),
    ],
)
def test_why_of_a_job(report: dict[str, Any] | None, why: str, code: Any) -> None:
    assert job_view.why(report) == why
    assert job_view.first_error_code(report) == (why if code is ... else code)


def test_share_of_a_job_that_has_ended_is_what_was_answered() -> None:
    cancelled = make_report(
        status="cancelled",
        requests={"total": 20_000, "succeeded": 1_333, "failed": 18_667},
        progress={"completed": 20_000, "total": 20_000},
    )
    assert job_view.answered_share(cancelled) == "6 %"
    assert job_view.unanswered(cancelled) == 18_667
    running = make_report(progress={"completed": 5})
    assert job_view.answered_share(running) == "50 %"
    assert job_view.unanswered(running) is None
