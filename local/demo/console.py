"""Writes to the terminal: plain lines, steps with their duration, and one line that changes.

Colours and the changing line are for terminals only; a pipe gets plain lines.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TextIO

from groq_batch_client.text import duration, shorten

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "1;31",
    "green": "1;32",
    "yellow": "1;33",
    "cyan": "36",
}
_ERASE_LINE = "\r\x1b[K"
_TICK_SECONDS = 0.5
_PIPE_WIDTH = 100
_MAX_COLUMNS = 120
_PIPE_PROGRESS_SECONDS = 3.0
"""Shortest time between two progress lines in a pipe."""


class Console:
    """Where the demo writes."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        """Write to ``stream``; ``environ`` says what its terminal can do."""
        self._stream = stream
        self._is_closed = False
        self._is_dirty = False
        self._lock = threading.Lock()
        self._said = ("", 0.0)
        self.is_terminal = stream.isatty() and environ.get("TERM") != "dumb"
        self._has_colours = self.is_terminal and not environ.get("NO_COLOR")
        self.speaks_unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"

    @property
    def width(self) -> int:
        """Columns that a line may take."""
        if not self.is_terminal:
            return _PIPE_WIDTH
        return min(shutil.get_terminal_size().columns - 1, _MAX_COLUMNS)

    def styled(self, text: str, style: str) -> str:
        """Return a text in a style (a colour's name, ``bold`` or ``dim``), where there are any."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._has_colours else text

    def line(self, text: str = "") -> None:
        """Write a line that stays."""
        with self._lock:
            self._write(self._erased() + text + "\n")

    def error(self, text: str) -> None:
        """Write an error, separated from earlier output."""
        self.line()
        self.line(self.styled("Error: ", "red") + text)

    def progress(self, text: str, seconds: float) -> None:
        """Show the progress.

        Args:
            text: What to show.
            seconds: Time since the beginning.
        """
        if self.is_terminal:
            shown = shorten(f"  {duration(seconds):>6}  {text}", self.width)
            with self._lock:
                self._write(_ERASE_LINE + self.styled(shown, "cyan"))
                self._is_dirty = True
            return
        said, at = self._said
        if text != said and seconds - at >= _PIPE_PROGRESS_SECONDS:
            self.news(text, seconds)
            self._said = (text, seconds)

    def news(self, text: str, seconds: float) -> None:
        """Write something that has happened, with its time since the beginning."""
        self.line(f"  {self.styled(f'{duration(seconds):>6}', 'dim')}  {text}")

    @contextlib.contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Show that something is being done for the time of the ``with`` block, then its time."""
        begun = time.monotonic()
        if not self.is_terminal:
            self._write(f"{doing} ... ")
        with self._ticking(doing, begun):
            try:
                yield
            except BaseException:
                if not self.is_terminal:
                    self._write("\n")
                raise
        seconds = f"{time.monotonic() - begun:.1f} s"
        if self.is_terminal:
            mark = self.styled("✓" if self.speaks_unicode else "*", "green")
            self.line(f"{mark} {doing} {self.styled(seconds, 'dim')}")
        else:
            self._write(f"{seconds}\n")

    @contextlib.contextmanager
    def _ticking(self, doing: str, begun: float) -> Iterator[None]:
        """Update the displayed duration of a step regularly, on a thread."""
        if not self.is_terminal:
            yield
            return
        ended = threading.Event()

        def tick() -> None:
            while True:
                passed = duration(time.monotonic() - begun)
                with self._lock, contextlib.suppress(KeyboardInterrupt):
                    self._write(_ERASE_LINE + shorten(f"  {doing} ... {passed}", self.width))
                    self._is_dirty = True
                if ended.wait(_TICK_SECONDS):
                    return

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield
        finally:
            ended.set()
            ticker.join()
            with self._lock:
                self._write(self._erased())

    def _erased(self) -> str:
        """Return what removes the changing line, if one is shown."""
        was_dirty, self._is_dirty = self._is_dirty, False
        return _ERASE_LINE if was_dirty else ""

    def _write(self, text: str) -> None:
        """Write text, if there still is a reader.

        Raises:
            KeyboardInterrupt: The reader has just gone (``make demo | head``), which ends the demo
                as Ctrl-C does.
        """
        if self._is_closed:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._is_closed = True
            with contextlib.suppress(OSError):
                # So that Python's own last flush does not fail.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise KeyboardInterrupt from None
