"""Read a definition in Amazon States Language: states, transitions, retriers, catchers.

The one place that knows how a definition is built. The check of the definition, the reference, the
table of retries, the tests and the driver that runs the machine in the tests all use it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from local.environment import PROJECT_ROOT

MACHINE = PROJECT_ROOT / "statemachine" / "batch_job.asl.json"
"""The definition that the template deploys."""

UNCATCHABLE = ("States.DataLimitExceeded", "States.Runtime")
"""Errors that end an execution at once, whatever its states say."""

Json = Mapping[str, Any]


class State(NamedTuple):
    """A state of a definition.

    Attributes:
        name: Its name, unique in the whole definition.
        fields: Its fields.
        parent: The Map that it is inside of; empty at the top.
    """

    name: str
    fields: dict[str, Any]
    parent: str


class Transition(NamedTuple):
    """Where a state may go.

    Attributes:
        field: The field that says so, such as ``Choices[0].Next``.
        target: The name of the next state.
    """

    field: str
    target: Any

    @property
    def is_catch(self) -> bool:
        """Whether the state goes there after an error."""
        return self.field.startswith("Catch")


@dataclass(frozen=True, slots=True)
class Retrier:
    """A retrier of a state, with the service's defaults. Times are in seconds.

    See https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    """

    errors: tuple[str, ...]
    interval: float
    rate: float
    attempts: int
    longest: float
    has_jitter: bool

    @classmethod
    def from_json(cls, data: Json) -> Retrier:
        """Read a retrier from an entry of ``Retry``."""
        return cls(
            errors=tuple(data["ErrorEquals"]),
            interval=data.get("IntervalSeconds", 1),
            rate=data.get("BackoffRate", 2.0),
            attempts=data.get("MaxAttempts", 3),
            longest=data.get("MaxDelaySeconds", float("inf")),
            has_jitter=data.get("JitterStrategy", "NONE") == "FULL",
        )

    def delay(self, number: int) -> float:
        """Return the delay before the retry of this number, from 1; jitter makes it shorter."""
        return min(self.interval * self.rate ** (number - 1), self.longest)

    @property
    def delays(self) -> tuple[float, ...]:
        """The delays before all retries, without jitter."""
        return tuple(float(self.delay(number + 1)) for number in range(self.attempts))


@cache
def machine() -> dict[str, Any]:
    """Return the shipped definition; callers must not change it."""
    parsed: dict[str, Any] = json.loads(MACHINE.read_text("utf-8"))
    return parsed


def states_of(part: Json, parent: str = "") -> Iterator[State]:
    """Yield the states of a definition or of a part of one, those inside Maps included."""
    for name, fields in part["States"].items():
        yield State(name, fields, parent)
        if "ItemProcessor" in fields:
            yield from states_of(fields["ItemProcessor"], name)


def transitions(state: Any) -> Iterator[Transition]:
    """Yield the transitions of a state; nothing for a value that is not a state."""
    if not isinstance(state, dict):
        return
    for number, rule in enumerate(objects(state.get("Choices"))):
        yield Transition(f"Choices[{number}].Next", rule.get("Next"))
    for name in ("Default", "Next"):
        if name in state:
            yield Transition(name, state[name])
    for number, catcher in enumerate(objects(state.get("Catch"))):
        yield Transition(f"Catch[{number}].Next", catcher.get("Next"))


def is_end(state: Any) -> bool:
    """Return whether an execution or a child of a Map ends with this state."""
    return isinstance(state, dict) and (
        state.get("Type") in {"Succeed", "Fail"} or state.get("End") is True
    )


def retriers(state: Json) -> tuple[Retrier, ...]:
    """Return the retriers of a state, in the order in which they are evaluated."""
    return tuple(Retrier.from_json(one) for one in state.get("Retry", ()))


def names(errors: Sequence[str], error: str) -> bool:
    """Return whether a list of ``ErrorEquals`` names an error.

    ``States.ALL`` names every error, ``States.TaskFailed`` every error but ``States.Timeout``;
    two errors can be named by nothing.
    """
    if error in UNCATCHABLE:
        return False
    if error in errors or "States.ALL" in errors:
        return True
    return "States.TaskFailed" in errors and error != "States.Timeout"


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list; empty for a value that is not a list."""
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
