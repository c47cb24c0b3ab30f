"""Validate parameter values of the template like CloudFormation.

``python -m local.template_parameters NAME=VALUE...`` prints a sentence for each value that is
refused. Exit status: 0 when all are taken, 1 when not.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from local.environment import PROJECT_ROOT

PAGE = "docs/reference/parameters.md"

_NEAR = 3


@cache
def read_template() -> dict[str, Any]:
    """Return the template of the stack; callers must not change it."""
    from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # noqa: PLC0415 - slow

    parsed: dict[str, Any] = yaml_parse((PROJECT_ROOT / "template.yaml").read_text("utf-8"))
    return parsed


def refusals(
    given: Mapping[str, str], parameters: Mapping[str, Any], whole: Collection[str]
) -> Iterator[str]:
    """Yield a sentence for each parameter with which a stack could not be deployed.

    Args:
        given: Values by name.
        parameters: The section Parameters of a template.
        whole: The parameters that must be whole numbers.
    """
    for name, value in given.items():
        if name not in parameters:
            yield _unknown(name, parameters)
        elif not _is_allowed(value, parameters[name], is_whole=name in whole):
            allowed = _allowed(parameters[name], is_whole=name in whole)
            yield f"{name}={value} is not allowed; allowed is {allowed}."


def whole_numbers(template: Mapping[str, Any]) -> Collection[str]:
    """Return the names of the parameters that must be whole numbers, as the template says."""
    checked = template["Resources"]["WholeNumbers"]["Properties"]["Value"]["Fn::Sub"]
    return frozenset(re.findall(r"\$\{(\w+)\}", checked))


def _unknown(name: str, parameters: Mapping[str, Any]) -> str:
    by_lower_case = {one.lower(): one for one in parameters}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=_NEAR)
    if not near:
        return f"The template has no parameter {name}; {PAGE} lists those it has."
    names = " or ".join(by_lower_case[one] for one in near)
    return f"The template has no parameter {name}. Is {names} meant?"


def _is_allowed(value: str, parameter: Mapping[str, Any], *, is_whole: bool) -> bool:
    if is_whole and re.fullmatch("0|[1-9][0-9]*", value) is None:
        return False
    if parameter["Type"] == "Number" and not _is_in_range(value, parameter):
        return False
    if "AllowedValues" in parameter:
        return value in [str(one) for one in parameter["AllowedValues"]]
    if not parameter.get("MinLength", 0) <= len(value) <= parameter.get("MaxLength", len(value)):
        return False
    return re.fullmatch(parameter.get("AllowedPattern", "(?s:.*)"), value) is not None


def _is_in_range(value: str, parameter: Mapping[str, Any]) -> bool:
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value) is None:
        return False
    least = float(parameter.get("MinValue", "-inf"))
    return least <= float(value) <= float(parameter.get("MaxValue", "inf"))


def _allowed(parameter: Mapping[str, Any], *, is_whole: bool) -> str:
    """Return the allowed values of a parameter, for the end of a sentence."""
    if "AllowedValues" in parameter:
        *others, last = [str(one) for one in parameter["AllowedValues"]]
        return f"{', '.join(others)} or {last}" if others else last
    if "ConstraintDescription" in parameter:
        return str(parameter["ConstraintDescription"]).rstrip(".")
    if parameter["Type"] == "Number":
        kind = "a whole number" if is_whole else "a number"
        return _range(kind, parameter.get("MinValue"), parameter.get("MaxValue"))
    if "AllowedPattern" in parameter:
        return f"what matches {parameter['AllowedPattern']}"
    least, most = parameter.get("MinLength"), parameter.get("MaxLength")
    return _range("a text with a number of characters", least, most)


def _range(what: str, least: Any, most: Any) -> str:
    if least is not None and most is not None:
        return f"{what} from {least:,} to {most:,}"
    if least is not None:
        return f"{what} of {least:,} or more"
    return f"{what} of {most:,} or less" if most is not None else what


def main() -> int:
    """Print the refused parameters of the command line; return the exit status."""
    given = dict(one.partition("=")[::2] for one in sys.argv[1:])
    template = read_template()
    found = list(refusals(given, template["Parameters"], whole_numbers(template)))
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
