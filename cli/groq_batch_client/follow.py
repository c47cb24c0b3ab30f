"""Follows jobs to their end, and tells how they get on."""

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
_MOST_LOOKS = 200
_READERS = 8

SILENCE_SECONDS = 20.0
"""After so long without a job the event of an upload is taken for lost."""


@dataclass(slots=True)
class Followed:
    """A job that is being followed.

    Attributes:
        name: What it is called in the output.
        job: What is known of it.
    """

    name: str
    job: FoundJob
    _looks: deque[Look] = field(default_factory=lambda: deque(maxlen=_MOST_LOOKS))
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
        """What it is doing."""
        return phase(self.report, has_job=self.job.request is not None or self.report is not None)

    def take(self, job: FoundJob, now: float) -> None:
        """Take what was found now, in seconds since 1970."""
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
            # A report tells the progress of its own time, however often it is looked at.
            self._looks.append(Look(at, Progress.of(job.report).done))

    @property
    def pace(self) -> Pace | None:
        """How fast it goes; None when there is no ground for a guess."""
        return pace_of_looks(self._looks, Progress.of(self.report).total) or pace_of_report(
            self.report, self.job.reported_at
        )

    def words(self) -> list[str]:
        """Return what is worth saying of its progress."""
        progress = Progress.of(self.report)
        if not progress.done:
            return [counted(progress.total, "request")] if progress.total else []
        percent = share(progress.done, progress.total)
        requests = f"{progress.done:,} of {counted(progress.total, 'request')} ({percent})"
        return [requests, *self._pace(progress)]

    def figures(self) -> list[str]:
        """Return the same for a line with a bar, where room is scarce."""
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
    """Is told how jobs get on."""

    def show(self, jobs: Sequence[Followed], now: float) -> None:
        """Show the jobs that have not ended, at a moment of the clock."""

    def tell_cut_off(self) -> None:
        """Say that AWS cannot be reached at the moment."""

    def tell_back(self) -> None:
        """Say that AWS can be reached again."""


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
    """Look at jobs until they have ended; returns whether they all have.

    Args:
        storage: The bucket.
        jobs: The jobs.
        audience: Is told how they get on.
        on_end: Is told of each as it ends.
        on_silence: Is told, once, of an upload that has not become a job for some time.
        silence_seconds: That time.
        timeout: Seconds after which to stop; None means never.
        clock: Seconds since some moment.
        wall_clock: Seconds since 1970.
        sleep: Waits some seconds.
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
    """Looks at jobs, also while AWS cannot be reached: the next look tells then."""

    storage: Storage
    audience: Audience
    is_cut_off: bool = False

    def look(
        self, pool: ThreadPoolExecutor, jobs: Sequence[Followed], wall_clock: Callable[[], float]
    ) -> None:
        """Look at each job once."""
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
    """Return a job as it stands now."""
    if job.report is not None:
        found = read_report(storage, job.path)
        if found is not None and found.report["job_id"] == job.job_id:
            return replace(job, report=found.report, reported_at=found.written_at)
    if job.job_id is None:
        return job_of_path(storage, job.path) or job
    return job_by_id(storage, job.job_id) or job


def pause_seconds(seconds: float) -> float:
    """Return how long to wait before the next look, so many seconds after the first."""
    return min(max(seconds * _PAUSE_SHARE, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
