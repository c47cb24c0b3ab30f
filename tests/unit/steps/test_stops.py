"""When a status check stops a job, and why it says it did."""

from __future__ import annotations

from typing import Any

import pytest

from groq_batch.bucket.storage import Storage
from groq_batch.domain.canary import CanaryVerdict
from groq_batch.domain.reason import Reason
from groq_batch.domain.times import timestamp_of
from groq_batch.records.attempt import ShardState
from groq_batch.records.job import AccountHold, Stop
from groq_batch.records.submission import Stage
from groq_batch.steps.check_status.reasons import GRACE_SECONDS, NOT_STORED, TIMED_OUT
from groq_batch.steps.check_status.stops import stop_of_account, stop_of_canary, stop_of_time
from tests.unit.steps.situations import KEYS, NOW, batch, job, known, sent

HOLD = AccountHold(code="spend_limit", message="Pay.", at=timestamp_of(NOW - 5))
CANCELLED = Stop(status="cancelled", code="cancelled", message="", at=timestamp_of(NOW))
FAILED_CANARY = CanaryVerdict(
    rest_attempt=2, requests=1, failed=1, passed=False, code="canary_failed", message="Bad."
)
LATE = {"started_at": NOW - 2 * GRACE_SECONDS - 1}
"""Begun so long ago that a window of a day and the grace period have passed."""


def undated(status: str = "in_progress") -> ShardState:
    """Return a shard whose batch has no times, so that those of the attempt count."""
    return ShardState(stage=Stage.CREATED, batch=batch(status, created_at=None))


def test_stop_of_account_before_anything_was_sent_ends_the_job(storage: Storage) -> None:
    assert stop_of_account(storage, known(ShardState())) is None
    HOLD.record(storage, KEYS)
    stop = stop_of_account(storage, known(ShardState()))
    assert stop == Stop(status="failed", code="spend_limit", message="Pay.", at=HOLD.at)
    assert Stop.load(storage, KEYS) == stop


@pytest.mark.parametrize(
    ("entry", "was_sent_before"),
    [
        (sent(), False),
        (ShardState(stage=Stage.CREATING, is_under_way=True), False),
        (ShardState(), True),
    ],
)
def test_stop_of_account_once_a_batch_may_exist_is_an_outage(
    storage: Storage, entry: ShardState, was_sent_before: bool
) -> None:
    HOLD.record(storage, KEYS)
    if was_sent_before:
        storage.put_bytes(KEYS.submitted, b"")
    found = known(entry)
    assert stop_of_account(storage, found) is None
    assert found.state.account_error == Reason("spend_limit", "Pay.")
    assert AccountHold.load(storage, KEYS) is None
    assert Stop.load(storage, KEYS) is None


def test_stop_of_canary_keeps_an_earlier_reason_and_writes_its_own(storage: Storage) -> None:
    judged = job(has_canary=True, verdict=FAILED_CANARY)
    assert stop_of_canary(storage, KEYS, job(), None, now=NOW) is None
    assert stop_of_canary(storage, KEYS, judged, CANCELLED, now=NOW) == CANCELLED
    assert Stop.load(storage, KEYS) is None
    stop = stop_of_canary(storage, KEYS, judged, None, now=NOW)
    assert stop == Stop.load(storage, KEYS)
    assert (stop.status, stop.code) == ("partial", "canary_failed")


@pytest.mark.parametrize(
    ("entry", "state", "reason"),
    [
        (undated(), {}, TIMED_OUT),
        (ShardState(), {}, TIMED_OUT),
        (undated("completed"), {"download_rounds": 3}, NOT_STORED),
        (undated(), {"account_error": Reason("plan_required", "Upgrade.")}, None),
    ],
)
def test_stop_of_time_gives_up_a_day_after_the_last_window(
    storage: Storage, entry: ShardState, state: dict[str, Any], reason: Reason | None
) -> None:
    found = known(entry, state={**LATE, **state})
    stop = stop_of_time(storage, found, is_collected=found.is_collected)
    expected = reason or found.state.account_error
    assert (stop.status, stop.code, stop.message) == ("failed", expected.code, expected.message)
    assert (found.state.gave_up, found.state.download_rounds) == (True, 0)
    assert stop_of_time(storage, found, is_collected=found.is_collected) is None


@pytest.mark.parametrize(
    "found",
    [
        known(sent()),
        known(undated("completed"), state=LATE, uncollected=[]),
        # Nobody has tried to collect it yet.
        known(undated("completed"), state=LATE, uncollected=[1]),
    ],
)
def test_stop_of_time_waits_for_what_may_still_come(storage: Storage, found: Any) -> None:
    assert stop_of_time(storage, found, is_collected=found.is_collected) is None
    assert not found.state.gave_up
