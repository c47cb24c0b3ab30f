"""Queue of calls that the emulated Lambda has throttled: events and tasks.

The emulator shortens the waits of Step Functions by a factor. The functions that a throttled call
waits for run no faster for that: with shortened waits alone its repetitions would be used up before
there is room. So it waits the shortened time at least, then until there is room, and at most as
long as on AWS.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

_FIRST_THROTTLE_SECONDS = 1.0
_LONGEST_THROTTLE_SECONDS = 300.0
_EVENT_AGE_SECONDS = 21_600
_FUNCTION_RETRIES = 2
_FUNCTION_RETRY_SECONDS = 60.0


class WaitingLine:
    """Calls that wait until a function may run, in the order of their arrival.

    Tasks of executions go before events, so that jobs end before others begin.
    """

    def __init__(self, has_room: Callable[[], bool], *, wait_scale: float) -> None:
        """Create a queue.

        Args:
            has_room: Tells whether one more function may run.
            wait_scale: Factor for the minimum wait.
        """
        self._has_room = has_room
        self._wait_scale = wait_scale
        self._lock = threading.Lock()
        self._tasks: deque[threading.Event] = deque()
        self._events: deque[threading.Event] = deque()

    def wait(self, seconds: float, *, is_task: bool) -> None:
        """Wait for the call's turn, at most ``seconds``, and at least their scaled part.

        Args:
            seconds: How long AWS would wait.
            is_task: Whether a task of an execution waits.
        """
        least = seconds * self._wait_scale
        time.sleep(least)
        line = self._tasks if is_task else self._events
        turn = threading.Event()
        with self._lock:
            if self._has_room() and not (self._tasks or line):
                return
            line.append(turn)
        if not turn.wait(max(seconds - least, 0)):
            with self._lock:
                if turn in line:
                    line.remove(turn)

    def call_next(self) -> None:
        """Wake the next call, because there is room."""
        with self._lock:
            line = self._tasks or self._events
            if line:
                line.popleft().set()


class EventQueue:
    """Delivers an event to a function as Lambda's queue of asynchronous events does."""

    def __init__(
        self,
        *,
        retries: int | None,
        event_age_seconds: int | None,
        wait_after_failure: Callable[[float], None],
        wait_after_throttle: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use the function's settings; None means Lambda's default.

        Args:
            retries: How often a function that fails is run again.
            event_age_seconds: How long an event is kept.
            wait_after_failure: Waits some seconds of AWS.
            wait_after_throttle: Waits some seconds of AWS, or until there is room.
            clock: Seconds since some moment.
        """
        self._retries = _FUNCTION_RETRIES if retries is None else int(retries)
        self._most_seconds = _EVENT_AGE_SECONDS if event_age_seconds is None else event_age_seconds
        self._wait_after_failure = wait_after_failure
        self._wait_after_throttle = wait_after_throttle
        self._clock = clock

    def deliver(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run the function until it succeeds or the event is given up; returns the last result."""
        begun = self._clock()
        failures = throttles = 0
        while True:
            result = run()
            if not result.get("error"):
                return result
            if result.get("throttle"):
                seconds = _seconds_after_throttle(throttles)
                throttles += 1
                wait = self._wait_after_throttle
            else:
                failures += 1
                seconds = failures * _FUNCTION_RETRY_SECONDS
                wait = self._wait_after_failure
            is_late = self._clock() - begun + seconds > self._most_seconds
            if failures > self._retries or is_late:
                return result
            wait(seconds)


def _seconds_after_throttle(throttles: int) -> float:
    longest: float = min(_FIRST_THROTTLE_SECONDS * 2.0**throttles, _LONGEST_THROTTLE_SECONDS)
    # Spread the retries of events that arrived together.
    return longest * random.uniform(0.5, 1)  # noqa: S311 - nothing secret


def retry_seconds(retrier: Mapping[str, Any], count: int) -> float:
    """Return how long Step Functions waits before a repetition.

    Args:
        retrier: An entry of a state's ``Retry``.
        count: How many repetitions by this entry there have been.
    """
    interval = float(retrier.get("IntervalSeconds", 1))
    wait: float = interval * float(retrier.get("BackoffRate", 2)) ** count
    if "MaxDelaySeconds" in retrier:
        wait = min(wait, float(retrier["MaxDelaySeconds"]))
    if retrier.get("JitterStrategy") == "FULL":
        return random.uniform(0, wait)  # noqa: S311 - nothing secret
    return wait
