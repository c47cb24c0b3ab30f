"""Check a state machine's definition (Amazon States Language) without AWS.

``python -m local.asl_check FILE...`` finds what creating the machine would refuse, and some of what
it would accept and never run: targets that do not exist, states that nothing leads to or that lead
nowhere, unknown fields, and JSONata that cannot be parsed. It knows the part of the language that
this project uses: Maps in JSONPath, all other states in JSONata, no Parallel states.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonata import Jsonata
from jsonata.jexception import JException

from local import asl

JSONPATH = "JSONPath"
JSONATA = "JSONata"

_MAX_STATE_NAME_LENGTH = 80
_MAX_SECONDS = 99_999_999
_MAX_DELAY_SECONDS = 31_622_400
_MAX_ATTEMPTS = 99_999_999

_MACHINE_FIELDS = {"Comment", "QueryLanguage", "StartAt", "States", "TimeoutSeconds", "Version"}
_PROCESSOR_FIELDS = {"Comment", "ProcessorConfig", "StartAt", "States"}
_PROCESSOR_CONFIG_FIELDS = {"ExecutionType", "Mode"}
_TRANSFER_FIELDS = {"Comment", "Parameters", "ReaderConfig", "Resource", "WriterConfig"}

_COMMON_FIELDS = {"Comment", "QueryLanguage", "Type"}
_TRANSITION_FIELDS = {"End", "Next"}
_FAULT_FIELDS = {"Catch", "Retry"}

_FIELDS: Mapping[str, set[str]] = {
    "Task": {
        *("Arguments", "Assign", "HeartbeatSeconds", "Output", "Resource", "TimeoutSeconds"),
        *_TRANSITION_FIELDS,
        *_FAULT_FIELDS,
    },
    "Pass": {"Assign", "Output", *_TRANSITION_FIELDS},
    "Choice": {"Assign", "Choices", "Default", "Output"},
    "Wait": {"Assign", "Output", "Seconds", *_TRANSITION_FIELDS},
    "Succeed": {"Output"},
    "Fail": {"Cause", "Error"},
    "Map": {
        *("ItemProcessor", "ItemReader", "ItemSelector", "Label", "MaxConcurrency", "ResultPath"),
        *("ResultWriter", "ToleratedFailureCount", "ToleratedFailurePercentage"),
        *_TRANSITION_FIELDS,
        *_FAULT_FIELDS,
    },
}
"""Fields of each type of state in the query language that this project writes it in."""

_REQUIRED_FIELDS = {
    "Task": "Resource",
    "Choice": "Choices",
    "Wait": "Seconds",
    "Map": "ItemProcessor",
}

_RETRY_FIELDS = {
    "BackoffRate",
    "Comment",
    "ErrorEquals",
    "IntervalSeconds",
    "JitterStrategy",
    "MaxAttempts",
    "MaxDelaySeconds",
}
_CATCH_FIELDS = {"Assign", "Comment", "ErrorEquals", "Next"}
_CHOICE_FIELDS = {"Assign", "Comment", "Condition", "Next", "Output"}
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
_GOOD_PLACEHOLDER = re.compile(r"\$\{[A-Za-z0-9]+\}")

Json = dict[str, Any]


@dataclass(slots=True)
class _Findings:
    """Problems found so far, and the names in use, which must be unique in the whole machine."""

    default_language: str
    problems: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def add(self, place: str, message: str) -> None:
        self.problems.append(f"{place}: {message}")

    def unknown(self, place: str, value: Mapping[str, Any], allowed: set[str]) -> None:
        for name in value:
            if name not in allowed:
                self.add(place, f"unknown field {name}")


def check_text(text: str) -> list[str]:
    """Return the problems of a definition in JSON; none when it is fine."""
    try:
        machine = json.loads(text, object_pairs_hook=_without_duplicates)
    except ValueError as error:
        return [f"not JSON before the placeholders are replaced: {error}"]
    if not isinstance(machine, dict):
        return ["the definition is not an object"]
    return check_machine(machine)


def check_machine(machine: Json) -> list[str]:
    """Return the problems of a parsed definition; none when it is fine."""
    language = machine.get("QueryLanguage", JSONPATH)
    findings = _Findings(language)
    if language not in (JSONPATH, JSONATA):
        findings.add("machine", f"unknown QueryLanguage {language!r}")
    findings.unknown("machine", machine, _MACHINE_FIELDS)
    _check_number("machine", machine, "TimeoutSeconds", 1, _MAX_SECONDS, findings)
    _check_placeholders(machine, "machine", findings)
    _check_states(machine, "machine", findings)
    return findings.problems


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> Json:
    result: Json = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"{name!r} occurs twice in the same object")
        result[name] = value
    return result


def _strings(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield every string in a value with its path."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _strings(part, f"{place}.{name}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _strings(part, f"{place}[{number}]")


def _check_placeholders(machine: Json, place: str, findings: _Findings) -> None:
    for where, text in _strings(machine, place):
        for placeholder in _PLACEHOLDER.findall(text):
            if not _GOOD_PLACEHOLDER.fullmatch(placeholder):
                findings.add(where, f"{placeholder} is no placeholder: letters and digits only")


def _check_states(container: Json, place: str, findings: _Findings) -> None:
    """Check the states of a machine or of an item processor, and how they connect."""
    states = container.get("States")
    if not isinstance(states, dict) or not states:
        findings.add(place, "States is missing or empty")
        return
    start = container.get("StartAt")
    if start not in states:
        findings.add(place, f"StartAt names {start!r}, which is not a state here")
    for name, state in states.items():
        _check_name(name, findings)
        if isinstance(state, dict) and state.get("Type") in _FIELDS:
            _check_state(name, state, findings)
        else:
            kind = state.get("Type") if isinstance(state, dict) else None
            findings.add(name, f"unknown Type {kind!r}")
    _check_graph(start, states, findings)


def _check_name(name: str, findings: _Findings) -> None:
    if name in findings.names:
        findings.add(name, "this name is used twice in the machine")
    findings.names.add(name)
    if len(name) > _MAX_STATE_NAME_LENGTH:
        findings.add(name, f"the name is longer than {_MAX_STATE_NAME_LENGTH} characters")


def _check_graph(start: Any, states: Json, findings: _Findings) -> None:
    """Report targets that do not exist, states that nothing leads to, and states without an end."""
    following: dict[str, list[str]] = {name: [] for name in states}
    before: dict[str, list[str]] = {name: [] for name in states}
    for name, state in states.items():
        for where, target in asl.transitions(state):
            if target in states:
                following[name].append(target)
                before[target].append(name)
            else:
                findings.add(name, f"{where} names {target!r}, which is not a state here")
    reachable = _closure({start} & set(states), following)
    ending = _closure({name for name, state in states.items() if asl.is_end(state)}, before)
    for name in states:
        if start in states and name not in reachable:
            findings.add(name, "nothing leads to this state")
        if name not in ending:
            findings.add(name, "no path leads from this state to an end")


def _closure(start: set[str], edges: Mapping[str, Sequence[str]]) -> set[str]:
    seen = set(start)
    waiting = list(start)
    while waiting:
        for following in edges[waiting.pop()]:
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return seen


def _check_state(name: str, state: Json, findings: _Findings) -> None:
    kind = state["Type"]
    # The fields of a Distributed Map are shorter in JSONPath; everything else is JSONata.
    language = JSONPATH if kind == "Map" else JSONATA
    if state.get("QueryLanguage", findings.default_language) != language:
        findings.add(name, f"a state of this type has the QueryLanguage {language} here")
        return
    findings.unknown(name, state, _COMMON_FIELDS | _FIELDS[kind])
    required = _REQUIRED_FIELDS.get(kind)
    if required is not None and required not in state:
        findings.add(name, f"{required} is missing")
    _check_transition(name, state, findings)
    _check_expressions(name, state, language, findings)
    _check_numbers(name, state, language, findings)
    if kind == "Choice":
        _check_choices(name, state, findings)
    _check_faults(name, state, language, findings)
    if kind == "Map":
        _check_map(name, state, findings)


def _check_transition(name: str, state: Json, findings: _Findings) -> None:
    if not _FIELDS[state["Type"]] >= _TRANSITION_FIELDS:
        return
    if ("Next" in state) == ("End" in state):
        findings.add(name, "needs either Next or End")
    if "End" in state and state["End"] is not True:
        findings.add(name, "End can only be true")


def _check_number(
    place: str, value: Json, field_name: str, lowest: int, highest: int, findings: _Findings
) -> None:
    """Check an optional field that must be a whole number."""
    number = value.get(field_name, lowest)
    if isinstance(number, bool) or not isinstance(number, int) or not lowest <= number <= highest:
        findings.add(place, f"{field_name} has to be a whole number from {lowest} to {highest}")


def _check_numbers(name: str, state: Json, language: str, findings: _Findings) -> None:
    """Check the numbers of a state; a JSONata state may use expressions instead."""
    for one, lowest, highest in (
        ("TimeoutSeconds", 1, _MAX_SECONDS),
        ("HeartbeatSeconds", 1, _MAX_SECONDS),
        ("Seconds", 0, _MAX_SECONDS),
        ("MaxConcurrency", 0, 10_000),
        ("ToleratedFailureCount", 0, 10_000_000),
        ("ToleratedFailurePercentage", 0, 100),
    ):
        if language == JSONATA and str(state.get(one, "")).startswith("{%"):
            continue
        _check_number(name, state, one, lowest, highest, findings)
    label = state.get("Label")
    if label is not None and not (isinstance(label, str) and _LABEL.fullmatch(label)):
        findings.add(name, "Label has to be 1 to 40 plain characters")


def _check_expressions(name: str, state: Json, language: str, findings: _Findings) -> None:
    """Check JSONata expressions, and report paths of the other query language."""
    # The states inside a Map are checked on their own.
    own = {field: value for field, value in state.items() if field != "ItemProcessor"}
    for where, text in _strings(own, name):
        if where.endswith(".Comment") or "{%" not in text:
            continue
        if language == JSONPATH:
            findings.add(where, "JSONata in a JSONPath state is taken as plain text")
        elif not (text.startswith("{%") and text.endswith("%}")):
            findings.add(where, "a JSONata expression has to be the whole string, {% to %}")
        else:
            _check_jsonata(where, text[2:-2], findings)
            _check_results(where, where.removeprefix(f"{name}."), text, findings)
    for where, value in _path_fields(own, name):
        if language == JSONATA:
            findings.add(where, "fields ending in .$ belong to JSONPath; this is a JSONata state")
        elif not (isinstance(value, str) and value.startswith(("$", "States."))):
            findings.add(where, "has to be a path that begins with $ or a States. function")


def _path_fields(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            if name.endswith(".$"):
                yield f"{place}.{name}", part
            yield from _path_fields(part, f"{place}.{name}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _path_fields(part, f"{place}[{number}]")


def _check_jsonata(where: str, expression: str, findings: _Findings) -> None:
    try:
        Jsonata(expression)
    except (JException, IndexError, AttributeError, TypeError, ValueError) as error:
        findings.add(where, f"JSONata cannot be parsed: {error}")


def _check_results(where: str, field_path: str, expression: str, findings: _Findings) -> None:
    """Check that results and errors are named only where there are any."""
    is_after = field_path.startswith(("Output", "Assign"))
    if "$states.result" in expression and not is_after:
        findings.add(where, "$states.result is known in Output and Assign only")
    if "$states.errorOutput" in expression and not field_path.startswith("Catch["):
        findings.add(where, "$states.errorOutput is known in a Catch only")


def _check_choices(name: str, state: Json, findings: _Findings) -> None:
    if not asl.objects(state.get("Choices")):
        findings.add(name, "Choices has no rule")
    for number, rule in enumerate(asl.objects(state.get("Choices"))):
        place = f"{name}.Choices[{number}]"
        findings.unknown(place, rule, _CHOICE_FIELDS)
        if "Condition" not in rule:
            findings.add(place, "Condition is missing")


def _check_faults(name: str, state: Json, language: str, findings: _Findings) -> None:
    only = {"Output"} if language == JSONATA else {"ResultPath"}
    for kind, allowed in (("Retry", _RETRY_FIELDS), ("Catch", _CATCH_FIELDS | only)):
        rules = asl.objects(state.get(kind))
        for number, rule in enumerate(rules):
            place = f"{name}.{kind}[{number}]"
            findings.unknown(place, rule, allowed)
            errors = rule.get("ErrorEquals")
            if not isinstance(errors, list) or not errors:
                findings.add(place, "ErrorEquals is missing or empty")
                continue
            if "States.ALL" in errors and (len(errors) > 1 or number < len(rules) - 1):
                findings.add(place, "States.ALL must be alone, in the last rule")
            for error in errors:
                if str(error).startswith("States.") and error not in _RESERVED_ERRORS:
                    findings.add(place, f"{error} is no error of Step Functions")
            if kind == "Retry":
                _check_retrier(place, rule, findings)


def _check_retrier(place: str, rule: Json, findings: _Findings) -> None:
    _check_number(place, rule, "IntervalSeconds", 1, _MAX_SECONDS, findings)
    _check_number(place, rule, "MaxAttempts", 0, _MAX_ATTEMPTS, findings)
    _check_number(place, rule, "MaxDelaySeconds", 1, _MAX_DELAY_SECONDS, findings)
    rate = rule.get("BackoffRate", 2)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or rate < 1:
        findings.add(place, "BackoffRate has to be a number from 1")
    if rule.get("JitterStrategy", "NONE") not in ("FULL", "NONE"):
        findings.add(place, "JitterStrategy has to be FULL or NONE")
    longest = rule.get("MaxDelaySeconds")
    if isinstance(longest, int) and longest <= rule.get("IntervalSeconds", 1):
        findings.add(place, "MaxDelaySeconds has to be more than IntervalSeconds")


def _check_map(name: str, state: Json, findings: _Findings) -> None:
    """Check the states inside a Map, and where it reads and writes."""
    processor = state.get("ItemProcessor")
    if isinstance(processor, dict):
        place = f"{name}.ItemProcessor"
        findings.unknown(place, processor, _PROCESSOR_FIELDS)
        config = processor.get("ProcessorConfig", {})
        findings.unknown(f"{place}.ProcessorConfig", config, _PROCESSOR_CONFIG_FIELDS)
        if config.get("Mode") == "DISTRIBUTED" and "ExecutionType" not in config:
            findings.add(place, "a distributed map needs an ExecutionType")
        _check_states(processor, place, findings)
    for one in ("ItemReader", "ResultWriter"):
        if isinstance(state.get(one), dict):
            findings.unknown(f"{name}.{one}", state[one], _TRANSFER_FIELDS)


def count_states(container: Json) -> int:
    """Return the number of states of a definition, those inside other states included."""
    return sum(1 for _ in asl.states_of(container))


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
            print(f"{name}: {count_states(json.loads(text))} states, no problems")
    return status


if __name__ == "__main__":
    sys.exit(main())
