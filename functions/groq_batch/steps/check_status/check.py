"""Check the status of a job's batches, with one API call per 200 of them, and decide what is next.

All decisions of the state machine's loop are made here. The step never fails because of Groq:
while the API is unreachable, or the account has a problem, the batches keep running and the job
keeps waiting, until all windows and a grace period of one day have passed.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys, polling
from groq_batch.domain.batch import Batch
from groq_batch.domain.early_collection import is_worth_a_round
from groq_batch.domain.machine_version import ANSWERS_REQUESTS
from groq_batch.domain.only_shard import AGAIN, MAX_CHECKS, StepAnswer
from groq_batch.domain.parallel import in_parallel
from groq_batch.domain.polling import FIRST_PAUSE_SECONDS
from groq_batch.domain.reason import Reason
from groq_batch.domain.times import seconds_of, timestamp_of
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    RateLimitedError,
    log_fields,
    reason_of,
)
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.records.closed import is_closed, unless_closed
from groq_batch.records.job import AccountHold, JobRecord, JobRequest, Stop
from groq_batch.records.on_demand import CallsEnd, OnDemandProgress, end_calls
from groq_batch.records.submission import CLOCK_MARGIN_SECONDS, Stage
from groq_batch.reports.delivery import Delivery
from groq_batch.reports.report import running_report
from groq_batch.settings import Settings
from groq_batch.steps.check_status.after_deadline import begin_calls, copy_kept_requests
from groq_batch.steps.check_status.canary import copy_rest_shards, decide_about_canary
from groq_batch.steps.check_status.decision import Decision
from groq_batch.steps.check_status.next_attempt import NextAttempt, refusal_notice
from groq_batch.steps.check_status.reasons import (
    GONE_SECONDS,
    GRACE_SECONDS,
    NOT_DIVIDED,
    NOT_STORED,
    TIMED_OUT,
    no_answer,
    pause_of_calls,
    unknown_batches,
    unsent_shards,
)
from groq_batch.steps.outcomes import pause_seconds
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

_DAY = 24 * 3600
_LONGEST_OVERDUE_SECONDS = 900
_SHORTEST_OVERDUE_SECONDS = 10
_LONGEST_PAUSE_SECONDS = 3600
_MAX_LAST_ROUNDS = 8
_CANCELLERS = 8
_READERS = 4
_WRITES_RESULTS = "finalizing"


class NotCollectedError(Exception):
    """Shards have no results although no batch is running any more."""


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
    """
    check = _Check(
        storage=storage,
        client=client,
        settings=settings,
        keys=object_keys.WorkKeys(job_id),
        attempt=attempt,
        polls=polls + 1,
        resume_in=resume_in,
        step=step or StepAnswer(),
        makes_calls=machine >= ANSWERS_REQUESTS,
        now=clock(),
    )
    decision = unless_closed(storage, check.keys, check.run, check.closed)
    logger.info("Checked the batches", **decision.to_json())
    return decision


@dataclass(slots=True, kw_only=True)
class _Check:
    """One status check of an attempt. Times are seconds since 1970.

    Attributes:
        deadline_at: The job's deadline; None without one.
        prepared_at: When the job's plan was made; 0 if unknown.
        calls: The record of the attempt's ordinary calls; None without any.
        not_before: Seconds that must pass before the next check, because Groq asks for it.
        uncollected: The first shard of each origin shard whose rows are not stored.
        ended: Batches that this check was the first to see ended.
        judged: The job's record with a verdict about the canary, if this check has reached one.
        unsaved_decision: The decision in force if another check has saved the state meanwhile.
    """

    storage: Storage
    client: GroqClient
    settings: Settings
    keys: object_keys.WorkKeys
    attempt: int
    polls: int
    resume_in: int
    step: StepAnswer
    makes_calls: bool
    now: float
    deadline_at: float | None = None
    prepared_at: float = 0.0
    calls: OnDemandProgress | None = None
    not_before: int = 0
    uncollected: list[int] = field(default_factory=list)
    ended: list[Batch] = field(default_factory=list)
    judged: JobRecord | None = None
    unsaved_decision: Decision | None = None

    def run(self) -> Decision:
        # In parallel: a status check mostly waits for S3.
        with ThreadPoolExecutor(max_workers=_READERS) as pool:
            reading_closed = pool.submit(is_closed, self.storage, self.keys)
            reading_job = pool.submit(JobRecord.load, self.storage, self.keys)
            reading_stop = pool.submit(Stop.load, self.storage, self.keys)
            reading_state = pool.submit(AttemptState.load, self.storage, self.keys, self.attempt)
        if reading_closed.result():
            return self.closed()
        job = reading_job.result()
        if job is None or not job.accepted:
            return self._decide("finish")
        stop = self._stop_of_canary(job, reading_stop.result())
        self.deadline_at = job.deadline_at
        self.prepared_at = seconds_of(job.prepared_at) if job.prepared_at else 0.0
        state = reading_state.result() or AttemptState.begin(
            self.storage, self.keys, job, self.attempt, started_at=self.now
        )
        state.add_rest_shards(job)
        state.refresh(self.storage, self.keys)
        if self._is_late and not state.download_rounds:
            state.past_deadline = True
        self._poll(state, stop)
        if state.done != state.seen_done:
            state.seen_done, state.progress_at = state.done, self.now
        stop = self._handle_account_hold(state) or stop
        state.refusal = None
        if stop is None:
            is_last = self.attempt >= job.last_attempt
            state.refusal = refusal_notice(job, state, is_last=is_last)
        collected = self._collected(state)
        stop = self._give_up_in_the_end(state, job, collected) or stop
        decision = self._next_call(state, stop) or self._next(state, job, stop, collected)
        if state.is_changed or self.judged is not None or self.calls is not None:
            # The report is written first: after a crash in between, the next check writes it again.
            # Ordinary calls change only their own record, never the attempt's state.
            self._report_progress(self.judged or job, state)
            if not state.save(self.storage, self.keys) and self.unsaved_decision is not None:
                # The state in the bucket does not have this decision, so use the other one.
                decision = self.unsaved_decision
        metrics.batches_checked(self.ended, now=self.now)
        return decision

    def closed(self) -> Decision:
        """Decide that the job has ended and nothing is left to do."""
        return self._decide("closed")

    # -- errors while sending --------------------------------------------------------------------

    def _handle_account_hold(self, state: AttemptState) -> Stop | None:
        """Handle an account error met by the shards: stop the job, or treat it as an outage."""
        hold = AccountHold.load(self.storage, self.keys)
        if hold is None:
            return None
        reason = Reason(hold.code, hold.message)
        may_exist = any(
            state.entries[number].stage == Stage.CREATING for number in state.undecided_numbers
        )
        if state.has_batches or may_exist or self.storage.exists(self.keys.submitted):
            state.account_error = reason
            self.storage.delete([self.keys.account_hold])
            return None
        return Stop.failed(reason, at=hold.at).write(self.storage, self.keys)

    # -- batches ---------------------------------------------------------------------------------

    def _poll(self, state: AttemptState, stop: Stop | None) -> None:
        """Update the batches from the API; if it does not respond, nothing changes."""
        # A stopped job sends nothing more.
        state.last_check_error = unsent_shards(state) if stop is None else None
        pending = {entry.batch.id: entry for entry in state.pending if entry.batch is not None}
        if not pending:
            return
        try:
            found = self.client.batches_by_id(list(pending))
        except GroqApiError as error:
            logger.warning("The batches could not be read", **log_fields(error))
            metrics.groq_failed(error.category)
            is_account = isinstance(error, AccountError)
            state.groq_error = reason_of(error) if is_account else None
            if not is_account:
                state.last_check_error = no_answer(error)
            if isinstance(error, RateLimitedError):
                pause = pause_seconds(error, state.rate_limits)
                self.not_before = min(int(pause) + 1, _LONGEST_PAUSE_SECONDS)
                state.rate_limits += 1
            return
        state.rate_limits = 0
        for batch_id, batch in found.batches.items():
            if batch_id in pending:
                pending[batch_id].batch = batch
                if batch.is_terminal:
                    self.ended.append(batch)
        gone = [pending[batch_id] for batch_id in sorted(found.unknown & pending.keys())]
        state.groq_error = None
        if gone:
            state.last_check_error = unknown_batches(gone, is_stopped=stop is not None)
            state.absent_since = state.absent_since or self.now
            if stop is not None:
                self._give_up(gone, since=max(state.absent_since, seconds_of(stop.at)))
        else:
            state.absent_since = None
        self._cancel(
            [
                entry
                for entry in pending.values()
                if entry.is_pending
                and entry.batch is not None
                and entry.batch.status != "cancelling"
                and (stop is not None or self._is_unwanted(entry.batch))
            ]
        )

    def _give_up(self, gone: Sequence[ShardState], *, since: float) -> None:
        """Treat batches of a stopped job that Groq has not known for a while as cancelled.

        A temporary 404 must not lose rows that were paid for.
        """
        for entry in gone if self.now > since + GONE_SECONDS else ():
            if entry.batch is not None:
                logger.warning("A batch no longer exists", batch_id=entry.batch.id)
                entry.batch = replace(entry.batch, status="cancelled")

    @property
    def _is_late(self) -> bool:
        """Whether the job's deadline has passed."""
        return self.deadline_at is not None and self.now >= self.deadline_at

    def _is_unwanted(self, batch: Batch) -> bool:
        """Tell whether a batch of a job that was not stopped must be cancelled.

        After the deadline this is every batch except those whose results are being written.
        """
        is_too_late = self._is_late and batch.status != _WRITES_RESULTS
        return is_too_late or self._is_overdue(batch)

    def _is_overdue(self, batch: Batch) -> bool:
        """Tell whether a batch has exceeded its window by more than a small share of it."""
        batch = self._with_credible_dates(batch)
        if batch.expires_at is None:
            return False
        window = batch.expires_at - (batch.created_at or batch.expires_at)
        margin = min(max(window * 0.01, _SHORTEST_OVERDUE_SECONDS), _LONGEST_OVERDUE_SECONDS)
        return self.now > batch.expires_at + margin

    def _with_credible_dates(self, batch: Batch) -> Batch:
        """Return a batch without its dates if the job cannot have created it then."""
        return batch.with_dates_between(
            self.prepared_at - CLOCK_MARGIN_SECONDS, self.now + CLOCK_MARGIN_SECONDS
        )

    def _dated_batches(self, state: AttemptState) -> list[Batch]:
        """Return the batches of an attempt, without dates that are not credible."""
        batches = (entry.batch for entry in state.entries.values())
        return [self._with_credible_dates(batch) for batch in batches if batch is not None]

    def _cancel(self, entries: Sequence[ShardState]) -> None:
        def cancel(entry: ShardState) -> None:
            if entry.batch is None:
                return
            try:
                entry.batch = self.client.cancel_batch(entry.batch.id)
            except GroqApiError as error:
                # Retried by the next status check.
                logger.warning(
                    "A batch could not be cancelled",
                    batch_id=entry.batch.id,
                    **log_fields(error),
                )

        in_parallel(cancel, entries, workers=_CANCELLERS)

    def _collected(self, state: AttemptState) -> bool:
        """Tell whether the rows of all shards of the attempt are stored."""
        if state.pending and not state.gave_up:
            return False
        found = {
            object_keys.shard_number(item.key)
            for item in self.storage.objects(self.keys.summaries(self.attempt))
        }
        self.uncollected = [
            shards[0] for origin, shards in sorted(state.by_origin().items()) if origin not in found
        ]
        return not self.uncollected

    def _give_up_in_the_end(
        self, state: AttemptState, job: JobRecord, collected: bool
    ) -> Stop | None:
        """Stop waiting when the last window and the grace period have passed."""
        if state.gave_up or collected or self.now <= self._end_of_waiting(state, job):
            return None
        if not (state.pending or state.open_numbers or state.download_rounds):
            return None  # The results were never requested: request them now.
        state.gave_up = True
        reason = TIMED_OUT
        if state.download_rounds and not state.pending:
            reason = NOT_STORED
        state.download_rounds = 0
        return self._give_up_job(state.groq_error or state.account_error or reason)

    def _give_up_job(self, reason: Reason) -> Stop:
        stop = Stop.failed(reason, at=timestamp_of(self.now))
        return stop.write(self.storage, self.keys)

    def _end_of_waiting(self, state: AttemptState, job: JobRecord) -> float:
        """Return when waiting for this attempt ends, in seconds since 1970."""
        window = job.options.window_seconds
        batches = self._dated_batches(state)
        ends = [one.expires_at or (one.created_at or state.started_at) + window for one in batches]
        return max([state.started_at, *ends]) + GRACE_SECONDS

    # -- deciding --------------------------------------------------------------------------------

    def _next_call(self, state: AttemptState, stop: Stop | None) -> Decision | None:
        """Continue the attempt's ordinary calls; None if it has none, or they have ended."""
        if self.deadline_at is None:
            return None
        found = OnDemandProgress.load(self.storage, self.keys, self.attempt)
        self.calls = found[0] if found else None
        if self.calls is None or self.calls.ended is not None:
            return None
        state.last_check_error = pause_of_calls(self.calls, now=self.now)
        if self.calls.lease_until > self.now:
            # Another invocation makes calls, or made some until just now.
            return self._wait_for_calls(self.calls.lease_until)
        ending = CallsEnd.STOPPED if stop is not None else None
        if ending is None and self.now >= self.calls.ask_until:
            ending = CallsEnd.TIME
        if ending is None and not self.makes_calls:
            ending = CallsEnd.NOT_POSSIBLE
        if ending is None and self.calls.pause_until > self.now:
            return self._wait_for_calls(min(self.calls.pause_until, self.calls.ask_until))
        if ending is None:
            return self._decide("answer")
        ended = end_calls(self.storage, self.keys, self.attempt, ending)
        if ended is None:
            return self._wait_for_calls(self.now)
        self.calls = ended
        return None

    def _wait_for_calls(self, until: float) -> Decision:
        seconds = math.ceil(until - self.now) + 1
        return self._decide("wait", wait_seconds=max(seconds, self.settings.poll_min_seconds))

    def _next(
        self, state: AttemptState, job: JobRecord, stop: Stop | None, collected: bool
    ) -> Decision:
        if state.gave_up or self.calls is not None:
            return self._after_batches(state, job, stop, collected)
        # If the job was stopped or its deadline has passed, only shards that may have a batch
        # matter; the others were never sent.
        sends = stop is None and not self._is_late
        shards = state.open_numbers if sends else state.undecided_numbers
        if shards:
            if len(shards) == 1 and self.step.asks_for_more(self.polls):
                # The wait that the step asked for has passed before this check.
                return self._try_again("submit", shards, self.step.tries + 1)
            if self.resume_in > 0:
                return self._wait(state, job, stop)
            state.submit_rounds += 1
            state.account_error = None
            return self._decide("submit", resume_in=_pause(state.submit_rounds), shards=shards)
        if state.pending:
            waiting = self._wait(state, job, stop)
            return self._collect_early(state, stop, waiting) or waiting
        return self._after_batches(state, job, stop, collected)

    def _collect_early(
        self, state: AttemptState, stop: Stop | None, waiting: Decision
    ) -> Decision | None:
        """Have collected what has ended while the rest runs; None when that does not pay.

        A round may last as long as the retries of a function, so there is none while something is
        due that cannot be late: the cancelling at a deadline, or after a stop.
        """
        may_be_late = stop is None and self.deadline_at is None and not self.not_before
        if not (may_be_late and self.step.knows_only_shards and self.polls <= MAX_CHECKS):
            return None
        ended, running = [], 0
        for shards in state.by_origin().values():
            entries = [state.entries[number] for number in shards]
            if any(entry.is_pending or not entry.is_settled for entry in entries):
                running += 1
            elif not any(entry.tried_early for entry in entries):
                ended.append(shards)
        if not is_worth_a_round(
            ended=len(ended), running=running, wait_seconds=waiting.wait_seconds
        ):
            return None
        self.unsaved_decision = waiting
        state.mark_tried_early(itertools.chain.from_iterable(ended))
        return self._hand_out([shards[0] for shards in ended], resume_in=self.resume_in)

    def _hand_out(self, shards: Sequence[int], *, resume_in: int) -> Decision:
        """Have some of the attempt's shards collected, and no others."""
        decision = self._decide("download", resume_in=resume_in, shards=shards)
        if decision.shard_key or not self.step.knows_only_shards:
            return decision

        def name(number: int) -> None:
            self.storage.put_bytes(self.keys.round_shard(self.attempt, self.polls, number), b"")

        in_parallel(name, shards)
        return replace(decision, shards_prefix=self.keys.round_shards(self.attempt, self.polls))

    def _after_batches(
        self, state: AttemptState, job: JobRecord, stop: Stop | None, collected: bool
    ) -> Decision:
        """Handle an attempt without running batches: collect its rows, then continue or finish."""
        if not collected:
            return self._collect(state, job, stop)
        if job.awaits_verdict:
            job = decide_about_canary(
                self.storage,
                self.keys,
                job,
                self.attempt,
                stop=stop,
                stack_cap_usd=self.settings.default_options.max_job_cost_usd,
                is_late=self._is_late,
            )
            self.judged = job
            stop = self._stop_of_canary(job, stop)
        rest_comes = job.verdict is not None and self.attempt < job.verdict.rest_attempt
        if rest_comes and not copy_rest_shards(self.storage, self.keys, job, self.attempt + 1):
            return self._decide("wait")
        if stop is not None:
            return self._end_stopped(job)
        if self._is_late:
            return self._after_deadline(state, job)
        following = None
        is_bound_to_go_on = rest_comes or job.awaits_verdict
        if self.attempt < job.last_attempt and (
            is_bound_to_go_on or not self._outlives_its_work(job)
        ):
            following = NextAttempt.after(self.storage, self.keys, job, state, now=self.now)
        if following is None:
            return self._decide("finish")
        return self._begin(following, state, job)

    def _collect(self, state: AttemptState, job: JobRecord, stop: Stop | None) -> Decision:
        """Collect the shards that are not collected; after a failure once more, after a pause."""
        if len(self.uncollected) == 1 and self.step.outcome == AGAIN:
            return self._try_again("download", self.uncollected, self.step.tries)
        if len(self.uncollected) == 1 and self.step.asks_for_more(self.polls):
            return self._wait_for_step()
        self.resume_in = max(self.resume_in, self.step.seconds_left)
        if state.download_rounds > 0 and self.resume_in > 0:
            return self._wait(state, job, stop)
        if state.gave_up and state.download_rounds >= _MAX_LAST_ROUNDS:
            # The function that stores results cannot run at all. This failure leads to the last
            # resort, where another function does its work.
            raise NotCollectedError(f"Shards of attempt {self.attempt} could not be collected")
        state.download_rounds += 1
        state.account_error = None
        resume_in = _pause(state.download_rounds)
        # Given up just now while batches run: then collected shards were not checked yet.
        if 0 < len(self.uncollected) < len(state.by_origin()):
            return self._hand_out(self.uncollected, resume_in=resume_in)
        return self._decide("download", resume_in=resume_in, shards=self.uncollected)

    def _after_deadline(self, state: AttemptState, job: JobRecord) -> Decision:
        """Continue with ordinary calls, once all remaining requests are stored in file order."""
        if self.calls is not None:
            return self._decide("finish")
        following = None
        if not state.past_deadline:
            following = NextAttempt.after(self.storage, self.keys, job, state, now=self.now)
        if following is not None:
            return self._begin(following, state, job)
        if not copy_kept_requests(self.storage, self.keys, self.attempt + 1):
            return self._decide("finish")
        ending = None if self.makes_calls else CallsEnd.NOT_POSSIBLE
        if job.verdict is not None and job.verdict.passed is None:
            ending = CallsEnd.CANARY
        self.calls = begin_calls(self.storage, self.keys, job, state, ending=ending)
        self.attempt += 1
        return self._decide("wait")

    def _stop_of_canary(self, job: JobRecord, stop: Stop | None) -> Stop | None:
        """Return why nothing is sent any more; a failed canary writes the stop marker.

        If the job was stopped before, that reason is kept.
        """
        verdict = job.verdict
        if stop is not None or verdict is None or not verdict.code:
            return stop
        at = timestamp_of(self.now)
        failed = Stop(status="partial", code=verdict.code, message=verdict.message, at=at)
        return failed.write(self.storage, self.keys)

    def _end_stopped(self, job: JobRecord) -> Decision:
        """Finish a stopped job whose current attempt is collected.

        The requests after a canary get their rows first: the attempt that begins with them is
        collected as well, although nothing of it was sent.
        """
        if job.verdict is None or self.attempt >= job.verdict.rest_attempt:
            return self._decide("finish")
        self.attempt += 1
        return self._decide("wait")

    def _outlives_its_work(self, job: JobRecord) -> bool:
        """Tell whether another attempt might end after the job's working files have expired.

        The retention allows one window more than a job has attempts. A canary that was sent again
        alone, because its batch expired without an answer, may have used additional windows.
        """
        if not job.has_canary:
            return False
        window = job.options.window_seconds
        kept_until = seconds_of(job.prepared_at) + self.settings.work_retention_days * _DAY
        return self.now + window + GRACE_SECONDS > kept_until

    def _begin(self, following: NextAttempt, state: AttemptState, job: JobRecord) -> Decision:
        """Begin the next attempt once its shards exist and its pause has passed."""
        plan = following.plan
        if following.missing:
            if self.now > plan.decided_at + GRACE_SECONDS:
                self._give_up_job(NOT_DIVIDED)
                return self._end_stopped(job)
            if state.division_rounds > 0 and self.resume_in > 0:
                return self._wait(state, job, None)
            state.division_rounds += 1
            divided = list(state.entries)
            return self._decide("download", resume_in=_pause(state.division_rounds), shards=divided)
        self.attempt += 1
        if self._is_late:
            # Nothing of it is sent; the next status check has it collected.
            state.refusal = None
            return self._decide("wait")
        if plan.pause_seconds:
            # The next status check finds an attempt of which nothing was sent, and has it sent.
            again = self.now + plan.pause_seconds
            state.refusal = refusal_notice(job, state, is_last=False, not_before=again)
            seconds = self._not_beyond_deadline(plan.pause_seconds)
            return self._decide("wait", wait_seconds=seconds)
        state.refusal = None
        shards = itertools.islice(self._begun(job, plan), 2)
        return self._decide("submit", resume_in=FIRST_PAUSE_SECONDS, shards=list(shards))

    def _begun(self, job: JobRecord, plan: AttemptPlan) -> Iterator[int]:
        """Yield the attempt's shards, without those after a canary that were written early."""
        for shard in self.storage.objects(self.keys.shards(self.attempt)):
            _, number = object_keys.shard_of_key(shard.key)
            if job.has_begun(plan.origin_of(number), self.attempt):
                yield number

    def _wait(self, state: AttemptState, job: JobRecord, stop: Stop | None) -> Decision:
        dates = [batch.created_at for batch in self._dated_batches(state)]
        begun = min((date for date in dates if date is not None), default=state.started_at)
        if stop is not None:
            # A batch being cancelled ends within minutes, however long it has run.
            begun = max(begun, seconds_of(stop.at))
        if self._is_late:
            begun = max(begun, self.deadline_at or 0.0)
        window = job.options.window_seconds
        attempts = job.attempts_needed(self.attempt)
        attempts_left = max(attempts - self.attempt, 0)
        remaining = max(self._end_of_waiting(state, job) - self.now, 0) + attempts_left * window
        is_retry_due = bool(state.open_numbers) and self.resume_in > 0
        seconds = polling.wait_seconds(
            elapsed_seconds=max(self.now - begun, 0.0),
            idle_seconds=max(self.now - max(begun, state.progress_at), 0.0),
            done=state.done,
            total=state.requests,
            polls=self.polls,
            remaining_seconds=remaining,
            planned_seconds=attempts * window,
            attempts=attempts,
            shortest=self.settings.poll_min_seconds,
            longest=self.settings.poll_max_seconds,
            wanted_within=self.resume_in if is_retry_due else math.inf,
        )
        if not state.pending:
            # Nothing to check before the next try.
            seconds = max(seconds, self.resume_in)
        seconds = self._not_beyond_deadline(max(seconds, self.not_before))
        return self._decide(
            "wait", wait_seconds=seconds, resume_in=max(self.resume_in - seconds, 0)
        )

    def _not_beyond_deadline(self, seconds: int) -> int:
        return polling.within_deadline(seconds, deadline_at=self.deadline_at, now=self.now)

    def _try_again(self, decision: str, shards: Sequence[int], tries: int) -> Decision:
        """Call the step for an only shard again, in the current round."""
        return self._decide(decision, resume_in=self.resume_in, shards=shards, tries=tries)

    def _wait_for_step(self) -> Decision:
        """Wait as long as the step for an only shard asked to."""
        return self._decide(
            "wait",
            wait_seconds=self._not_beyond_deadline(max(self.step.wait_seconds, 1)),
            resume_in=self.resume_in,
            tries=self.step.tries + 1,
            outcome=AGAIN,
        )

    def _decide(
        self,
        decision: str,
        *,
        wait_seconds: int = 1,
        resume_in: int = 0,
        shards: Sequence[int] = (),
        tries: int = 0,
        outcome: str = "",
    ) -> Decision:
        return Decision(
            decision=decision,
            attempt=self.attempt,
            shards_prefix=self.keys.shards(self.attempt),
            wait_seconds=wait_seconds,
            polls=self.polls,
            resume_in=resume_in,
            shard_key=self.step.key_of(self.keys, self.attempt, shards),
            tries=tries,
            outcome=outcome,
        )

    # -- reports and reasons ---------------------------------------------------------------------

    def _report_progress(self, job: JobRecord, state: AttemptState) -> None:
        request = JobRequest.load(self.storage, self.keys.job)
        if request is None:
            return
        earlier = [
            found
            for attempt in range(1, state.attempt)
            if (found := AttemptState.load(self.storage, self.keys, attempt)) is not None
        ]
        report = running_report(request, job, states=[*earlier, state], calls=self.calls)
        Delivery(self.storage, request).write_running(report)


def _pause(rounds: int) -> int:
    doublings: int = min(rounds - 1, 10)
    return min(FIRST_PAUSE_SECONDS << doublings, _LONGEST_PAUSE_SECONDS)
