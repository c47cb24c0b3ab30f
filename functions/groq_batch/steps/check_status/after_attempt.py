"""Continue a job after an attempt whose rows are all stored, or let it end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.polling import FIRST_PAUSE_SECONDS
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.steps.check_status.after_deadline import begin_calls
from groq_batch.steps.check_status.canary import copy_rest_shards, decide_about_canary
from groq_batch.steps.check_status.carry_out import carry_out
from groq_batch.steps.check_status.decision import FINISH, LOOK_AGAIN, Action, Decision
from groq_batch.steps.check_status.next_action import Following, division_action, what_follows
from groq_batch.steps.check_status.next_attempt import NextAttempt, refusal_notice
from groq_batch.steps.check_status.reasons import NOT_DIVIDED
from groq_batch.steps.check_status.situation import Situation
from groq_batch.steps.check_status.stops import stop_failed, stop_of_canary


class Continued(NamedTuple):
    """How a job continues.

    Attributes:
        decision: The answer to the state machine.
        known: The situation after it: the canary is judged, ordinary calls may have begun.
    """

    decision: Decision
    known: Situation


def continue_job(storage: Storage, known: Situation) -> Continued:
    """Judge the canary if that is due, then begin what follows the attempt."""
    keys, attempt = known.keys, known.state.attempt
    if known.job.awaits_verdict:
        job = decide_about_canary(storage, known)
        stop = stop_of_canary(storage, keys, job, known.stop, now=known.now)
        known = replace(known, job=job, stop=stop)
    if known.rest_comes and not copy_rest_shards(storage, keys, known.job, attempt + 1):
        return Continued(Decision.of(LOOK_AGAIN, known), known)
    following = what_follows(known)
    if following is Following.ATTEMPT:
        planned = NextAttempt.after(storage, keys, known.job, known.state, now=known.now)
        if planned is not None:
            return Continued(_begin(storage, known, planned), known)
        following = Following.CALLS if known.is_late else Following.END
    if following is Following.CALLS:
        known = replace(known, calls=begin_calls(storage, known))
        following = Following.END if known.calls is None else Following.UNSENT
    return Continued(_without_sending(known, following), known)


def _without_sending(known: Situation, following: Following) -> Decision:
    if following is Following.UNSENT:
        return Decision.of(LOOK_AGAIN, known, in_next_attempt=True)
    return Decision.of(FINISH, known)


def _begin(storage: Storage, known: Situation, planned: NextAttempt) -> Decision:
    """Begin the next attempt once its shards exist and its pause has passed."""
    state, plan = known.state, planned.plan
    if planned.missing:
        division = division_action(known, plan)
        if division is not None:
            return carry_out(storage, known, division)
        stopped = replace(known, stop=stop_failed(storage, known, NOT_DIVIDED))
        return _without_sending(stopped, what_follows(stopped))
    state.refusal, first = None, LOOK_AGAIN
    if plan.pause_seconds and not known.is_late:
        # The next status check finds an attempt of which nothing was sent, and has it sent.
        again = known.now + plan.pause_seconds
        state.refusal = refusal_notice(known.job, state, is_last=False, not_before=again)
        first = Action(decision="wait", wait_seconds=known.within_deadline(plan.pause_seconds))
    elif not known.is_late:
        # Of several shards it does not matter which; an only one is sent without a Map.
        shards = list(itertools.islice(_shards_of_next_attempt(storage, known, plan), 2))
        first = Action(decision="submit", resume_in=FIRST_PAUSE_SECONDS, shards=shards)
    return Decision.of(first, known, in_next_attempt=True)


def _shards_of_next_attempt(storage: Storage, known: Situation, plan: AttemptPlan) -> Iterator[int]:
    """Yield the next attempt's shards, without those after a canary that were written early."""
    attempt = known.state.attempt + 1
    for shard in storage.objects(known.keys.shards(attempt)):
        _, number = object_keys.shard_of_key(shard.key)
        if known.job.has_begun(plan.origin_of(number), attempt):
            yield number
