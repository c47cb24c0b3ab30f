"""Write output for people: results to standard output, everything else to standard error.

Only terminals get colours and live lines; a pipe gets plain lines.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from groq_batch_client.file_errors import STDOUT, naming
from groq_batch_client.text import bar, shorten

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}
_ERASE_LINE = "\r\x1b[K"
_ERASE_LINE_ABOVE = "\x1b[A\x1b[K"


class Terminal:
    """Where a command writes.

    Attributes:
        is_live: Whether standard error can show live lines.
        out_is_terminal: Whether standard output is a terminal.
    """

    def __init__(self, out: TextIO, err: TextIO, environ: Mapping[str, str]) -> None:
        """Write to ``out`` and ``err``; ``environ`` tells what their terminal supports."""
        self._out = out
        self._err = err
        self._lock = threading.Lock()
        self._live_lines = 0
        is_dumb = environ.get("TERM") == "dumb"
        wants_colours = not environ.get("NO_COLOR") and not is_dumb
        self.out_is_terminal = out.isatty()
        self.is_live = err.isatty() and not is_dumb
        self._out_has_colours = wants_colours and self.out_is_terminal
        self._err_has_colours = wants_colours and err.isatty()

    @classmethod
    def of_process(cls) -> Terminal:
        """Return the terminal of this process."""
        # Python has none where the caller has closed it.
        sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
        for stream in (sys.stdout, sys.stderr):
            # Names of files and jobs may have characters outside the terminal's encoding.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        return cls(sys.stdout, sys.stderr, os.environ)

    # -- standard output -------------------------------------------------------------------------

    def print(self, text: str = "") -> None:
        """Write a line of the result."""
        with self._lock, naming(STDOUT):
            self._erase()
            self._out.write(text + "\n")
            self._out.flush()

    def styled(self, text: str, style: str) -> str:
        """Return a text for standard output in a style, if it supports styles."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._out_has_colours else text

    @property
    def width(self) -> int | None:
        """Width of standard output in columns; None if it is not a terminal."""
        return shutil.get_terminal_size().columns if self.out_is_terminal else None

    # -- standard error --------------------------------------------------------------------------

    def note(self, text: str = "") -> None:
        """Write a line that is not part of the result."""
        with self._lock:
            self._erase()
            self._err.write(text + "\n")
            self._err.flush()

    def error(self, text: str) -> None:
        """Write an error."""
        self.note(self.noted("Error:", "red") + " " + text)

    def warn(self, text: str) -> None:
        """Write a warning; the command continues."""
        self.note(self.noted("Warning:", "yellow") + " " + text)

    def noted(self, text: str, style: str) -> str:
        """Return a text for standard error in a style, if it supports styles."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._err_has_colours else text

    def live(self, lines: Sequence[str]) -> None:
        """Replace the live lines. Does nothing without a terminal."""
        if not self.is_live:
            return
        width = shutil.get_terminal_size().columns - 1
        with self._lock:
            self._erase()
            self._err.write("\n".join(shorten(line, width) for line in lines))
            self._err.flush()
            self._live_lines = len(lines)

    def clear(self) -> None:
        """Remove the live lines."""
        with self._lock:
            self._erase()
            self._err.flush()

    def bar(self, done: int, total: int) -> str:
        """Return a progress bar for ``done`` out of ``total``."""
        return bar(done, total, self._err.encoding)

    def _erase(self) -> None:
        if self._live_lines:
            self._err.write(_ERASE_LINE + _ERASE_LINE_ABOVE * (self._live_lines - 1))
            self._live_lines = 0


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")
