"""The parameters and outputs of ``template.yaml``."""

from __future__ import annotations

from functools import cache
from typing import Any

from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]

from local.environment import PROJECT_ROOT
from local.reference.markdown import code, table


@cache
def template() -> dict[str, Any]:
    """Return the parsed template; callers must not change it."""
    parsed: dict[str, Any] = yaml_parse((PROJECT_ROOT / "template.yaml").read_text("utf-8"))
    return parsed


def parameters() -> str:
    """Return a table for each group of parameters, in the order of the console."""
    interface = template()["Metadata"]["AWS::CloudFormation::Interface"]
    return "\n\n".join(
        f"## {group['Label']['default']}\n\n{_group(group['Parameters'])}"
        for group in interface["ParameterGroups"]
    )


def outputs() -> str:
    """Return the stack's outputs."""
    return table(
        ["output", "meaning"],
        ([code(name), str(one["Description"])] for name, one in template()["Outputs"].items()),
    )


def default_of(name: str) -> str:
    """Return the default of a parameter as text."""
    return str(template()["Parameters"][name]["Default"])


def _group(names: list[str]) -> str:
    parameters = template()["Parameters"]
    return table(
        ["parameter", "default", "allowed", "meaning"],
        (
            [
                code(name),
                code(str(parameters[name]["Default"])) or "(empty)",
                _allowed(parameters[name]),
                str(parameters[name]["Description"]),
            ]
            for name in names
        ),
    )


def _allowed(parameter: dict[str, Any]) -> str:
    if "AllowedValues" in parameter:
        return ", ".join(code(str(value)) for value in parameter["AllowedValues"])
    if "MinValue" in parameter and "MaxValue" in parameter:
        return f"{parameter['MinValue']:,} to {parameter['MaxValue']:,}"
    if "MinValue" in parameter:
        return f"{parameter['MinValue']:,} or more"
    return str(parameter.get("ConstraintDescription", "any text")).rstrip(".")
