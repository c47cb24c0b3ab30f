"""Follows jobs to their end: a line for each, with its state, its rate and the time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from groq_batch.bucket.storage import Storage
from groq_batch_cli.aws_errors import is_passing
from groq_batch_cli.job_lookup import FoundJob, job_by_id, job_of_path
from groq_batch_cli.job_view import Progress, cost_so_far, is_final, phase, reason
from groq_batch_cli.pace import Look, Pace, current_attempt, pace_of_looks, pace_of_report
from groq_batch_cli.stored_reports import Report, read_report
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text import columns, counted, share, shorten

_SHORTEST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0
_PAUSE_SHARE = 0.05
_MOST_LOOKS = 200
_PIPE_SECONDS = 30.0
"""A pipe gets news of the progress no more often than this."""

_READERS = 8
_LONGEST_NAME = 40


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


class Follower:
    """Looks at jobs until they have ended."""

    def __init__(
        self,
        storage: Storage,
        terminal: Terminal,
        *,
        on_silence: Callable[[Followed], None] | None = None,
        silence_seconds: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Look into ``storage``, write to ``terminal``.

        Args:
            storage: The bucket.
            terminal: Where to write.
            on_silence: Is told, once, of an upload that has not become a job for some time.
            silence_seconds: That time.
            clock: Seconds since some moment.
            wall_clock: Seconds since 1970.
            sleep: Waits some seconds.
        """
        self._storage = storage
        self._terminal = terminal
        self._on_silence = on_silence
        self._silence_seconds = silence_seconds
        self._clock = clock
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._said: dict[str, tuple[str, float]] = {}
        self._waits: dict[str, str | None] = {}
        self._is_cut_off = False

    def follow(self, jobs: Sequence[Followed], on_end: Callable[[Followed], None]) -> None:
        """Show how jobs go on until all have ended.

        Args:
            jobs: The jobs.
            on_end: Is told of each as it ends.
        """
        begun = self._clock()
        pending = list(jobs)
        silent = list(jobs)
        with ThreadPoolExecutor(max_workers=_READERS) as pool:
            while True:
                now = self._look(pool, pending)
                for one in [one for one in pending if one.is_final]:
                    pending.remove(one)
                    on_end(one)
                if not pending:
                    break
                self._show(pending, now)
                silent = [one for one in silent if one.phase == "waiting"]
                if silent and self._on_silence and now - begun >= self._silence_seconds:
                    for one in silent:
                        self._on_silence(one)
                    silent = []
                self._sleep(pause_seconds(now - begun))
        self._terminal.clear()

    def _look(self, pool: ThreadPoolExecutor, jobs: Sequence[Followed]) -> float:
        """Look at jobs; returns the time. When AWS cannot be reached, the next look tells."""
        try:
            found = list(pool.map(lambda one: look(self._storage, one.job), jobs))
        except Exception as error:
            if not is_passing(error):
                raise
            if not self._is_cut_off:
                self._terminal.warn("AWS cannot be reached at the moment. Trying again ...")
            self._is_cut_off = True
            return self._clock()
        if self._is_cut_off:
            self._terminal.note("AWS can be reached again.")
            self._is_cut_off = False
        for one, job in zip(jobs, found, strict=True):
            one.take(job, self._wall_clock())
        return self._clock()

    def _show(self, jobs: Sequence[Followed], now: float) -> None:
        for one in jobs:
            self._tell_outage(one)
        if self._terminal.is_live:
            width = min(max(columns(one.name) for one in jobs), _LONGEST_NAME)
            self._terminal.live([self._live_line(one, width) for one in jobs])
            return
        for one in jobs:
            phase_said, at = self._said.get(one.name, ("", 0.0))
            if one.phase != phase_said or (one.words() and now - at >= _PIPE_SECONDS):
                self._said[one.name] = (one.phase, now)
                self._terminal.note(f"{one.name}: {', '.join([one.phase, *one.words()])}")

    def _live_line(self, one: Followed, width: int) -> str:
        name = shorten(one.name, width)
        name += " " * (width - columns(name))
        progress = Progress.of(one.report)
        line = f"{name}  {one.phase:<10}"
        if progress.total:
            line += f"  {self._terminal.bar(progress.done, progress.total)}"
        return "  ".join([line, *one.figures()]).rstrip()

    def _tell_outage(self, one: Followed) -> None:
        """Say it when a job waits for Groq, and when it goes on."""
        waits_for = reason(one.report) if one.report is not None else None
        if waits_for == self._waits.get(one.name):
            return
        self._waits[one.name] = waits_for
        if waits_for is not None:
            self._terminal.warn(f"{one.name} waits: {waits_for}")
        else:
            self._terminal.note(f"{one.name} goes on")


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
