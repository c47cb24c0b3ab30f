"""What a status check decides about a canary whose rows are stored, and that it is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from groq_batch.bucket.storage import Storage
from groq_batch.domain.times import timestamp_of
from groq_batch.records.job import JobRecord, Stop
from groq_batch.records.shard_result import ShardResult
from groq_batch.steps.check_status.canary import decide_about_canary
from groq_batch.steps.check_status.situation import Situation
from tests.samples import OPTIONS
from tests.unit.steps.situations import KEYS, NOW, job, known, sent

CANCELLED = Stop(status="cancelled", code="cancelled", message="", at=timestamp_of(NOW))
ANSWERED = {"succeeded": 2}
EXPIRED = {"to_retry": 2}
FAILED = {"failed_for_good": {"invalid_request": 2}}
LATE = {"deadline_at": NOW - 1}


def awaiting(**fields: Any) -> Situation:
    """Return what is known of a job whose canary was sent and has no verdict."""
    of_job = {name: fields.pop(name) for name in list(fields) if name == "deadline_at"}
    return known(sent("completed"), job=job(has_canary=True, good=6, **of_job), **fields)


def decided(storage: Storage, situation: Situation, stored: dict[str, Any] | None) -> JobRecord:
    if stored is not None:
        ShardResult(attempt=1, number=1, **stored).write(storage, KEYS)
    return decide_about_canary(storage, situation)


@pytest.mark.parametrize(
    ("stored", "fields", "passed"),
    [
        (ANSWERED, {}, True),
        (FAILED, {}, False),
        (ANSWERED, LATE, True),
        (ANSWERED, {"stop": CANCELLED}, None),
        (EXPIRED, {"stop": CANCELLED}, None),
        (EXPIRED, LATE, None),
        (None, {}, None),
    ],
)
def test_decide_about_canary_stores_its_verdict_once(
    storage: Storage, stored: dict[str, Any] | None, fields: dict[str, Any], passed: bool | None
) -> None:
    found = decided(storage, awaiting(**fields), stored)
    assert found.verdict is not None
    assert (found.verdict.passed, found.verdict.rest_attempt) == (passed, 2)
    again = decided(storage, awaiting(), ANSWERED if stored is FAILED else FAILED)
    assert again.verdict == found.verdict


@pytest.mark.parametrize(("percent", "passed"), [(49, False), (50, True)])
def test_decide_about_canary_lets_the_jobs_own_share_fail(
    storage: Storage, percent: int, passed: bool
) -> None:
    options = replace(OPTIONS, canary_max_failed_percent=percent)
    situation = known(sent("completed"), job=job(has_canary=True, good=6, options=options))
    found = decided(storage, situation, {**ANSWERED, "failed_for_good": {"invalid_request": 1}})
    assert found.verdict.passed is passed


def test_decide_about_canary_without_an_answer_has_it_sent_again(storage: Storage) -> None:
    situation = awaiting()
    assert decided(storage, situation, EXPIRED) is situation.job
    assert not storage.exists(KEYS.canary)
