"""The state machine: its picture, its states, how long each error is tried again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from local.environment import PROJECT_ROOT
from local.reference.markdown import code, fenced, table

_LAMBDA_ERRORS = {
    "Lambda.ServiceException": "Lambda itself fails",
    "Lambda.TooManyRequestsException": "Lambda throttles",
    "Runtime.ExitError": "the process dies, or its memory runs out",
    "States.ItemReaderFailed": "the list of shards cannot be read",
    "States.TaskFailed": "anything else",
}
"""What the error names say that tell retriers apart."""


@cache
def machine() -> dict[str, Any]:
    """Return the state machine's text; not to be changed."""
    path = PROJECT_ROOT / "statemachine" / "batch_job.asl.json"
    parsed: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return parsed


def picture() -> str:
    """Return the machine as a diagram that GitHub draws."""
    lines = ["stateDiagram-v2", f"    [*] --> {machine()['StartAt']}"]
    for name, state in machine()["States"].items():
        if state["Type"] in ("Succeed", "Fail"):
            lines.append(f"    {name} --> [*]")
        for target, label in _targets(state):
            lines.append(f"    {name} --> {target}{f': {label}' if label else ''}")
    return fenced("\n".join(lines), "mermaid")


def states() -> str:
    """Return what every state does."""
    rows = []
    for name, state, parent in _all_states(machine()):
        shown = f"{code(name)}, for each item of {code(parent)}" if parent else code(name)
        rows.append([shown, state["Type"], str(state.get("Comment", ""))])
    return table(["state", "type", "what it does"], rows)


def retries() -> str:
    """Return how often, and for how long, what went wrong is tried again."""
    states: dict[tuple[str, ...], list[str]] = {}
    for name, state, _ in _all_states(machine()):
        for retrier in state.get("Retry", []):
            waits = list(_waits(retrier))
            durations = (waits[0], max(waits), sum(waits))
            schedule = (str(len(waits)), *map(_duration, durations))
            states.setdefault((_about(retrier["ErrorEquals"]), *schedule), []).append(code(name))
    heads = ["when", "states", "times", "first wait", "longest wait", "all waits together"]
    rows = ([about, ", ".join(names), *rest] for (about, *rest), names in states.items())
    return table(heads, rows, right=(2, 3, 4, 5))


def _targets(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for choice in state.get("Choices", []):
        yield choice["Next"], ""
    if "Default" in state:
        yield state["Default"], "otherwise"
    if "Next" in state:
        yield state["Next"], ""
    for catcher in state.get("Catch", []):
        yield catcher["Next"], "failed"


def _all_states(
    part: dict[str, Any], parent: str = ""
) -> Iterator[tuple[str, dict[str, Any], str]]:
    for name, state in part["States"].items():
        yield name, state, parent
        if "ItemProcessor" in state:
            yield from _all_states(state["ItemProcessor"], name)


def _about(errors: list[str]) -> str:
    return next(
        (text for name, text in _LAMBDA_ERRORS.items() if name in errors), ", ".join(errors)
    )


def _waits(retrier: dict[str, Any]) -> Iterator[float]:
    """Yield the waits of a retrier in seconds, without its jitter."""
    wait = float(retrier.get("IntervalSeconds", 1))
    longest = float(retrier.get("MaxDelaySeconds", 31_622_400))
    for _ in range(retrier.get("MaxAttempts", 3)):
        yield min(wait, longest)
        wait *= retrier.get("BackoffRate", 2.0)


def _duration(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004 - two minutes
        return f"{seconds:.0f} s"
    if seconds < 7200:  # noqa: PLR2004 - two hours
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
