"""A clock that a test moves, and threads that live by it.

The only threads of the functions that outlast a call are those that renew leases. They wait on an
event for some seconds; here these are seconds of the test's clock. When the clock is moved over the
end of such a wait, the thread runs, and the clock stands still until it waits again, ends, or is
stuck behind a lock that somebody else holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.patience import PATIENCE_SECONDS

REAL_SECONDS = PATIENCE_SECONDS
"""Real time after which a thread of a test counts as hanging."""


class VirtualClock:
    """Tells the time in seconds since 1970, and moves when it is told to."""

    def __init__(self, start: float) -> None:
        self._now = start
        self._condition = threading.Condition()
        self._sleepers: list[_Sleeper] = []
        self._awake = 0

    def __call__(self) -> float:
        return self._now

    def advance_to(self, moment: float) -> None:
        """Move forward, waking the threads whose waits end on the way, each at its time."""
        while True:
            with self._condition:
                due = [one for one in self._sleepers if one.until <= moment and one.may_wake()]
                if not due:
                    self._now = max(self._now, moment)
                    return
                first = min(due, key=lambda one: one.until)
                self._now = max(self._now, first.until)
                self._sleepers.remove(first)
                first.is_awake = True
                self._awake += 1
                self._condition.notify_all()
                calm = self._condition.wait_for(lambda: self._awake == 0, REAL_SECONDS)
            assert calm, "A thread that was woken neither waits again nor ends"

    # -- for the threads -------------------------------------------------------------------------

    def _sleep(self, sleeper: _Sleeper, is_over: Callable[[], bool]) -> None:
        """Wait until the clock has come to the sleeper's time, or until it is over."""
        with self._condition:
            self._calm()
            self._sleepers.append(sleeper)
            self._condition.wait_for(lambda: sleeper.is_awake or is_over())
            if not sleeper.is_awake:
                self._sleepers.remove(sleeper)

    def _calm(self) -> None:
        """Take note that a thread that was woken goes no further by itself."""
        if getattr(_thread, "is_awake", False):
            _thread.is_awake = False
            self._awake -= 1
            self._condition.notify_all()

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify_all()


_thread = threading.local()


class _Sleeper:
    """A thread that waits for a time, unless that which it belongs to stands still."""

    def __init__(self, until: float, may_wake: Callable[[], bool]) -> None:
        self.until = until
        self.may_wake = may_wake
        self.is_awake = False


class VirtualThreading:
    """Stands in for the module ``threading`` where leases are renewed.

    Args:
        clock: Returns the clock of the calling thread's test.
        may_wake: Returns a function that tells whether the caller's threads go on at all.
        killed: The exception that ends a thread of an invocation that is dead.
    """

    def __init__(
        self,
        clock: Callable[[], VirtualClock],
        may_wake: Callable[[], Callable[[], bool]],
        killed: type[BaseException],
    ) -> None:
        self._clock = clock
        self._may_wake = may_wake
        self._killed = killed

    def Event(self) -> _Event:  # noqa: N802 (as in threading)
        return _Event(self._clock(), self._may_wake())

    def Lock(self) -> _Lock:  # noqa: N802
        return _Lock(self._clock())

    def Thread(self, **arguments: Any) -> threading.Thread:  # noqa: N802
        clock, target = self._clock(), arguments.pop("target")

        def run() -> None:
            try:
                target()
            except self._killed:
                pass
            finally:
                with clock._condition:
                    clock._calm()

        return threading.Thread(target=run, **arguments)


class _Event:
    """An event whose waits last as long as the clock says."""

    def __init__(self, clock: VirtualClock, may_wake: Callable[[], bool]) -> None:
        self._clock = clock
        self._may_wake = may_wake
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._clock._wake()

    def wait(self, seconds: float) -> bool:
        sleeper = _Sleeper(self._clock() + seconds, self._may_wake)
        self._clock._sleep(sleeper, self.is_set)
        _thread.is_awake = sleeper.is_awake
        return self._is_set


class _Lock:
    """A lock; a thread that is stuck behind it does not keep the clock from moving."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            with self._clock._condition:
                self._clock._calm()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
