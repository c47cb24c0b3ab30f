"""Runs the state machine that the template ships, exactly, by the clock that it is given.

It is the same machine because it is the same file: ``statemachine/batch_job.asl.json`` is read as
it is, with its substitutions filled in as CloudFormation does, and everything in it is executed:
every expression is evaluated, every Retry counted and every Catch followed. A field, a type of
state, a path or a resource that this driver does not know fails the loading, so that the file
cannot grow away from it. What the documentation of Step Functions leaves open fails as well when a
run comes to it, such as a Map over nothing.

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
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

from local import asl
from local.asl import Retrier
from local.state_machine.expressions import (
    Evaluate,
    EvaluationError,
    UnknownFeatureError,
    jsonata_template,
    path_template,
    result_path,
)

MAX_EVENTS = 25_000
MAX_DATA_BYTES = 262_144
MAX_WAIT_SECONDS = 99_999_999

LAMBDA_INVOKE = "arn:aws:states:::lambda:invoke"
LIST_OBJECTS = "arn:aws:states:::s3:listObjectsV2"
PUT_OBJECT = "arn:aws:states:::s3:putObject"

_JSONPATH = "JSONPath"
_JSONATA = "JSONata"

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


# -- the definition ------------------------------------------------------------------------------


class _Fields:
    """Reads the fields of an object one by one, and refuses unread ones."""

    def __init__(self, where: str, data: Any) -> None:
        if not isinstance(data, Mapping):
            raise UnknownFeatureError(f"{where} is not an object")
        self._where = where
        self._left = dict(data)
        self._left.pop("Comment", None)

    def take(self, name: str, *kinds: type, default: Any = ...) -> Any:
        """Return a field of one of these types."""
        if name not in self._left:
            if default is ...:
                raise UnknownFeatureError(f"{self._where} has no {name}")
            return default
        value = self._left.pop(name)
        if (kinds and not isinstance(value, kinds)) or (
            isinstance(value, bool) and bool not in kinds
        ):
            raise UnknownFeatureError(f"{self._where}: {name} is {value!r}")
        return value

    def expect(self, name: str, *values: Any) -> None:
        """Take a field that must be one of these."""
        value = self.take(name)
        if value not in values:
            raise UnknownFeatureError(f"{self._where}: {name} is {value!r}, not of {values}")

    def end(self) -> None:
        """Refuse the fields that were not read."""
        if self._left:
            raise UnknownFeatureError(f"{self._where} has unknown fields: {sorted(self._left)}")


@dataclass(frozen=True, slots=True)
class _Catcher:
    errors: tuple[str, ...]
    next: str
    output: Evaluate | None = None
    put: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    name: str
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task(_State):
    function: Evaluate
    output: Evaluate
    timeout: int
    retriers: tuple[Retrier, ...]
    catchers: tuple[_Catcher, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice(_State):
    rules: tuple[tuple[Evaluate, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wait(_State):
    seconds: Evaluate
    output: Evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Succeed(_State):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fail(_State):
    error: Evaluate
    cause: Evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Map(_State):
    label: str
    concurrency: int
    tolerated: float
    reader: Evaluate
    selector: Evaluate
    writer: Evaluate
    put: Any
    states: States
    retriers: tuple[Retrier, ...]
    catchers: tuple[_Catcher, ...]


@dataclass(frozen=True, slots=True)
class States:
    """States and the name of the first one."""

    start: str
    by_name: Mapping[str, _State]


class Machine:
    """A state machine's definition.

    Attributes:
        arn: Its ARN.
        states: Its states.
        timeout: Its time limit in seconds.
    """

    def __init__(self, definition: Mapping[str, Any], *, arn: str) -> None:
        """Compile a definition.

        Raises:
            UnknownFeatureError: It has something that this driver does not know.
        """
        fields = _Fields("The machine", definition)
        self.arn = arn
        self.timeout: int = fields.take("TimeoutSeconds", int)
        if fields.take("QueryLanguage", str, default=_JSONPATH) != _JSONPATH:
            raise UnknownFeatureError("JSONata as the language of the whole machine")
        self.states = _parse_states(fields)
        fields.end()

    @classmethod
    def load(cls, path: Path, substitutions: Mapping[str, str], *, arn: str) -> Machine:
        """Read a definition as CloudFormation does, with ``${…}`` filled in.

        Raises:
            UnknownFeatureError: A placeholder has no value, or a value no placeholder.
        """
        text = path.read_text(encoding="utf-8")
        names = set(re.findall(r"\$\{([A-Za-z0-9]+)\}", text))
        if names != set(substitutions):
            odd = sorted(names ^ set(substitutions))
            raise UnknownFeatureError(f"The definition and its substitutions differ in {odd}")
        for name, value in substitutions.items():
            text = text.replace(f"${{{name}}}", value)
        return cls(json.loads(text), arn=arn)


def _parse_states(fields: _Fields) -> States:
    start = fields.take("StartAt", str)
    found = fields.take("States", dict)
    by_name = {name: _parse_state(name, data) for name, data in found.items()}
    targets = {start} | {one.target for data in found.values() for one in asl.transitions(data)}
    if targets - set(by_name):
        raise UnknownFeatureError(f"There are no states {sorted(targets - set(by_name))}")
    return States(start, by_name)


def _parse_state(name: str, data: Mapping[str, Any]) -> _State:
    fields = _Fields(f"The state {name}", data)
    kind = fields.take("Type", str)
    language = fields.take("QueryLanguage", str, default=_JSONPATH)
    parsers = {
        ("Task", _JSONATA): _parse_task,
        ("Choice", _JSONATA): _parse_choice,
        ("Wait", _JSONATA): _parse_wait,
        ("Fail", _JSONATA): _parse_fail,
        ("Succeed", _JSONATA): _parse_succeed,
        ("Succeed", _JSONPATH): _parse_succeed,
        ("Map", _JSONPATH): _parse_map,
    }
    parser = parsers.get((kind, language))
    if parser is None:
        raise UnknownFeatureError(f"The state {name} is a {kind} in {language}")
    state: _State = parser(name, fields)
    fields.end()
    return state


def _parse_task(name: str, fields: _Fields) -> _Task:
    fields.expect("Resource", LAMBDA_INVOKE)
    arguments = fields.take("Arguments", dict)
    if set(arguments) != {"FunctionName", "Payload"}:
        raise UnknownFeatureError(f"The state {name} has the arguments {sorted(arguments)}")
    return _Task(
        name=name,
        next=fields.take("Next", str),
        function=jsonata_template(arguments),
        output=jsonata_template(fields.take("Output", str)),
        timeout=fields.take("TimeoutSeconds", int),
        retriers=_parse_retriers(name, fields),
        catchers=_parse_catchers(name, fields, _JSONATA),
    )


def _parse_choice(name: str, fields: _Fields) -> _Choice:
    rules = []
    for number, data in enumerate(fields.take("Choices", list)):
        rule = _Fields(f"Rule {number} of the state {name}", data)
        condition = jsonata_template(rule.take("Condition", str))
        rules.append((condition, rule.take("Next", str)))
        rule.end()
    return _Choice(name=name, rules=tuple(rules), next=fields.take("Default", str))


def _parse_wait(name: str, fields: _Fields) -> _Wait:
    return _Wait(
        name=name,
        next=fields.take("Next", str),
        seconds=jsonata_template(fields.take("Seconds", str, int)),
        output=jsonata_template(fields.take("Output", str, default="{% $states.input %}")),
    )


def _parse_succeed(name: str, _: _Fields) -> _Succeed:
    return _Succeed(name=name)


def _parse_fail(name: str, fields: _Fields) -> _Fail:
    return _Fail(
        name=name,
        error=jsonata_template(fields.take("Error", str)),
        cause=jsonata_template(fields.take("Cause", str)),
    )


def _parse_map(name: str, fields: _Fields) -> _Map:
    reader = _Fields(f"The reader of {name}", fields.take("ItemReader", dict))
    reader.expect("Resource", LIST_OBJECTS)
    listed = reader.take("Parameters", dict)
    reader.end()
    writer = _Fields(f"The writer of {name}", fields.take("ResultWriter", dict))
    writer.expect("Resource", PUT_OBJECT)
    written = writer.take("Parameters", dict)
    writer.end()
    for given in (listed, written):
        if {key.removesuffix(".$") for key in given} != {"Bucket", "Prefix"}:
            raise UnknownFeatureError(f"The state {name} reads or writes with {sorted(given)}")
    processor = _Fields(f"The processor of {name}", fields.take("ItemProcessor", dict))
    config = _Fields(f"The processor of {name}", processor.take("ProcessorConfig", dict))
    config.expect("Mode", "DISTRIBUTED")
    config.expect("ExecutionType", "STANDARD")
    config.end()
    states = _parse_states(processor)
    processor.end()
    return _Map(
        name=name,
        next=fields.take("Next", str),
        label=fields.take("Label", str),
        concurrency=fields.take("MaxConcurrency", int),
        tolerated=fields.take("ToleratedFailurePercentage", int, default=0),
        reader=path_template(listed),
        selector=path_template(fields.take("ItemSelector", dict)),
        writer=path_template(written),
        put=result_path(fields.take("ResultPath", str, type(None))),
        states=states,
        retriers=_parse_retriers(name, fields),
        catchers=_parse_catchers(name, fields, _JSONPATH),
    )


def _parse_retriers(name: str, fields: _Fields) -> tuple[Retrier, ...]:
    retriers = []
    for number, data in enumerate(fields.take("Retry", list, default=[])):
        one = _Fields(f"Retrier {number} of the state {name}", data)
        jitter = one.take("JitterStrategy", str, default="NONE")
        if jitter not in ("FULL", "NONE"):
            raise UnknownFeatureError(f"The jitter {jitter} of the state {name}")
        one.take("ErrorEquals", list)
        one.take("BackoffRate", int, float, default=None)
        for whole in ("IntervalSeconds", "MaxAttempts", "MaxDelaySeconds"):
            one.take(whole, int, default=None)
        one.end()
        retriers.append(Retrier.from_json(data))
    return tuple(retriers)


def _parse_catchers(name: str, fields: _Fields, language: str) -> tuple[_Catcher, ...]:
    catchers = []
    for number, data in enumerate(fields.take("Catch", list, default=[])):
        one = _Fields(f"Catcher {number} of the state {name}", data)
        errors, target = tuple(one.take("ErrorEquals", list)), one.take("Next", str)
        if language == _JSONATA:
            output = jsonata_template(one.take("Output", str))
            catchers.append(_Catcher(errors, target, output=output))
        else:
            catchers.append(_Catcher(errors, target, put=result_path(one.take("ResultPath", str))))
        one.end()
    return tuple(catchers)


# -- executions ----------------------------------------------------------------------------------


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
            if isinstance(state, _Succeed):
                self._count(2)
                self.output = given
                return
            following, output = yield from self._run_state(state, given)
            self._place = (following, output)

    def _run_state(self, state: _State, given: Any) -> Any:
        """Run a state; returns the next one and its input."""
        if isinstance(state, _Choice):
            self._count(2)
            return self._choose(state, given), given
        if isinstance(state, _Wait):
            self._count(2)
            return state.next, (yield from self._wait(state, given))
        if isinstance(state, _Fail):
            self._count(1)
            states = self._states(given)
            raise _EndedError(
                "FAILED", _or_fail(state.error, states), _or_fail(state.cause, states)
            )
        if isinstance(state, _Task | _Map):
            return (yield from self._with_retries(state, given))
        raise AssertionError(state)

    def _choose(self, state: _Choice, given: Any) -> str | None:
        for condition, target in state.rules:
            value = _or_fail(condition, self._states(given))
            if not isinstance(value, bool):
                raise _EndedError(
                    "FAILED", "States.QueryEvaluationError", f"{state.name}: {value!r} is no truth"
                )
            if value:
                return target
        return state.next

    def _wait(self, state: _Wait, given: Any) -> Any:
        seconds = _or_fail(state.seconds, self._states(given))
        is_number = isinstance(seconds, int) and not isinstance(seconds, bool)
        if not is_number or not 0 <= seconds <= MAX_WAIT_SECONDS:
            raise _EndedError(
                "FAILED", "States.QueryEvaluationError", f"{state.name} for {seconds!r} seconds"
            )
        yield self.environment.now() + seconds
        return _or_fail(state.output, self._states(given))

    def _with_retries(self, state: _Task | _Map, given: Any) -> Any:
        """Run a state that may fail, again as its Retry says, then as its Catch says."""
        counts = [0] * len(state.retriers)
        while True:
            try:
                if isinstance(state, _Task):
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

    def _caught(self, state: _Task | _Map, given: Any, name: str, cause: str) -> tuple[str, Any]:
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

    def _run_task(self, state: _Task, given: Any) -> Any:
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

    def _run_map(self, state: _Map, given: Any) -> Any:
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

    def _child(self, state: _Map, number: int, roots: Mapping[str, Any], item: Any) -> Execution:
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

    def _run_children(self, state: _Map, run: _MapRun) -> Any:
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


def _is_tolerable(state: _Map, run: _MapRun) -> bool:
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
