"""Decide what a job does next: the rules of the state machine's loop, as pure functions.

``next_action`` is asked while an attempt has work left. Once its rows are all stored,
``what_follows`` says what comes after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum, auto

from groq_batch.domain.early_collection import is_worth_a_round
from groq_batch.domain.only_shard import AGAIN, MAX_CHECKS
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.records.on_demand import CallsEnd, OnDemandProgress
from groq_batch.steps.check_status.decision import Action, Round
from groq_batch.steps.check_status.reasons import GRACE_SECONDS
from groq_batch.steps.check_status.situation import Check, Situation, pause_after_rounds

_MAX_LAST_ROUNDS = 8


class NotCollectedError(Exception):
    """Shards have no results although no batch is running any more."""


class Following(Enum):
    """What comes after an attempt whose rows are all stored."""

    END = auto()
    UNSENT = auto()
    """An attempt of which no batch is sent: its rows come from ordinary calls, or say why."""
    ATTEMPT = auto()
    """The next attempt, if there are requests for one."""
    CALLS = auto()
    """Ordinary calls after the deadline, if there are requests for them."""


def next_action(known: Situation) -> Action | None:
    """Return what the attempt needs next; None if all its rows are stored.

    Raises:
        NotCollectedError: The step that stores results cannot run at all. This failure leads to the
            last resort, where another function does its work.
    """
    calls = known.calls
    if calls is not None and calls.ended is None:
        return _continue_calls(known, calls)
    if calls is None and not known.state.gave_up:
        if known.unsettled:
            return _send(known, known.unsettled)
        if known.state.pending:
            return _collect_early(known) or wait(known)
    return None if known.is_collected else _collect(known, known.uncollected or ())


def wait(known: Situation, resume_in: int | None = None) -> Action:
    """Return the wait before the next status check.

    Args:
        known: What is known of the job.
        resume_in: Seconds left before what is open is tried again; None for as many as the
            execution has passed.
    """
    left = known.resume_in if resume_in is None else resume_in
    seconds = known.seconds_to_next_check(left)
    return Action(decision="wait", wait_seconds=seconds, resume_in=max(left - seconds, 0))


def _send(known: Situation, shards: Sequence[int]) -> Action:
    """Send shards: the only one again when its step asked for it, or all in a new round."""
    if len(shards) == 1 and known.step.asks_for_more(known.polls):
        # The wait that the step asked for has passed before this check.
        tries = known.step.tries + 1
        return Action(decision="submit", resume_in=known.resume_in, shards=shards, tries=tries)
    if known.resume_in > 0:
        return wait(known)
    pause = pause_after_rounds(known.state.submit_rounds + 1)
    return Action(decision="submit", resume_in=pause, shards=shards, begins=Round.SENDING)


def _collect_early(known: Situation) -> Action | None:
    """Collect what has ended while the rest runs; None when that does not pay.

    A round may last as long as the retries of a function, so there is none while something is
    due that cannot be late: the cancelling at a deadline, or after a stop.
    """
    may_be_late = known.stop is None and known.job.deadline_at is None and not known.not_before
    if not (may_be_late and known.step.knows_only_shards and known.polls <= MAX_CHECKS):
        return None
    ended, running = [], 0
    for shards in known.state.by_origin().values():
        entries = [known.state.entries[number] for number in shards]
        if any(entry.is_pending or not entry.is_settled for entry in entries):
            running += 1
        elif not any(entry.tried_early for entry in entries):
            ended.append(shards[0])
    otherwise = known.seconds_to_next_check(known.resume_in)
    if not is_worth_a_round(ended=len(ended), running=running, wait_seconds=otherwise):
        return None
    return Action(
        decision="download",
        resume_in=known.resume_in,
        shards=ended,
        begins=Round.COLLECTING_EARLY,
    )


def _collect(known: Situation, shards: Sequence[int]) -> Action:
    """Collect the shards that are not collected; after a failure once more, after a pause."""
    step, rounds = known.step, known.state.download_rounds
    if len(shards) == 1 and step.outcome == AGAIN:
        return Action(
            decision="download", resume_in=known.resume_in, shards=shards, tries=step.tries
        )
    if len(shards) == 1 and step.asks_for_more(known.polls):
        return Action(
            decision="wait",
            wait_seconds=known.within_deadline(max(step.wait_seconds, 1)),
            resume_in=known.resume_in,
            tries=step.tries + 1,
            outcome=AGAIN,
        )
    resume_in = max(known.resume_in, step.seconds_left)
    if rounds > 0 and resume_in > 0:
        return wait(known, resume_in)
    if known.state.gave_up and rounds >= _MAX_LAST_ROUNDS:
        raise NotCollectedError(f"Shards of attempt {known.state.attempt} could not be collected")
    pause = pause_after_rounds(rounds + 1)
    return Action(decision="download", resume_in=pause, shards=shards, begins=Round.COLLECTING)


def _continue_calls(known: Situation, calls: OnDemandProgress) -> Action:
    """Make ordinary calls, or wait for an invocation that makes some, or for the API."""
    if calls.lease_until > known.now:
        # Another invocation makes calls, or made some until just now.
        until = calls.lease_until
    elif ending_of_calls(known, calls) is not None:
        # Another invocation has changed the record, so this one could not end it.
        until = known.now
    elif calls.pause_until > known.now:
        until = min(calls.pause_until, calls.ask_until)
    else:
        return Action(decision="answer")
    seconds = math.ceil(until - known.now) + 1
    return Action(decision="wait", wait_seconds=max(seconds, known.settings.poll_min_seconds))


def ending_of_calls(check: Check, calls: OnDemandProgress) -> CallsEnd | None:
    """Return why no further ordinary call is made; None if some may be, or are being made."""
    if calls.lease_until > check.now:
        return None
    if check.stop is not None:
        return CallsEnd.STOPPED
    if check.now >= calls.ask_until:
        return CallsEnd.TIME
    return None if check.makes_calls else CallsEnd.NOT_POSSIBLE


def what_follows(known: Situation) -> Following:
    """Return what comes after an attempt whose rows are all stored, and whose canary is judged.

    A stopped job ends, but its requests after a canary get their rows first. After a deadline,
    requests of batches that were collected before it make an attempt of which nothing is sent.
    """
    if known.stop is not None:
        return Following.UNSENT if known.rest_comes else Following.END
    if known.is_late:
        if known.calls is not None:
            return Following.END
        return Following.CALLS if known.state.past_deadline else Following.ATTEMPT
    if known.state.attempt >= known.job.last_attempt:
        return Following.END
    must_go_on = known.rest_comes or known.job.awaits_verdict
    return Following.ATTEMPT if must_go_on or not known.outlives_its_work else Following.END


def division_action(known: Situation, plan: AttemptPlan) -> Action | None:
    """Return how missing parts of divided shards come about; None to give them up."""
    if known.now > plan.decided_at + GRACE_SECONDS:
        return None
    rounds = known.state.division_rounds
    if rounds > 0 and known.resume_in > 0:
        return wait(known)
    return Action(
        decision="download",
        resume_in=pause_after_rounds(rounds + 1),
        shards=list(known.state.entries),
        begins=Round.DIVIDING,
    )
