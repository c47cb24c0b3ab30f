"""Describe what is known of a job when it is decided what is next, and how long it may wait.

Nothing here does I/O. ``learn`` makes a ``Situation`` of a ``Check``; the rules of ``next_action``
read it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

from groq_batch.domain import object_keys, polling
from groq_batch.domain.batch import Batch
from groq_batch.domain.job_options import LONGEST_WINDOW_SECONDS
from groq_batch.domain.only_shard import StepAnswer
from groq_batch.domain.times import seconds_of
from groq_batch.records.attempt import AttemptState
from groq_batch.records.job import JobRecord, Stop
from groq_batch.records.on_demand import OnDemandProgress
from groq_batch.records.submission import CLOCK_MARGIN_SECONDS
from groq_batch.settings import Settings
from groq_batch.steps.check_status.reasons import GRACE_SECONDS

_DAY = 24 * 3600
_LONGEST_PAUSE_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a status check knows of a job and its current attempt. Times are seconds since 1970.

    Attributes:
        keys: Keys of the job's working files.
        job: The job's record.
        state: The state of the attempt, which the check brings up to date and stores.
        settings: The stack's settings.
        step: Answer of the step for an only shard, if this check follows one.
        makes_calls: Whether the execution's definition supports ordinary calls.
        now: When the check began.
        polls: Status checks made so far, with this one.
        resume_in: Seconds left before what could not be sent or fetched is tried again.
        stop: Why nothing is sent any more; None if something may be.
    """

    keys: object_keys.WorkKeys
    job: JobRecord
    state: AttemptState
    settings: Settings
    step: StepAnswer
    makes_calls: bool
    now: float
    polls: int
    resume_in: int
    stop: Stop | None = None

    @property
    def is_late(self) -> bool:
        """Whether the job's deadline has passed.

        Once that was recorded it stays so: another function's clock may be a moment behind, and
        the requests of an attempt that was collected after the deadline are kept for calls alone.
        """
        return self.state.past_deadline or self.job.is_past_deadline(self.now)

    @property
    def rest_comes(self) -> bool:
        """Whether the shards after a judged canary begin with a later attempt."""
        verdict = self.job.verdict
        return verdict is not None and self.state.attempt < verdict.rest_attempt

    @property
    def outlives_its_work(self) -> bool:
        """Whether another attempt might end after the job's working files have expired.

        The retention allows one window more than a job has attempts. A canary that was sent again
        alone, because its batch expired without an answer, may have used additional windows.
        """
        if not self.job.has_canary:
            return False
        window = self.job.options.window_seconds
        kept_until = seconds_of(self.job.prepared_at) + self.settings.work_retention_days * _DAY
        return self.now + window + GRACE_SECONDS > kept_until

    @property
    def end_of_waiting(self) -> float:
        """When waiting for this attempt ends: after the last window and the grace period."""
        ends = [end for _, end in map(self.window_of, self._batches)]
        return max([self.state.started_at, *ends]) + GRACE_SECONDS

    def window_of(self, batch: Batch) -> tuple[float, float]:
        """Return when a batch's window begins and ends, in seconds since 1970.

        Where the API gives no credible dates, it is the window that the job asks for, since the
        first check.
        """
        dated = self.with_credible_dates(batch)
        begins = dated.created_at or self.state.started_at
        ends = dated.expires_at
        if ends is not None and begins < ends <= begins + LONGEST_WINDOW_SECONDS:
            return begins, ends
        return begins, begins + self.job.options.window_seconds

    def with_credible_dates(self, batch: Batch) -> Batch:
        """Return a batch without its dates if the job cannot have created it then."""
        prepared_at = seconds_of(self.job.prepared_at) if self.job.prepared_at else 0.0
        return batch.with_dates_between(
            prepared_at - CLOCK_MARGIN_SECONDS, self.now + CLOCK_MARGIN_SECONDS
        )

    def within_deadline(self, seconds: int) -> int:
        """Shorten a wait so that it ends at the job's deadline, if that is in the future."""
        return polling.within_deadline(seconds, deadline_at=self.job.deadline_at, now=self.now)

    @property
    def _batches(self) -> list[Batch]:
        """The batches of the attempt."""
        batches = (entry.batch for entry in self.state.entries.values())
        return [batch for batch in batches if batch is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation(Check):
    """What is known when it is decided what is next: a check, and what it has learned.

    Attributes:
        not_before: Seconds that must pass before the next check, because Groq asks for it.
        uncollected: The first shard of each origin shard whose rows are not stored; None if that
            was not looked up, because batches run.
        calls: The record of the attempt's ordinary calls; None without any.
    """

    not_before: int = 0
    uncollected: Sequence[int] | None = None
    calls: OnDemandProgress | None = None

    @classmethod
    def after(
        cls,
        check: Check,
        *,
        not_before: int,
        uncollected: Sequence[int] | None,
        calls: OnDemandProgress | None,
    ) -> Self:
        """Return what is known after a check; the arguments are those of the class."""
        begun = {one.name: getattr(check, one.name) for one in fields(check)}
        return cls(**begun, not_before=not_before, uncollected=uncollected, calls=calls)

    @property
    def is_collected(self) -> bool:
        """Whether the rows of all shards of the attempt are stored."""
        return self.uncollected is not None and not self.uncollected

    @property
    def unsettled(self) -> Sequence[int]:
        """The shards that must be handed to the sending step.

        If the job was stopped or its deadline has passed, only shards that may have a batch
        matter; the others were never sent.
        """
        sends = self.stop is None and not self.is_late
        return self.state.open_numbers if sends else self.state.undecided_numbers

    def seconds_to_next_check(self, resume_in: int) -> int:
        """Return how long to wait before the next check.

        Args:
            resume_in: Seconds left before what could not be sent or fetched is tried again.
        """
        state, job = self.state, self.job
        begun = self._waiting_since
        window = job.options.window_seconds
        attempts = job.attempts_needed(state.attempt)
        remaining = max(self.end_of_waiting - self.now, 0)
        # Without running batches there is nothing to check before the next try.
        is_retry_due = resume_in > 0 and (bool(state.open_numbers) or not state.pending)
        seconds = polling.wait_seconds(
            elapsed_seconds=max(self.now - begun, 0.0),
            idle_seconds=max(self.now - max(begun, state.progress_at), 0.0),
            done=state.done,
            total=state.requests,
            polls=self.polls,
            remaining_seconds=remaining + max(attempts - state.attempt, 0) * window,
            planned_seconds=attempts * window,
            attempts=attempts,
            shortest=self.settings.poll_min_seconds,
            longest=self.settings.poll_max_seconds,
            wanted_within=resume_in if is_retry_due else math.inf,
        )
        if not state.pending:
            seconds = max(seconds, resume_in)
        return self.within_deadline(max(seconds, self.not_before))

    @property
    def _waiting_since(self) -> float:
        """Since when the check waits for what it waits for at present."""
        dates = [self.with_credible_dates(batch).created_at for batch in self._batches]
        begun = min((date for date in dates if date is not None), default=self.state.started_at)
        if self.stop is not None:
            # A batch being cancelled ends within minutes, however long it has run.
            begun = max(begun, seconds_of(self.stop.at))
        return max(begun, self.job.deadline_at or 0.0) if self.is_late else begun


def pause_after_rounds(rounds: int) -> int:
    """Return the seconds before another round for what a number of rounds has left open."""
    doublings: int = min(rounds - 1, 10)
    return min(polling.FIRST_PAUSE_SECONDS << doublings, _LONGEST_PAUSE_SECONDS)
