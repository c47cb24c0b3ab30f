"""Versions of the state machine's definition.

An execution keeps the definition with which it started, possibly for weeks, while it calls the
current code. The definition passes its version to every function, so that new decisions and states
are used only with definitions that support them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIRST_MACHINE = 1
"""Version of definitions that pass none."""
READS_MODELS = 2
"""First version with the state ReadModels, before the input is read."""
ONLY_SHARD = 2
"""First version with states that send and collect an only shard without a Map."""
ANSWERS_REQUESTS = 2
"""First version with the state AnswerRequests, and the decision ``answer`` that leads to it."""


def machine_of(event: Mapping[str, Any]) -> int:
    """Return the version of the definition that sent an event."""
    return int(event.get("machine", FIRST_MACHINE))
