"""How the emulator waits after throttles, and what it may take of its machine."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local import function_limits
from local.emulator import EmulatorOptions, emulator_environment
from local.emulator_corrections import (
    asynchronous_settings,
    is_throttle,
    on_failure,
    take_idle,
    undisturbed,
)
from local.function_limits import FunctionLimits, fitting_limits, limits_of_this_machine
from local.function_queue import EventQueue, WaitingLine, retry_seconds

GIGABYTE = 1024**3
GOOD = {"body": "done"}
FAILED = {"error": True, "body": {"errorMessage": "no"}}
THROTTLED = {"error": True, "throttle": True}


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def queue(self, **settings: Any) -> EventQueue:
        given = {"retries": None, "event_age_seconds": None, **settings}
        return EventQueue(
            **given,
            wait_after_failure=self.sleep,
            wait_after_throttle=self.sleep,
            clock=lambda: self.now,
        )


# -- asynchronous events ------------------------------------------------------------------------


def test_throttled_event_waits_longer_and_longer_up_to_five_minutes() -> None:
    clock = Clock()
    results = iter([THROTTLED] * 20 + [GOOD])
    assert clock.queue().deliver(lambda: next(results)) is GOOD
    for place, wait in enumerate(clock.waits):
        longest = min(2.0**place, 300)
        assert longest / 2 <= wait <= longest
    assert len(clock.waits) == 20


def test_throttled_event_is_given_up_after_six_hours() -> None:
    clock = Clock()
    assert clock.queue().deliver(lambda: THROTTLED) is THROTTLED
    assert 21_300 < clock.now <= 21_600


def test_throttles_do_not_count_as_failures_of_the_function() -> None:
    clock = Clock()
    results = iter([THROTTLED, FAILED, THROTTLED, THROTTLED, FAILED, GOOD])
    assert clock.queue().deliver(lambda: next(results)) is GOOD
    assert [wait for wait in clock.waits if wait >= 10] == [60, 120]


@pytest.mark.parametrize(("retries", "runs"), [(None, 3), (0, 1), (1, 2)])
def test_function_that_fails_is_run_as_often_as_it_wants(retries: int | None, runs: int) -> None:
    count = 0

    def run() -> dict[str, Any]:
        nonlocal count
        count += 1
        return FAILED

    assert Clock().queue(retries=retries).deliver(run) is FAILED
    assert count == runs


def test_event_is_kept_no_longer_than_the_function_wants() -> None:
    clock = Clock()
    assert clock.queue(event_age_seconds=60).deliver(lambda: THROTTLED) is THROTTLED
    assert clock.now <= 60


def test_settings_of_a_function_for_its_events() -> None:
    config = {"DeadLetterConfig": {"TargetArn": "letters"}}
    bare = {"config": config}
    assert on_failure(bare, asynchronous_settings(bare)) == "letters"
    settings = {"MaximumRetryAttempts": 1, "DestinationConfig": {"OnFailure": {"Destination": "q"}}}
    for function in (
        {"config": config, "event_invoke_config": settings},
        {"config": config, "event_invoke_configs": {"$LATEST": settings}},
    ):
        assert asynchronous_settings(function) == settings
        assert on_failure(function, settings) == "q"
    assert on_failure({"config": {}}, {}) == ""


# -- tasks of Step Functions --------------------------------------------------------------------


def test_throttle_is_told_from_other_errors() -> None:
    throttle = json.dumps({"__type": "TooManyRequestsException"})
    assert is_throttle("Lambda.Unknown", throttle)
    assert not is_throttle("Runtime.HandlerError", throttle)
    for cause in (json.dumps({"errorMessage": "x"}), "no JSON", "[]"):
        assert not is_throttle("Lambda.Unknown", cause)


@given(count=st.integers(0, 60), jitter=st.sampled_from(["FULL", "NONE", None]))
def test_wait_before_a_repetition_is_step_functions_own(count: int, jitter: str | None) -> None:
    retrier = {"IntervalSeconds": 5, "BackoffRate": 1.5, "MaxDelaySeconds": 120}
    if jitter:
        retrier["JitterStrategy"] = jitter
    longest = min(5 * 1.5**count, 120)
    wait = retry_seconds(retrier, count)
    assert 0 <= wait <= longest
    assert wait == longest or jitter == "FULL"


def test_wait_before_a_repetition_has_defaults() -> None:
    assert [retry_seconds({}, count) for count in range(4)] == [1, 2, 4, 8]


def test_listing_goes_on_though_objects_are_written_meanwhile() -> None:
    objects = {"a": 1, "b": 2}
    looks = 0

    def look() -> list[str]:
        nonlocal looks
        looks += 1
        return [key for key in objects if objects.setdefault(f"new {min(looks, 2)}", 0) == 0]

    assert undisturbed(look) == ["a", "b", "new 1", "new 2"]
    assert looks == 3


def test_listing_that_fails_for_another_reason_fails() -> None:
    def look() -> None:
        raise RuntimeError("no such thing")

    with pytest.raises(RuntimeError, match="no such thing"):
        undisturbed(look)


# -- the line of those that were throttled ------------------------------------------------------


class Line:
    """Calls in threads of their own that wait for a room that only the test makes."""

    def __init__(self, *, has_room: bool = False) -> None:
        self.has_room = has_room
        self.gone: list[str] = []
        self._line = WaitingLine(lambda: self.has_room, wait_scale=0)
        self._threads: list[threading.Thread] = []

    def join(self, name: str, seconds: float = 60, *, is_task: bool) -> None:
        """Have a call wait; returns when it stands in the line or has gone."""

        def wait() -> None:
            self._line.wait(seconds, is_task=is_task)
            self.gone.append(name)

        length = self._length
        thread = threading.Thread(target=wait, daemon=True)
        self._threads.append(thread)
        thread.start()
        while self._length == length and name not in self.gone:
            time.sleep(0.001)

    def call_next(self) -> None:
        """Make room for one, and wait until it has gone."""
        expected = len(self.gone) + min(self._length, 1)
        self._line.call_next()
        while len(self.gone) < expected:
            time.sleep(0.001)

    def end(self) -> None:
        for thread in self._threads:
            thread.join(10)

    @property
    def _length(self) -> int:
        return len(self._line._tasks) + len(self._line._events)


def test_tasks_go_before_events_each_in_their_order() -> None:
    line = Line()
    for name in ("event 1", "event 2"):
        line.join(name, is_task=False)
    for name in ("task 1", "task 2"):
        line.join(name, is_task=True)
    for _ in range(4):
        line.call_next()
    line.end()
    assert line.gone == ["task 1", "task 2", "event 1", "event 2"]


def test_nobody_waits_where_there_is_room_and_no_line() -> None:
    line = Line()
    line.join("before", is_task=False)
    line.has_room = True
    line.join("task", is_task=True)
    line.join("event", is_task=False)
    assert line.gone == ["task"], "an event came first, but tasks go before events"
    line.call_next()
    line.call_next()
    line.join("after", is_task=False)
    line.end()
    assert line.gone == ["task", "before", "event", "after"]


def test_nobody_waits_longer_than_on_aws() -> None:
    line = Line()
    line.join("impatient", 0.01, is_task=True)
    line.join("patient", is_task=True)
    while not line.gone:
        time.sleep(0.001)
    assert line.gone == ["impatient"]
    line.call_next()
    line.end()
    assert line.gone == ["impatient", "patient"]


# -- processes ----------------------------------------------------------------------------------


def worker(last_used: float, *, in_use: bool = False) -> SimpleNamespace:
    return SimpleNamespace(last_used=last_used, in_use=in_use)


def test_idle_processes_of_the_largest_pool_are_taken_and_busy_ones_never() -> None:
    oldest, busy = worker(1), worker(0, in_use=True)
    first, second, third = worker(2), worker(3), worker(4)
    runtime = SimpleNamespace(
        _lock=threading.Lock(), _workers={"a": [oldest, busy], "b": [third, first, second]}
    )
    assert take_idle(runtime, 5) == []
    assert take_idle(runtime, 3) == [first, second]
    assert runtime._workers == {"a": [oldest, busy], "b": [third]}
    assert take_idle(runtime, 2) == [oldest]
    assert take_idle(runtime, 0) == [third]
    assert take_idle(runtime, 0) == []
    assert runtime._workers == {"a": [busy], "b": []}


@pytest.mark.parametrize(
    ("cores", "gigabytes", "concurrent"),
    [(2, 24, 6), (8, 16, 7), (1, 2, 4), (8, 64, 24), (0.5, 64, 4), (512, 4096, 1000)],
)
def test_functions_fit_the_machine(cores: float, gigabytes: int, concurrent: int) -> None:
    limits = fitting_limits(cores=cores, memory_bytes=gigabytes * GIGABYTE)
    assert limits == FunctionLimits(concurrent=concurrent, processes=6 * concurrent)


def test_container_may_have_less_than_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(function_limits, "_CONTROL_GROUP", tmp_path)
    whole = limits_of_this_machine()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert limits_of_this_machine() == whole
    (tmp_path / "memory.max").write_text(f"{2 * GIGABYTE}\n")
    assert limits_of_this_machine().concurrent == 4
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert limits_of_this_machine().concurrent == 4


def test_emulator_is_told_its_limits(tmp_path: Path) -> None:
    limits = FunctionLimits(concurrent=7, processes=9)
    options = EmulatorOptions(wait_scale=1, check_permissions=True, limits=limits)
    environment = emulator_environment(4566, tmp_path, options)
    assert environment["LAMBDA_ACCOUNT_CONCURRENCY"] == "7"
    assert environment["GROQ_BATCH_EMULATOR_PROCESSES"] == "9"
