"""Read a definition in Amazon States Language into states that ``machine`` runs.

A field, a type of state, a path or a resource that the driver does not know fails the loading, so
that the file cannot grow away from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import asl
from local.asl import Retrier
from local.state_machine.expressions import (
    Evaluate,
    UnknownFeatureError,
    jsonata_template,
    path_template,
    result_path,
)

LAMBDA_INVOKE = "arn:aws:states:::lambda:invoke"
LIST_OBJECTS = "arn:aws:states:::s3:listObjectsV2"
PUT_OBJECT = "arn:aws:states:::s3:putObject"

_JSONPATH = "JSONPath"
_JSONATA = "JSONata"


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
class Catcher:
    """What follows an error.

    Attributes:
        errors: Names of the errors that it handles.
        next: The state that follows.
        output: Evaluates what that state gets, in JSONata.
        put: Adds the error to the input, in JSONPath.
    """

    errors: tuple[str, ...]
    next: str
    output: Evaluate | None = None
    put: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What all states have: a name, and the state that follows, if it is fixed."""

    name: str
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(State):
    """Calls a Lambda function."""

    function: Evaluate
    output: Evaluate
    timeout: int
    retriers: tuple[Retrier, ...]
    catchers: tuple[Catcher, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(State):
    """Goes to the state of the first rule that holds."""

    rules: tuple[tuple[Evaluate, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(State):
    """Waits some seconds."""

    seconds: Evaluate
    output: Evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeed(State):
    """Ends the execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(State):
    """Ends the execution with an error."""

    error: Evaluate
    cause: Evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class Map(State):
    """Runs states for each object that it lists, in children of the execution.

    Attributes:
        label: Its name in the names of its children.
        concurrency: Children that run at once.
        tolerated: Percentage of children that may fail.
        reader: Evaluates where the objects are.
        selector: Evaluates what a child gets.
        writer: Evaluates where the results go.
        put: Adds the result to the input.
        states: The states of a child.
        retriers: Its retriers.
        catchers: Its catchers.
    """

    label: str
    concurrency: int
    tolerated: float
    reader: Evaluate
    selector: Evaluate
    writer: Evaluate
    put: Any
    states: States
    retriers: tuple[Retrier, ...]
    catchers: tuple[Catcher, ...]


@dataclass(frozen=True, slots=True)
class States:
    """States and the name of the first one."""

    start: str
    by_name: Mapping[str, State]


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


def _parse_state(name: str, data: Mapping[str, Any]) -> State:
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
    state: State = parser(name, fields)
    fields.end()
    return state


def _parse_task(name: str, fields: _Fields) -> Task:
    fields.expect("Resource", LAMBDA_INVOKE)
    arguments = fields.take("Arguments", dict)
    if set(arguments) != {"FunctionName", "Payload"}:
        raise UnknownFeatureError(f"The state {name} has the arguments {sorted(arguments)}")
    return Task(
        name=name,
        next=fields.take("Next", str),
        function=jsonata_template(arguments),
        output=jsonata_template(fields.take("Output", str)),
        timeout=fields.take("TimeoutSeconds", int),
        retriers=_parse_retriers(name, fields),
        catchers=_parse_catchers(name, fields, _JSONATA),
    )


def _parse_choice(name: str, fields: _Fields) -> Choice:
    rules = []
    for number, data in enumerate(fields.take("Choices", list)):
        rule = _Fields(f"Rule {number} of the state {name}", data)
        condition = jsonata_template(rule.take("Condition", str))
        rules.append((condition, rule.take("Next", str)))
        rule.end()
    return Choice(name=name, rules=tuple(rules), next=fields.take("Default", str))


def _parse_wait(name: str, fields: _Fields) -> Wait:
    return Wait(
        name=name,
        next=fields.take("Next", str),
        seconds=jsonata_template(fields.take("Seconds", str, int)),
        output=jsonata_template(fields.take("Output", str, default="{% $states.input %}")),
    )


def _parse_succeed(name: str, _: _Fields) -> Succeed:
    return Succeed(name=name)


def _parse_fail(name: str, fields: _Fields) -> Fail:
    return Fail(
        name=name,
        error=jsonata_template(fields.take("Error", str)),
        cause=jsonata_template(fields.take("Cause", str)),
    )


def _parse_map(name: str, fields: _Fields) -> Map:
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
    return Map(
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


def _parse_catchers(name: str, fields: _Fields, language: str) -> tuple[Catcher, ...]:
    catchers = []
    for number, data in enumerate(fields.take("Catch", list, default=[])):
        one = _Fields(f"Catcher {number} of the state {name}", data)
        errors, target = tuple(one.take("ErrorEquals", list)), one.take("Next", str)
        if language == _JSONATA:
            output = jsonata_template(one.take("Output", str))
            catchers.append(Catcher(errors, target, output=output))
        else:
            catchers.append(Catcher(errors, target, put=result_path(one.take("ResultPath", str))))
        one.end()
    return tuple(catchers)
