"""The driver of the state machine does what Step Functions documents, and refuses what it does not.

The small definitions here are made of the same parts as the shipped one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest

from local.state_machine.definition import Machine
from local.state_machine.expressions import (
    EvaluationError,
    UnknownFeatureError,
    jsonata_template,
    path_template,
    result_path,
)
from local.state_machine.machine import MAX_EVENTS, Execution, TaskError
from tests.harness.world import DEFINITION, SUBSTITUTIONS, shipped_machine

ARN = "arn:aws:states:us-east-1:000000000000:stateMachine:Test"


@dataclass
class Stage:
    """A machine's environment in which functions are Python functions and time is a number."""

    functions: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    objects: list[str] = field(default_factory=list)
    written: dict[str, Any] = field(default_factory=dict)
    moment: float = 0.0
    seconds: float = 0.0
    calls: list[tuple[float, str, Any]] = field(default_factory=list)
    reader_errors: int = 0

    def now(self) -> float:
        return self.moment

    def jitter(self, seconds: float) -> float:
        return seconds

    def invoke(self, function: str, payload: Any) -> Iterator[float]:
        yield self.moment + self.seconds
        self.calls.append((self.moment, function, payload))
        return self.functions[function](payload)

    def list_objects(self, bucket: str, prefix: str) -> list[dict[str, Any]]:
        if self.reader_errors:
            self.reader_errors -= 1
            raise TaskError("States.ItemReaderFailed")
        return [{"Key": key} for key in self.objects if key.startswith(prefix)]

    def write_object(self, bucket: str, key: str, data: bytes) -> None:
        self.written[key] = json.loads(data)

    def execute(self, definition: dict[str, Any], given: Any) -> Execution:
        machine = Machine(definition, arn=ARN)
        execution = Execution.begin(machine, self, name="run", arn=f"{ARN}:run", given=given)
        self.follow(execution.run())
        return execution

    def follow(self, steps: Iterator[float], until: float = float("inf")) -> None:
        for moment in steps:
            if moment > until:
                return
            self.moment = max(self.moment, moment)


def task(following: str, **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "QueryLanguage": "JSONata",
        "Resource": "arn:aws:states:::lambda:invoke",
        "TimeoutSeconds": 60,
        "Arguments": {"FunctionName": "work", "Payload": {"n": "{% $states.input.n %}"}},
        "Output": "{% $merge([$states.input, $states.result.Payload]) %}",
        "Next": following,
        **fields,
    }


def retrier(*errors: str, attempts: int = 2, **fields: Any) -> dict[str, Any]:
    return {
        "ErrorEquals": list(errors),
        "IntervalSeconds": 10,
        "BackoffRate": 2,
        "MaxAttempts": attempts,
        **fields,
    }


def catcher(*errors: str) -> dict[str, Any]:
    return {
        "ErrorEquals": list(errors),
        "Output": "{% $merge([$states.input, {'caught': $states.errorOutput}]) %}",
        "Next": "Caught",
    }


def succeed() -> dict[str, Any]:
    return {"Type": "Succeed", "QueryLanguage": "JSONata"}


def machine(**states: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "TimeoutSeconds": 100_000, "States": states}


def failing(*names: str) -> Callable[[Any], Any]:
    """Return a function that fails with each of these errors, then answers."""
    left = list(names)

    def function(payload: Any) -> Any:
        if left:
            raise TaskError(left.pop(0), "because")
        return {"done": payload["n"]}

    return function


# -- tasks, retries, catches ---------------------------------------------------------------------


def test_task_merges_its_answer() -> None:
    stage = Stage({"work": lambda payload: {"done": payload["n"] + 1}})
    execution = stage.execute(machine(Work=task("End"), End=succeed()), {"n": 1, "kept": None})
    assert execution.status == "SUCCEEDED"
    assert execution.output == {"n": 1, "kept": None, "done": 2}
    # Started, five of the task, two of the last state, succeeded.
    assert execution.events == 9


def test_delays_grow_up_to_the_longest() -> None:
    retry = [retrier("States.TaskFailed", attempts=5, MaxDelaySeconds=30)]
    stage = Stage({"work": failing(*["BrokenError"] * 4)})
    execution = stage.execute(machine(Work=task("End", Retry=retry), End=succeed()), {"n": 1})
    assert execution.status == "SUCCEEDED"
    assert [moment for moment, _, _ in stage.calls] == [0, 10, 30, 60, 90]
    assert execution.events == 9 + 4 * 3


def test_jitter_is_some_part_of_the_delay() -> None:
    stage = Stage({"work": failing("BrokenError")})
    stage.jitter = lambda seconds: seconds / 4  # type: ignore[method-assign]
    retry = [retrier("BrokenError", JitterStrategy="FULL")]
    stage.execute(machine(Work=task("End", Retry=retry), End=succeed()), {"n": 1})
    assert [moment for moment, _, _ in stage.calls] == [0, 2.5]


def test_first_retrier_that_names_the_error_decides() -> None:
    retry = [retrier("Lambda.Unknown", attempts=1), retrier("States.TaskFailed", attempts=3)]
    definition = machine(
        Work=task("End", Retry=retry, Catch=[catcher("States.ALL")]),
        End=succeed(),
        Caught=succeed(),
    )
    stage = Stage({"work": failing("Lambda.Unknown", "BrokenError", "Lambda.Unknown")})
    execution = stage.execute(definition, {"n": 1})
    # Its one attempt is used up; the second retrier is not asked, though it would take the error.
    assert execution.output["caught"] == {"Error": "Lambda.Unknown", "Cause": "because"}
    assert len(stage.calls) == 3


def test_every_visit_of_a_state_counts_anew() -> None:
    definition = machine(
        Work=task("Again", Retry=[retrier("BrokenError", attempts=1)]),
        Again={
            "Type": "Choice",
            "QueryLanguage": "JSONata",
            "Choices": [{"Condition": "{% $states.input.done < 3 %}", "Next": "Wait"}],
            "Default": "End",
        },
        Wait={
            "Type": "Wait",
            "QueryLanguage": "JSONata",
            "Seconds": "{% $states.input.n * 5 %}",
            "Output": "{% $merge([$states.input, {'n': $states.input.n + 1}]) %}",
            "Next": "Work",
        },
        End=succeed(),
    )
    broken = [True, False] * 3

    def work(payload: Any) -> Any:
        if broken.pop(0):
            raise TaskError("BrokenError")
        return {"done": payload["n"]}

    stage = Stage({"work": work})
    execution = stage.execute(definition, {"n": 1})
    assert execution.output == {"n": 3, "done": 3}
    assert [moment for moment, _, _ in stage.calls] == [0, 10, 15, 25, 35, 45]


@pytest.mark.parametrize(
    ("name", "errors", "expected"),
    [
        ("BrokenError", ("States.ALL",), True),
        ("BrokenError", ("States.TaskFailed",), True),
        ("BrokenError", ("BrokenError",), True),
        ("BrokenError", ("OtherError",), False),
        ("Sandbox.Timedout", ("States.TaskFailed",), True),
        ("States.Timeout", ("States.TaskFailed",), False),
        ("States.Timeout", ("States.TaskFailed", "States.Timeout"), True),
        ("States.Timeout", ("States.ALL",), True),
        ("States.Runtime", ("States.ALL",), False),
        ("States.DataLimitExceeded", ("States.ALL",), False),
    ],
)
def test_what_catches_what(name: str, errors: tuple[str, ...], expected: bool) -> None:
    definition = machine(
        Work=task("End", Catch=[catcher(*errors)]), End=succeed(), Caught=succeed()
    )
    execution = Stage({"work": failing(name)}).execute(definition, {"n": 1})
    assert (execution.status, execution.error) == (
        ("SUCCEEDED", None) if expected else ("FAILED", name)
    )


def test_task_that_takes_too_long_times_out_and_goes_on() -> None:
    stage = Stage({"work": lambda _: {}}, seconds=61)
    definition = machine(
        Work=task("End", Catch=[catcher("States.Timeout")]), End=succeed(), Caught=succeed()
    )
    execution = stage.execute(definition, {"n": 1})
    assert execution.output["caught"]["Error"] == "States.Timeout"
    assert stage.moment == 60
    assert stage.calls == []


@pytest.mark.parametrize("field_name", ["Arguments", "Output"])
def test_undefined_fields_of_a_task_can_be_caught(field_name: str) -> None:
    wrong: dict[str, Any] = {
        "Arguments": {"FunctionName": "work", "Payload": {"n": "{% $states.input.absent %}"}},
        "Output": "{% $states.result.Payload.absent %}",
    }
    definition = machine(
        Work=task("End", Catch=[catcher("States.ALL")], **{field_name: wrong[field_name]}),
        End=succeed(),
        Caught=succeed(),
    )
    execution = Stage({"work": lambda _: {}}).execute(definition, {"n": 1})
    assert execution.output["caught"]["Error"] == "States.QueryEvaluationError"


# -- choices, waits, ends ------------------------------------------------------------------------


def choice(condition: str) -> dict[str, Any]:
    return machine(
        Choose={
            "Type": "Choice",
            "QueryLanguage": "JSONata",
            "Choices": [
                {"Condition": condition, "Next": "Yes"},
                {"Condition": "{% $states.input.n = 1 %}", "Next": "Later"},
            ],
            "Default": "No",
        },
        Yes=succeed(),
        Later=succeed(),
        No=succeed(),
    )


def test_first_rule_that_holds_is_followed() -> None:
    definition = choice("{% $states.input.mode = 'a' and $states.input.ok %}")
    for given, last in [
        ({"mode": "a", "ok": True, "n": 1}, "Yes"),
        ({"mode": "a", "ok": False, "n": 1}, "Later"),
        ({"mode": "b", "n": 2}, "No"),
    ]:
        assert Stage().execute(definition, given).visits == ["Choose", last]


@pytest.mark.parametrize("condition", ["{% $states.input.absent %}", "{% 'text' %}"])
def test_conditions_must_be_true_or_false(condition: str) -> None:
    execution = Stage().execute(choice(condition), {"n": 1})
    assert (execution.status, execution.error) == ("FAILED", "States.QueryEvaluationError")


@pytest.mark.parametrize("seconds", [1.5, -1, 100_000_000, "5", True, None])
def test_waits_last_whole_seconds(seconds: Any) -> None:
    wait = {
        "Type": "Wait",
        "QueryLanguage": "JSONata",
        "Seconds": "{% $states.input.seconds %}",
        "Next": "End",
    }
    execution = Stage().execute(machine(Wait=wait, End=succeed()), {"seconds": seconds})
    assert (execution.status, execution.error) == ("FAILED", "States.QueryEvaluationError")
    execution = Stage().execute(machine(Wait=wait, End=succeed()), {"seconds": 5})
    assert execution.output == {"seconds": 5}


def test_fail_names_the_error() -> None:
    fail = {
        "Type": "Fail",
        "QueryLanguage": "JSONata",
        "Error": "{% $states.input.caught.Error %}",
        "Cause": "A step failed.",
    }
    execution = Stage().execute(machine(Fail=fail), {"caught": {"Error": "BrokenError"}})
    assert (execution.status, execution.error) == ("FAILED", "BrokenError")
    assert execution.cause == "A step failed."
    assert execution.events == 3


def endless(seconds: int) -> dict[str, Any]:
    wait = {"Type": "Wait", "QueryLanguage": "JSONata", "Seconds": seconds}
    return machine(Tick={**wait, "Next": "Tock"}, Tock={**wait, "Next": "Tick"})


def test_machine_has_a_time_limit() -> None:
    stage = Stage()
    execution = stage.execute(endless(60), {})
    assert (execution.status, execution.error) == ("TIMED_OUT", "States.Timeout")
    assert stage.moment == 100_000


def test_history_takes_25000_events() -> None:
    execution = Stage().execute(endless(1), {})
    assert (execution.status, execution.error) == ("FAILED", "States.Runtime")
    assert execution.events == MAX_EVENTS


def test_data_of_a_state_takes_256_kib() -> None:
    stage = Stage({"work": lambda _: {"text": "x" * 262_144}})
    definition = machine(
        Work=task("End", Catch=[catcher("States.ALL")]), End=succeed(), Caught=succeed()
    )
    execution = stage.execute(definition, {"n": 1})
    assert (execution.status, execution.error) == ("FAILED", "States.DataLimitExceeded")


# -- maps ----------------------------------------------------------------------------------------


def map_state(**fields: Any) -> dict[str, Any]:
    return {
        "Type": "Map",
        "Label": "Label",
        "MaxConcurrency": 2,
        "ToleratedFailurePercentage": 100,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:listObjectsV2",
            "Parameters": {"Bucket.$": "$.bucket", "Prefix.$": "$.prefix"},
        },
        "ItemSelector": {"key.$": "$$.Map.Item.Value.Key", "n": 0},
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Work",
            "States": {
                "Work": task(
                    "Done",
                    Arguments={
                        "FunctionName": "work",
                        "Payload": {
                            "key": "{% $states.input.key %}",
                            "name": "{% $states.context.Execution.Name %}",
                        },
                    },
                ),
                "Done": succeed(),
            },
        },
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {
                "Bucket.$": "$.bucket",
                "Prefix.$": "States.Format('maps/{}-{}', $.prefix, $.n)",
            },
        },
        "ResultPath": None,
        "Next": "End",
        **fields,
    }


GIVEN = {"bucket": "b", "prefix": "p/", "n": 1}


def test_map_runs_a_child_for_each_object() -> None:
    stage = Stage({"work": lambda payload: payload}, objects=["p/1", "p/2", "p/3", "q/4"])
    stage.seconds = 10
    execution = stage.execute(machine(Map=map_state(), End=succeed()), GIVEN)
    assert execution.output == GIVEN
    assert [(moment, payload["key"]) for moment, _, payload in stage.calls] == [
        (10, "p/1"),
        (10, "p/2"),
        (20, "p/3"),
    ]
    # A child knows nothing of the execution that it is a part of.
    assert all(payload["name"] != "run" for _, _, payload in stage.calls)
    results = next(data for key, data in stage.written.items() if "SUCCEEDED" in key)
    assert [one["Input"] for one in results] == [{"key": f"p/{n}", "n": 0} for n in (1, 2, 3)]
    assert all(key.startswith("maps/p/-1/") for key in stage.written)
    # Started, six of the Map, two of the last state, succeeded: children have their own history.
    assert execution.events == 10


def test_failing_children_are_tolerated_up_to_a_share() -> None:
    def work(payload: Any) -> Any:
        if payload["key"] == "p/2":
            raise TaskError("BrokenError")
        return {}

    for tolerated, status in [(100, "SUCCEEDED"), (50, "SUCCEEDED"), (49, "FAILED")]:
        stage = Stage({"work": work}, objects=["p/1", "p/2"])
        state = map_state(ToleratedFailurePercentage=tolerated)
        execution = stage.execute(machine(Map=state, End=succeed()), GIVEN)
        assert execution.status == status
        if status == "FAILED":
            assert execution.error == "States.ExceedToleratedFailureThreshold"
            assert "BrokenError" not in execution.cause


def test_first_failure_of_a_child_ends_a_map_that_tolerates_none() -> None:
    def work(payload: Any) -> Any:
        if payload["key"] == "p/1":
            raise TaskError("BrokenError")
        return {}

    stage = Stage({"work": work}, objects=["p/1", "p/2", "p/3"])
    stage.seconds = 10
    state = map_state()
    del state["ToleratedFailurePercentage"]
    execution = stage.execute(machine(Map=state, End=succeed()), GIVEN)
    assert execution.error == "States.ExceedToleratedFailureThreshold"
    # The third never began, and nobody waits for the second.
    assert [payload["key"] for _, _, payload in stage.calls] == ["p/1"]


def test_reader_is_tried_again_and_then_caught() -> None:
    state = map_state(
        Retry=[retrier("States.ItemReaderFailed", attempts=2)],
        Catch=[{"ErrorEquals": ["States.ALL"], "ResultPath": "$.caught", "Next": "Caught"}],
    )
    definition = machine(Map=state, End=succeed(), Caught=succeed())
    stage = Stage({"work": lambda _: {}}, objects=["p/1"], reader_errors=2)
    assert stage.execute(definition, GIVEN).visits[-1] == "End"
    stage = Stage({"work": lambda _: {}}, objects=["p/1"], reader_errors=3)
    execution = stage.execute(definition, GIVEN)
    assert execution.visits[-1] == "Caught"
    assert execution.output == {
        **GIVEN,
        "caught": {"Error": "States.ItemReaderFailed", "Cause": ""},
    }


def test_map_over_nothing_is_not_known() -> None:
    with pytest.raises(UnknownFeatureError):
        Stage().execute(machine(Map=map_state(), End=succeed()), GIVEN)


# -- stops and redrives --------------------------------------------------------------------------


def test_stopped_execution_is_redriven_where_it_stood() -> None:
    stage = Stage({"work": lambda payload: payload}, objects=["p/1", "p/2", "p/3"])
    stage.seconds = 10
    definition = machine(Map=map_state(MaxConcurrency=1), End=succeed())
    execution = Execution.begin(
        Machine(definition, arn=ARN), stage, name="run", arn=f"{ARN}:run", given=GIVEN
    )
    steps = execution.run()
    stage.follow(steps, until=25)
    steps.close()  # type: ignore[attr-defined]
    assert execution.status == "ABORTED"
    assert [payload["key"] for _, _, payload in stage.calls] == ["p/1", "p/2"]
    stage.objects.clear()
    stage.follow(execution.redrive())
    assert execution.status == "SUCCEEDED"
    # The same items, and only what had not succeeded.
    assert [payload["key"] for _, _, payload in stage.calls] == ["p/1", "p/2", "p/3"]
    assert execution.redrives == 1
    with pytest.raises(ValueError, match="SUCCEEDED"):
        execution.redrive()


def test_redrive_counts_retries_anew() -> None:
    stage = Stage({"work": failing(*["BrokenError"] * 4)})
    retry = [retrier("BrokenError", attempts=1)]
    execution = stage.execute(machine(Work=task("End", Retry=retry), End=succeed()), {"n": 1})
    assert execution.status == "FAILED"
    stage.follow(execution.redrive())
    assert execution.status == "FAILED"
    stage.follow(execution.redrive())
    assert execution.status == "SUCCEEDED"
    assert execution.error is None


# -- what is refused -----------------------------------------------------------------------------


def test_shipped_definition_is_understood() -> None:
    assert shipped_machine().timeout > 0
    with pytest.raises(UnknownFeatureError):
        Machine.load(DEFINITION, {**SUBSTITUTIONS, "OtherArn": "x"}, arn=ARN)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all objects within a definition whose fields have a meaning."""
    if isinstance(value, dict):
        if path and path[-1] not in _FREE and path[-1] != "States":
            yield path
        if not path or path[-1] not in _FREE:
            for name, inner in value.items():
                yield from _paths(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _paths(inner, (*path, number))


_FREE = ("Payload", "ItemSelector")
"""Objects that may have any fields."""


def test_unknown_fields_are_refused_wherever_they_stand() -> None:
    text = DEFINITION.read_text(encoding="utf-8")
    for name, value in SUBSTITUTIONS.items():
        text = text.replace(f"${{{name}}}", value)
    definition = json.loads(text)
    paths = [path for path in _paths(definition) if path]
    assert len(paths) > 50
    for path in [(), *paths]:
        changed = deepcopy(definition)
        place = changed
        for step in path:
            place = place[step]
        place["Surprise"] = 1
        with pytest.raises(UnknownFeatureError):
            Machine(changed, arn=ARN)


@pytest.mark.parametrize(
    "states",
    [
        {"A": {"Type": "Pass", "End": True}},
        {"A": {"Type": "Parallel", "Branches": [], "End": True}},
        {"A": task("A", Resource="arn:aws:states:::sqs:sendMessage")},
        {"A": task("A", QueryLanguage="JSONPath")},
        {"A": task("B")},
        {"A": task("A", Retry=[retrier("X", JitterStrategy="HALF")])},
        {"A": task("A", Output="before {% 1 %}")},
        {"A": map_state(Next="A", ItemSelector={"key.$": "$..key"})},
        {"A": map_state(Next="A", ItemSelector={"key.$": "States.UUID()"})},
        {"A": map_state(Next="A", ResultPath="$.a.b")},
        {"A": map_state(Next="A", MaxConcurrency="2")},
    ],
)
def test_what_is_not_known_is_refused(states: dict[str, Any]) -> None:
    with pytest.raises(UnknownFeatureError):
        Machine(machine(**states), arn=ARN)


# -- expressions ---------------------------------------------------------------------------------


def test_null_is_not_nothing() -> None:
    given = {"input": {"none": None, "list": [None, {"deep": None}]}}
    assert jsonata_template("{% $states.input.none %}")(given) is None
    assert jsonata_template("{% $states.input %}")(given) == given["input"]
    assert jsonata_template("{% $exists($states.input.none) %}")(given) is True
    assert jsonata_template("{% $exists($states.input.absent) %}")(given) is False
    with pytest.raises(EvaluationError, match="QueryEvaluationError"):
        jsonata_template("{% $states.input.absent %}")(given)
    with pytest.raises(EvaluationError, match="QueryEvaluationError"):
        jsonata_template("{% $states.input.none + 1 %}")(given)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("$states.input.a.b + $states.input.n", 3),
        ("$states.input.a", {"b": 1}),
        ("$merge([$states.input, {'n': $states.input.n + 1}])", {"a": {"b": 1}, "n": 3, "s": [4]}),
        ("$states.result[0].n", 5),
        ("$sum($states.result.n)", 11),
        ("$count($keys($states))", 2),
        ("$exists($states.context) or $exists($states.result.absent)", False),
    ],
)
def test_jsonata_template_sees_all_that_its_expression_names(
    expression: str, expected: Any
) -> None:
    states = {"input": {"a": {"b": 1}, "n": 2, "s": [4]}, "result": [{"n": 5}, {"n": 6}]}
    assert jsonata_template(f"{{% {expression} %}}")(states) == expected


def test_paths_and_formats() -> None:
    roots = {"$": {"a": {"b": 5}, "text": "x"}, "$$": {"Map": {"Item": {"Index": 2}}}}
    template = {
        "path.$": "$.a.b",
        "context.$": "$$.Map.Item.Index",
        "text.$": "States.Format('{}/{}', $.text, $.a.b)",
        "fixed": "$.a.b",
        "all.$": "$",
    }
    assert path_template(template)(roots) == {
        "path": 5,
        "context": 2,
        "text": "x/5",
        "fixed": "$.a.b",
        "all": roots["$"],
    }
    with pytest.raises(EvaluationError, match="ParameterPathFailure"):
        path_template({"x.$": "$.absent"})(roots)
    with pytest.raises(EvaluationError, match="IntrinsicFailure"):
        path_template({"x.$": "States.Format('{}', $.a)"})(roots)
    assert result_path("$.x")({"a": 1}, 2) == {"a": 1, "x": 2}
    assert result_path(None)({"a": 1}, 2) == {"a": 1}
