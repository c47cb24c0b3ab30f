"""Show the progress of jobs: a line for each, with its state, rate and remaining time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from groq_batch.bucket.storage import Storage
from groq_batch_cli.aws import Target
from groq_batch_cli.errors import EXIT_INTERRUPTED
from groq_batch_cli.terminal import Terminal
from groq_batch_client.follow import SILENCE_SECONDS, Followed, follow
from groq_batch_client.job_view import Progress, reason
from groq_batch_client.text import columns, shorten

_PIPE_SECONDS = 30.0
"""Minimum seconds between progress lines when the output is not a terminal."""

_LONGEST_NAME = 40


class Follower:
    """Polls jobs until they have ended, and shows their progress."""

    def __init__(
        self,
        storage: Storage,
        terminal: Terminal,
        *,
        on_silence: Callable[[Followed], None] | None = None,
        silence_seconds: float = SILENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Set up polling.

        Args:
            storage: The bucket.
            terminal: Where to write.
            on_silence: Called once for an upload that still has no job after some time.
            silence_seconds: That time in seconds.
            clock: Returns monotonic seconds.
            wall_clock: Returns seconds since 1970.
            sleep: Waits for a number of seconds.
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

    def follow(self, jobs: Sequence[Followed], on_end: Callable[[Followed], None]) -> None:
        """Show the progress of jobs until all have ended.

        Args:
            jobs: The jobs.
            on_end: Called with each job when it ends.
        """
        follow(
            self._storage,
            jobs,
            self,
            on_end=on_end,
            on_silence=self._on_silence,
            silence_seconds=self._silence_seconds,
            clock=self._clock,
            wall_clock=self._wall_clock,
            sleep=self._sleep,
        )
        self._terminal.clear()

    def tell_cut_off(self) -> None:
        """Say that AWS cannot be reached."""
        self._terminal.warn("AWS cannot be reached at the moment. Trying again ...")

    def tell_back(self) -> None:
        """Say that AWS can be reached again."""
        self._terminal.note("AWS can be reached again.")

    def show(self, jobs: Sequence[Followed], now: float) -> None:
        """Show the state of the jobs."""
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
        """Print a note when a job starts to wait for Groq, and when it continues."""
        waits_for = reason(one.report) if one.report is not None else None
        if waits_for == self._waits.get(one.name):
            return
        self._waits[one.name] = waits_for
        if waits_for is not None:
            self._terminal.warn(f"{one.name} waits: {waits_for}")
        else:
            self._terminal.note(f"{one.name} continues")


def leave(
    terminal: Terminal,
    target: Target,
    jobs: Sequence[Followed],
    *,
    fetch: Callable[[Followed], str] | None = None,
) -> int:
    """Say after Ctrl-C that the jobs continue and how to return to them; return the exit status.

    Args:
        terminal: Where to write.
        target: The stack.
        jobs: The jobs.
        fetch: Returns the command that fetches a job's results; None means ``groq-batch results``.
    """
    terminal.clear()
    terminal.note()
    for one in jobs:
        if one.is_final:
            continue
        fetches = fetch(one) if fetch is not None else target.command("results", one.job.path)
        terminal.note(f"{one.name} continues without this terminal.")
        terminal.note(f"  follow it: {target.command('status', one.job.path, '--watch')}")
        terminal.note(f"  fetch its results when it has ended: {fetches}")
    return EXIT_INTERRUPTED
