"""What a retry sends again, and what it leaves out."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.bucket.storage import Storage
from groq_batch.domain.result_row import pipeline_row
from groq_batch_client.errors import JobError
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.merge import NamedRows, merge
from groq_batch_client.retries import begin_retry
from groq_batch_client.retry_selection import Leftovers, Standing, leftovers, standing_of
from tests.fakes.s3 import FakeS3


def api(status: int, custom_id: str = "a", **error: str) -> bytes:
    body: dict[str, Any] = {"choices": [{"message": {"content": "Hi"}}]}
    if error:
        body = {"error": error}
    row = {
        "id": "batch_req_1",
        "custom_id": custom_id,
        "response": {"status_code": status, "body": body},
        "error": None,
    }
    return json.dumps(row).encode()


def own(code: str, custom_id: str | None = "a", message: str = "No.") -> bytes:
    return pipeline_row(custom_id, code=code, message=message).rstrip(b"\n")


def without_response(code: str) -> bytes:
    error = {"code": code, "message": "m"}
    row = {"id": "batch_req_1", "custom_id": "a", "response": None, "error": error}
    return json.dumps(row).encode()


@pytest.mark.parametrize(
    ("row", "expected", "code"),
    [
        (api(200), Standing.ANSWERED, ""),
        (api(400, code="context_length_exceeded"), Standing.FINAL, "context_length_exceeded"),
        (api(400, code="json_validate_failed"), Standing.RETRYABLE, "json_validate_failed"),
        (api(404, code="model_not_found"), Standing.FINAL, "model_not_found"),
        (api(413, code="rate_limit_exceeded"), Standing.FINAL, "rate_limit_exceeded"),
        (api(422, type="invalid_request_error"), Standing.FINAL, "invalid_request_error"),
        *(
            (api(status, type="x"), Standing.RETRYABLE, "x")
            for status in (408, 409, 424, 429, 498, 500, 503)
        ),
        (without_response("capacity_exhausted"), Standing.RETRYABLE, "capacity_exhausted"),
        (without_response("batch_expired"), Standing.RETRYABLE, "batch_expired"),
        (without_response("missing"), Standing.FINAL, "missing"),
        *(
            (own(code), Standing.RETRYABLE, code)
            for code in ("missing", "not_sent", "cancelled", "deadline_passed")
        ),
        (own("outcome_unknown"), Standing.UNKNOWN, "outcome_unknown"),
        *((own(code), Standing.FINAL, code) for code in ("invalid_url", "duplicate_custom_id")),
        (own("invalid_json", None), Standing.FINAL, "invalid_json"),
        (own("batch_failed", message="invalid_line: bad"), Standing.FINAL, "batch_failed"),
        (
            own("batch_failed", message="Another line of the batch was refused. x: y"),
            Standing.RETRYABLE,
            "batch_failed",
        ),
        (
            own("batch_failed", message="capacity_exceeded: full"),
            Standing.RETRYABLE,
            "batch_failed",
        ),
        (
            own("batch_failed", message="Groq refused the batch: invalid_request_error: no"),
            Standing.RETRYABLE,
            "batch_failed",
        ),
        (b"no row", Standing.FINAL, "unreadable_row"),
        (b'{"custom_id": null}', Standing.FINAL, "unreadable_row"),
    ],
)
def test_standing_of_a_row(row: bytes, expected: Standing, code: str) -> None:
    assert standing_of(row) == (expected, code)


ROWS = [
    api(200, "a"),
    api(400, "b", code="context_length_exceeded"),
    own("missing", "c"),
    own("outcome_unknown", "d"),
    api(200, "e"),
    own("invalid_url", "f"),
    api(503, "g", type="server_error"),
]


def chosen(rows: list[tuple[bytes, bytes]], *, everything: bool = False) -> Leftovers:
    return leftovers(rows, everything=everything)


def test_leftovers_are_what_another_job_may_answer() -> None:
    found = chosen([(row, row) for row in ROWS])
    assert list(found.chosen) == [0, 1, 0, 0, 1]
    assert (found.number, found.left_out, found.unknown, found.are_all) == (2, 3, 1, False)
    assert found.final == Counter(context_length_exceeded=1, invalid_url=1)
    assert found.left_out_text == (
        "2 whose error is final (1 context_length_exceeded, 1 invalid_url), 1 whose outcome is "
        "not known (they may have been answered and paid for)"
    )


def test_leftovers_of_everything_are_all() -> None:
    found = chosen([(row, row) for row in ROWS], everything=True)
    assert list(found.chosen) == [1] * 5
    assert (found.left_out, found.are_all) == (0, True)


def test_leftovers_after_a_retry_are_what_it_has_not_answered() -> None:
    newest = [*ROWS[:2], api(200, "c"), *ROWS[3:6], own("missing", "g")]
    pairs = list(zip(ROWS, newest, strict=True))
    found = chosen(pairs, everything=True)
    assert list(found.chosen) == [1, 0, 1, 1, 1]
    assert (found.answered, found.left_out, found.are_all) == (1, 0, False)
    assert list(chosen(pairs).chosen) == [0, 0, 0, 0, 1]


@st.composite
def jobs(draw: st.DrawFn) -> list[bytes]:
    """Return the rows of a job."""
    kinds = draw(st.lists(st.sampled_from(["answer", "final", "missing", "unknown", "unread"])))
    made = {
        "answer": lambda name: api(200, name),
        "final": lambda name: api(400, name, code="x"),
        "missing": lambda name: own("missing", name),
        "unknown": lambda name: own("outcome_unknown", name),
        "unread": lambda _: own("invalid_json", None),
    }
    return [made[kind](str(number)) for number, kind in enumerate(kinds)]


@given(jobs(), st.booleans(), st.data())
def test_retry_of_leftovers_merges_into_its_job(
    rows: list[bytes], everything: bool, data: st.DataObject
) -> None:
    found = chosen([(row, row) for row in rows], everything=everything)
    failing = [place for place, row in enumerate(rows) if standing_of(row)[0] is not _ANSWERED]
    sent = [place for place, is_sent in zip(failing, found.chosen, strict=True) if is_sent]
    retried = [
        api(200, str(place))
        if b"invalid_json" not in rows[place] and data.draw(st.booleans())
        else rows[place]
        for place in sent
    ]
    merged, counts = merge(NamedRows("job", rows), [NamedRows("retry", retried)])
    by_place = dict(zip(sent, retried, strict=True))
    assert list(merged) == [by_place.get(place, row) for place, row in enumerate(rows)]
    assert counts.left == sum(
        standing_of(by_place.get(place, row))[0] is not _ANSWERED for place, row in enumerate(rows)
    )


_ANSWERED = Standing.ANSWERED


def test_retry_that_lacks_a_line_worth_sending_is_not_merged() -> None:
    rows = [own("missing", "a"), own("missing", "b"), api(400, "c", code="x")]
    merged, _ = merge(NamedRows("job", rows), [NamedRows("retry", [api(200, "a")])])
    with pytest.raises(JobError, match=r"retry has fewer rows .* row 2 of job \(b\) has none"):
        list(merged)
    merged, _ = merge(NamedRows("job", rows), [NamedRows("retry", [api(200, "b")])])
    with pytest.raises(JobError, match="Row 1 of job, without a success, is of a, but row 1"):
        list(merged)


def test_retry_path_too_long_for_a_key_is_refused_before_anything_is_read() -> None:
    path = "x" * 885 + ".jsonl"
    report = {
        "status": "partial",
        "requests": {"failed": 1, "invalid": 0},
        "outputs": {"failed": f"s3://bucket/failed/{path}"},
    }
    job = FoundJob(path=path, job_id="x-1", report=report)
    storage = Storage(s3=FakeS3("bucket").client(), bucket="bucket")
    with pytest.raises(JobError, match=r"would be longer than the 900 bytes .* s3://bucket/failed"):
        begin_retry(storage, job, everything=False, again=False, metadata={}, send_anyway="--all")
