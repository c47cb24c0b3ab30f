"""Handle Ctrl-C and similar signals: one interruption at a time, and none during cleanup."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


class Interrupts:
    """Turns the first signal into a KeyboardInterrupt and leaves out the others.

    Ending what was started takes some seconds, in which an impatient second Ctrl-C would leave
    things behind. A part of the clean-up that may be broken off says so with ``allow_another``.
    """

    def __init__(self) -> None:
        self._is_awake = True

    def install(self) -> None:
        """Handle Ctrl-C, ``kill`` and the closing of the terminal.

        A signal that is ignored, as with ``nohup``, stays so.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self.handle)

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal.

        Raises:
            KeyboardInterrupt: It is the first one.
        """
        if self._is_awake:
            self._is_awake = False
            raise KeyboardInterrupt

    def allow_another(self) -> None:
        """Let the next signal interrupt again."""
        self._is_awake = True

    def end(self) -> None:
        """Ignore all signals from now on."""
        self._is_awake = False


def drop_output() -> None:
    """Write nothing from now on, because the reader has gone (``make demo | head``).

    Otherwise each line of the clean-up, and Python's last flush, would fail as well.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
