"""Signals in tests: what is sent to a child arrives, however the suite was started."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PASSED_ON = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)
"""A shell without job control ignores the first two in what it runs in the background, ``nohup``
the third; whatever is ignored, or blocked, is so in all children as well."""


@contextmanager
def signals_reach_children() -> Iterator[None]:
    """Let programs that are started meanwhile begin with the defaults of all signals.

    This process goes on to ignore what it ignored: by handlers that do nothing, which children do
    not inherit.
    """
    before = {number: signal.getsignal(number) for number in PASSED_ON}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    for number, handler in before.items():
        if handler == signal.SIG_IGN:
            signal.signal(number, _do_nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in before.items():
            if handler == signal.SIG_IGN:
                signal.signal(number, handler)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Take a signal and go on."""
