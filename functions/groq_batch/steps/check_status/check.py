"""Check the status of a job's batches, with one API call per 200 of them, and decide what is next.

All decisions of the state machine's loop are made by this step. A check learns what has happened
since the last one (``batches``, ``stops``), decides by the rules of ``next_action``, and carries
the decision out: by ``carry_out`` while the attempt has work left, else by ``after_attempt``.

The step never fails because of Groq: while the API is unreachable, or the account has a problem,
the batches keep running and the job keeps waiting, until all windows and a grace period of one day
have passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch
from groq_batch.domain.machine_version import ANSWERS_REQUESTS
from groq_batch.domain.only_shard import StepAnswer
from groq_batch.groq.client import GroqClient
from groq_batch.records.attempt import AttemptState, StoredAttempt
from groq_batch.records.closed import is_closed, unless_closed
from groq_batch.records.job import JobRecord, JobRequest, Stop
from groq_batch.records.stored import MissingRecordError
from groq_batch.reports.delivery import Delivery
from groq_batch.reports.report import running_report
from groq_batch.settings import Settings
from groq_batch.steps.check_status.after_attempt import continue_job
from groq_batch.steps.check_status.after_deadline import update_calls
from groq_batch.steps.check_status.batches import update_batches
from groq_batch.steps.check_status.carry_out import carry_out
from groq_batch.steps.check_status.decision import Decision, Round
from groq_batch.steps.check_status.next_action import next_action, wait
from groq_batch.steps.check_status.next_attempt import refusal_notice
from groq_batch.steps.check_status.situation import Situation
from groq_batch.steps.check_status.stops import stop_of_account, stop_of_canary, stop_of_time
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

_READERS = 4


def check_status(
    *,
    storage: Storage,
    client: GroqClient,
    settings: Settings,
    job_id: str,
    attempt: int,
    polls: int,
    resume_in: int,
    step: StepAnswer | None = None,
    machine: int = ANSWERS_REQUESTS,
    clock: Callable[[], float] = time.time,
) -> Decision:
    """Check the batches of an attempt and decide how the job continues.

    Args:
        storage: The bucket.
        client: The Groq API.
        settings: The stack's settings.
        job_id: The job.
        attempt: The current attempt.
        polls: Status checks made before this one.
        resume_in: Seconds left, after the last wait, before what could not be sent or fetched is
            tried again. Counted in waits, not by the clock.
        step: Answer of the step for an only shard, if this check follows one.
        machine: Version of the execution's definition.
        clock: Returns seconds since 1970.

    Raises:
        MissingRecordError: The attempt has no shards: it has not begun.
    """
    keys, now = object_keys.WorkKeys(job_id), clock()
    closed = Decision(
        decision="closed", attempt=attempt, shards_prefix=keys.shards(attempt), polls=polls + 1
    )

    def check() -> Decision:
        is_over, job, stop, found = _read(storage, keys, attempt)
        if is_over:
            return closed
        if job is None or not job.accepted:
            return replace(closed, decision="finish")
        stop = stop_of_canary(storage, keys, job, stop, now=now)
        saved = found or StoredAttempt(
            AttemptState.begin(storage, keys, job, attempt, started_at=now)
        )
        known = Situation(
            keys=keys,
            job=job,
            stop=stop,
            state=saved.state,
            settings=settings,
            step=step or StepAnswer(),
            makes_calls=machine >= ANSWERS_REQUESTS,
            now=now,
            polls=polls + 1,
            resume_in=resume_in,
        )
        known.state.add_rest_shards(job)
        if found is None and attempt > 1 and not known.state.entries:
            # The state machine checks no such attempt, but a manual call might. A state stored now
            # would have none of the shards that the attempt gets later.
            raise MissingRecordError(f"Attempt {attempt} of the job {job_id} has no shards.")
        ended = _learn(storage, client, known)
        action = next_action(known)
        is_judging = action is None and job.awaits_verdict
        if action is None:
            decision = continue_job(storage, known)
        else:
            decision = carry_out(storage, known, action)
        # Verdicts and ordinary calls have records of their own; the report tells of them as well.
        if saved.is_changed or is_judging or known.calls is not None:
            # The report is written first: after a crash in between, the next check writes it again.
            _report(storage, known)
            is_saved = saved.save(storage, keys)
            if action is not None and action.begins is Round.COLLECTING_EARLY and not is_saved:
                # The state in the bucket does not have this round, so leave it out.
                decision = Decision.of(wait(known), known)
        metrics.batches_checked(ended, now=now)
        return decision

    decision = unless_closed(storage, keys, check, lambda: closed)
    logger.info("Checked the batches", **decision.to_json())
    return decision


def _read(
    storage: Storage, keys: object_keys.WorkKeys, attempt: int
) -> tuple[bool, JobRecord | None, Stop | None, StoredAttempt | None]:
    """Read whether the job is closed, its records, and the attempt's state.

    In parallel, because a status check mostly waits for S3.
    """
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        closed = pool.submit(is_closed, storage, keys)
        job = pool.submit(JobRecord.load, storage, keys)
        stop = pool.submit(Stop.load, storage, keys)
        state = pool.submit(StoredAttempt.load, storage, keys, attempt)
    return closed.result(), job.result(), stop.result(), state.result()


def _learn(storage: Storage, client: GroqClient, known: Situation) -> list[Batch]:
    """Learn what has happened since the last check: to submissions, batches, results and calls.

    Returns:
        The batches that this check is the first to see ended.
    """
    keys, state, job = known.keys, known.state, known.job
    state.refresh(storage, keys)
    if known.is_late and not state.download_rounds:
        state.past_deadline = True
    ended = update_batches(client, known)
    if state.done != state.seen_done:
        state.seen_done, state.progress_at = state.done, known.now
    known.stop = stop_of_account(storage, known) or known.stop
    state.refusal = None
    if known.stop is None:
        state.refusal = refusal_notice(job, state, is_last=state.attempt >= job.last_attempt)
    if state.gave_up or not state.pending:
        known.uncollected = _uncollected(storage, known)
    known.stop = stop_of_time(storage, known) or known.stop
    known.calls = update_calls(storage, known)
    return ended


def _uncollected(storage: Storage, known: Situation) -> Sequence[int]:
    """Return the first shard of each origin shard whose rows are not stored."""
    summaries = storage.objects(known.keys.summaries(known.state.attempt))
    found = {object_keys.shard_number(item.key) for item in summaries}
    by_origin = sorted(known.state.by_origin().items())
    return [shards[0] for origin, shards in by_origin if origin not in found]


def _report(storage: Storage, known: Situation) -> None:
    """Write the report of the running job, with the batches of all attempts so far."""
    keys = known.keys
    request = JobRequest.load(storage, keys.job)
    if request is None:
        return
    earlier = (AttemptState.load(storage, keys, n) for n in range(1, known.state.attempt))
    states = [*filter(None, earlier), known.state]
    report = running_report(request, known.job, states=states, calls=known.calls)
    Delivery(storage, request).write_running(report)
