"""Check the status of a job's batches, with one API call per 200 of them, and decide what is next.

All decisions of the state machine's loop are made by this step. A check learns what has happened
since the last one (``learn``), decides by the rules of ``next_action``, and carries the decision
out: by ``carry_out`` while the attempt has work left, else by ``after_attempt``.

The step never fails because of Groq: while the API is unreachable, or the account has a problem,
the batches keep running and the job keeps waiting, until all windows and a grace period of one day
have passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
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
from groq_batch.steps.check_status.carry_out import carry_out
from groq_batch.steps.check_status.decision import Decision, Round
from groq_batch.steps.check_status.learn import learn
from groq_batch.steps.check_status.next_action import next_action, wait
from groq_batch.steps.check_status.situation import Check, Situation
from groq_batch.steps.check_status.stops import stop_of_canary
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

    def work() -> Decision:
        found = _read(storage, keys, attempt)
        job = found.job
        if found.is_closed:
            return closed
        if job is None or not job.accepted:
            return replace(closed, decision="finish")
        stop = stop_of_canary(storage, keys, job, found.stop, now=now)
        saved = found.state or StoredAttempt(
            AttemptState.begin(storage, keys, job, attempt, started_at=now)
        )
        check = Check(
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
        check.state.add_rest_shards(job)
        if found.state is None and attempt > 1 and not check.state.entries:
            # The state machine checks no such attempt, but a manual call might. A state stored now
            # would have none of the shards that the attempt gets later.
            raise MissingRecordError(f"Attempt {attempt} of the job {job_id} has no shards.")
        known, ended = learn(storage, client, check)
        action = next_action(known)
        is_judging = action is None and job.awaits_verdict
        if action is None:
            decision, known = continue_job(storage, known)
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

    decision = unless_closed(storage, keys, work, lambda: closed)
    logger.info("Checked the batches", **decision.to_json())
    return decision


class _Records(NamedTuple):
    """What is stored of a job and an attempt; None for what is not stored."""

    is_closed: bool
    job: JobRecord | None
    stop: Stop | None
    state: StoredAttempt | None


def _read(storage: Storage, keys: object_keys.WorkKeys, attempt: int) -> _Records:
    """Read the records in parallel, because a status check mostly waits for S3."""
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        closed = pool.submit(is_closed, storage, keys)
        job = pool.submit(JobRecord.load, storage, keys)
        stop = pool.submit(Stop.load, storage, keys)
        state = pool.submit(StoredAttempt.load, storage, keys, attempt)
    return _Records(closed.result(), job.result(), stop.result(), state.result())


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
