"""The parts of the two query languages of Amazon States Language that the state machine uses.

JSONata is evaluated by jsonata-python, with the same difference between nothing and null that AWS
makes: an expression that comes to nothing is an error. Of JSONPath there are reference paths into
the state's input and the context, and the intrinsic function ``States.Format``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jsonata import Jsonata
from jsonata.jexception import JException
from jsonata.utils import Utils


class UnknownFeatureError(Exception):
    """The definition uses a feature that this interpreter does not implement yet."""


class EvaluationError(Exception):
    """An expression failed while the machine ran.

    Attributes:
        name: The error's name in Amazon States Language.
    """

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name
        self.cause = cause


Evaluate = Callable[[Mapping[str, Any]], Any]
"""Evaluates a field; takes the variables (JSONata) or the roots of paths (JSONPath)."""

_JSONATA = re.compile(r"\{%(.*)%\}", re.DOTALL)
_REFERENCE = re.compile(r"\$states(?:\.(\w+)(?:\.(\w+))?)?")
_KEPT_RESULTS = 256
"""Results of an expression that are kept, by the data that it names."""


# -- JSONata -------------------------------------------------------------------------------------


def jsonata_template(value: Any) -> Evaluate:
    """Compile a field in which every text ``{% … %}`` is replaced by its value.

    The compiled field takes the fields of ``$states`` by name.
    """
    if isinstance(value, str):
        return _jsonata_text(value)
    if isinstance(value, Mapping):
        fields = {name: jsonata_template(inner) for name, inner in value.items()}
        return lambda states: {name: inner(states) for name, inner in fields.items()}
    if isinstance(value, list):
        items = [jsonata_template(inner) for inner in value]
        return lambda states: [inner(states) for inner in items]
    return lambda _: value


def _jsonata_text(text: str) -> Evaluate:
    match = _JSONATA.fullmatch(text.strip())
    if match is None:
        if "{%" in text or "%}" in text:
            raise UnknownFeatureError(f"JSONata within a text: {text!r}")
        return lambda _: text
    expression = match[1].strip()
    compiled = Jsonata(expression)
    compiled.set_output_convert_nulls(False)
    named = _named_by(expression)

    # A test runs the same job hundreds of times, and most of its states see the same each time.
    @lru_cache(maxsize=_KEPT_RESULTS)
    def evaluate_text(states: str) -> str:
        try:
            result = compiled.evaluate({}, {"states": _with_nulls(json.loads(states))})
        except JException as error:
            raise EvaluationError("States.QueryEvaluationError", f"{expression}: {error}") from None
        if result is None:
            raise EvaluationError(
                "States.QueryEvaluationError", f"The expression {expression} comes to nothing"
            )
        return json.dumps(_without_nulls(result))

    return lambda states: json.loads(evaluate_text(json.dumps(named(states))))


def _named_by(expression: str) -> Evaluate:
    """Return a function that reduces ``$states`` to the fields that an expression names.

    The other fields differ from job to job, so that no result could be used twice.
    """
    paths = {match.groups() for match in _REFERENCE.finditer(expression)}
    if (None, None) in paths:
        return lambda states: states
    whole = {field for field, inner in paths if inner is None}
    inner_names: dict[str, set[str]] = {}
    for field, inner in paths:
        if field not in whole:
            inner_names.setdefault(field, set()).add(inner)

    def named(states: Mapping[str, Any]) -> dict[str, Any]:
        found = {field: states[field] for field in whole if field in states}
        for field, names in inner_names.items():
            value = states.get(field)
            if isinstance(value, Mapping):
                value = {name: value[name] for name in names if name in value}
            if field in states:
                found[field] = value
        return found

    return named


def _with_nulls(value: Any) -> Any:
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, Mapping):
        return {name: _with_nulls(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_nulls(inner) for inner in value]
    return value


def _without_nulls(value: Any) -> Any:
    if value is Utils.NULL_VALUE:
        return None
    if isinstance(value, Mapping):
        return {name: _without_nulls(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


# -- JSONPath ------------------------------------------------------------------------------------

_PATH = re.compile(r"(\$\$?)((?:\.[A-Za-z_][A-Za-z0-9_]*)*)")
_FORMAT = re.compile(r"States\.Format\('([^'\\]*)'((?:\s*,\s*\$[A-Za-z0-9_.$]*)*)\)")


def path_template(value: Any) -> Evaluate:
    """Compile a payload template, in which keys that end in ``.$`` hold paths.

    The compiled template takes the roots by their signs: ``$`` and ``$$``.
    """
    if isinstance(value, Mapping):
        fields: dict[str, Evaluate] = {}
        for name, inner in value.items():
            if name.endswith(".$"):
                fields[name.removesuffix(".$")] = _path_expression(inner)
            else:
                fields[name] = path_template(inner)
        return lambda roots: {name: inner(roots) for name, inner in fields.items()}
    if isinstance(value, list):
        raise UnknownFeatureError("A list within a payload template")
    return lambda _: value


def _path_expression(text: Any) -> Evaluate:
    if not isinstance(text, str):
        raise UnknownFeatureError(f"{text!r} is not a path")
    path = _PATH.fullmatch(text)
    if path is not None:
        return _lookup(path)
    call = _FORMAT.fullmatch(text)
    if call is None:
        raise UnknownFeatureError(f"The path or intrinsic function {text!r}")
    template = call[1]
    arguments = [_path_expression(one.strip()) for one in call[2].split(",")[1:]]
    if template.count("{}") != len(arguments):
        raise UnknownFeatureError(f"{text!r} has not one argument for each {{}}")

    def evaluate(roots: Mapping[str, Any]) -> str:
        values = [argument(roots) for argument in arguments]
        if any(isinstance(one, dict | list | bool) or one is None for one in values):
            raise EvaluationError("States.IntrinsicFailure", f"{text}: {values!r}")
        return template.format(*values)

    return evaluate


def _lookup(path: re.Match[str]) -> Evaluate:
    root, names = path[1], path[2].split(".")[1:]

    def evaluate(roots: Mapping[str, Any]) -> Any:
        value = roots[root]
        for name in names:
            if not isinstance(value, Mapping) or name not in value:
                raise EvaluationError(
                    "States.ParameterPathFailure", f"The path {path[0]} is not in the input"
                )
            value = value[name]
        return value

    return evaluate


def result_path(text: str | None) -> Callable[[Any, Any], Any]:
    """Compile a ``ResultPath``: where a result goes in the input (null: nowhere)."""
    if text is None:
        return lambda given, _: given
    match = re.fullmatch(r"\$\.([A-Za-z_][A-Za-z0-9_]*)", text)
    if match is None:
        raise UnknownFeatureError(f"The ResultPath {text!r}")
    name = match[1]
    return lambda given, result: {**given, name: result}
