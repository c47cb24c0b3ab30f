"""The checker of state machine definitions finds what it is there to find."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from local.asl_check import check_machine, check_text, count_states, main

GOOD: dict[str, Any] = {
    "Comment": "A JSONPath machine with JSONata states, as ours is.",
    "StartAt": "Prepare",
    "TimeoutSeconds": 60,
    "States": {
        "Prepare": {
            "Type": "Task",
            "QueryLanguage": "JSONata",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {
                "FunctionName": "${PrepareArn}",
                "Payload": {"key": "{% $states.input.key %}", "n": "{% $number('${Count}') %}"},
            },
            "Assign": {"seen": "{% $states.result.Payload.seen %}"},
            "Output": "{% $states.result.Payload %}",
            "Retry": [
                {
                    "ErrorEquals": ["Lambda.ServiceException"],
                    "IntervalSeconds": 2,
                    "MaxAttempts": 3,
                },
                {"ErrorEquals": ["States.ALL"], "BackoffRate": 2},
            ],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% 1 %}", "Next": "Broken"}],
            "Next": "Shards",
        },
        "Shards": {
            "Type": "Map",
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:listObjectsV2",
                "Parameters": {"Bucket.$": "$.bucket", "Prefix": "work/"},
            },
            "ItemSelector": {"key.$": "$$.Map.Item.Value.Key"},
            "MaxConcurrency": 5,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "Pause",
                "States": {
                    "Pause": {
                        "Type": "Wait",
                        "QueryLanguage": "JSONata",
                        "Seconds": "{% 1 %}",
                        "End": True,
                    }
                },
            },
            "ResultPath": None,
            "Next": "Done?",
        },
        "Done?": {
            "Type": "Choice",
            "QueryLanguage": "JSONata",
            "Choices": [{"Condition": "{% $states.input.done %}", "Next": "Done"}],
            "Default": "Again?",
        },
        "Again?": {
            "Type": "Choice",
            "Choices": [
                {
                    "And": [
                        {"Variable": "$.n", "NumericLessThan": 3},
                        {"Not": {"Variable": "$.stop", "IsPresent": True}},
                    ],
                    "Next": "Shards",
                }
            ],
            "Default": "Both",
        },
        "Both": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "Left", "States": {"Left": {"Type": "Pass", "End": True}}},
                {"StartAt": "Right", "States": {"Right": {"Type": "Succeed"}}},
            ],
            "Next": "Done",
        },
        "Done": {"Type": "Succeed"},
        "Broken": {"Type": "Fail", "Error": "Broken", "CausePath": "$.cause"},
    },
}


def broken(path: str, value: Any) -> list[str]:
    """Return the problems of the good machine after one change; ``...`` removes the field."""
    machine = copy.deepcopy(GOOD)
    target: Any = machine
    *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    for part in parents:
        target = target[part]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return check_machine(machine)


def test_good_machine_has_no_problems():
    assert check_machine(GOOD) == []
    assert count_states(GOOD) == 10


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("StartAt", "Nowhere", "machine: StartAt names 'Nowhere', which is not a state here"),
        ("States", {}, "machine: States is missing or empty"),
        ("QueryLanguage", "XPath", "machine: unknown QueryLanguage 'XPath'"),
        ("Timeout", 3, "machine: unknown field Timeout"),
        (
            "States/Prepare/Next",
            "Nowhere",
            "Prepare: Next names 'Nowhere', which is not a state here",
        ),
        ("States/Prepare/Next", ..., "Prepare: needs either Next or End"),
        ("States/Prepare/End", True, "Prepare: needs either Next or End"),
        (
            "States/Prepare/Catch/0/Next",
            "X",
            "Prepare: Catch[0].Next names 'X', which is not a state here",
        ),
        ("States/Prepare/Catch", ..., "Broken: nothing leads to this state"),
        ("States/Prepare/Resource", ..., "Prepare: Resource is missing"),
        (
            "States/Prepare/Parameters",
            {},
            "Prepare: Parameters belongs to JSONPath; this is a JSONata state",
        ),
        ("TimeoutSeconds", "60", "machine: TimeoutSeconds has to be a whole number from 1"),
        ("TimeoutSeconds", True, "machine: TimeoutSeconds has to be a whole number from 1"),
        (
            "States/Prepare/TimeoutSeconds",
            0,
            "Prepare: TimeoutSeconds has to be a whole number from 1 to 99999999",
        ),
        (
            "States/Prepare/Retry/0/MaxDelaySeconds",
            2,
            "Prepare.Retry[0]: MaxDelaySeconds has to be more than IntervalSeconds",
        ),
        (
            "States/Prepare/Retry/0/MaxAttempts",
            -1,
            "Prepare.Retry[0]: MaxAttempts has to be a whole number from 0",
        ),
        (
            "States/Prepare/Retry/1/BackoffRate",
            0.5,
            "Prepare.Retry[1]: BackoffRate has to be a number from 1",
        ),
        (
            "States/Prepare/Retry/0/JitterStrategy",
            "SOME",
            "Prepare.Retry[0]: JitterStrategy has to be FULL or NONE",
        ),
        (
            "States/Prepare/Retry/0/ErrorEquals",
            ["States.TimedOut"],
            "Prepare.Retry[0]: States.TimedOut is no error of Step Functions",
        ),
        (
            "States/Prepare/Arguments/Payload/key",
            "{% $states.result.Payload %}",
            "Prepare.Arguments.Payload.key: $states.result is known in Output and Assign only",
        ),
        (
            "States/Prepare/Output",
            "{% $states.errorOutput %}",
            "Prepare.Output: $states.errorOutput is known in a Catch only",
        ),
        (
            "States/Prepare/Catch/0/Output",
            "{% $states.result %}",
            "Prepare.Catch[0].Output: $states.result is known in Output and Assign only",
        ),
        ("States/Shards/MaxConcurrency", "5", "Shards: MaxConcurrency has to be a whole number"),
        (
            "States/Shards/ToleratedFailurePercentage",
            101,
            "Shards: ToleratedFailurePercentage has to be a whole number from 0 to 100",
        ),
        ("States/Shards/Label", "two words", "Shards: Label has to be 1 to 40 plain characters"),
        ("States/Shards/Label", "x" * 41, "Shards: Label has to be 1 to 40 plain characters"),
        (
            "States/Shards/ItemProcessor/States/Pause/Seconds",
            1.5,
            "Pause: Seconds has to be a whole number from 0 to 99999999",
        ),
        ("States/Prepare/QueryLanguage", "X", "Prepare: unknown QueryLanguage 'X'"),
        ("States/Prepare/Retry/0/Attempts", 1, "Prepare.Retry[0]: unknown field Attempts"),
        (
            "States/Prepare/Retry/0/ErrorEquals",
            [],
            "Prepare.Retry[0]: ErrorEquals is missing or empty",
        ),
        (
            "States/Prepare/Retry/0/ErrorEquals",
            ["States.ALL"],
            "Prepare.Retry[0]: States.ALL must be alone, in the last rule",
        ),
        ("States/Prepare/Catch/0/ResultPath", "$", "Prepare.Catch[0]: unknown field ResultPath"),
        (
            "States/Prepare/Arguments/Payload/key",
            "{% $states.input. %}",
            "Prepare.Arguments.Payload.key: JSONata cannot be parsed",
        ),
        (
            "States/Prepare/Arguments/Payload/key",
            "key {% $x %}",
            "Prepare.Arguments.Payload.key: a JSONata expression has to be the whole string",
        ),
        (
            "States/Prepare/Arguments/Payload/n",
            "{% ${Count} %}",
            "Prepare.Arguments.Payload.n: JSONata cannot be parsed",
        ),
        (
            "States/Prepare/Arguments/FunctionName",
            "${Prepare-Arn}",
            "machine.States.Prepare.Arguments.FunctionName: ${Prepare-Arn} is no placeholder",
        ),
        (
            "States/Prepare/Arguments/Payload/key.$",
            "$.key",
            "Prepare.Arguments.Payload.key.$: fields ending in .$ belong to JSONPath",
        ),
        (
            "States/Shards/Output",
            "{% 1 %}",
            "Shards: Output belongs to JSONata; this is a JSONPath state",
        ),
        (
            "States/Shards/ItemSelector/x",
            "{% 1 %}",
            "Shards.ItemSelector.x: JSONata in a JSONPath state",
        ),
        ("States/Shards/ItemSelector/x.$", "x", "Shards.ItemSelector.x.$: has to be a path"),
        ("States/Shards/ItemProcessor", ..., "Shards: ItemProcessor is missing"),
        (
            "States/Shards/ItemProcessor/ProcessorConfig/ExecutionType",
            ...,
            "Shards.ItemProcessor: a distributed map needs an ExecutionType",
        ),
        (
            "States/Shards/ItemProcessor/QueryLanguage",
            "JSONata",
            "Shards.ItemProcessor: unknown field QueryLanguage",
        ),
        (
            "States/Shards/ItemProcessor/States/Pause/Next",
            "Done",
            "Pause: Next names 'Done', which is not a state here",
        ),
        (
            "States/Shards/ItemProcessor/States/Pause/Seconds",
            "{% ( %}",
            "Pause.Seconds: JSONata cannot be parsed",
        ),
        (
            "States/Shards/ItemProcessor/States/Pause/QueryLanguage",
            ...,
            "Pause.Seconds: JSONata in a JSONPath state",
        ),
        (
            "States/Shards/ItemProcessor/States/Pause/Seconds",
            ...,
            "Pause: needs exactly one of Seconds",
        ),
        (
            "States/Shards/ItemProcessor/States/Prepare",
            {"Type": "Succeed"},
            "Prepare: this name is used twice in the machine",
        ),
        (
            "States/Shards/ItemReader/Arguments",
            {},
            "Shards.ItemReader: unknown field Arguments",
        ),
        ("States/Done?/Choices/0/Variable", "$.x", "Done?.Choices[0]: unknown field Variable"),
        ("States/Done?/Choices/0/Condition", ..., "Done?.Choices[0]: Condition is missing"),
        ("States/Done?/Choices", [], "Done?: Choices has no rule"),
        ("States/Done?/Default", "X", "Done?: Default names 'X', which is not a state here"),
        (
            "States/Again?/Choices/0/And/0/NumericLess",
            3,
            "Again?.Choices[0].And: unknown field NumericLess",
        ),
        (
            "States/Again?/Choices/0/And/0/Variable",
            ...,
            "Again?.Choices[0].And: needs a Variable and exactly one comparison",
        ),
        ("States/Both/Branches/0/States/Left/End", False, "Left: End can only be true"),
        ("States/Both/Branches/1/StartAt", "Left", "Both.Branches[1]: StartAt names 'Left'"),
        ("States/Done/Next", "Broken", "Done: unknown field Next"),
        ("States/Done/Type", "Stop", "Done: unknown Type 'Stop'"),
        ("States/Done", [], "Done: unknown Type None"),
        ("States/" + "x" * 81, {"Type": "Succeed"}, "longer than 80 characters"),
    ],
)
def test_finds(path: str, value: Any, problem: str):
    assert any(problem in found for found in broken(path, value)), broken(path, value)


def test_finds_a_loop_without_an_end():
    machine = {
        "StartAt": "A",
        "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "A"}},
    }
    assert check_machine(machine) == [
        "A: no path leads from this state to an end",
        "B: no path leads from this state to an end",
    ]


def test_jsonpath_state_cannot_stand_in_a_jsonata_machine():
    state = {"Type": "Pass", "QueryLanguage": "JSONPath", "End": True}
    machine = {"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": state}}
    assert check_machine(machine) == ["A: a JSONata machine cannot contain a JSONPath state"]


def test_states_inherit_the_machines_language():
    processor = {
        "ProcessorConfig": {"Mode": "INLINE"},
        "StartAt": "B",
        "States": {"B": {"Type": "Pass", "Output": "{% 1 %}", "End": True}},
    }
    state = {"Type": "Map", "Items": "{% [1] %}", "ItemProcessor": processor, "End": True}
    machine = {"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": state}}
    assert check_machine(machine) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"StartAt": ${Start}}', "not JSON before the placeholders are replaced"),
        ('{"StartAt": "A", "States": {"A": {}, "A": {}}}', "'A' occurs twice in the same object"),
        ("[]", "the definition is not an object"),
    ],
)
def test_text_that_is_no_machine(text: str, problem: str):
    assert problem in check_text(text)[0]


def test_command_line(tmp_path, capsys):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(GOOD))
    bad.write_text('{"StartAt": "A", "States": {"B": {"Type": "Succeed"}}}')
    assert main([str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: 10 states, no problems\n"
    assert main([str(good), str(bad)]) == 1
    assert f"{bad}: machine: StartAt names 'A'" in capsys.readouterr().out
