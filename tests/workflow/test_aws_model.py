"""What the model of AWS reads is what the code of today asks for.

The model's counts are kept in a file, so that ``bench`` needs none of the tests. Here they are
counted again. After a change of code or state machine: ``make counts && make bench ARGS=aws``.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.aws_model.counts import COUNTS, DURATIONS, SIZES
from tests.harness.aws_counts import count

_COUNTED = json.loads(COUNTS.read_text(encoding="utf-8"))["jobs"]
_CASES = [
    *(("1", duration) for duration in DURATIONS),
    *(("100", duration) for duration in DURATIONS),
    ("10,000", "5 s"),
    ("1,000,000", "5 s"),
]
_HINT = "Code or state machine ask for other calls: make counts && make bench ARGS=aws"


@pytest.mark.parametrize(("size", "duration"), _CASES)
def test_counts_of_the_model_are_those_of_the_code(size: str, duration: str) -> None:
    found: Any = json.loads(json.dumps(count(SIZES[size], DURATIONS[duration])))
    kept = _COUNTED[size][duration]
    assert {name: kept[name] for name in kept if name != "steps"} == {
        name: found[name] for name in found if name != "steps"
    }, _HINT
    assert kept["steps"] == found["steps"], _HINT
