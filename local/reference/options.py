"""Table of the options of one upload."""

from __future__ import annotations

from collections.abc import Mapping

from groq_batch.domain.job_options import _OPTIONS
from local.reference.blocks import described
from local.reference.markdown import code, table
from local.reference.parameters import default_of

PARAMETERS: Mapping[str, str | None] = {
    "completion-window": "CompletionWindow",
    "on-invalid-line": "OnInvalidLine",
    "max-attempts": "MaxAttempts",
    "max-job-cost-usd": "MaxJobCostUsd",
    "check-models": "CheckModels",
    "canary-requests": "CanaryRequests",
    "canary-max-failed-percent": "CanaryMaxFailedPercent",
    "batch-deadline": "BatchDeadline",
    "deadline-max-usd": "DeadlineMaxUsd",
    "retry-invalid-output": "RetryInvalidOutput",
}
"""The stack parameter that each option overrides; None for an option without one."""

_PLACE = "PARAMETERS of local/reference/options.py"


def options() -> str:
    """Return a table of the metadata that an upload may have."""
    return table(
        ["metadata", "allowed", "without it"],
        ([code(name), allowed, _without(name)] for name, (_, _, allowed) in _OPTIONS.items()),
    )


def _without(name: str) -> str:
    """Return what applies to an upload without the option.

    Raises:
        UndescribedError: ``PARAMETERS`` has no entry for the option.
    """
    parameter = described(PARAMETERS, name, _PLACE)
    if parameter is None:
        return "nothing"
    default = default_of(parameter)
    return f"parameter {code(parameter)} ({code(default) if default else 'none'})"
