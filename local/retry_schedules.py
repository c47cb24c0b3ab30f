"""How often, and for how long, each state is retried after each error.

Times are those without jitter, the longest possible; full jitter takes half of them on average.
``tests/infrastructure/test_retry_schedules.py`` says how long is long enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local import asl

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
