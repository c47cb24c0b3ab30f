"""The options of one upload."""

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
"""The parameter of the stack that each option stands in for; None for one without a parameter."""

_PLACE = "PARAMETERS of local/reference/options.py"


def options() -> str:
    """Return the metadata that an upload may bring."""
    return table(
        ["metadata", "allowed", "without it"],
        ([code(name), allowed, _without(name)] for name, (_, _, allowed) in _OPTIONS.items()),
    )


def _without(name: str) -> str:
    """Return what holds for an upload that does not bring an option.

    Raises:
        UndescribedError: Nobody has said which parameter it stands in for.
    """
    parameter = described(PARAMETERS, name, _PLACE)
    if parameter is None:
        return "nothing"
    default = default_of(parameter)
    return f"parameter {code(parameter)} ({code(default) if default else 'none'})"
