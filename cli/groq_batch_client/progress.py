"""Show the progress of a job as one line in a terminal or a notebook."""

from __future__ import annotations

import html
import importlib
import shutil
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from groq_batch_client.follow import Followed
from groq_batch_client.job_view import Progress, reason
from groq_batch_client.text import bar, one_line, shorten

_LONGEST_NAME = 40
_ERASE_LINE = "\r\x1b[K"


class Silent:
    """Shows nothing."""

    def show(self, jobs: Sequence[Followed], now: float) -> None:
        """Ignore running jobs."""

    def tell_cut_off(self) -> None:
        """Ignore an outage."""

    def tell_back(self) -> None:
        """Ignore the end of an outage."""

    def close(self) -> None:
        """Do nothing."""


class _Line(Silent):
    """Progress of one job as text; subclasses display it."""

    _is_cut_off = False

    def tell_cut_off(self) -> None:
        """Show from now on that AWS is unreachable."""
        self._is_cut_off = True

    def tell_back(self) -> None:
        """Stop showing that AWS is unreachable."""
        self._is_cut_off = False

    def _words(self, one: Followed) -> str:
        waits_for = reason(one.report) if one.report is not None else None
        words = [one.phase, *one.figures()]
        if waits_for:
            words.append(waits_for)
        if self._is_cut_off:
            words.append("AWS cannot be reached at the moment")
        return "  ".join(words)


class TerminalLine(_Line):
    """A terminal line that is updated in place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None)

    def show(self, jobs: Sequence[Followed], now: float) -> None:
        """Show the state of the job."""
        del now
        for one in jobs:
            progress = Progress.of(one.report)
            parts = [shorten(one_line(one.name), _LONGEST_NAME)]
            if progress.total:
                parts.append(bar(progress.done, progress.total, self._encoding))
            line = "  ".join([*parts, self._words(one)])
            line = shorten(line, shutil.get_terminal_size().columns)
            self._stream.write(_ERASE_LINE + line)
            self._stream.flush()

    def close(self) -> None:
        """Remove the line."""
        self._stream.write(_ERASE_LINE)
        self._stream.flush()


class NotebookLine(_Line):
    """A bar below the notebook cell that is updated in place and removed at the end."""

    def __init__(self) -> None:
        shown: Any = importlib.import_module("IPython.display")  # Available only in a notebook.
        self._html = shown.HTML
        self._handle = shown.display(shown.HTML(""), display_id=True)

    def show(self, jobs: Sequence[Followed], now: float) -> None:
        """Show the state of the job."""
        del now
        for one in jobs:
            progress = Progress.of(one.report)
            value = f' value="{progress.done}" max="{progress.total}"' if progress.total else ""
            words = html.escape(f"{one_line(one.name)}  {self._words(one)}")
            self._update(f"<progress{value}></progress> <code>{words}</code>")

    def close(self) -> None:
        """Remove the bar."""
        self._update("")

    def _update(self, text: str) -> None:
        if self._handle is not None:
            self._handle.update(self._html(text))


def progress_line(wanted: bool | None) -> Silent | TerminalLine | NotebookLine:
    """Return the progress display.

    Args:
        wanted: Whether to show progress; None means only in a terminal or a notebook.
    """
    if wanted is False:
        return Silent()
    if _is_notebook():
        return NotebookLine()
    return TerminalLine(sys.stderr) if wanted or sys.stderr.isatty() else Silent()


def _is_notebook() -> bool:
    """Tell whether the code runs in a notebook cell; without IPython it does not."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"
