"""The rules of the state machine's loop: what a job does next, by what is known of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from groq_batch.domain.batch import Batch
from groq_batch.domain.canary import CanaryVerdict
from groq_batch.domain.only_shard import AGAIN, MAX_CHECKS, MAX_TRIES, StepAnswer
from groq_batch.domain.times import timestamp_of
from groq_batch.records.attempt import ShardState
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.records.job import Stop
from groq_batch.records.on_demand import CallsEnd, OnDemandProgress
from groq_batch.records.submission import Stage
from groq_batch.steps.check_status.batches import must_be_cancelled
from groq_batch.steps.check_status.decision import Action, Round
from groq_batch.steps.check_status.next_action import (
    Following,
    NotCollectedError,
    division_action,
    ending_of_calls,
    next_action,
    wait,
    what_follows,
)
from groq_batch.steps.check_status.reasons import GRACE_SECONDS
from groq_batch.steps.check_status.situation import Situation, pause_after_rounds
from tests.samples import OPTIONS
from tests.unit.steps.situations import NOW, batch, job, known, sent

DAY = 86_400
STOP = Stop(status="cancelled", code="cancelled", message="", at=timestamp_of(NOW - 60))
PASSED = CanaryVerdict(rest_attempt=3, requests=1, failed=0, passed=True)
CALLS = OnDemandProgress(attempt=2, budget_usd=1.0, ask_until=NOW + 600, max_tries=3)
ASKS_FOR_MORE = StepAnswer(knows_only_shards=True, outcome="wait", wait_seconds=40, tries=3)
UNSENT = ShardState()
DOUBTFUL = ShardState(stage=Stage.CREATING, is_under_way=True)


def chosen(found: Situation) -> Action:
    action = next_action(found)
    assert action is not None
    return action


# -- sending -------------------------------------------------------------------------------------


def test_next_action_of_unsent_shards_sends_them_in_a_new_round() -> None:
    found = known(UNSENT, sent(), DOUBTFUL, state={"submit_rounds": 2})
    assert chosen(found) == Action(
        decision="submit", resume_in=pause_after_rounds(3), shards=[1, 3], begins=Round.SENDING
    )


def test_next_action_before_the_pause_of_a_round_is_over_waits_for_it() -> None:
    action = chosen(known(UNSENT, UNSENT, resume_in=50))
    assert action == Action(decision="wait", wait_seconds=50)
    # A shorter wait, because a batch runs, leaves the rest of the pause to the next check.
    action = chosen(known(UNSENT, sent(), resume_in=2000))
    assert (action.decision, action.resume_in) == ("wait", 2000 - action.wait_seconds)


@pytest.mark.parametrize("fields", [{"stop": STOP}, {"job": job(deadline_at=NOW - 1)}])
def test_next_action_when_nothing_is_sent_any_more_settles_only_what_may_exist(
    fields: dict[str, Any],
) -> None:
    assert chosen(known(UNSENT, DOUBTFUL, **fields)).shards == [2]
    assert chosen(known(UNSENT, sent(), **fields)).decision == "wait"
    assert next_action(known(UNSENT, sent("expired"), uncollected=[], **fields)) is None


def test_next_action_of_an_only_shard_that_asks_for_more_calls_it_in_the_same_round() -> None:
    found = known(DOUBTFUL, sent("completed"), step=ASKS_FOR_MORE, resume_in=20)
    assert chosen(found) == Action(decision="submit", resume_in=20, shards=[1], tries=4)
    found = replace(found, polls=MAX_CHECKS + 1)
    assert chosen(found).decision == "wait"
    found = replace(found, polls=7, step=structs.replace(ASKS_FOR_MORE, tries=MAX_TRIES - 1))
    assert chosen(found).decision == "wait"


# -- collecting ----------------------------------------------------------------------------------


def test_next_action_of_an_ended_attempt_collects_its_shards_once_then_after_pauses() -> None:
    ended = [sent("completed"), sent("expired")]
    action = Action(decision="download", resume_in=30, shards=[1, 2], begins=Round.COLLECTING)
    assert chosen(known(*ended, uncollected=[1, 2], resume_in=9)) == action
    again = {"state": {"download_rounds": 1}, "uncollected": [2]}
    for seconds in (30, 1000):
        # No longer, however long the batches ran: nothing else can happen meanwhile.
        pause = Action(decision="wait", wait_seconds=seconds)
        assert chosen(known(*ended, resume_in=seconds, **again)) == pause
    assert chosen(known(*ended, **again)) == replace(action, resume_in=60, shards=[2])
    assert next_action(known(*ended, uncollected=[])) is None


def test_next_action_of_an_only_download_that_asks_for_more_waits_then_calls_it_again() -> None:
    found = known(sent("completed"), uncollected=[1], step=ASKS_FOR_MORE, resume_in=20)
    assert chosen(found) == Action(
        decision="wait", wait_seconds=40, resume_in=20, tries=4, outcome=AGAIN
    )
    found = replace(found, step=StepAnswer(knows_only_shards=True, outcome=AGAIN, tries=4))
    assert chosen(found) == Action(decision="download", resume_in=20, shards=[1], tries=4)


def test_next_action_of_results_that_cannot_be_stored_fails_in_the_end() -> None:
    found = known(sent("completed"), state={"gave_up": True, "download_rounds": 7}, uncollected=[1])
    assert chosen(found).begins is Round.COLLECTING
    found.state.download_rounds = 8
    with pytest.raises(NotCollectedError, match="attempt 1"):
        next_action(found)


def test_next_action_after_giving_up_running_batches_collects_all_shards() -> None:
    action = chosen(known(sent(), UNSENT, state={"gave_up": True}))
    assert (action.decision, action.shards) == ("download", ())


def test_next_action_collects_early_what_has_ended_but_only_once() -> None:
    found = known(sent("completed"), sent("completed"), sent(), resume_in=3)
    assert chosen(found) == Action(
        decision="download", resume_in=3, shards=[1, 2], begins=Round.COLLECTING_EARLY
    )
    found.state.mark_tried_early([1, 2])
    assert chosen(found) == wait(found)


@pytest.mark.parametrize(
    "fields",
    [
        {"stop": STOP},
        {"job": job(deadline_at=NOW + 9000)},
        {"not_before": 60},
        {"polls": MAX_CHECKS + 1},
        {"step": StepAnswer()},
    ],
)
def test_next_action_that_must_not_be_late_collects_nothing_early(fields: dict[str, Any]) -> None:
    found = known(sent("completed"), sent("completed"), sent(), **fields)
    assert chosen(found) == wait(found)


# -- ordinary calls ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "ending"),
    [
        ({}, None),
        ({"stop": STOP}, CallsEnd.STOPPED),
        ({"now": CALLS.ask_until}, CallsEnd.TIME),
        ({"makes_calls": False}, CallsEnd.NOT_POSSIBLE),
    ],
)
def test_ending_of_calls_waits_for_the_invocation_that_makes_some(
    fields: dict[str, Any], ending: CallsEnd | None
) -> None:
    found = known(UNSENT, **fields)
    assert ending_of_calls(found, CALLS) == ending
    busy = structs.replace(CALLS, lease_until=found.now + 20)
    assert ending_of_calls(found, busy) is None
    found = replace(found, calls=busy)
    assert chosen(found) == Action(decision="wait", wait_seconds=21)
    assert ending_of_calls(found, structs.replace(CALLS, lease_until=found.now)) == ending


def test_next_action_of_calls_makes_them_or_waits_and_sends_no_batch() -> None:
    assert chosen(known(UNSENT, calls=CALLS)) == Action(decision="answer")
    paused = structs.replace(CALLS, pause_until=NOW + 2000)
    assert chosen(known(UNSENT, calls=paused)) == Action(decision="wait", wait_seconds=601)
    # Another invocation has changed the record, so that it could not be ended.
    assert chosen(known(calls=CALLS, stop=STOP)) == Action(decision="wait", wait_seconds=5)
    ended = structs.replace(CALLS, ended=CallsEnd.BUDGET)
    assert chosen(known(UNSENT, calls=ended, uncollected=[1])).decision == "download"
    assert next_action(known(UNSENT, calls=ended, uncollected=[])) is None


# -- after an attempt ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "following"),
    [
        ({}, Following.ATTEMPT),
        ({"state": {"attempt": OPTIONS.max_attempts}}, Following.END),
        ({"stop": STOP}, Following.END),
        ({"stop": STOP, "job": job(has_canary=True, verdict=PASSED)}, Following.UNSENT),
        (
            {
                "stop": STOP,
                "job": job(has_canary=True, verdict=PASSED),
                "state": {"attempt": PASSED.rest_attempt},
            },
            Following.END,
        ),
        ({"job": job(deadline_at=NOW)}, Following.ATTEMPT),
        ({"job": job(deadline_at=NOW), "state": {"past_deadline": True}}, Following.CALLS),
        ({"job": job(deadline_at=NOW), "calls": CALLS}, Following.END),
    ],
)
def test_what_follows_a_collected_attempt(fields: dict[str, Any], following: Following) -> None:
    assert what_follows(known(sent("completed"), **fields)) is following


def test_what_follows_an_attempt_collected_after_the_deadline_is_calls_by_any_clock() -> None:
    collected = replace(
        known(sent("completed"), job=job(deadline_at=NOW), state={"past_deadline": True}),
        now=NOW - 1,
    )
    assert collected.is_late
    assert what_follows(collected) is Following.CALLS


def test_what_follows_an_attempt_that_would_outlive_its_files_is_the_end() -> None:
    old = {"prepared_at": timestamp_of(NOW - 28.5 * DAY), "has_canary": True}
    judged = job(verdict=structs.replace(PASSED, rest_attempt=2), **old)
    assert what_follows(known(state={"attempt": 2}, job=judged)) is Following.END
    # What has to be sent for the first time, or to be judged, is not left out.
    assert what_follows(known(state={"attempt": 1}, job=judged)) is Following.ATTEMPT
    assert what_follows(known(state={"attempt": 2}, job=job(**old))) is Following.ATTEMPT


def test_division_action_tries_again_after_pauses_and_gives_up_after_the_grace_period() -> None:
    plan = AttemptPlan(attempt=2, decided_at=NOW - 5, divided={1: (4, 2)})
    found = known(sent("failed"), sent("completed"), resume_in=20)
    first = Action(decision="download", resume_in=30, shards=[1, 2], begins=Round.DIVIDING)
    assert division_action(found, plan) == first
    found.state.division_rounds = 1
    assert division_action(found, plan) == wait(found)
    found = replace(found, resume_in=0)
    assert division_action(found, plan) == replace(first, resume_in=60)
    assert division_action(replace(found, now=plan.decided_at + GRACE_SECONDS + 1), plan) is None


# -- times ---------------------------------------------------------------------------------------


@given(
    resume_in=st.integers(0, 4000),
    left=st.integers(1, 20_000),
    not_before=st.integers(0, 3600),
    status=st.sampled_from(["in_progress", "completed"]),
)
def test_wait_never_passes_the_deadline_nor_forgets_a_pause(
    resume_in: int, left: int, not_before: int, status: str
) -> None:
    found = known(
        sent(status),
        UNSENT,
        resume_in=resume_in,
        job=job(deadline_at=NOW + left),
        not_before=not_before,
    )
    action = wait(found)
    assert 1 <= action.wait_seconds <= left
    assert action.wait_seconds >= min(not_before, left)
    assert action.resume_in == max(resume_in - action.wait_seconds, 0)


def test_end_of_waiting_is_a_day_after_the_last_window() -> None:
    begun = NOW - 7200
    assert known(UNSENT).end_of_waiting == begun + GRACE_SECONDS
    assert known(UNSENT, sent()).end_of_waiting == begun + DAY + GRACE_SECONDS
    late = ShardState(stage=Stage.CREATED, batch=batch(expires_at=int(NOW) + 9))
    assert known(late).end_of_waiting == NOW + 9 + GRACE_SECONDS
    wrong = ShardState(stage=Stage.CREATED, batch=batch(created_at=1, expires_at=86_401))
    assert known(wrong).end_of_waiting == begun + DAY + GRACE_SECONDS
    endless = ShardState(stage=Stage.CREATED, batch=batch(expires_at=2 * int(NOW)))
    assert known(endless).end_of_waiting == begun + DAY + GRACE_SECONDS


@pytest.mark.parametrize(
    ("found", "batch", "expected"),
    [
        (known(), batch(), False),
        (known(stop=STOP), batch("finalizing"), True),
        (known(stop=STOP), batch("cancelling"), False),
        (known(stop=STOP), batch("expired"), False),
        (known(job=job(deadline_at=NOW)), batch("validating"), True),
        (known(job=job(deadline_at=NOW)), batch("finalizing"), False),
        # 1 % of a window of a day are 864 seconds.
        (known(), batch(created_at=int(NOW) - DAY - 865, expires_at=int(NOW) - 865), True),
        (known(), batch(created_at=int(NOW) - DAY - 864, expires_at=int(NOW) - 864), False),
        # Without a date of its creation, the window began with the attempt's first check.
        (known(), batch(created_at=None, expires_at=int(NOW) - 71), False),
        (known(), batch(created_at=None, expires_at=int(NOW) - 72), True),
        # No batch can have been created before its job.
        (known(), batch(created_at=1, expires_at=86_401), False),
        # Without a date of its end, it has the window that the job asks for.
        (known(), batch(created_at=int(NOW) - DAY - 864), False),
        (known(), batch(created_at=int(NOW) - DAY - 865), True),
        # No window ends before it begins, and none is longer than a week.
        (known(), batch(expires_at=int(NOW) - 7200), False),
        (known(), batch(expires_at=1), False),
        (known(), batch(created_at=int(NOW) - DAY - 865, expires_at=2 * int(NOW)), True),
        (known(state={"started_at": NOW - DAY - 864}), batch(created_at=1), False),
        (known(state={"started_at": NOW - DAY - 865}), batch(created_at=1), True),
        (known(state={"started_at": NOW - DAY - 865}), batch(created_at=None), True),
    ],
)
def test_must_be_cancelled_by_stop_deadline_and_window(
    found: Situation, batch: Batch, expected: bool
) -> None:
    assert must_be_cancelled(batch, found) is expected
