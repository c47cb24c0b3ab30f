"""Writes for people: results to standard output, everything else to standard error.

Colours and lines that change are for terminals only; a pipe gets plain lines.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TextIO

from groq_batch_client.file_errors import STDOUT, naming
from groq_batch_client.text import shorten

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
_BAR_CELLS = 16


class Terminal:
    """Where a command writes.

    Attributes:
        is_live: Whether standard error can show lines that change.
        out_is_terminal: Whether somebody reads standard output on a terminal.
    """

    def __init__(self, out: TextIO, err: TextIO, environ: Mapping[str, str]) -> None:
        """Write to ``out`` and ``err``; ``environ`` says what their terminal can do."""
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
        encoding = (err.encoding or "").lower().replace("-", "")
        self._speaks_unicode = encoding == "utf8"

    @classmethod
    def of_process(cls) -> Terminal:
        """Return the terminal of this process."""
        for stream in (sys.stdout, sys.stderr):
            # Names of files and jobs may hold what the terminal's encoding does not.
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
        """Return a text for standard output in a style, where it has any."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._out_has_colours else text

    @property
    def width(self) -> int | None:
        """Columns of a line on standard output; None when it is no terminal."""
        return shutil.get_terminal_size().columns if self.out_is_terminal else None

    # -- standard error --------------------------------------------------------------------------

    def note(self, text: str = "") -> None:
        """Write a line that is no part of the result."""
        with self._lock:
            self._erase()
            self._err.write(text + "\n")
            self._err.flush()

    def error(self, text: str) -> None:
        """Write what went wrong."""
        self.note(self.noted("Error:", "red") + " " + text)

    def warn(self, text: str) -> None:
        """Write what the user should know, though it keeps nothing from going on."""
        self.note(self.noted("Warning:", "yellow") + " " + text)

    def noted(self, text: str, style: str) -> str:
        """Return a text for standard error in a style, where it has any."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._err_has_colours else text

    def live(self, lines: Sequence[str]) -> None:
        """Show lines in the place of those shown before; nothing happens without a terminal."""
        if not self.is_live:
            return
        width = shutil.get_terminal_size().columns - 1
        with self._lock:
            self._erase()
            self._err.write("\n".join(shorten(line, width) for line in lines))
            self._err.flush()
            self._live_lines = len(lines)

    def clear(self) -> None:
        """Remove the lines that change."""
        with self._lock:
            self._erase()
            self._err.flush()

    def bar(self, done: int, total: int) -> str:
        """Return a bar that is filled as far as ``done`` is of ``total``."""
        filled = _BAR_CELLS * min(done, total) // total if total else 0
        full, empty = ("█", "░") if self._speaks_unicode else ("#", ".")
        return full * filled + empty * (_BAR_CELLS - filled)

    def _erase(self) -> None:
        if self._live_lines:
            self._err.write(_ERASE_LINE + _ERASE_LINE_ABOVE * (self._live_lines - 1))
            self._live_lines = 0
