"""Reads the counts of jobs, as the world of the tests has made them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COUNTS = Path(__file__).with_name("counts.json")

LINE_BYTES = 4_000
"""Bytes of a request."""

DURATIONS: dict[str, float] = {"5 s": 5.0, "10 min": 600.0, "12 h": 43_200.0}
"""How long batches take."""


@dataclass(frozen=True, slots=True)
class Size:
    """A job.

    Attributes:
        requests: Its requests, of 4 KB each.
        shards: The batches that they are sent in, under the default parameters.
        counted_requests: Requests of a shard in the run that is counted, if that has many shards:
            enough for progress at each status check, few enough to run.
    """

    requests: int
    shards: int
    counted_requests: int = 150

    @property
    def input_bytes(self) -> int:
        """Bytes of its file."""
        return self.requests * LINE_BYTES


SIZES: dict[str, Size] = {
    "1": Size(1, 1),
    "100": Size(100, 1),
    "10,000": Size(10_000, 1),
    "1,000,000": Size(1_000_000, 40),
}
"""The jobs of the tables. A shard has at most 100 MB, so the largest has 40."""


@dataclass(frozen=True, slots=True)
class Step:
    """What invocations in a row did alike.

    Attributes:
        function: Which function.
        decision: What a status check decided; None for others.
        times: How many invocations there were.
        calls: What each asked of AWS and Groq, by service and operation.
        waited: How many calls of AWS, and of Groq, each waited for one after the other; fewer than
            it made where pools made some side by side.
    """

    function: str
    decision: str | None
    times: int
    calls: Mapping[str, int]
    waited: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Counted:
    """What a job asked of AWS.

    Attributes:
        size: The job.
        transitions: States entered, those of the Maps' children among them.
        map_runs: Distributed Maps that ran.
        bucket_events: Objects and delete markers created; S3 sends an event for each.
        path: The first states of the execution, all of them where the batch is short.
        waits: Seconds of the waits before status checks, in order.
        calls_before_results: Calls of finish_job up to that which puts the results in place.
        steps: What the functions did, in order.
        size_calls: What they asked besides for the size of the file, by function.
    """

    size: Size
    transitions: int
    map_runs: int
    bucket_events: int
    path: tuple[str, ...]
    waits: tuple[int, ...]
    calls_before_results: int
    steps: tuple[Step, ...]
    size_calls: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def looks(self) -> int:
        """Status checks."""
        return sum(step.times for step in self.steps if step.decision is not None)

    @property
    def invocations(self) -> int:
        """Invocations of all functions."""
        return sum(step.times for step in self.steps)

    def calls(self, function: str | None = None) -> Counter[str]:
        """Return the calls of all functions, or of one, by service and operation."""
        total: Counter[str] = Counter()
        for step in self.steps:
            if function in (None, step.function):
                total.update({name: number * step.times for name, number in step.calls.items()})
        for name, calls in self.size_calls.items():
            if function in (None, name):
                total.update(calls)
        return total


def load(path: Path = COUNTS) -> dict[str, dict[str, Counted]]:
    """Return the jobs by size and duration of their batches."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: {
            duration: _counted(SIZES[name], one, data["full_shard"])
            for duration, one in found.items()
        }
        for name, found in data["jobs"].items()
    }


def _counted(
    size: Size, data: Mapping[str, Any], full_shard: Mapping[str, Mapping[str, int]]
) -> Counted:
    # A job of one shard was counted as it is.
    more = full_shard if size.shards > 1 else {}
    return Counted(
        size=size,
        transitions=sum(data["transitions"].values()),
        map_runs=data["map_runs"],
        bucket_events=data["bucket_events"],
        path=tuple(data["path"]),
        waits=tuple(data["waits"]),
        calls_before_results=data["calls_before_results"],
        steps=tuple(Step(**{**one, "waited": tuple(one["waited"])}) for one in data["steps"]),
        size_calls={
            function: {
                name: number * _times_made(function, name, size.shards)
                for name, number in calls.items()
            }
            for function, calls in more.items()
        },
    )


def _times_made(function: str, call: str, shards: int) -> int:
    """Return how often many full shards need a call that a single one needs once.

    A long file is read twice: first to check it, then to cut it. The output is one multipart upload
    of all shards.
    """
    if function == "finish_job" and call in _ONCE_A_JOB:
        return 1
    return 2 * shards if (function, call) == ("prepare_input", "s3.GetObject") else shards


_ONCE_A_JOB = frozenset({"s3.CreateMultipartUpload", "s3.CompleteMultipartUpload"})
