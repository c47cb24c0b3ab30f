"""The options of one upload."""

from __future__ import annotations

from groq_batch.options import _OPTIONS
from local.reference.markdown import code, table
from local.reference.parameters import default_of

PARAMETERS = {
    "completion-window": "CompletionWindow",
    "on-invalid-line": "OnInvalidLine",
    "max-attempts": "MaxAttempts",
    "max-job-cost-usd": "MaxJobCostUsd",
    "check-models": "CheckModels",
}
"""The parameter of the stack that each option stands in for."""


def options() -> str:
    """Return the metadata that an upload may bring."""
    return table(
        ["metadata", "allowed", "without it"],
        (
            [
                code(name),
                allowed,
                f"parameter {code(PARAMETERS[name])} ({code(default_of(PARAMETERS[name]))})",
            ]
            for name, (_, _, allowed) in _OPTIONS.items()
        ),
    )
