"""Check a state machine's definition (Amazon States Language) without AWS.

``python -m local.asl_check FILE...`` finds what creating the machine would refuse, and some of what
it would accept and never run. Types of states, their fields, targets and expressions are checked by
the interpreter that runs the definition in the tests, which refuses everything that it does not
know. Checked here is what an interpreter does not notice: states that nothing leads to or that lead
nowhere, values out of range, and names that are too long or used twice.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonata.jexception import JException

from local import asl
from local.state_machine.definition import Machine
from local.state_machine.expressions import UnknownFeatureError

_MAX_STATE_NAME_LENGTH = 80
_MAX_SECONDS = 99_999_999
_MAX_DELAY_SECONDS = 31_622_400
_MAX_ATTEMPTS = 99_999_999

_RANGES = {
    "TimeoutSeconds": (1, _MAX_SECONDS),
    "Seconds": (0, _MAX_SECONDS),
    "MaxConcurrency": (0, 10_000),
    "ToleratedFailurePercentage": (0, 100),
}
_RETRY_RANGES = {
    "IntervalSeconds": (1, _MAX_SECONDS),
    "MaxAttempts": (0, _MAX_ATTEMPTS),
    "MaxDelaySeconds": (1, _MAX_DELAY_SECONDS),
}
_RESERVED_ERRORS = {
    "States.ALL",
    "States.BranchFailed",
    "States.DataLimitExceeded",
    "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout",
    "States.Http.Socket",
    "States.IntrinsicFailure",
    "States.ItemReaderFailed",
    "States.NoChoiceMatched",
    "States.ParameterPathFailure",
    "States.Permissions",
    "States.QueryEvaluationError",
    "States.ResultPathMatchFailure",
    "States.ResultWriterFailed",
    "States.Runtime",
    "States.TaskFailed",
    "States.Timeout",
}
"""Error names that begin with States. are Step Functions' own."""

_LABEL = re.compile(r"[^\s?*<>{}\[\]:;,\\|^~$#%&`\"\x00-\x1f\x7f-\x9f]{1,40}")
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}?")
_GOOD_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9]+)\}")

Json = dict[str, Any]
Problems = Iterator[str]


def check_text(text: str) -> list[str]:
    """Return the problems of a definition in JSON; none when it is fine."""
    try:
        machine = json.loads(text, object_pairs_hook=_without_duplicates)
    except ValueError as error:
        return [f"not JSON before the placeholders are replaced: {error}"]
    if not isinstance(machine, dict):
        return ["the definition is not an object"]
    found = [
        f"machine: {one} is no placeholder: letters and digits only"
        for one in _PLACEHOLDER.findall(text)
        if not _GOOD_PLACEHOLDER.fullmatch(one)
    ]
    return [*found, *_unknown_to_interpreter(text), *check_machine(machine)]


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> Json:
    result: Json = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"{name!r} occurs twice in the same object")
        result[name] = value
    return result


def _unknown_to_interpreter(text: str) -> Problems:
    filled = text.replace("arn:${Partition}:", "arn:aws:")
    try:
        Machine(json.loads(_GOOD_PLACEHOLDER.sub(r"\1", filled)), arn="machine")
    except UnknownFeatureError as error:
        yield f"machine: {error}"
    except (JException, IndexError, AttributeError, TypeError, ValueError) as error:
        yield f"machine: JSONata cannot be parsed: {error}"


def check_machine(machine: Json) -> list[str]:
    """Return what an interpreter does not notice in a definition; none when it is fine."""
    names: set[str] = set()
    return [
        *_check_ranges("machine", machine, _RANGES),
        *_check_states(machine, "machine", names),
    ]


def _check_states(container: Json, place: str, names: set[str]) -> Problems:
    """Check the states of a machine or of an item processor, and how they connect."""
    states = container.get("States")
    if not isinstance(states, dict) or not all(isinstance(one, dict) for one in states.values()):
        yield f"{place}: States is missing, or has something else than states"
        return
    for name, state in states.items():
        if name in names:
            yield f"{name}: this name is used twice in the machine"
        names.add(name)
        if len(name) > _MAX_STATE_NAME_LENGTH:
            yield f"{name}: the name is longer than {_MAX_STATE_NAME_LENGTH} characters"
        yield from _check_state(name, state, names)
    yield from _check_graph(container.get("StartAt"), states)


def _check_graph(start: Any, states: Json) -> Problems:
    """Report states that nothing leads to, and states without an end."""
    following: dict[str, list[str]] = {name: [] for name in states}
    before: dict[str, list[str]] = {name: [] for name in states}
    for name, state in states.items():
        for _, target in asl.transitions(state):
            if target in states:
                following[name].append(target)
                before[target].append(name)
    reachable = _closure({start} & set(states), following)
    ending = _closure({name for name, state in states.items() if asl.is_end(state)}, before)
    for name in states:
        if name not in reachable:
            yield f"{name}: nothing leads to this state"
        if name not in ending:
            yield f"{name}: no path leads from this state to an end"


def _closure(start: set[str], edges: Mapping[str, Sequence[str]]) -> set[str]:
    seen = set(start)
    waiting = list(start)
    while waiting:
        for following in edges[waiting.pop()]:
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return seen


def _check_state(name: str, state: Json, names: set[str]) -> Problems:
    yield from _check_ranges(name, state, _RANGES)
    label = state.get("Label")
    if label is not None and not (isinstance(label, str) and _LABEL.fullmatch(label)):
        yield f"{name}: Label has to be 1 to 40 plain characters"
    # The states inside a Map are checked on their own.
    own = {field: value for field, value in state.items() if field != "ItemProcessor"}
    for where, text in _strings(own, ""):
        if "{%" in text and not where.endswith("Comment"):
            yield from _check_expression(f"{name}.{where}", where, text, state.get("Type"))
    for kind in ("Retry", "Catch"):
        yield from _check_faults(name, kind, asl.objects(state.get(kind)))
    if isinstance(state.get("ItemProcessor"), dict):
        yield from _check_states(state["ItemProcessor"], f"{name}.ItemProcessor", names)


def _check_ranges(place: str, value: Json, ranges: Mapping[str, tuple[int, int]]) -> Problems:
    """Check optional fields that must be whole numbers, or expressions."""
    for field, (lowest, highest) in ranges.items():
        number = value.get(field, lowest)
        if isinstance(number, str) and number.startswith("{%"):
            continue
        is_whole = isinstance(number, int) and not isinstance(number, bool)
        if not is_whole or not lowest <= number <= highest:
            yield f"{place}: {field} has to be a whole number from {lowest} to {highest}"


def _strings(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield every string in a value with its path."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _strings(part, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _strings(part, f"{place}[{number}]")


def _check_expression(where: str, field: str, text: str, kind: Any) -> Problems:
    """Check that results and errors are named only where there are any, and not in JSONPath."""
    if kind == "Map":
        yield f"{where}: JSONata in a JSONPath state is taken as plain text"
    if "$states.result" in text and not field.startswith(("Output", "Assign")):
        yield f"{where}: $states.result is known in Output and Assign only"
    if "$states.errorOutput" in text and not field.startswith("Catch["):
        yield f"{where}: $states.errorOutput is known in a Catch only"


def _check_faults(name: str, kind: str, rules: list[Json]) -> Problems:
    """Check the retriers or the catchers of a state."""
    for number, rule in enumerate(rules):
        place = f"{name}.{kind}[{number}]"
        errors = rule.get("ErrorEquals")
        if not isinstance(errors, list) or not errors:
            yield f"{place}: ErrorEquals is missing or empty"
            continue
        if "States.ALL" in errors and (len(errors) > 1 or number < len(rules) - 1):
            yield f"{place}: States.ALL must be alone, in the last rule"
        for error in errors:
            if str(error).startswith("States.") and error not in _RESERVED_ERRORS:
                yield f"{place}: {error} is no error of Step Functions"
        if kind == "Retry":
            yield from _check_ranges(place, rule, _RETRY_RANGES)
            rate = rule.get("BackoffRate", 2)
            if not isinstance(rate, int | float) or rate < 1:
                yield f"{place}: BackoffRate has to be a number from 1"
            longest = rule.get("MaxDelaySeconds")
            if isinstance(longest, int) and longest <= rule.get("IntervalSeconds", 1):
                yield f"{place}: MaxDelaySeconds has to be more than IntervalSeconds"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check files; return 1 when one has a problem, and print every problem."""
    status = 0
    for name in sys.argv[1:] if arguments is None else arguments:
        text = Path(name).read_text(encoding="utf-8")
        problems = check_text(text)
        for problem in problems:
            print(f"{name}: {problem}")
        if problems:
            status = 1
        else:
            number = sum(1 for _ in asl.states_of(json.loads(text)))
            print(f"{name}: {number} states, no problems")
    return status


if __name__ == "__main__":
    sys.exit(main())
