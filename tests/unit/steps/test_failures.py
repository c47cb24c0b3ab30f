"""What a failed call means for a shard attempt: its record, and how it continues."""

from __future__ import annotations

from typing import Any

import pytest

from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NotFoundError,
    NotSentError,
    RateLimitedError,
    RequestRefusedError,
    UnknownOutcomeError,
)
from groq_batch.records.submission import QUARANTINE_SECONDS, Stage, Submission
from groq_batch.steps.outcomes import DEFERRED, SETTLED, StepOutcome
from groq_batch.steps.submit_batch.failures import failed_search, failed_sending

GONE, UPLOADED = NotFoundError("No such file."), {"stage": Stage.UPLOADED}
UNKNOWN = {"unknown_since": 7.0, "may_have_orphans": True}


@pytest.mark.parametrize(
    ("error", "tries", "changes", "outcome"),
    [
        (UnknownOutcomeError("504"), 0, UNKNOWN, StepOutcome.wait(QUARANTINE_SECONDS)),
        (NotSentError("No connection."), 0, UPLOADED, StepOutcome.wait(5)),
        (RateLimitedError("429", retry_after_seconds=41.5), 1, UPLOADED, StepOutcome.wait(42)),
        (RateLimitedError("429", retry_after_seconds=41.5), 8, UPLOADED, DEFERRED),
        (AccountError("No key."), 0, UPLOADED, DEFERRED),
        (GONE, 4, {"stage": Stage.CLAIMED, "file_id": None}, StepOutcome.wait(80)),
        (GONE, 5, {"stage": Stage.REFUSED}, SETTLED),
        (RequestRefusedError("No."), 0, {"stage": Stage.REFUSED}, SETTLED),
    ],
)
def test_failed_sending_of_an_uploaded_shard_changes_its_record_by_the_kind_of_error(
    error: GroqApiError, tries: int, changes: dict[str, Any], outcome: StepOutcome
) -> None:
    record = Submission(stage=Stage.CREATING, owner="o", lease_until=1.0, file_id="f")
    failure = failed_sending(record, error, tries=tries, now=7.0)
    note = failure.changes["error"]
    assert failure == ({**changes, "error": note}, outcome)
    assert note.message == str(error)


def test_failed_sending_without_a_file_begins_again_and_a_missing_object_is_a_refusal() -> None:
    record = Submission(stage=Stage.CLAIMED, owner="o", lease_until=1.0)
    begun = failed_sending(record, NotSentError("No connection."), tries=0, now=7.0)
    assert begun.changes["stage"] is Stage.CLAIMED
    assert failed_sending(record, GONE, tries=0, now=7.0).changes["stage"] is Stage.REFUSED


def test_failed_search_leaves_the_outcome_unknown() -> None:
    failure = failed_search(NotSentError("No connection."), tries=7)
    assert (list(failure.changes), failure.outcome) == (["error"], StepOutcome.wait(300))
    assert failed_search(NotSentError("No connection."), tries=8).outcome == DEFERRED
