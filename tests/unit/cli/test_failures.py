"""Errors of a job by their code, counted beyond those that the report lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records.shard_result import ShardResult
from groq_batch_cli.failures import ErrorCodes, error_codes
from groq_batch_client.found_jobs import FoundJob
from tests.fakes.s3 import FakeS3, refusing

BUCKET = "bucket"
KEYS = object_keys.WorkKeys("job-1")


def row_error(code: str, line: int = 1) -> dict[str, Any]:
    return {"line": line, "custom_id": f"r-{line}", "code": code, "message": f"{code}, line {line}"}


def a_job(errors: list[dict[str, Any]], total: int, **counts: int) -> FoundJob:
    report = {
        "job_id": "job-1",
        "status": "partial",
        "requests": {"total": 9999, "succeeded": 0, "failed": 0, "invalid": 0, **counts},
        "errors": errors,
        "errors_total": total,
        "outputs": {"results": None, "failed": None, "invalid": f"s3://{BUCKET}/invalid/x.jsonl"},
    }
    return FoundJob(path="x.jsonl", job_id="job-1", report=report)


def summarize(storage: Storage, attempt: int, number: int, **codes: int) -> None:
    summary = ShardResult(attempt, number)
    for code, count in codes.items():
        for line in range(count):
            summary.stats.failures.add(code, line, f"{code} happened")
    summary.write(storage, KEYS)


def counted(codes: ErrorCodes) -> list[tuple[str, int]]:
    return [(one.code, one.count) for one in codes.codes]


def test_error_codes_of_few_errors_are_those_of_the_report(storage: Storage) -> None:
    fatal = {"line": None, "custom_id": None, "code": "cancelled", "message": "Stopped."}
    errors = [fatal, row_error("missing"), row_error("x", 2), row_error("missing", 3)]
    found = error_codes(storage, a_job(errors, 4, failed=3))
    assert counted(found) == [("missing", 2), ("x", 1)]
    assert (found.total, found.is_complete) == (3, True)
    assert found.codes[0].message == "missing, line 1"
    assert found.text() == "2 missing, 1 x"


def test_error_codes_of_many_errors_are_counted_from_the_last_attempts(storage: Storage) -> None:
    summarize(storage, 1, 1, missing=200, rate_limit_exceeded=400)
    summarize(storage, 2, 1, missing=150)
    summarize(storage, 1, 2, context_length_exceeded=50)
    found = error_codes(storage, a_job([row_error("missing")] * 100, 200, failed=200))
    assert counted(found) == [("missing", 150), ("context_length_exceeded", 50)]
    assert found.is_complete
    assert found.codes[0].message == "missing happened"


@pytest.mark.parametrize("failed", [3, 400])
def test_error_codes_whose_counts_are_gone_are_of_the_first(storage: Storage, failed: int) -> None:
    # Of summaries that have expired, or were written by a version that counted nothing.
    summarize(storage, 1, 1, missing=2)
    found = error_codes(storage, a_job([row_error("missing")] * 100, 200, failed=failed))
    assert counted(found) == [("missing", 100)]
    assert not found.is_complete
    assert found.text() == "100 missing (of the first 100)"


def test_error_codes_of_bad_lines_are_counted_from_all_problems(storage: Storage) -> None:
    problems = [row_error("invalid_url", line) for line in range(150)]
    problems += [
        {"line": n, "custom_id": None, "code": "invalid_json", "message": "m"} for n in "ab"
    ]
    problems.append({"line": None, "custom_id": None, "code": "too_expensive", "message": "m"})
    data = b"".join(json.dumps(one).encode() + b"\n" for one in problems)
    storage.put_bytes("invalid/x.jsonl", data)
    errors = [problems[-1], *problems[:99]]
    found = error_codes(storage, a_job(errors, 153, invalid=152))
    assert counted(found) == [("invalid_url", 150), ("invalid_json", 2)]
    assert found.is_complete


def test_error_codes_of_both_kinds_are_counted_together(storage: Storage) -> None:
    problems = [row_error("invalid_url", line) for line in range(120)]
    data = b"".join(json.dumps(one).encode() + b"\n" for one in problems)
    storage.put_bytes("invalid/x.jsonl", data)
    summarize(storage, 1, 1, missing=5)
    found = error_codes(storage, a_job(problems[:100], 125, invalid=120, failed=5))
    assert counted(found) == [("invalid_url", 120), ("missing", 5)]
    assert found.text(most=1) == "120 invalid_url, 5 others"


def test_error_codes_of_a_huge_list_of_problems_are_not_fetched(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groq_batch_cli.failures._MAX_PROBLEM_BYTES", 100)
    storage.put_bytes("invalid/x.jsonl", b"x" * 101)
    found = error_codes(storage, a_job([row_error("invalid_url")] * 100, 500, invalid=500))
    assert (counted(found), found.total) == ([("invalid_url", 100)], 500)


@pytest.mark.parametrize(
    ("denied", "counts"),
    [
        ("list_objects_v2", {"failed": 200}),
        ("get_object", {"failed": 200}),
        ("get_object", {"invalid": 200}),
    ],
)
def test_error_codes_that_may_not_be_counted_are_of_the_first(
    denied: str, counts: dict[str, int], s3: FakeS3, storage: Storage
) -> None:
    summarize(storage, 1, 1, missing=200)
    storage.put_bytes("invalid/x.jsonl", b"{}")
    errors = [row_error("missing")] * 100
    reader = s3.storage(refusing(denied, 403, "AccessDenied"))
    found = error_codes(reader, a_job(errors, 200, **counts))
    assert (counted(found), found.is_complete) == ([("missing", 100)], False)
