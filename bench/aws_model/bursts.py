"""Many uploads at once, under the retry policy of the shipped state machine. A simulation.

Jobs share what functions an account may run at once. A step that finds none free is throttled and
tried again as its state's Retry says, which is read from the definition.
"""

from __future__ import annotations

import heapq
import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from bench import cadence, prices
from bench.aws_model.bill import step_seconds
from bench.aws_model.counts import Counted
from local import asl

THROTTLED = "Lambda.TooManyRequestsException"
BURST_SECONDS = 60.0
"""In which the uploads come."""

_QUEUE_SHORTEST, _QUEUE_LONGEST = 1.0, 300.0
"""How long Lambda waits before it tries a throttled event again: one second, doubled up to five
minutes. https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html"""


@dataclass(frozen=True, slots=True)
class Burst:
    """What came of a burst.

    Attributes:
        jobs: How many uploads there were.
        concurrency: Functions that run at once.
        ended: Jobs that came to their end.
        lost: Jobs that lost a step after all its retries; their paid results are still collected.
        throttles: Invocations that were refused.
        throttles_usd: What the retries cost as transitions.
        median_seconds: From the upload to the end.
        longest_seconds: The same for the slowest job.
    """

    jobs: int
    concurrency: int
    ended: int
    lost: int
    throttles: int
    throttles_usd: float
    median_seconds: float
    longest_seconds: float


def policies() -> dict[str, asl.Retrier]:
    """Return the retrier for throttles of each state of the shipped definition."""
    return {
        state.name: retrier
        for state in asl.states_of(asl.machine())
        for retrier in asl.retriers(state.fields)
        if THROTTLED in retrier.errors
    }


_STEPS = (
    ("start_job", None),
    ("check_status", "ReadModels"),
    ("prepare_input", "PrepareInput"),
    ("submit_batch", "SubmitBatch"),
    ("check_status", "CheckStatus"),
    ("download_results", "DownloadShard"),
    ("check_status", "CheckStatus"),
    ("finish_job", "FinishJob"),
)
"""What a job of one shard does, and which state of the definition does it; the fifth is repeated
until the batch has ended."""

_LOOK = 4


@dataclass(slots=True)
class _Job:
    uploaded: float
    step: int = 0
    retries: int = 0
    polls: int = 0
    created: float = 0.0


def burst(
    job: Counted,
    memory: Mapping[str, int],
    *,
    jobs: int,
    concurrency: int,
    batch_seconds: float,
    seed: int = 0,
) -> Burst:
    """Let jobs come within a minute.

    Args:
        job: What each of them does.
        memory: Megabytes of each function.
        jobs: How many there are.
        concurrency: Functions that the account runs at once.
        batch_seconds: How long each batch takes.
        seed: Of the times and the jitter.
    """
    return _Simulation(job, memory, concurrency, batch_seconds, random.Random(seed)).run(jobs)


class _Simulation:
    def __init__(
        self,
        job: Counted,
        memory: Mapping[str, int],
        concurrency: int,
        batch_seconds: float,
        chance: random.Random,
    ) -> None:
        self._concurrency = concurrency
        self._batch_seconds = batch_seconds
        self._random = chance
        self._seconds = {
            function: statistics.fmean(
                step_seconds(step, memory[function])
                for step in job.steps
                if step.function == function
            )
            for function, _ in _STEPS
        }
        self._policies = policies()
        self._wait = cadence.shipped()
        self._queue: list[tuple[float, int, _Job]] = []
        self._order = 0
        self._ends: list[float] = []
        self._throttles = 0
        self._lost = 0
        self._took: list[float] = []

    def run(self, jobs: int) -> Burst:
        for _ in range(jobs):
            moment = self._random.uniform(0, BURST_SECONDS)
            self._push(moment, _Job(moment))
        while self._queue:
            moment, _, job = heapq.heappop(self._queue)
            while self._ends and self._ends[0] <= moment:
                heapq.heappop(self._ends)
            if len(self._ends) >= self._concurrency:
                self._throttle(moment, job)
            else:
                self._work(moment, job)
        return Burst(
            jobs=jobs,
            concurrency=self._concurrency,
            ended=len(self._took),
            lost=self._lost,
            throttles=self._throttles,
            throttles_usd=self._throttles * prices.TRANSITION_USD,
            median_seconds=statistics.median(self._took),
            longest_seconds=max(self._took),
        )

    def _push(self, moment: float, job: _Job) -> None:
        self._order += 1
        heapq.heappush(self._queue, (moment, self._order, job))

    def _throttle(self, moment: float, job: _Job) -> None:
        _, state = _STEPS[job.step]
        if state is None:
            # Lambda's own queue, whose retries are no transitions; it gives up after 6 hours.
            delay = min(_QUEUE_SHORTEST * 2 ** min(job.retries, 20), _QUEUE_LONGEST)
            delay *= self._random.uniform(0.5, 1.0)
        else:
            policy = self._policies[state]
            self._throttles += 1
            if job.retries >= policy.attempts:
                self._lost += 1
                return
            delay = self._random.uniform(0, policy.delay(job.retries + 1))
        job.retries += 1
        self._push(moment + delay, job)

    def _work(self, moment: float, job: _Job) -> None:
        function, _ = _STEPS[job.step]
        end = moment + self._seconds[function]
        heapq.heappush(self._ends, end)
        job.retries = 0
        if function == "submit_batch":
            job.created = end
        if job.step == _LOOK and end < job.created + self._batch_seconds:
            job.polls += 1
            look = cadence.Look(end - job.created, 0.0, 0, job.polls)
            self._push(end + self._wait(look), job)
            return
        job.step += 1
        if job.step == len(_STEPS):
            self._took.append(end - job.uploaded)
            return
        self._push(end, job)
