"""Rules that a test gives the simulator: the first that matches and is not used up applies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from local.groq_simulator.parsing import build


class _Counted(Protocol):
    times: int | None


Kind = TypeVar("Kind", bound=_Counted)


class RuleList(Generic[Kind]):
    """The rules of one kind in force; ``times`` of a rule is how often it applies (None: always).

    Args:
        kind: The class of a rule, which is made from its JSON form.
    """

    def __init__(self, kind: type[Kind]) -> None:
        self._kind = kind
        self._rules: list[Kind] = []
        self._lock = threading.Lock()

    def replace(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Replaces all rules.

        Raises:
            ValueError: A rule is malformed; the old ones stay.
        """
        made = [build(self._kind, rule) for rule in rules]
        with self._lock:
            self._rules = made

    def add(self, rule: Mapping[str, Any]) -> None:
        """Adds a rule after the others.

        Raises:
            ValueError: It is malformed.
        """
        made = build(self._kind, rule)
        with self._lock:
            self._rules.append(made)

    @property
    def are_none(self) -> bool:
        """Whether there is no rule."""
        return not self._rules

    def take(self, applies: Callable[[Kind], bool]) -> Kind | None:
        """Returns the first rule that is not used up and applies, if any, and counts it."""
        with self._lock:
            for rule in self._rules:
                if rule.times == 0 or not applies(rule):
                    continue
                if rule.times is not None:
                    rule.times -= 1
                return rule
        return None
