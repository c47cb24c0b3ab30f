"""Show the progress of one operation as a line on a terminal, and nothing in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from groq_batch_cli.terminal import Terminal
from groq_batch_client.text import duration, share, size

_SHORTEST_PAUSE_SECONDS = 0.1
_PATIENCE_SECONDS = 0.5
"""Seconds before the line appears; shorter operations don't show one."""


class ByteProgress:
    """Show the number of processed bytes within a ``with`` block."""

    def __init__(
        self,
        terminal: Terminal,
        doing: str,
        total: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show ``doing`` and the progress; ``total`` is in bytes, None if not known."""
        self._terminal = terminal
        self._doing = doing
        self._total = total
        self._clock = clock
        self._begun = clock()
        self._shown = self._begun + _PATIENCE_SECONDS - _SHORTEST_PAUSE_SECONDS
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._terminal.clear()

    def add(self, number: int) -> None:
        """Count processed bytes."""
        self._done += number
        now = self._clock()
        if now - self._shown >= _SHORTEST_PAUSE_SECONDS:
            self._shown = now
            self._terminal.live([self.line(now - self._begun)])

    def line(self, seconds: float) -> str:
        """Return the line after a number of seconds."""
        rate = self._done / seconds if seconds else 0.0
        if self._total is None:
            return f"{self._doing}  {size(self._done)}, {size(rate)}/s"
        left = f", {duration((self._total - self._done) / rate)} left" if rate else ""
        return (
            f"{self._doing}  {self._terminal.bar(self._done, self._total)} "
            f"{share(self._done, self._total):>5}  {size(self._done)} of {size(self._total)}, "
            f"{size(rate)}/s{left}"
        )
