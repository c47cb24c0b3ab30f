"""Two invocations of the same step at the same time, at every call of the first.

Step Functions can lose sight of an invocation that lives on (``Lambda.SdkClientException``) and
then runs the step again; an event may be delivered twice. Here the first invocation is held at one
of its calls, in a thread, while the second one and the rest of the job go on; then the first goes
on with what it had read before. Afterwards everything must be as if it had never been there.

The same is done with a user who stops the execution while the invocation is held.

Between two reads an invocation need not be held if the first read is told the same before and after
the hold: that is as if it had been held before it. In the plain job the first is held at all other
places; in jobs of other kinds it is held before calls that change something, with everything that
it has read grown old, and after the last one. ``WORKFLOW_EVERY_PLACE`` has it held everywhere.

The first invocation goes on to renew its lease while it is held. A process that stands still, or
that cannot reach the bucket any more, does not: it loses its lease, and its create may be one too
many. That batch must be cancelled at once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.harness.invocations import READS, Hold, Invocation, Trouble
from tests.harness.jobs import check_end
from tests.harness.scripts import (
    CANARIES,
    DEADLINES,
    FEW_CHECKS,
    RANGES,
    REFUSALS,
    SMALL_SHARDS,
    Script,
    canary,
    divided,
    failing_canary,
    only_shard,
    past_deadline,
    refused_at_creation,
    refused_at_validation,
    refused_canary,
    refused_endpoint,
    rejected,
    shards_and_attempts,
    stopped,
    superseded,
)
from tests.harness.world import World

LOST = "Lambda.SdkClientException"
MAX_ALIKE = 1

SHORT = 12.0
"""Seconds after which the first goes on while the second waits for its lease."""

MIDDLE = 150.0
"""Seconds after which the batch that the second made is running."""

LONG = 400.0
"""Seconds after which the second has gone far beyond the step, or the job has ended."""

SCRIPTS: list[tuple[Script, dict[str, str]]] = [
    (shards_and_attempts, SMALL_SHARDS),
    (divided, RANGES),
    (only_shard, FEW_CHECKS),
    (rejected, FEW_CHECKS),
    (stopped, SMALL_SHARDS),
    (superseded, FEW_CHECKS),
]

EVERY_PLACE = bool(os.environ.get("WORKFLOW_EVERY_PLACE"))


def of_each_kind(world: World, functions: Sequence[str]) -> Iterator[Invocation]:
    """Yield the invocations of a run that are held, one of those that are alike."""
    seen: Counter[tuple[str, ...]] = Counter()
    for one in world.invocations:
        seen[one.kind] += 1
        if one.function in functions and seen[one.kind] <= MAX_ALIKE:
            yield one


def is_as_if_held_before(
    last: str, call: str, undisturbed: Invocation, held: Invocation | None
) -> bool:
    """Tell whether a hold before a call leads to what a hold before the last call has led to.

    Args:
        last: The label of the call before it.
        call: The label of the call.
        undisturbed: The invocation in the run in which nothing was held.
        held: The invocation in the run in which it was held before the last call, or before one
            that this was told of already.
    """
    return (
        not EVERY_PLACE
        and held is not None
        and last.startswith(READS)
        and call.startswith(READS)
        and last in held.seen
        and held.seen[last] == undisturbed.seen[last]
    )


def stop_when_held(world: World) -> None:
    """Let a user stop the execution of an invocation as soon as it is held."""

    def stop(job_id: str) -> Iterator[float]:
        world.stop(job_id)
        yield from ()

    world.on_held = lambda invocation: world.spawn(stop(invocation.payload["job_id"]), after=0.5)


def explore(
    script: Script,
    environment: dict[str, str],
    hold: Hold,
    functions: Sequence[str],
    *,
    prepare: Callable[[World], None] = lambda _: None,
) -> None:
    """Hold every invocation at its calls; check that each life ends as an undisturbed one does."""
    is_plain = script is shards_and_attempts or EVERY_PLACE
    wrong: list[str] = []

    def life(number: int, trouble: Hold) -> Invocation | None:
        """Hold an invocation at a place; returns it, or None if the life has not ended well."""

        def director(invocation: Invocation) -> Sequence[Trouble]:
            return (trouble,) if invocation.number == number else ()

        with World(environment, director=director) as world:
            prepare(world)
            try:
                uploads = script(world)
                check_end(world, *uploads, doubles_may_be_cancelled=hold.frozen)
            except AssertionError as error:
                wrong.append(f"{(number, trouble)}: {str(error)[:300]}")
                return None
        return world.invocations[number - 1]

    with World(environment) as world:
        check_end(world, *script(world))
        chosen = list(of_each_kind(world, functions))
    places = lives = 0
    for one in chosen:
        # Between two calls nothing happens that others could see, so that there are no other
        # places than before each call, and after the last.
        held: Invocation | None = None
        for last, call in pairwise(["", *one.trace]):
            places += 1
            if not is_plain and call.startswith(READS):
                continue
            # What stands still goes by its clock, which is another then.
            if hold.frozen or not is_as_if_held_before(last, call, one, held):
                lives += 1
                held = life(one.number, replace(hold, at=call))
        for call in one.trace[-1:]:
            places, lives = places + 1, lives + 1
            life(one.number, replace(hold, at=call, after=True))
    print(f"{script.__name__}: {places} places, {lives} that differ, for {hold.seconds:.0f} s")
    assert places
    assert not wrong, f"{len(wrong)} places: " + "\n".join(wrong[:20])


STEPS = ("prepare_input", "submit_batch", "check_status", "download_results", "finish_job")
BETWEEN = ("submit_batch", "check_status", "download_results")
"""What a refusal changes; the other steps are as without one."""
EVENTS = ("start_job", "cancel_job")


@pytest.mark.parametrize(
    ("script", "environment"), SCRIPTS, ids=[script.__name__ for script, _ in SCRIPTS]
)
def test_twin_of_a_step(script: Script, environment: dict[str, str]) -> None:
    # Once its input is prepared, a large one is like any other.
    steps = ("prepare_input",) if script is divided else STEPS
    explore(script, environment, Hold(seconds=LONG, lost=LOST), steps)


@pytest.mark.parametrize("seconds", [SHORT, MIDDLE])
def test_twin_waits_for_the_lease(seconds: float) -> None:
    # Of all steps this one alone takes time for its twin.
    hold = Hold(seconds=seconds, lost=LOST)
    explore(shards_and_attempts, SMALL_SHARDS, hold, ("submit_batch",))
    explore(only_shard, FEW_CHECKS, hold, ("submit_batch",))


@pytest.mark.parametrize("function", BETWEEN)
@pytest.mark.parametrize(
    ("script", "environment"), REFUSALS, ids=[script.__name__ for script, _ in REFUSALS]
)
def test_twin_of_a_step_after_refusals(
    script: Script, environment: dict[str, str], function: str
) -> None:
    explore(script, environment, Hold(seconds=LONG, lost=LOST), [function])


@pytest.mark.parametrize("function", ["submit_batch", "check_status"])
@pytest.mark.parametrize("script", [canary, refused_canary])
def test_twin_of_a_step_with_a_canary(script: Script, function: str) -> None:
    environment = dict(CANARIES)[script]
    explore(script, environment, Hold(seconds=LONG, lost=LOST), [function])


@pytest.mark.parametrize("seconds", [SHORT, MIDDLE])
def test_twin_waits_for_the_lease_of_a_repeated_create(seconds: float) -> None:
    hold = Hold(seconds=seconds, lost=LOST)
    explore(refused_endpoint, dict(REFUSALS)[refused_endpoint], hold, ("submit_batch",))


@pytest.mark.parametrize("function", STEPS)
def test_stop_at_every_call(function: str) -> None:
    # What was held goes on when the job has been collected and closed.
    hold = Hold(seconds=LONG)
    explore(shards_and_attempts, SMALL_SHARDS, hold, [function], prepare=stop_when_held)
    explore(only_shard, FEW_CHECKS, hold, [function], prepare=stop_when_held)


@pytest.mark.parametrize("function", BETWEEN)
@pytest.mark.parametrize("script", [refused_at_creation, refused_at_validation])
def test_stop_while_refused_batches_are_sent_again(script: Script, function: str) -> None:
    hold = Hold(seconds=LONG)
    environment = dict(REFUSALS)[script]
    explore(script, environment, hold, [function], prepare=stop_when_held)


@pytest.mark.parametrize("seconds", [SHORT, MIDDLE, LONG])
def test_twin_of_ordinary_calls(seconds: float) -> None:
    hold = Hold(seconds=seconds, lost=LOST)
    explore(past_deadline, dict(DEADLINES)[past_deadline], hold, ["answer_requests"])


@pytest.mark.parametrize("function", ["check_status", "download_results"])
def test_twin_of_a_step_after_a_deadline(function: str) -> None:
    hold = Hold(seconds=LONG, lost=LOST)
    explore(past_deadline, dict(DEADLINES)[past_deadline], hold, [function])


@pytest.mark.parametrize("function", ["answer_requests", "check_status", "download_results"])
def test_stop_after_a_deadline(function: str) -> None:
    hold = Hold(seconds=LONG)
    environment = dict(DEADLINES)[past_deadline]
    explore(past_deadline, environment, hold, [function], prepare=stop_when_held)


@pytest.mark.parametrize("function", ["submit_batch", "check_status"])
@pytest.mark.parametrize("script", [failing_canary, refused_canary])
def test_stop_at_every_call_of_a_job_with_a_canary(script: Script, function: str) -> None:
    hold = Hold(seconds=LONG)
    environment = dict(CANARIES)[script]
    explore(script, environment, hold, [function], prepare=stop_when_held)


def test_nothing_is_created_behind_the_fence() -> None:
    with World(SMALL_SHARDS) as world:
        shards_and_attempts(world)
        first = next(one for one in world.invocations if one.function == "submit_batch")
        calls = first.trace[: first.trace.index("groq.create #0")]
    # The last call before the create records that there will be one: it comes after the last look.
    assert calls[-1].startswith("s3.put_object")
    for call in calls[:-1]:
        trouble = Hold(at=call, seconds=LONG)

        def director(invocation: Invocation, trouble: Trouble = trouble) -> Sequence[Trouble]:
            return (trouble,) if invocation.number == first.number else ()

        with World(SMALL_SHARDS, director=director) as world:
            stop_when_held(world)
            shards_and_attempts(world)
            assert all("/1/1" not in place for place in world.simulator.stats()["shards"]), call


@pytest.mark.parametrize("script", [shards_and_attempts, stopped, superseded])
def test_twin_of_an_event(script: Script) -> None:
    explore(script, SMALL_SHARDS, Hold(seconds=LONG, lost=LOST), EVENTS)


@pytest.mark.parametrize("seconds", [MIDDLE, LONG])
@pytest.mark.parametrize("script", [shards_and_attempts, stopped])
def test_first_stands_still(script: Script, seconds: float) -> None:
    hold = Hold(seconds=seconds, lost=LOST, frozen=True)
    explore(script, SMALL_SHARDS, hold, ("submit_batch",))


@pytest.mark.parametrize("script", [refused_at_creation, refused_endpoint])
def test_first_stands_still_at_a_refused_create(script: Script) -> None:
    hold = Hold(seconds=LONG, lost=LOST, frozen=True)
    explore(script, dict(REFUSALS)[script], hold, ("submit_batch",))
