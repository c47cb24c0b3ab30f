"""Table of the options of one upload."""

from __future__ import annotations

from groq_batch.domain.job_options import _OPTIONS
from local.reference.markdown import code, table
from local.template_parameters import read_template


def options() -> str:
    """Return a table of the metadata that an upload may have."""
    return table(
        ["metadata", "allowed", "without it"],
        ([code(name), allowed, _without(name)] for name, (_, _, allowed) in _OPTIONS.items()),
    )


def _without(name: str) -> str:
    """Return what applies to an upload without the option: the parameter of the same name."""
    parameter = name.title().replace("-", "")
    parameters = read_template()["Parameters"]
    if parameter not in parameters:
        return "nothing"
    default = str(parameters[parameter]["Default"])
    return f"parameter {code(parameter)} ({code(default) if default else 'none'})"
