"""What a status check takes over from Groq, and what it cancels there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from groq_batch.domain.batch import Batch
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.reason import Reason
from groq_batch.domain.times import timestamp_of
from groq_batch.groq.client import FoundBatches
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NotFoundError,
    NotSentError,
    RateLimitedError,
)
from groq_batch.records.attempt import ShardState
from groq_batch.records.job import Stop
from groq_batch.records.submission import Stage
from groq_batch.steps.check_status.batches import BatchUpdate, update_batches
from groq_batch.steps.check_status.reasons import GONE_SECONDS
from tests.unit.steps.situations import NOW, known

STOP = Stop(status="cancelled", code="cancelled", message="", at=timestamp_of(NOW - 60))
LONG_AGO = NOW - 9 * GONE_SECONDS
STOPPED_LONG_AGO = replace(STOP, at=timestamp_of(LONG_AGO))


class Groq:
    """The two calls of the API that a status check makes."""

    def __init__(self, *batches: Batch, error: GroqApiError | None = None) -> None:
        self.batches = {batch.id: batch for batch in batches}
        self.error = error
        self.cancelled: list[str] = []

    def batches_by_id(self, ids: Sequence[str]) -> FoundBatches:
        if self.error is not None:
            raise self.error
        return FoundBatches(self.batches, set(ids) - self.batches.keys())

    def cancel_batch(self, batch_id: str) -> Batch:
        self.cancelled.append(batch_id)
        if batch_id == "stuck":
            raise NotSentError("No connection.")
        if batch_id not in self.batches:
            raise NotFoundError("No such batch.")
        return replace(self.batches[batch_id], status="cancelling")


def running(name: str) -> ShardState:
    return ShardState(stage=Stage.CREATED, batch=Batch(id=name, status="in_progress"))


def test_update_batches_takes_over_what_groq_says_and_returns_what_has_ended() -> None:
    found = known(running("a"), running("b"), state={"rate_limits": 2, "absent_since": NOW - 5})
    done = Batch(id="a", status="completed")
    stranger = Batch(id="x", status="completed")
    update = update_batches(Groq(done, Batch(id="b", status="finalizing"), stranger), found)
    assert update == BatchUpdate(ended=[done])
    assert [entry.batch.status for entry in found.state.entries.values()] == [
        "completed",
        "finalizing",
    ]
    assert (found.state.rate_limits, found.state.absent_since) == (0, None)


@pytest.mark.parametrize(
    ("error", "pause", "is_of_account"),
    [
        (NotSentError("No connection."), 0, False),
        (RateLimitedError("Too many.", retry_after_seconds=41.5), 42, False),
        (RateLimitedError("Too many.", retry_after_seconds=99_999), 3600, False),
        (RateLimitedError("Too many."), 11, False),
        (AccountError("No key.", code="invalid_api_key"), 0, True),
    ],
)
def test_update_batches_without_an_answer_changes_no_batch_and_says_why(
    error: GroqApiError, pause: int, is_of_account: bool
) -> None:
    found = known(running("a"), state={"rate_limits": 1, "groq_error": Reason("old", "old")})
    assert update_batches(Groq(error=error), found) == BatchUpdate(ended=(), not_before=pause)
    assert found.state.entries[1] == running("a")
    expected = Reason("invalid_api_key", "No key.") if is_of_account else None
    assert found.state.groq_error == expected
    assert (found.state.last_check_error is None) is is_of_account


def test_update_batches_of_a_stopped_job_cancels_what_runs_and_survives_a_failure() -> None:
    found = known(running("a"), running("stuck"), stop=STOP)
    groq = Groq(Batch(id="a", status="in_progress"), Batch(id="stuck", status="in_progress"))
    assert update_batches(groq, found) == BatchUpdate(ended=[])
    assert sorted(groq.cancelled) == ["a", "stuck"]
    assert [entry.batch.status for entry in found.state.entries.values()] == [
        "cancelling",
        "in_progress",
    ]


@pytest.mark.parametrize(
    ("stop", "absent_since", "status"),
    [
        (None, LONG_AGO, "in_progress"),
        (STOP, LONG_AGO, "in_progress"),
        (STOPPED_LONG_AGO, None, "in_progress"),
        (
            STOPPED_LONG_AGO,
            NOW - GONE_SECONDS - 1,
            "cancelled",
        ),
    ],
)
def test_update_batches_gives_up_an_unknown_batch_only_of_a_job_stopped_a_while_ago(
    stop: Stop | None, absent_since: float | None, status: str
) -> None:
    found = known(running("gone"), stop=stop, state={"absent_since": absent_since})
    update_batches(Groq(), found)
    assert found.state.entries[1].batch.status == status
    assert found.state.absent_since == (absent_since or NOW)
    assert found.state.last_check_error.code == ErrorCode.BATCH_NOT_FOUND
    assert ("was stopped" in found.state.last_check_error.message) is (stop is not None)
