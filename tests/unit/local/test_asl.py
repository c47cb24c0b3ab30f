"""What a definition in Amazon States Language says is read in one place."""

from __future__ import annotations

from typing import Any

import pytest

from local import asl

DEFINITION: dict[str, Any] = {
    "StartAt": "Each",
    "States": {
        "Each": {
            "Type": "Map",
            "ItemProcessor": {"StartAt": "One", "States": {"One": {"Type": "Pass", "End": True}}},
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Choose"}],
            "Next": "End",
        },
        "Choose": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% true %}", "Next": "Each"}],
            "Default": "End",
        },
        "End": {"Type": "Succeed"},
    },
}


def test_states_of_definition_with_nested_states_yields_each_with_its_parent() -> None:
    found = [(state.name, state.parent) for state in asl.states_of(DEFINITION)]
    assert found == [
        ("Each", ""),
        ("One", "Each"),
        ("Choose", ""),
        ("End", ""),
    ]


def test_transitions_of_state_name_the_fields_that_lead_on() -> None:
    states = DEFINITION["States"]
    assert list(asl.transitions(states["Each"])) == [
        ("Next", "End"),
        ("Catch[0].Next", "Choose"),
    ]
    assert [one.is_catch for one in asl.transitions(states["Each"])] == [False, True]
    assert list(asl.transitions(states["Choose"])) == [
        ("Choices[0].Next", "Each"),
        ("Default", "End"),
    ]
    assert list(asl.transitions(states["End"])) == []
    assert [name for name, state in states.items() if asl.is_end(state)] == ["End"]


@pytest.mark.parametrize("broken", [None, [], "x", {"Choices": 7, "Catch": [1, None]}])
def test_transitions_of_what_is_no_state_are_none(broken: Any) -> None:
    assert list(asl.transitions(broken)) == []
    assert not asl.is_end(broken)


def test_retrier_without_fields_has_the_defaults_of_the_service() -> None:
    retrier = asl.Retrier.from_json({"ErrorEquals": ["States.ALL"]})
    assert retrier.delays == (1, 2, 4)
    assert not retrier.has_jitter


@pytest.mark.parametrize("error", asl.UNCATCHABLE)
def test_uncatchable_errors_are_named_by_nothing(error: str) -> None:
    assert not asl.names(["States.ALL"], error)
    assert not asl.names([error], error)
