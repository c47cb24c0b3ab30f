"""Every point at which a function can die, in several kinds of jobs.

A run in which nothing goes wrong tells all calls to the outside: to S3, Groq, Step Functions and
EventBridge. Then the job is run again and again, and each time a function dies just before or just
after one of the calls. Step Functions then sees ``Runtime.ExitError`` and runs the step again as
its Retry says; events are repeated by Lambda. After every single death: the right rows in order,
one batch for each shard attempt, nothing paid twice, no file left at Groq, a final report, a closed
job.

Deaths between the same two changes of the outside are one: nobody else can see what a function
reads, or what it thinks in between. They are run once, and an invocation that makes the same calls
as one of the plainest job dies in that one, unless ``WORKFLOW_EVERY_DEATH`` is set. The worlds of
these tests do their work in one thread, so that a run is the same every time;
``test_real_deaths.py`` shows for some points that a process which really ends leaves the same.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import pytest

from groq_batch.domain import object_keys
from tests.harness.invocations import READS, Die, Invocation, Trouble
from tests.harness.jobs import check_end, good_lines, put
from tests.harness.scripts import (
    FEW_CHECKS,
    SCRIPTS,
    SMALL_SHARDS,
    Script,
    large_results,
    shards_and_attempts,
)
from tests.harness.world import World

# A dead function closes nothing.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

EVERY_DEATH = bool(os.environ.get("WORKFLOW_EVERY_DEATH"))

MAX_ALIKE = 2
"""How many invocations with the same calls are looked at in the plainest job; those that only wait
are many. In the other jobs it is one."""


@dataclass(frozen=True, slots=True)
class Point:
    """A moment at which an invocation can die: before or after one of its calls.

    Attributes:
        number: The invocation's number in its world.
        function: The function.
        call: The label of the call.
        after: Whether the call has acted.
    """

    number: int
    function: str
    call: str
    after: bool

    def trouble(self, invocation: Invocation) -> Sequence[Trouble]:
        """Kill the invocation at this point."""
        if invocation.number != self.number:
            return ()
        return (Die(at=self.call, after=self.after),)


@cache
def plain_kinds() -> frozenset[tuple[str, ...]]:
    """Return the kinds of invocations in the plainest job."""
    with World(SMALL_SHARDS) as world:
        shards_and_attempts(world)
        return frozenset(one.kind_in_any_job for one in world.invocations)


def points_of(world: World, script: Script) -> Iterator[Point]:
    """Yield the points at which the invocations of a run can die, a few of those that are alike."""
    is_plain = script is shards_and_attempts
    has_several_jobs = len(world.s3.keys(object_keys.JOBS_PREFIX)) > 1
    elsewhere = frozenset() if is_plain or has_several_jobs else plain_kinds()
    alike = MAX_ALIKE if is_plain else 1
    seen: Counter[tuple[str, ...]] = Counter()
    for one in world.invocations:
        seen[one.kind] += 1
        is_known = seen[one.kind] > alike or one.kind_in_any_job in elsewhere
        if is_known and not EVERY_DEATH:
            continue
        has_changed = True
        for call in one.trace:
            changes = not call.startswith(READS)
            if EVERY_DEATH or has_changed:
                yield Point(one.number, one.function, call, after=False)
            if EVERY_DEATH:
                yield Point(one.number, one.function, call, after=True)
            has_changed = changes
        if has_changed and one.trace and not EVERY_DEATH:
            yield Point(one.number, one.function, one.trace[-1], after=True)


def explore(script: Script, environment: dict[str, str], functions: Sequence[str] = ()) -> None:
    """Die at every point of a script; check that each life ends as an undisturbed one does."""
    with World(environment) as world:
        check_end(world, *script(world))
        calls = world.calls
        points = [
            one for one in points_of(world, script) if not functions or one.function in functions
        ]
    wrong = []
    for point in points:
        with World(environment, director=point.trouble) as world:
            try:
                check_end(world, *script(world))
                assert any(one.dead for one in world.invocations), "nobody died"
            except AssertionError as error:
                wrong.append(f"{point}: {str(error)[:300]}")
    print(f"{script.__name__}: {calls} calls, {len(points)} deaths that differ")
    assert points
    assert not wrong, f"{len(wrong)} points: " + "\n".join(wrong[:20])


@pytest.mark.parametrize(
    ("script", "environment"), SCRIPTS, ids=[script.__name__ for script, _ in SCRIPTS]
)
def test_death_at_every_call(script: Script, environment: dict[str, str]) -> None:
    explore(script, environment)


def test_death_while_large_results_are_joined() -> None:
    explore(large_results, {**FEW_CHECKS, "MAX_REQUESTS_PER_BATCH": "1"}, ("finish_job",))


def test_second_end_equals_the_first() -> None:
    deaths = [Die(at="events.put_events #0", after=True)]

    def director(invocation: Invocation) -> Sequence[Trouble]:
        return (deaths.pop(),) if deaths and invocation.function == "finish_job" else ()

    with World(FEW_CHECKS, director=director) as world:
        job = put(world, "input/a.jsonl", good_lines(2))
        world.settle()
        check_end(world, job)
        first, second = (detail for _, _, detail in world.events.published)
    assert first == second
