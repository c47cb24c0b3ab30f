"""Continue a job after an attempt whose rows are all stored, or let it end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.polling import FIRST_PAUSE_SECONDS
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.records.job import JobRecord
from groq_batch.steps.check_status.after_deadline import begin_calls
from groq_batch.steps.check_status.canary import copy_rest_shards, decide_about_canary
from groq_batch.steps.check_status.carry_out import carry_out
from groq_batch.steps.check_status.decision import FINISH, LOOK_AGAIN, Action, Decision, Decisions
from groq_batch.steps.check_status.next_action import Following, division_action, what_follows
from groq_batch.steps.check_status.next_attempt import NextAttempt, refusal_notice
from groq_batch.steps.check_status.reasons import NOT_DIVIDED
from groq_batch.steps.check_status.situation import Situation
from groq_batch.steps.check_status.stops import stop_failed, stop_of_canary


def continue_job(storage: Storage, decisions: Decisions, known: Situation) -> Decision:
    """Judge the canary if that is due, then begin what follows the attempt."""
    keys, attempt = decisions.keys, decisions.attempt
    if known.job.awaits_verdict:
        known.job = decide_about_canary(
            storage,
            keys,
            known.job,
            attempt,
            stop=known.stop,
            stack_cap_usd=known.settings.default_options.max_job_cost_usd,
            is_late=known.is_late,
        )
        known.stop = stop_of_canary(storage, keys, known.job, known.stop, now=known.now)
    if known.rest_comes and not copy_rest_shards(storage, keys, known.job, attempt + 1):
        return decisions.of(LOOK_AGAIN)
    following = what_follows(known)
    if following is Following.ATTEMPT:
        planned = NextAttempt.after(storage, keys, known.job, known.state, now=known.now)
        if planned is not None:
            return _begin(storage, decisions, known, planned)
        following = Following.CALLS if known.is_late else Following.END
    if following is Following.CALLS:
        known.calls = begin_calls(storage, keys, known)
        following = Following.END if known.calls is None else Following.UNSENT
    return _without_sending(decisions, following)


def _without_sending(decisions: Decisions, following: Following) -> Decision:
    if following is Following.UNSENT:
        return decisions.of_next_attempt.of(LOOK_AGAIN)
    return decisions.of(FINISH)


def _begin(
    storage: Storage, decisions: Decisions, known: Situation, planned: NextAttempt
) -> Decision:
    """Begin the next attempt once its shards exist and its pause has passed."""
    state, plan = known.state, planned.plan
    if planned.missing:
        division = division_action(known, plan)
        if division is not None:
            return carry_out(storage, decisions, known, division)
        known.stop = stop_failed(storage, decisions.keys, NOT_DIVIDED, now=known.now)
        return _without_sending(decisions, what_follows(known))
    state.refusal = None
    following = decisions.of_next_attempt
    if known.is_late:
        return following.of(LOOK_AGAIN)
    if plan.pause_seconds:
        # The next status check finds an attempt of which nothing was sent, and has it sent.
        again = known.now + plan.pause_seconds
        state.refusal = refusal_notice(known.job, state, is_last=False, not_before=again)
        seconds = known.within_deadline(plan.pause_seconds)
        return following.of(Action(decision="wait", wait_seconds=seconds))
    # Of several it does not matter which; an only shard is sent without a Map.
    shards = itertools.islice(_begun(storage, following, known.job, plan), 2)
    return following.of(
        Action(decision="submit", resume_in=FIRST_PAUSE_SECONDS, shards=list(shards))
    )


def _begun(
    storage: Storage, following: Decisions, job: JobRecord, plan: AttemptPlan
) -> Iterator[int]:
    """Yield the attempt's shards, without those after a canary that were written early."""
    for shard in storage.objects(following.keys.shards(following.attempt)):
        _, number = object_keys.shard_of_key(shard.key)
        if job.has_begun(plan.origin_of(number), following.attempt):
            yield number
