"""Run the state machine that the template ships, exactly, by the clock that it is given.

It is the same machine because it is the same file: ``statemachine/batch_job.asl.json`` is read as
it is, with its substitutions filled in as CloudFormation does, and everything in it is executed:
every expression is evaluated, every Retry counted and every Catch followed. ``definition`` refuses
to load what this driver does not know. What the documentation of Step Functions leaves open fails
when a run comes to it, such as a Map over nothing.

What it takes from AWS:

- Retriers are asked in order and the first that names the error decides; its attempts are counted
  for each visit of a state; the delay grows by the rate up to its maximum; with full jitter it is
  any part of that.
- ``States.ALL`` names every error but ``States.Runtime`` and ``States.DataLimitExceeded``;
  ``States.TaskFailed`` every error but ``States.Timeout``. A JSONata error in a Choice or a Wait
  ends the execution.
- A Distributed Map lists its objects, gives each to a child with an execution, a context and a
  history of its own, and writes the children's results to the bucket. Children see the item that
  they were given and nothing else. Once more of them have failed than it tolerates (none, unless it
  says otherwise), the others are stopped and it fails.
- A history takes 25,000 events, a state's data 256 KiB. Both ends of an execution that has too much
  cannot be caught.
- A redriven execution continues where it failed; of a Map, the children that did not succeed do.

What it does not model: Express executions, the delivery of the history, quotas of the account, the
price, and time that passes between two states.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from local import asl
from local.asl import Retrier
from local.state_machine.definition import (
    Choice,
    Fail,
    Machine,
    Map,
    State,
    States,
    Succeed,
    Task,
    Wait,
)
from local.state_machine.expressions import (
    Evaluate,
    EvaluationError,
    UnknownFeatureError,
)

MAX_EVENTS = 25_000
MAX_DATA_BYTES = 262_144
MAX_WAIT_SECONDS = 99_999_999

Pause = Iterator[float]
"""A process in virtual time: yields the times (seconds since 1970) at which it continues."""


class TaskError(Exception):
    """A task ended with an error of this name, as Step Functions sees it."""

    def __init__(self, name: str, cause: str = "") -> None:
        super().__init__(name)
        self.name = name
        self.cause = cause


class _EndedError(Exception):
    """The execution has ended in a way that no Catch can handle."""

    def __init__(self, status: str, error: str, cause: str) -> None:
        super().__init__(f"{status}: {error}")
        self.status = status
        self.error = error
        self.cause = cause


class Environment(Protocol):
    """Interface of the environment that an execution runs in."""

    def now(self) -> float:
        """Return the time in seconds since 1970."""

    def jitter(self, seconds: float) -> float:
        """Return a part of a delay."""

    def invoke(self, function: str, payload: Any) -> Iterator[float]:
        """Run a Lambda function; the generator returns its answer.

        Closing the generator means that the answer is no longer awaited.

        Raises:
            TaskError: It failed.
        """

    def list_objects(self, bucket: str, prefix: str) -> list[dict[str, Any]]:
        """Return what the reader of a Map sees below a prefix.

        Raises:
            TaskError: It cannot be read.
        """

    def write_object(self, bucket: str, key: str, data: bytes) -> None:
        """Store what the writer of a Map writes.

        Raises:
            TaskError: It cannot be written.
        """


@dataclass(slots=True)
class _MapRun:
    """The children of a running Map."""

    number: int
    children: list[Execution]


@dataclass(slots=True)
class Execution:
    """One execution: of the machine, or of a Map's child.

    Attributes:
        name: Its name.
        arn: Its ARN.
        status: ``RUNNING``, ``SUCCEEDED``, ``FAILED``, ``TIMED_OUT`` or ``ABORTED``.
        output: What it ended with.
        error: The name of the error that it ended with, if any.
        cause: The text that explains the error.
        events: Events of its history.
        visits: The states that it has entered, in order.
        redrives: How often it was redriven.
        on_visit: Called with the name of each state that it or a child of it enters.
    """

    machine_arn: str
    states: States
    environment: Environment
    name: str
    arn: str
    input: Any
    timeout: float = float("inf")
    status: str = "RUNNING"
    output: Any = None
    error: str | None = None
    cause: str = ""
    events: int = 0
    visits: list[str] = field(default_factory=list)
    redrives: int = 0
    on_visit: Callable[[str], None] = lambda _: None
    _place: tuple[str, Any] | None = None
    _map_run: _MapRun | None = None
    _map_runs: int = 0

    @classmethod
    def begin(
        cls, machine: Machine, environment: Environment, *, name: str, arn: str, given: Any
    ) -> Execution:
        """Make an execution of a machine; ``run`` runs it."""
        return cls(
            machine_arn=machine.arn,
            states=machine.states,
            environment=environment,
            name=name,
            arn=arn,
            input=given,
            timeout=machine.timeout,
        )

    def run(self) -> Pause:
        """Run to the end, or from where it failed to the end; sets the status.

        A run that is closed before its end was stopped from outside.
        """
        self.status, self.error, self.cause = "RUNNING", None, ""
        deadline = self.environment.now() + self.timeout
        steps = self._run_states()
        try:
            self._count(1)
            for moment in steps:
                if moment > deadline:
                    yield deadline
                    self._time_out()
                yield moment
            self._count(1)
            self.status = "SUCCEEDED"
        except _EndedError as end:
            self.status, self.error, self.cause = end.status, end.error, end.cause
            self.events = min(self.events + 1, MAX_EVENTS)
        except GeneratorExit:
            self.status = "ABORTED"
            raise
        finally:
            steps.close()
            if self.status != "SUCCEEDED":
                self._abort_children()

    def redrive(self) -> Pause:
        """Continue where it failed, with retry counters at zero."""
        if self.status not in ("FAILED", "TIMED_OUT", "ABORTED"):
            raise ValueError(f"An execution that is {self.status} cannot be redriven")
        self.redrives += 1
        return self.run()

    @staticmethod
    def _time_out() -> NoReturn:
        raise _EndedError("TIMED_OUT", "States.Timeout", "")

    # -- states ----------------------------------------------------------------------------------

    def _run_states(self) -> Any:
        if self._place is None:
            self._place = (self.states.start, self.input)
        while True:
            name, given = self._place
            self._check_size(given)
            state = self.states.by_name[name]
            self.visits.append(name)
            self.on_visit(name)
            if isinstance(state, Succeed):
                self._count(2)
                self.output = given
                return
            following, output = yield from self._run_state(state, given)
            self._place = (following, output)

    def _run_state(self, state: State, given: Any) -> Any:
        """Run a state; returns the next one and its input."""
        if isinstance(state, Choice):
            self._count(2)
            return self._choose(state, given), given
        if isinstance(state, Wait):
            self._count(2)
            return state.next, (yield from self._wait(state, given))
        if isinstance(state, Fail):
            self._count(1)
            states = self._states(given)
            raise _EndedError(
                "FAILED", _or_fail(state.error, states), _or_fail(state.cause, states)
            )
        if isinstance(state, Task | Map):
            return (yield from self._with_retries(state, given))
        raise AssertionError(state)

    def _choose(self, state: Choice, given: Any) -> str | None:
        for condition, target in state.rules:
            value = _or_fail(condition, self._states(given))
            if not isinstance(value, bool):
                raise _EndedError(
                    "FAILED", "States.QueryEvaluationError", f"{state.name}: {value!r} is no truth"
                )
            if value:
                return target
        return state.next

    def _wait(self, state: Wait, given: Any) -> Any:
        seconds = _or_fail(state.seconds, self._states(given))
        is_number = isinstance(seconds, int) and not isinstance(seconds, bool)
        if not is_number or not 0 <= seconds <= MAX_WAIT_SECONDS:
            raise _EndedError(
                "FAILED", "States.QueryEvaluationError", f"{state.name} for {seconds!r} seconds"
            )
        yield self.environment.now() + seconds
        return _or_fail(state.output, self._states(given))

    def _with_retries(self, state: Task | Map, given: Any) -> Any:
        """Run a state that may fail, again as its Retry says, then as its Catch says."""
        counts = [0] * len(state.retriers)
        while True:
            try:
                if isinstance(state, Task):
                    output = yield from self._run_task(state, given)
                else:
                    output = yield from self._run_map(state, given)
            except (TaskError, EvaluationError) as error:
                name, cause = error.name, error.cause
                # A retry of a Map runs it again, over all its items.
                self._map_run = None
            else:
                self._check_size(output)
                return state.next, output
            if name in asl.UNCATCHABLE:
                raise _EndedError("FAILED", name, cause)
            delay = self._delay(state.retriers, counts, name)
            if delay is None:
                return self._caught(state, given, name, cause)
            yield self.environment.now() + delay

    def _delay(self, retriers: Sequence[Retrier], counts: list[int], name: str) -> float | None:
        """Return the delay before another try, or None when there is none."""
        for place, retrier in enumerate(retriers):
            if not asl.names(retrier.errors, name):
                continue
            if counts[place] >= retrier.attempts:
                return None
            counts[place] += 1
            delay = retrier.delay(counts[place])
            return self.environment.jitter(delay) if retrier.has_jitter else delay
        return None

    def _caught(self, state: Task | Map, given: Any, name: str, cause: str) -> tuple[str, Any]:
        error = {"Error": name, "Cause": cause}
        self._count(2)
        for catcher in state.catchers:
            if not asl.names(catcher.errors, name):
                continue
            if catcher.output is not None:
                states = self._states(given) | {"errorOutput": error}
                return catcher.next, _or_fail(catcher.output, states)
            return catcher.next, catcher.put(given, error)
        raise _EndedError("FAILED", name, cause)

    # -- tasks -----------------------------------------------------------------------------------

    def _run_task(self, state: Task, given: Any) -> Any:
        """Run a task once: entered or tried again, scheduled, started, ended."""
        self._count(3)
        states = self._states(given)
        call = state.function(states)
        self._check_size(call["Payload"])
        deadline = self.environment.now() + state.timeout
        answer = self.environment.invoke(call["FunctionName"], call["Payload"])
        try:
            payload = yield from _until(answer, deadline)
        finally:
            answer.close()  # type: ignore[attr-defined]
        self._check_size(payload)
        self._count(2)
        return state.output(states | {"result": {"Payload": payload, "StatusCode": 200}})

    # -- maps ------------------------------------------------------------------------------------

    def _run_map(self, state: Map, given: Any) -> Any:
        self._count(3)
        roots = {"$": given, "$$": self._context()}
        run = self._map_run
        if run is None:
            listed = state.reader(roots)
            items = self.environment.list_objects(listed["Bucket"], listed["Prefix"])
            if not items:
                raise UnknownFeatureError(
                    f"{state.name} has nothing below {listed['Prefix']}; what AWS does then is "
                    f"not documented"
                )
            self._map_runs += 1
            children = [
                self._child(state, number, roots, item) for number, item in enumerate(items)
            ]
            run = self._map_run = _MapRun(self._map_runs, children)
        yield from self._run_children(state, run)
        written = state.writer(roots)
        folder = f"{written['Prefix']}/{self.name}-{run.number}"
        result = self._write_results(written["Bucket"], folder, run.children)
        is_tolerable = _is_tolerable(state, run)
        self._map_run = None
        if not is_tolerable:
            raise TaskError(
                "States.ExceedToleratedFailureThreshold",
                "The specified tolerated failure threshold was exceeded",
            )
        self._count(3)
        return state.put(given, result)

    def _child(self, state: Map, number: int, roots: Mapping[str, Any], item: Any) -> Execution:
        context = {**roots["$$"], "Map": {"Item": {"Index": number, "Value": item}}}
        name = f"{self.name}-{self._map_runs}-{number}"
        child_input = state.selector({"$": roots["$"], "$$": context})
        self._check_size(child_input)
        return Execution(
            machine_arn=f"{self.machine_arn}/{state.label}",
            states=state.states,
            environment=self.environment,
            name=name,
            arn=f"{self.arn}/{state.label}:{name}",
            # A child gets a copy, so that it cannot change its parent's data.
            input=json.loads(json.dumps(child_input)),
            on_visit=self.on_visit,
        )

    def _run_children(self, state: Map, run: _MapRun) -> Any:
        """Run children concurrently, as many as the state allows, each in its own time."""
        waiting = deque(child for child in run.children if child.status != "SUCCEEDED")
        running: list[tuple[float, int, Pause]] = []
        order = 0
        try:
            while waiting or running:
                while waiting and len(running) < state.concurrency:
                    child = waiting.popleft()
                    order += 1
                    steps = child.run() if child._place is None else child.redrive()
                    heapq.heappush(running, (self.environment.now(), order, steps))
                moment, place, steps = heapq.heappop(running)
                if moment > self.environment.now():
                    heapq.heappush(running, (moment, place, steps))
                    yield moment
                    continue
                following = next(steps, None)
                if following is not None:
                    order += 1
                    heapq.heappush(running, (following, order, steps))
                elif not _is_tolerable(state, run):
                    return
        finally:
            for _, _, steps in running:
                steps.close()  # type: ignore[attr-defined]

    def _write_results(
        self, bucket: str, folder: str, children: Sequence[Execution]
    ) -> dict[str, Any]:
        results = [
            {"Input": child.input, "Output": child.output, "Status": child.status}
            for child in children
        ]
        manifest = {"DestinationBucket": bucket, "ResultFiles": {"SUCCEEDED": [f"{folder}/0"]}}
        key = f"{folder}/manifest.json"
        self.environment.write_object(
            bucket, f"{folder}/SUCCEEDED_0.json", json.dumps(results).encode()
        )
        self.environment.write_object(bucket, key, json.dumps(manifest).encode())
        return {
            "MapRunArn": f"{self.arn}/map-{self._map_runs}",
            "ResultWriterDetails": {"Bucket": bucket, "Key": key},
        }

    def _abort_children(self) -> None:
        """Stop the children that have not ended; their functions run on."""
        for child in self._map_run.children if self._map_run else ():
            if child.status == "RUNNING":
                child.status = "ABORTED"

    # -- what every state has --------------------------------------------------------------------

    def _context(self) -> dict[str, Any]:
        name = self._place[0] if self._place else self.states.start
        return {
            "Execution": {"Id": self.arn, "Input": self.input, "Name": self.name},
            "State": {"Name": name},
            "StateMachine": {"Id": self.machine_arn},
        }

    def _states(self, given: Any) -> dict[str, Any]:
        return {"input": given, "context": self._context()}

    def _count(self, events: int) -> None:
        self.events += events
        if self.events >= MAX_EVENTS:
            raise _EndedError(
                "FAILED",
                "States.Runtime",
                f"The execution reached the maximum number of history events ({MAX_EVENTS}).",
            )

    def _check_size(self, data: Any) -> None:
        if len(json.dumps(data, ensure_ascii=False).encode()) > MAX_DATA_BYTES:
            raise _EndedError(
                "FAILED",
                "States.DataLimitExceeded",
                "The data of a state is longer than 256 KiB",
            )


def _is_tolerable(state: Map, run: _MapRun) -> bool:
    """Tell whether the number of failed children is within the Map's tolerance."""
    failed = sum(child.status in ("FAILED", "TIMED_OUT") for child in run.children)
    return failed * 100 <= state.tolerated * len(run.children)


def _until(steps: Iterator[float], deadline: float) -> Any:
    """Run a process up to a deadline; return its result."""
    while True:
        try:
            moment = next(steps)
        except StopIteration as end:
            return end.value
        if moment > deadline:
            yield deadline
            raise TaskError("States.Timeout")
        yield moment


def _or_fail(evaluate: Evaluate, states: Mapping[str, Any]) -> Any:
    """Evaluate a field of a state that has no Catch."""
    try:
        return evaluate(states)
    except EvaluationError as error:
        raise _EndedError("FAILED", error.name, error.cause) from None
