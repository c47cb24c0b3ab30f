"""The figures of the cadence, as they are kept with the measured ones."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bench import cadence


def measure() -> dict[str, Any]:
    """Play everything through."""
    lives = list(cadence.batches(seconds for _, seconds in cadence.DURATIONS))
    return {
        "policies": {
            name: asdict(cadence.outcome(policy, lives)) for name, policy in cadence.POLICIES
        },
        "durations": {
            name: [
                asdict(cadence.outcome(policy, list(cadence.batches([seconds]))))
                for _, policy in cadence.POLICIES
            ]
            for name, seconds in cadence.DURATIONS
        },
        "ways": list(cadence.WAYS),
        "three_attempts": {name: cadence.most_events(way) for name, way in cadence.WAYS.items()},
    }
