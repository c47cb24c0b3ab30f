"""Versions of the state machine's definition.

An execution keeps the definition with which it began, for weeks if need be, while it calls the code
of today. The definition passes its version to every function, so that new decisions and states are
used only where they are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIRST_MACHINE = 1
"""Definitions that pass no version."""
READS_MODELS = 2
"""Has the state ReadModels, before the input is read."""
ONLY_SHARD = 2
"""Has states that send and collect an only shard without a Map."""
ANSWERS_REQUESTS = 2
"""Has the state AnswerRequests, and the decision ``answer`` that leads to it."""


def machine_of(event: Mapping[str, Any]) -> int:
    """Return the version of the definition that an event comes from."""
    return int(event.get("machine", FIRST_MACHINE))
