"""Poll jobs until they end, and report their progress."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

from groq_batch.bucket.storage import Storage
from groq_batch_client.aws_errors import is_passing
from groq_batch_client.found_jobs import FoundJob, job_by_id, job_of_path
from groq_batch_client.job_view import Progress, cost_so_far, is_final, phase
from groq_batch_client.pace import Look, Pace, current_attempt, pace_of_looks, pace_of_report
from groq_batch_client.stored_reports import Report, read_report
from groq_batch_client.text import counted, share

_SHORTEST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0
_PAUSE_SHARE = 0.05
_MAX_LOOKS = 200
_READERS = 8

SILENCE_SECONDS = 20.0
"""Seconds without a job after which the event of an upload counts as lost."""


@dataclass(slots=True)
class Followed:
    """A job to follow.

    Attributes:
        name: Its name in the output.
        job: The job as last read.
    """

    name: str
    job: FoundJob
    _looks: deque[Look] = field(default_factory=lambda: deque(maxlen=_MAX_LOOKS))
    _attempt: int = 0
    _now: float = 0.0

    @property
    def report(self) -> Report | None:
        """Its last report."""
        return self.job.report

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return is_final(self.report)

    @property
    def phase(self) -> str:
        """The current phase."""
        return phase(self.report, has_job=self.job.request is not None or self.report is not None)

    def take(self, job: FoundJob, now: float) -> None:
        """Store the job as read at ``now``, in seconds since 1970."""
        self.job = job
        self._now = now
        if job.report is None or job.reported_at is None:
            return
        attempt = current_attempt(job.report)
        if attempt != self._attempt:
            self._attempt = attempt
            self._looks.clear()
        at = job.reported_at.timestamp()
        if not self._looks or at > self._looks[-1].at:
            # Reading a report again adds nothing: its progress is that of the time it was written.
            self._looks.append(Look(at, Progress.of(job.report).done))

    @property
    def pace(self) -> Pace | None:
        """The pace; None if there is too little data for an estimate."""
        return pace_of_looks(self._looks, Progress.of(self.report).total) or pace_of_report(
            self.report, self.job.reported_at
        )

    def words(self) -> list[str]:
        """Return the progress as a list of phrases."""
        progress = Progress.of(self.report)
        if not progress.done:
            return [counted(progress.total, "request")] if progress.total else []
        percent = share(progress.done, progress.total)
        requests = f"{progress.done:,} of {counted(progress.total, 'request')} ({percent})"
        return [requests, *self._pace(progress)]

    def figures(self) -> list[str]:
        """Return the progress in short form, for a line with a bar."""
        progress = Progress.of(self.report)
        if not progress.total:
            return []
        percent = share(progress.done, progress.total)
        requests = f"{percent:>5}  {progress.done:,}/{progress.total:,}"
        return [requests, *self._pace(progress)] if progress.done else [requests]

    def _pace(self, progress: Progress) -> list[str]:
        pace = self.pace if progress.done < progress.total else None
        since = self._now - self._looks[-1].at if self._looks else 0.0
        left = pace.left_text(since) if pace is not None else ""
        parts = [
            pace.rate_text if pace is not None else "",
            f"{left} left" if left else "",
            cost_so_far(self.report),
        ]
        return [part for part in parts if part]


class Audience(Protocol):
    """Receives the progress of jobs."""

    def show(self, jobs: Sequence[Followed], now: float) -> None:
        """Show the running jobs; ``now`` is the time of the monotonic clock."""

    def tell_cut_off(self) -> None:
        """Report that AWS is unreachable at the moment."""

    def tell_back(self) -> None:
        """Report that AWS is reachable again."""


def follow(
    storage: Storage,
    jobs: Sequence[Followed],
    audience: Audience,
    *,
    on_end: Callable[[Followed], None] = lambda _: None,
    on_silence: Callable[[Followed], None] | None = None,
    silence_seconds: float = SILENCE_SECONDS,
    timeout: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Poll jobs until they have ended; return whether all have.

    Args:
        storage: The bucket.
        jobs: The jobs.
        audience: Receives their progress.
        on_end: Called with each job when it ends.
        on_silence: Called once for an upload that still has no job after some time.
        silence_seconds: That time in seconds.
        timeout: Seconds after which to stop; None means never.
        clock: Returns monotonic seconds.
        wall_clock: Returns seconds since 1970.
        sleep: Waits for a number of seconds.
    """
    begun = clock()
    pending = list(jobs)
    silent = list(jobs)
    looking = _Looking(storage, audience)
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        while True:
            looking.look(pool, pending, wall_clock)
            now = clock()
            for one in [one for one in pending if one.is_final]:
                pending.remove(one)
                on_end(one)
            if not pending:
                return True
            audience.show(pending, now)
            silent = [one for one in silent if one.phase == "waiting"]
            if silent and on_silence and now - begun >= silence_seconds:
                for one in silent:
                    on_silence(one)
                silent = []
            left = math.inf if timeout is None else timeout - (now - begun)
            if left <= 0:
                return False
            sleep(min(pause_seconds(now - begun), left))


@dataclass(slots=True)
class _Looking:
    """Polls jobs; if AWS is unreachable, the next poll tries again."""

    storage: Storage
    audience: Audience
    is_cut_off: bool = False

    def look(
        self, pool: ThreadPoolExecutor, jobs: Sequence[Followed], wall_clock: Callable[[], float]
    ) -> None:
        """Read each job once."""
        try:
            found = list(pool.map(lambda one: look(self.storage, one.job), jobs))
        except Exception as error:
            if not is_passing(error):
                raise
            if not self.is_cut_off:
                self.audience.tell_cut_off()
            self.is_cut_off = True
            return
        if self.is_cut_off:
            self.audience.tell_back()
            self.is_cut_off = False
        for one, job in zip(jobs, found, strict=True):
            one.take(job, wall_clock())


def look(storage: Storage, job: FoundJob) -> FoundJob:
    """Return the current state of a job."""
    if job.report is not None:
        found = read_report(storage, job.path)
        if found is not None and found.value["job_id"] == job.job_id:
            return replace(job, report=found.value, reported_at=found.written_at)
    if job.job_id is None:
        return job_of_path(storage, job.path) or job
    return job_by_id(storage, job.job_id) or job


def pause_seconds(seconds: float) -> float:
    """Return the pause before the next poll, given the seconds since the first."""
    return min(max(seconds * _PAUSE_SHARE, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
