"""How long a job takes from the upload to its results, hop by hop. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench import cadence
from bench.aws_model import assumptions
from bench.aws_model.bill import call_seconds, init_cpu_seconds, step_seconds
from bench.aws_model.counts import Counted, Step

_LOOK = "CheckStatus"
_WAIT = "WaitForBatches"
_MAPS = frozenset({"SubmitShards", "DownloadResults"})
_FUNCTIONS = {
    "ReadModels": "check_status",
    "PrepareInput": "prepare_input",
    "SubmitShards": "submit_batch",
    "SubmitOnlyShard": "submit_batch",
    "CheckStatus": "check_status",
    "DownloadResults": "download_results",
    "DownloadOnlyShard": "download_results",
    "FinishJob": "finish_job",
}
"""The function of each state that works."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A part of the way.

    Attributes:
        name: The state, or what lies before the first one.
        seconds: What it takes when its function is warm.
        cold_seconds: What it takes more when it is not.
    """

    name: str
    seconds: float
    cold_seconds: float = 0.0


def hops(job: Counted, memory: Mapping[str, int], *, batch_seconds: float, cold: bool) -> list[Hop]:
    """Return the timeline of a job of one shard, up to the moment its results are written.

    The states are those that the job went through. The number of status checks follows from the
    times here, which differ from those of the world that it was counted in.

    Args:
        job: The job, as counted with a batch that is short enough for all states to be kept.
        memory: Megabytes of each function.
        batch_seconds: From the creation of the batch at Groq to its end.
        cold: Whether no function has an environment.
    """
    timeline = _Timeline(job, memory, cold=cold)
    timeline.add("S3, EventBridge", assumptions.EVENT_SECONDS)
    timeline.work("start_job", "start_job")
    path = _before_results(job.path)
    first = path.index(_LOOK)
    seen = max(n for n, name in enumerate(path) if name in ("DownloadResults", "DownloadOnlyShard"))
    last_look = max(n for n in range(seen) if path[n] == _LOOK)
    created = 0.0
    for name in path[:first]:
        timeline.enter(name)
        if name.startswith("Submit"):
            created = timeline.at
    policy = cadence.shipped()
    polls = 1
    while timeline.at < created + batch_seconds:
        timeline.look()
        elapsed = timeline.at - created
        timeline.wait(policy(cadence.Look(elapsed, 0.0, 0, polls)))
        polls += 1
    for name in path[last_look:]:
        timeline.enter(name)
    return timeline.merged()


def total_seconds(found: Sequence[Hop]) -> float:
    """Return the length of the way."""
    return sum(hop.seconds + hop.cold_seconds for hop in found)


def _before_results(path: Sequence[str]) -> list[str]:
    return list(path[: path.index("FinishJob") + 1])


class _Timeline:
    """Adds up hops in the order of a job."""

    def __init__(self, job: Counted, memory: Mapping[str, int], *, cold: bool) -> None:
        self.at = 0.0
        self._job = job
        self._memory = memory
        self._cold = cold
        self._steps = _steps_by_function(job)
        self._warm: set[str] = set()
        self._hops: list[Hop] = []

    def add(self, name: str, seconds: float, cold_seconds: float = 0.0) -> None:
        self._hops.append(Hop(name, seconds, cold_seconds))
        self.at += seconds + cold_seconds

    def enter(self, state: str) -> None:
        """Go through a state of the execution."""
        if state == _WAIT:
            self.wait(float(self._job.waits[0]))
            return
        if state in _MAPS:
            self.add(f"{state}, the Map's start", assumptions.MAP_START_SECONDS)
        self.add("from state to state", assumptions.STATE_SECONDS)
        if function := _FUNCTIONS.get(state):
            self.work(state, function)
        if state in _MAPS:
            self.add(f"{state}, the Map's end", assumptions.MAP_END_SECONDS)

    def look(self) -> None:
        """Check the batches, without news."""
        self.add("from state to state", 2 * assumptions.STATE_SECONDS)
        self.work(_LOOK, "check_status")

    def wait(self, seconds: float) -> None:
        self.add(_WAIT, seconds + assumptions.STATE_SECONDS)

    def work(self, name: str, function: str) -> None:
        """Let a function work through the next of its steps."""
        memory = self._memory[function]
        step = next(self._steps[function])
        seconds = step_seconds(step, memory)
        if name == "FinishJob":
            # Groq is not called until the results are written.
            before = self._job.calls_before_results
            seconds = call_seconds(before, before, 0, memory_mb=memory)
        cold = 0.0
        if self._cold and function not in self._warm:
            cold = assumptions.ENVIRONMENT_SECONDS + init_cpu_seconds(function)
            cold += assumptions.COLD_CONNECT_SECONDS
        self._warm.add(function)
        self.add(name, seconds, cold)

    def merged(self) -> list[Hop]:
        """Return the hops, those of one name as one, in the order of their first."""
        found: dict[str, Hop] = {}
        for hop in self._hops:
            before = found.get(hop.name, Hop(hop.name, 0.0))
            found[hop.name] = replace(
                before,
                seconds=before.seconds + hop.seconds,
                cold_seconds=before.cold_seconds + hop.cold_seconds,
            )
        return list(found.values())


def _steps_by_function(job: Counted) -> dict[str, Iterator[Step]]:
    """Return the steps of each function one by one; the last of each is repeated."""

    def repeat(function: str) -> Iterator[Step]:
        steps = [one for one in job.steps if one.function == function]
        for step in steps:
            for _ in range(step.times):
                yield step
        while True:
            yield steps[-1]

    return {name: repeat(name) for name in {step.function for step in job.steps}}
