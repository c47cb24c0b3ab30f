"""Diagram, states and retry schedules of the state machine."""

from __future__ import annotations

from local import asl
from local.reference.markdown import code, fenced, table

_LAMBDA_ERRORS = {
    "Lambda.ServiceException": "Lambda itself fails",
    "Lambda.TooManyRequestsException": "Lambda throttles",
    "Runtime.ExitError": "the process dies, or its memory runs out",
    "States.ItemReaderFailed": "the list of shards cannot be read",
    "States.TaskFailed": "anything else",
}
"""Descriptions of the error names that distinguish the retriers."""


def picture() -> str:
    """Return the machine as a Mermaid diagram, which GitHub renders."""
    lines = ["stateDiagram-v2", f"    [*] --> {asl.machine()['StartAt']}"]
    for name, state in asl.machine()["States"].items():
        if state["Type"] in ("Succeed", "Fail"):
            lines.append(f"    {name} --> [*]")
        lines += [f"    {name} --> {one.target}{_label(one)}" for one in asl.transitions(state)]
    return fenced("\n".join(lines), "mermaid")


def states() -> str:
    """Return what every state does."""
    rows = []
    for name, state, parent in asl.states_of(asl.machine()):
        shown = f"{code(name)}, for each item of {code(parent)}" if parent else code(name)
        rows.append([shown, state["Type"], str(state.get("Comment", ""))])
    return table(["state", "type", "what it does"], rows)


def retries() -> str:
    """Return how often and for how long each error is retried."""
    states: dict[tuple[str, ...], list[str]] = {}
    for name, state, _ in asl.states_of(asl.machine()):
        for retrier in asl.retriers(state):
            waits = retrier.delays
            durations = (waits[0], max(waits), sum(waits))
            schedule = (str(len(waits)), *map(_duration, durations))
            states.setdefault((_about(retrier.errors), *schedule), []).append(code(name))
    heads = ["when", "states", "times", "first wait", "longest wait", "all waits together"]
    rows = ([about, ", ".join(names), *rest] for (about, *rest), names in states.items())
    return table(heads, rows, right=(2, 3, 4, 5))


def _label(transition: asl.Transition) -> str:
    if transition.is_catch:
        return ": failed"
    return ": otherwise" if transition.field == "Default" else ""


def _about(errors: tuple[str, ...]) -> str:
    return next(
        (text for name, text in _LAMBDA_ERRORS.items() if name in errors), ", ".join(errors)
    )


def _duration(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004 - two minutes
        return f"{seconds:.0f} s"
    if seconds < 7200:  # noqa: PLR2004 - two hours
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
