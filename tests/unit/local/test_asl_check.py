"""The checker of state machine definitions finds what it is there to find."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from local.asl_check import check_text, main

JSONATA = {"QueryLanguage": "JSONata"}
GOOD: dict[str, Any] = {
    "Comment": "A JSONPath machine with JSONata states, as ours is.",
    "StartAt": "Prepare",
    "TimeoutSeconds": 60,
    "States": {
        "Prepare": {
            "Type": "Task",
            **JSONATA,
            "Resource": "arn:${Partition}:states:::lambda:invoke",
            "TimeoutSeconds": 10,
            "Arguments": {
                "FunctionName": "${PrepareArn}",
                "Payload": {"key": "{% $states.input.key %}", "n": "{% $number('${Count}') %}"},
            },
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
            "Label": "Shards",
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
                    "Pause": {"Type": "Wait", **JSONATA, "Seconds": "{% 1 %}", "Next": "Ended"},
                    "Ended": {"Type": "Succeed"},
                },
            },
            "ResultWriter": {
                "Resource": "arn:aws:states:::s3:putObject",
                "Parameters": {"Bucket.$": "$.bucket", "Prefix": "work/"},
            },
            "ResultPath": None,
            "Next": "Done?",
        },
        "Done?": {
            "Type": "Choice",
            **JSONATA,
            "Choices": [{"Condition": "{% $states.input.done %}", "Next": "Done"}],
            "Default": "Shards",
        },
        "Done": {"Type": "Succeed"},
        "Broken": {"Type": "Fail", **JSONATA, "Error": "Broken", "Cause": "{% $states.input %}"},
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
    return check_text(json.dumps(machine))


def test_good_machine_has_no_problems():
    assert check_text(json.dumps(GOOD)) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        # What the interpreter refuses.
        ("StartAt", "Nowhere", "There are no states ['Nowhere']"),
        ("QueryLanguage", "JSONata", "JSONata as the language of the whole machine"),
        ("Timeout", 3, "The machine has unknown fields: ['Timeout']"),
        ("States/Prepare/Next", "Nowhere", "There are no states ['Nowhere']"),
        ("States/Prepare/Next", ..., "The state Prepare has no Next"),
        ("States/Prepare/Resource", ..., "The state Prepare has no Resource"),
        ("States/Prepare/Parameters", {}, "Prepare has unknown fields: ['Parameters']"),
        ("States/Prepare/QueryLanguage", "JSONPath", "The state Prepare is a Task in JSONPath"),
        ("States/Prepare/Retry/0/Attempts", 1, "has unknown fields: ['Attempts']"),
        ("States/Prepare/Retry/0/JitterStrategy", "SOME", "The jitter SOME"),
        ("States/Prepare/Catch/0/ResultPath", "$", "has unknown fields: ['ResultPath']"),
        ("States/Prepare/Arguments/Payload/key", "{% $x. %}", "JSONata cannot be parsed"),
        ("States/Prepare/Arguments/Payload/key", "key {% $x %}", "JSONata within a text"),
        ("States/Shards/Output", "{% 1 %}", "Shards has unknown fields: ['Output']"),
        ("States/Shards/ItemSelector/x.$", "x", "The path or intrinsic function 'x'"),
        ("States/Shards/ItemProcessor", ..., "The state Shards has no ItemProcessor"),
        (
            "States/Shards/ItemProcessor/States/Pause/Seconds",
            "{% ( %}",
            "JSONata cannot be parsed",
        ),
        ("States/Done?/Choices/0/Condition", ..., "has no Condition"),
        ("States/Done/Next", "Broken", "The state Done has unknown fields: ['Next']"),
        ("States/Done/Type", "Stop", "The state Done is a Stop in JSONPath"),
        ("States/Done", [], "The state Done is not an object"),
        # What it does not notice.
        ("States/Prepare/Catch", ..., "Broken: nothing leads to this state"),
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
            "States/Prepare/Retry/0/ErrorEquals",
            ["States.TimedOut"],
            "Prepare.Retry[0]: States.TimedOut is no error of Step Functions",
        ),
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
        (
            "States/Prepare/Arguments/FunctionName",
            "${Prepare-Arn}",
            "${Prepare-Arn} is no placeholder: letters and digits only",
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
        (
            "States/Shards/ItemSelector/x",
            "{% 1 %}",
            "Shards.ItemSelector.x: JSONata in a JSONPath state",
        ),
        (
            "States/Shards/ItemProcessor/States/Prepare",
            {"Type": "Succeed"},
            "Prepare: this name is used twice in the machine",
        ),
        ("States/" + "x" * 81, {"Type": "Succeed"}, "longer than 80 characters"),
        ("States", [], "machine: States is missing"),
    ],
)
def test_finds(path: str, value: Any, problem: str):
    assert any(problem in found for found in broken(path, value)), broken(path, value)


def test_finds_a_loop_without_an_end():
    wait = {"Type": "Wait", **JSONATA, "Seconds": 1}
    machine = {
        "StartAt": "A",
        "TimeoutSeconds": 60,
        "States": {"A": {**wait, "Next": "B"}, "B": {**wait, "Next": "A"}},
    }
    assert check_text(json.dumps(machine)) == [
        "A: no path leads from this state to an end",
        "B: no path leads from this state to an end",
    ]


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
    bad.write_text('{"StartAt": "A", "TimeoutSeconds": 9, "States": {"B": {"Type": "Succeed"}}}')
    assert main([str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: 7 states, no problems\n"
    assert main([str(good), str(bad)]) == 1
    assert f"{bad}: machine: There are no states ['A']" in capsys.readouterr().out
