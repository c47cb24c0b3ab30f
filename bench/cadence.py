"""Status checks over the lives of batches: the pipeline's rule against fixed intervals.

Pure: no clock, no network. A batch has a duration and a way of telling progress; a policy says
after each look how long to wait. What is counted is what Step Functions bills and limits.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bench.prices import TRANSITION_USD
from groq_batch.domain import polling

TRANSITIONS_OF_A_POLL = 3
"""Wait, Task, Choice."""

EVENTS_OF_A_POLL = 9
"""WaitStateEntered and Exited, TaskStateEntered, TaskScheduled, TaskStarted, TaskSucceeded,
TaskStateExited, ChoiceStateEntered and Exited."""

EVENTS_OF_A_JOB = 60
"""What the other states of a job add at most, Maps among them, for three attempts."""

HISTORY_LIMIT = 25_000
"""Events after which Step Functions ends an execution."""

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
REQUESTS = 50_000


@dataclass(frozen=True, slots=True)
class Batch:
    """How a batch goes.

    Attributes:
        seconds: From its creation to its end.
        queue: Share of that time before the first request is done.
        tail: Share of that time between the last request and the end, in which files are made.
        bend: Exponent of progress over time; 1 is steady, less than 1 begins fast and ends slowly.
        tells: Whether progress is reported before the end.
    """

    seconds: float
    queue: float = 0.0
    tail: float = 0.0
    bend: float = 1.0
    tells: bool = True

    def done(self, elapsed: float) -> int:
        """Return the requests that have an outcome after some seconds."""
        if elapsed >= self.seconds:
            return REQUESTS
        running = self.seconds * (1 - self.queue - self.tail)
        share = (elapsed - self.seconds * self.queue) / running if running else 1.0
        if not self.tells or share <= 0:
            return 0
        return int(REQUESTS * min(share, 1.0) ** self.bend)


@dataclass(frozen=True, slots=True)
class Look:
    """Input of a policy after a status check. Times are in seconds since the batch was created."""

    elapsed: float
    progress_at: float
    done: int
    polls: int


Policy = Callable[[Look], float]
"""Says how long to wait, in seconds."""


@dataclass(frozen=True, slots=True)
class Life:
    """What watching a batch to its end took.

    Attributes:
        polls: Status checks.
        lag: Seconds from the end to the check that saw it; infinite when the execution reached the
            history's limit before.
    """

    polls: int
    lag: float

    @property
    def events(self) -> int:
        """Events in the history."""
        return self.polls * EVENTS_OF_A_POLL


def fixed(seconds: float) -> Policy:
    """Return the policy of one interval."""
    return lambda _: seconds


def shipped(
    *,
    window: float = DAY,
    attempts: int = 3,
    attempt: int = 1,
    shortest: int = 5,
    longest: int = 900,
) -> Policy:
    """Return the pipeline's policy, as ``status.py`` asks it.

    Args:
        window: The completion window in seconds.
        attempts: ``MaxAttempts``.
        attempt: The attempt under way.
        shortest: ``PollMinSeconds``.
        longest: ``PollMaxSeconds``.
    """

    def wait(look: Look) -> float:
        left = max(window + DAY - look.elapsed, 0.0) + (attempts - attempt) * window
        return polling.wait_seconds(
            elapsed_seconds=look.elapsed,
            idle_seconds=look.elapsed - look.progress_at,
            done=look.done,
            total=REQUESTS,
            polls=look.polls,
            remaining_seconds=left,
            planned_seconds=attempts * window,
            attempts=attempts,
            shortest=shortest,
            longest=longest,
        )

    return wait


def watch(batch: Batch, policy: Policy, *, polls: int = 0) -> Life:
    """Watch a batch from its creation to the check that sees its end.

    Args:
        batch: The batch.
        policy: When to check again.
        polls: Status checks that the execution has made before, for earlier attempts.
    """
    elapsed = progress_at = 0.0
    seen = made = 0
    most = (HISTORY_LIMIT - EVENTS_OF_A_JOB) // EVENTS_OF_A_POLL
    while True:
        made += 1
        if polls + made > most:
            return Life(made, math.inf)
        # A check takes a moment itself: the first one comes right after the batch was created.
        done = batch.done(elapsed)
        if elapsed >= batch.seconds:
            return Life(made, elapsed - batch.seconds)
        if done != seen:
            seen, progress_at = done, elapsed
        elapsed += policy(Look(elapsed, progress_at, done, polls + made))


WAYS: dict[str, dict[str, float | bool]] = {
    "steady": {},
    "steady, then files are made": {"tail": 0.03},
    "queued, then steady": {"queue": 0.5},
    "fast, then slow": {"bend": 0.5},
    "no progress reported": {"tells": False},
}
"""How batches go, in the order of the table. All weigh the same."""

DURATIONS: tuple[tuple[str, float], ...] = (
    ("3 s", 3.0),
    ("43 s", 43.0),
    ("5 min", 5 * MINUTE),
    ("30 min", 30 * MINUTE),
    ("2 h", 2 * HOUR),
    ("4 h 40 min", 4 * HOUR + 40 * MINUTE),
    ("7 h", 7 * HOUR),
    ("12 h", 12 * HOUR),
    ("24 h", 24 * HOUR),
    ("3 d", 3 * DAY),
    ("7 d", 7 * DAY),
)
"""From reports on Groq's and similar batches: 4 requests in 3 s, 100 images in 43 s, some ten
thousand documents in 4 h 40 min to 12 h; the longest windows are 24 h and 7 days."""

SPREAD = tuple(0.9 + 0.2 * ((0.5 + number * 0.618033988749895) % 1.0) for number in range(15))
"""Each duration is taken so many times, a little shorter or longer, so that no interval happens to
divide it."""

POLICIES: tuple[tuple[str, Policy | None], ...] = (
    ("this pipeline", None),
    ("3 s fixed (the tutorial)", fixed(3)),
    ("30 s fixed", fixed(30)),
    ("60 s fixed", fixed(60)),
    ("5 min fixed", fixed(300)),
)


def batches(durations: Iterable[float]) -> Iterator[Batch]:
    """Yield batches of about these durations, of every way."""
    for seconds in durations:
        for factor in SPREAD:
            for way in WAYS.values():
                yield Batch(seconds * factor, **way)  # type: ignore[arg-type]


def window_for(seconds: float) -> float:
    """Return the completion window of a batch: a day, or seven where a day is too short."""
    return DAY if seconds <= DAY else 7 * DAY


@dataclass(frozen=True, slots=True)
class Outcome:
    """A policy over many batches.

    Attributes:
        polls: Mean status checks of a batch.
        transitions: Mean transitions of a batch.
        usd: Their mean price.
        most_events: Most events in a history.
        median_lag: Median of the lag as a share of the duration.
        never: Share of the batches whose end was never seen, because the history was full.
    """

    polls: float
    transitions: float
    usd: float
    most_events: int
    median_lag: float
    never: float


def outcome(policy: Policy | None, among: Iterable[Batch]) -> Outcome:
    """Watch batches with a policy; None is the pipeline's, with the window that each needs."""
    lives = [
        (batch, watch(batch, policy or shipped(window=window_for(batch.seconds))))
        for batch in among
    ]
    polls = statistics.fmean(life.polls for _, life in lives)
    return Outcome(
        polls=polls,
        transitions=polls * TRANSITIONS_OF_A_POLL,
        usd=polls * TRANSITIONS_OF_A_POLL * TRANSITION_USD,
        most_events=max(life.events for _, life in lives),
        median_lag=statistics.median(life.lag / batch.seconds for batch, life in lives),
        never=statistics.fmean(math.isinf(life.lag) for _, life in lives),
    )


def most_events(way: dict[str, float | bool], *, window: float = 7 * DAY) -> int:
    """Return the events of a job whose three attempts each take their whole window."""
    polls = 0
    for attempt in (1, 2, 3):
        batch = Batch(window, **way)  # type: ignore[arg-type]
        polls += watch(batch, shipped(window=window, attempt=attempt), polls=polls).polls
    return polls * EVENTS_OF_A_POLL + EVENTS_OF_A_JOB


def measure() -> dict[str, Any]:
    """Part "cadence": watch all batches with all policies."""
    lives = list(batches(seconds for _, seconds in DURATIONS))
    return {
        "policies": {name: asdict(outcome(policy, lives)) for name, policy in POLICIES},
        "durations": {
            name: [asdict(outcome(policy, list(batches([seconds])))) for _, policy in POLICIES]
            for name, seconds in DURATIONS
        },
        "ways": list(WAYS),
        "three_attempts": {name: most_events(way) for name, way in WAYS.items()},
    }
