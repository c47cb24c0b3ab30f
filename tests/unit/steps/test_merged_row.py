"""Which row a request has after an attempt, and where it goes if it may be sent again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch, BatchIssue
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.result_row import Row, classify_row
from groq_batch.domain.times import timestamp_of
from groq_batch.records.attempt import ShardState
from groq_batch.records.job import JobRecord, Stop
from groq_batch.records.on_demand import OnDemandProgress
from groq_batch.records.submission import Stage
from groq_batch.steps.download_results.merge_rules import MergeRules
from groq_batch.steps.download_results.merged_row import (
    GivenRow,
    MergedRow,
    SentRequest,
    row_after,
    row_before,
    with_form,
)
from groq_batch.steps.download_results.result_index import ResultIndex
from groq_batch.steps.download_results.schema_checks import SchemaChecks
from groq_batch.steps.download_results.sent_shards import SentShard
from tests.samples import OPTIONS

KEYS = object_keys.WorkKeys("a-job")
NOW = 1_800_000_000.0
JOB = JobRecord(accepted=True, options=OPTIONS)
CANCELLED = Stop(status="cancelled", code="cancelled", message="Stopped.", at=timestamp_of(NOW))
FAILED = Stop(status="failed", code="spend_limit", message="Pay.", at=timestamp_of(NOW))
CALLS = OnDemandProgress(
    attempt=2, budget_usd=1.0, ask_until=NOW, max_tries=3, shard=1, line=5, offset=9
)
REQUEST = json.dumps(
    {
        "custom_id": "a",
        "body": {"model": "openai/gpt-oss-20b", "response_format": {"type": "json_object"}},
    }
).encode()


def row(status: int = 200, text: str = "words", **body: Any) -> bytes:
    body = body or {"choices": [{"message": {"role": "assistant", "content": text}}]}
    response = {"status_code": status, "request_id": "r", "body": body}
    return json.dumps({"custom_id": "a", "response": response, "error": None}).encode()


BUSY = row(503, error={"message": "busy", "code": "over_capacity"})
WRONG = row(400, error={"message": "wrong", "code": "bad"})


def rules(attempt: int = 1, *, job: dict[str, Any] | None = None, **fields: Any) -> MergeRules:
    return MergeRules(
        job=replace(JOB, **(job or {})), attempt=attempt, origin=1, **{"stop": None, **fields}
    )


def shard(status: str | None = "completed", **fields: Any) -> SentShard:
    batch = Batch(id="b", status=status) if status else None
    stage = Stage.CREATED if status else fields.pop("stage", None)
    entry = ShardState(stage=stage, batch=batch)
    return SentShard(number=1, entry=entry, index=ResultIndex(), lines=9, **fields)


def merged(
    given: bytes | None = None,
    before: bytes | None = None,
    *,
    by: MergeRules | None = None,
    sent: SentShard | None = None,
    position: int = 2,
) -> MergedRow:
    known: Row | None = classify_row(given) if given is not None else None
    found = GivenRow(given, known) if given is not None and known is not None else None
    request = SentRequest(sent or shard(), position, "a", found, before, lambda: REQUEST)
    return row_after(by or rules(), request)


# -- batches -------------------------------------------------------------------------------------


def test_row_after_with_an_answer_is_the_answer_byte_for_byte() -> None:
    found = merged(row())
    assert (found.row, found.succeeded, found.retry) == (row(), True, False)
    assert found.answer == classify_row(row())
    again = merged(row(), by=rules(job={"options": replace(OPTIONS, retry_invalid_output=True)}))
    assert again.retry


@pytest.mark.parametrize(("given", "retry"), [(BUSY, True), (WRONG, False)])
def test_row_after_with_an_error_keeps_it_and_retries_what_may_pass(
    given: bytes, retry: bool
) -> None:
    found = merged(given, before=BUSY)
    assert (found.row, found.succeeded, found.retry, found.answer) == (given, False, retry, None)


def test_row_after_a_success_is_kept_when_the_request_fails_now() -> None:
    by = rules(2, job={"options": replace(OPTIONS, retry_invalid_output=True)})
    found = merged(BUSY, before=row(), by=by)
    assert (found.row, found.succeeded, found.retry) == (row(), True, True)
    assert merged(WRONG, before=row(), by=by).retry is False


@pytest.mark.parametrize(
    ("sent", "fields", "code", "retry"),
    [
        (shard("expired"), {}, ErrorCode.MISSING, True),
        (shard("in_progress"), {}, ErrorCode.MISSING, False),
        (shard("expired"), {"stop": CANCELLED}, ErrorCode.CANCELLED, False),
        (shard("expired"), {"stop": FAILED}, ErrorCode.MISSING, False),
        (shard("completed"), {"stop": CANCELLED}, ErrorCode.MISSING, True),
        (shard("failed"), {}, ErrorCode.BATCH_FAILED, True),
        (
            shard("failed", issues={2: BatchIssue("x", "y", 2, None)}),
            {},
            ErrorCode.BATCH_FAILED,
            False,
        ),
        (
            shard("failed", issues={1: BatchIssue("x", "y", 1, None)}),
            {},
            ErrorCode.BATCH_FAILED,
            True,
        ),
        (shard(None, stage=Stage.REFUSED), {}, ErrorCode.BATCH_FAILED, True),
        (shard(None), {}, ErrorCode.NOT_SENT, False),
        (shard(None), {"past_deadline": True}, ErrorCode.NOT_SENT, True),
    ],
)
def test_row_after_without_a_row_says_why(
    sent: SentShard, fields: dict[str, Any], code: str, retry: bool
) -> None:
    found = merged(by=rules(**fields), sent=sent)
    assert (found.succeeded, found.code, found.retry) == (False, code, retry)
    stored = json.loads(found.row)
    assert (stored["custom_id"], stored["error"]["code"]) == ("a", code)


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_row_after_of_lost_results_is_never_sent_again(status: str) -> None:
    sent = shard(status)
    sent.index.is_lost = True
    assert merged(sent=sent).retry is False


def test_row_after_of_a_shard_that_was_not_sent_keeps_the_earlier_row() -> None:
    assert merged(before=BUSY, sent=shard(None)).row == BUSY
    assert merged(before=BUSY, sent=shard(None), by=rules(2, past_deadline=True)).retry


def test_row_before_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        row_before(b"{")


# -- ordinary calls ------------------------------------------------------------------------------


def test_row_after_of_a_call_is_final_and_counted_as_called() -> None:
    by = rules(2, calls=CALLS)
    answered, refused = merged(row(), BUSY, by=by), merged(BUSY, WRONG, by=by)
    assert (answered.succeeded, answered.was_called, answered.retry) == (True, True, False)
    assert (refused.row, refused.was_called, refused.retry) == (BUSY, True, False)


@pytest.mark.parametrize(
    ("position", "stop", "code", "was_called"),
    [
        (2, None, ErrorCode.OUTCOME_UNKNOWN, True),
        (2, CANCELLED, ErrorCode.OUTCOME_UNKNOWN, True),
        (7, None, ErrorCode.DEADLINE_PASSED, False),
        (7, CANCELLED, ErrorCode.CANCELLED, False),
        # The row of the batch says more than that the job has failed.
        (7, FAILED, "over_capacity", False),
    ],
)
def test_row_after_of_a_request_without_a_call_says_why(
    position: int, stop: Stop | None, code: str, was_called: bool
) -> None:
    found = merged(before=BUSY, by=rules(2, calls=CALLS, stop=stop), position=position)
    assert (found.code, found.was_called, found.retry) == (code, was_called, False)


# -- form ----------------------------------------------------------------------------------------


def test_with_form_prefers_the_newest_valid_answer_and_still_counts_the_new_one() -> None:
    by = rules(2, job={"options": replace(OPTIONS, retry_invalid_output=True)})
    valid = row(text='{"a": 1}')
    with SchemaChecks() as schemas:
        assert with_form(by, merged(valid, row(), by=by), REQUEST, row(), schemas).row == valid
        kept = with_form(by, merged(row(), valid, by=by), REQUEST, valid, schemas)
        assert (kept.row, kept.is_invalid, kept.retry) == (valid, False, False)
        assert kept.answer == classify_row(row())
        broken = with_form(by, merged(row(), by=by), REQUEST, None, schemas)
        assert (broken.succeeded, broken.is_invalid, broken.retry) == (True, True, True)
        last = rules(OPTIONS.max_attempts, job={"options": by.job.options})
        assert not with_form(last, merged(row(), by=last), REQUEST, None, schemas).retry


# -- where requests go ---------------------------------------------------------------------------

LAST = OPTIONS.max_attempts
WITH_DEADLINE = {"deadline_at": NOW}


@pytest.mark.parametrize(
    ("by", "may_retry", "may_send_again", "key"),
    [
        (rules(1), True, True, KEYS.shard(2, 4)),
        (rules(LAST), False, False, None),
        (rules(1, stop=CANCELLED), False, False, None),
        (rules(2, calls=CALLS), False, False, None),
        (rules(1, job=WITH_DEADLINE), True, True, KEYS.shard(2, 4)),
        (rules(LAST, job=WITH_DEADLINE), True, False, KEYS.kept_shard(1)),
        (rules(LAST, job=WITH_DEADLINE, past_deadline=True), True, False, KEYS.shard(LAST + 1, 1)),
    ],
)
def test_merge_rules_say_where_unanswered_requests_go(
    by: MergeRules, may_retry: bool, may_send_again: bool, key: str | None
) -> None:
    assert (by.may_retry, by.may_send_again) == (may_retry, may_send_again)
    if key is not None:
        assert by.key_of_retry(KEYS, 4) == key
