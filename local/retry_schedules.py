"""Show how often, and for how long, each state is retried after each error.

    python -m local.retry_schedules

prints the table. Times are those without jitter, the longest possible; full jitter takes half of
them on average. ``tests/infrastructure/test_retry_schedules.py`` says how long is long enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from local import asl
from local.asl import UNCATCHABLE

SERVICE_ERRORS = (
    "Lambda.TooManyRequestsException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
)
"""The Lambda service could not run the function, or lost sight of it."""

DEATHS = ("Runtime.ExitError", "Runtime.OutOfMemory", "Sandbox.Timedout", "Lambda.Unknown")
"""The function's process ended: killed, out of memory (by either of the first two names), out of
time."""

FAILURES = (
    "States.TaskFailed",
    "States.Timeout",
    "States.Permissions",
    "Lambda.ResourceNotFoundException",
    "Runtime.ImportModuleError",
    "ClientError",
)
"""The function failed, or cannot be called; the last is an example of a Python exception."""

MAP_ERRORS = (
    "States.ItemReaderFailed",
    "States.ResultWriterFailed",
    "States.ExceedToleratedFailureThreshold",
)
"""A Distributed Map could not read its items, write its results, or lost too many children."""

_MINUTE = 60
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Schedule:
    """The delays, in seconds and without jitter, before each further try."""

    delays: tuple[float, ...]

    @property
    def tries(self) -> int:
        """How often it is tried again."""
        return len(self.delays)

    @property
    def seconds(self) -> float:
        """For how long, at the longest."""
        return sum(self.delays)

    @property
    def expected_seconds(self) -> float:
        """For how long on average, with full jitter."""
        return self.seconds / 2


def schedule(retriers: Sequence[Mapping[str, Any]], error: str) -> Schedule:
    """Return the retry schedule of a state that fails with the same error every time.

    Args:
        retriers: The state's ``Retry``; the first that names the error decides.
        error: The error's name.
    """
    for retrier in map(asl.Retrier.from_json, retriers):
        if asl.names(retrier.errors, error):
            return Schedule(retrier.delays)
    return Schedule(())


def states_with_retries() -> dict[str, Mapping[str, Any]]:
    """Return the states that call something, children of Maps included, by name."""
    return {
        state.name: state.fields
        for state in asl.states_of(asl.machine())
        if state.fields["Type"] in ("Task", "Map")
    }


def errors_of(state: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the errors that a state can meet."""
    if state["Type"] == "Map":
        return (*MAP_ERRORS, *UNCATCHABLE)
    return (*SERVICE_ERRORS, *DEATHS, *FAILURES, *UNCATCHABLE)


def table() -> list[str]:
    """Return the lines of a Markdown table of all schedules; similar errors share a line."""
    lines = ["| state | errors | tries | longest | average |", "|---|---|---:|---:|---:|"]
    for name, state in states_with_retries().items():
        found = [(schedule(state.get("Retry", ()), error), error) for error in errors_of(state)]
        for times, members in groupby(found, key=lambda pair: pair[0]):
            errors = ", ".join(error for _, error in members)
            longest, average = _spoken(times.seconds), _spoken(times.expected_seconds)
            lines.append(f"| {name} | {errors} | {times.tries} | {longest} | {average} |")
    return lines


def _spoken(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"


if __name__ == "__main__":
    print("\n".join(table()))
