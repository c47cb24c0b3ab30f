"""The rules of the template: what they refuse to deploy, the functions would reject job by job."""

from __future__ import annotations

import math
from typing import Any

import pytest
from ministack.services.cloudformation.engine import _check_rules_section, _evaluate_rules

from groq_batch.domain.job_options import (
    MAX_ATTEMPTS_LIMIT,
    JobOptions,
    is_completion_window,
    parse_options,
    window_hours,
)
from tests.infrastructure.stack import defaults, source
from tests.infrastructure.test_parameters import accepts

ATTEMPTS = range(1, MAX_ATTEMPTS_LIMIT + 1)
WINDOWS = [f"{hours}h" for hours in range(24, 169)] + [f"{days}d" for days in range(1, 8)]
RETENTIONS = [*range(15, 75), 90, 3650]


def refused(parameters: dict[str, str]) -> list[str]:
    """Return what the rules have against some parameters."""
    return [
        assertion["AssertDescription"]
        for rule in source()["Rules"].values()
        if "RuleCondition" not in rule or _holds(rule["RuleCondition"], parameters)
        for assertion in rule["Assertions"]
        if not _holds(assertion["Assert"], parameters)
    ]


def _holds(expression: Any, parameters: dict[str, str]) -> bool:
    """Evaluate a rule's functions, those that the template uses.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-rules.html
    """
    ((function, arguments),) = expression.items()
    if function == "Fn::Not":
        return not _holds(arguments[0], parameters)
    if function in ("Fn::And", "Fn::Or"):
        assert 2 <= len(arguments) <= 10
        return (all if function == "Fn::And" else any)(_holds(one, parameters) for one in arguments)
    if function == "Fn::Equals":
        left, right = arguments
        return bool(parameters[left["Ref"]] == right)
    if function == "Fn::Contains":
        texts, value = arguments
        assert all(isinstance(one, str) for one in texts)
        return parameters[value["Ref"]] in texts
    raise NotImplementedError(function)


def combination(window: str, attempts: int, days: int, canary: int = 0) -> dict[str, str]:
    return defaults() | {
        "CompletionWindow": window,
        "MaxAttempts": str(attempts),
        "WorkRetentionDays": str(days),
        "CanaryRequests": str(canary),
    }


def days_needed(window: str, attempts: int, canary: int) -> int:
    """Return the retention that the functions ask for."""
    options = JobOptions(
        completion_window=window,
        skip_invalid_lines=False,
        max_attempts=attempts,
        max_job_cost_usd=0,
        canary_requests=canary,
    )
    windows = attempts + (1 if canary else 0)
    needed = math.ceil(windows * (window_hours(window) or 0) / 24) + 2
    for days, is_enough in ((needed - 1, False), (needed, True)):
        _, problems = parse_options({}, defaults=options, work_retention_days=days)
        assert (problems == []) == is_enough
    return needed


def test_every_window_is_looked_at():
    assert all(accepts("CompletionWindow", one) and is_completion_window(one) for one in WINDOWS)
    assert len(set(WINDOWS)) == 152


@pytest.mark.parametrize("canary", [0, 1, 10_000])
def test_what_fits_is_deployed_and_what_does_not_is_refused(canary: int):
    for window in WINDOWS:
        for attempts in ATTEMPTS:
            needed = days_needed(window, attempts, canary)
            for days in RETENTIONS:
                is_refused = refused(combination(window, attempts, days, canary)) != []
                place = (window, attempts, days)
                if needed <= days:
                    assert not is_refused, place
                elif days == int(defaults()["WorkRetentionDays"]) or window_hours(window) % 24 == 0:
                    assert is_refused, place


@pytest.mark.parametrize("canary", [0, 100])
def test_hours_that_are_no_days_are_refused_but_for_a_few(canary: int):
    """What the rules let through there, the functions reject: less than a day for each attempt."""
    for window in WINDOWS:
        for attempts in ATTEMPTS:
            whole_days = (window_hours(window) or 0) // 24
            windows = attempts + (1 if canary else 0)
            for days in range(15, windows * whole_days + 2):
                place = (window, attempts, days)
                assert refused(combination(window, attempts, days, canary)), place


@pytest.mark.parametrize(
    ("window", "attempts", "days", "canary", "is_refused"),
    [
        ("7d", 4, 30, 0, False),
        ("168h", 4, 30, 0, False),
        ("7d", 5, 30, 0, True),
        ("7d", 5, 37, 0, False),
        ("140h", 5, 30, 0, True),
        ("7d", 3, 15, 0, True),
        ("24h", 10, 15, 0, False),
        ("7d", 10, 71, 0, True),
        ("7d", 10, 72, 0, False),
        ("7d", 4, 30, 1, True),
        ("7d", 3, 30, 1, False),
        ("62h", 10, 30, 1, True),
        ("7d", 10, 78, 1, True),
        ("7d", 10, 79, 1, False),
    ],
)
def test_the_emulator_says_the_same_with_a_sentence(
    window: str, attempts: int, days: int, canary: int, is_refused: bool
):
    values = combination(window, attempts, days, canary)
    assert bool(refused(values)) == is_refused
    template = {"Rules": source()["Rules"], "Parameters": source()["Parameters"]}
    given = {name: {"Value": value} for name, value in values.items()}
    _check_rules_section(template)
    if not is_refused:
        _evaluate_rules(template, given, {})
        return
    with pytest.raises(ValueError, match="exceed WorkRetentionDays; deploy with fewer attempts"):
        _evaluate_rules(template, given, {})


def test_rules_use_what_rules_may_use():
    """Fn::If, which the documentation lists, is refused: "not supported in the Rules block"."""
    used = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            used.update(name for name in value if name.startswith("Fn::") or name == "Ref")
            for part in value.values():
                collect(part)
        elif isinstance(value, list):
            for part in value:
                collect(part)

    collect(source()["Rules"])
    assert used == {"Fn::Not", "Fn::Or", "Fn::And", "Fn::Contains", "Fn::Equals", "Ref"}
