"""The parameters and outputs of ``template.yaml``."""

from __future__ import annotations

from typing import Any

from local.reference.markdown import code, table
from local.template_parameters import read_template


def parameters() -> str:
    """Return a table for each group of parameters, in the order of the console."""
    interface = read_template()["Metadata"]["AWS::CloudFormation::Interface"]
    return "\n\n".join(
        f"## {group['Label']['default']}\n\n{_group(group['Parameters'])}"
        for group in interface["ParameterGroups"]
    )


def outputs() -> str:
    """Return the stack's outputs."""
    return table(
        ["output", "meaning"],
        ([code(name), str(one["Description"])] for name, one in read_template()["Outputs"].items()),
    )


def default_of(name: str) -> str:
    """Return the default of a parameter as text."""
    return str(read_template()["Parameters"][name]["Default"])


def _group(names: list[str]) -> str:
    parameters = read_template()["Parameters"]
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
