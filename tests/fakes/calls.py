"""What every double tells about a call, and how a test gets between the caller and the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One outbound call.

    Attributes:
        service: ``s3``, ``groq``, ``states`` or ``events``.
        operation: What is asked, such as ``put_object`` or ``create``.
        target: What it is asked of: a key, a file's name, an execution.
        arguments: All arguments, for filters that need more.
    """

    service: str
    operation: str
    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.service}.{self.operation} {self.target}".rstrip()


Wire = Callable[[Call, Callable[[], Any]], Any]
"""Carries a call to the service: ``wire(call, act)`` returns what ``act()`` returns, or does
anything else that can happen to a call, before, after or instead of it."""


def plain_wire(call: Call, act: Callable[[], Any]) -> Any:
    """Carry a call without any trouble."""
    return act()


def instead(happens: Callable[[Callable[[], Any]], Any], operation: str, target: str = "") -> Wire:
    """Return a wire on which something else happens to calls of an operation.

    Args:
        happens: Is given what makes the call; returns what the caller gets.
        operation: The operation, such as ``put_object``.
        target: How the target begins of the calls that are meant; all of them where it is empty.
    """

    def wire(call: Call, act: Callable[[], Any]) -> Any:
        is_meant = call.operation == operation and call.target.startswith(target)
        return happens(act) if is_meant else act()

    return wire
