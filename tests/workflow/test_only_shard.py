"""An only shard is sent and collected by the execution itself, and waits as a Map's child does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from local.state_machine.definition import Machine
from tests.fakes.step_functions import MACHINE_ARN
from tests.harness.invocations import Invocation, Refuse, Trouble
from tests.harness.jobs import check_end, good_lines, put
from tests.harness.world import SUBSTITUTIONS, World

MAPS = {"SubmitShards", "DownloadResults"}
FORMER = Path(__file__).parents[1] / "releases" / "1.0.0.zip"
MANY = {"MAX_REQUESTS_PER_BATCH": "2"}


def former_machine() -> Machine:
    """Return the state machine of the release before."""
    with ZipFile(FORMER) as release:
        text = release.read("statemachine/batch_job.asl.json").decode()
    for name, value in SUBSTITUTIONS.items():
        text = text.replace(f"${{{name}}}", value)
    return Machine(json.loads(text), arn=MACHINE_ARN)


def visits(world: World) -> list[str]:
    """Return all states that the first execution has entered."""
    return next(iter(world.executions.values())).visits


def times_of(world: World, function: str) -> int:
    """Return how often a function was invoked."""
    return sum(one.function == function for one in world.invocations)


def run(world: World, requests: int = 2) -> dict[str, Any]:
    """Run a job to its end; returns its report."""
    job = put(world, "input/a.jsonl", good_lines(requests))
    world.settle()
    (report,) = check_end(world, job)
    return report


def test_a_job_of_one_shard_has_no_map_and_few_transitions() -> None:
    with World(simulator={"batch_seconds": 5.0}) as world:
        assert run(world)["status"] == "succeeded"
        assert len(visits(world)) == 15
        assert not MAPS & set(visits(world))
        assert not [key for key in world.s3.keys("work/") if "/maps/" in key]


def test_the_first_look_comes_when_the_shortest_wait_is_over() -> None:
    with World({"POLL_MIN_SECONDS": "7"}, simulator={"batch_seconds": 100.0}) as world:
        run(world)
        sent = next(one for one in world.invocations if one.function == "submit_batch")
        assert sent.answer == {"outcome": "settled", "wait_seconds": 7}


def test_the_only_one_left_of_many_goes_the_same_way() -> None:
    with World(MANY) as world:
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
        assert run(world, 6)["status"] == "succeeded"
        steps = [state for state in visits(world) if state in MAPS or "Only" in state]
        assert steps == ["SubmitShards", "DownloadResults", "SubmitOnlyShard", "DownloadOnlyShard"]


@pytest.mark.parametrize(
    ("call", "function"), [("upload", "submit_batch"), ("content", "download_results")]
)
def test_a_retry_after_is_kept_without_another_round(call: str, function: str) -> None:
    with World() as world:
        world.simulator.add_fault(call, status=429, headers={"Retry-After": "900"}, times=1)
        assert run(world)["status"] == "succeeded"
        assert times_of(world, function) == 2
        first, second = (one for one in world.invocations if one.function == function)
        assert (first.answer["outcome"], first.answer["wait_seconds"]) == ("wait", 900)
        assert second.payload["tries"] == 1
        assert not MAPS & set(visits(world))


@pytest.mark.parametrize(
    ("call", "function"), [("upload", "submit_batch"), ("content", "download_results")]
)
def test_pause_retry_after_of_zero_grows_with_the_tries(call: str, function: str) -> None:
    with World() as world:
        world.simulator.add_fault(call, status=429, headers={"Retry-After": "0"}, times=3)
        assert run(world)["status"] == "succeeded"
        answers = [one.answer for one in world.invocations if one.function == function]
        assert [one["wait_seconds"] for one in answers[:3]] == [5, 10, 20]


@pytest.mark.parametrize(
    ("call", "function"), [("upload", "submit_batch"), ("content", "download_results")]
)
def test_a_step_that_is_refused_for_a_day_stays_within_the_history(
    call: str, function: str
) -> None:
    """Throttled for a day, then let through: tries grow rare, and the job ends right."""
    with World() as world:
        world.simulator.add_fault(call, status=429, times=None)
        job = put(world, "input/a.jsonl", good_lines(2))
        world.run_for(20 * 3600)
        assert times_of(world, function) > 10
        events = next(iter(world.executions.values())).events
        world.simulator.clear_faults()
        world.settle()
        (report,) = check_end(world, job)
        assert report["status"] == "succeeded"
        assert events < 5_000


def test_a_function_that_cannot_run_leaves_the_shard_to_the_status_check() -> None:
    refused: list[int] = []

    def director(invocation: Invocation) -> tuple[Trouble, ...]:
        if invocation.function == "submit_batch" and len(refused) < 11:
            refused.append(invocation.number)
            return (Refuse(error="Runtime.ImportModuleError"),)
        return ()

    with World(director=director) as world:
        assert run(world)["status"] == "succeeded"
        assert len(refused) == 11
        after = visits(world)[visits(world).index("SubmitOnlyShard") + 1]
        assert after == "CheckStatus"


def test_a_canary_needs_no_map() -> None:
    with World(MANY) as world:
        job = put(world, "input/a.jsonl", good_lines(6), canary_requests="1")
        world.settle()
        (report,) = check_end(world, job)
        assert report["status"] == "succeeded"
        steps = [state for state in visits(world) if state in MAPS or "Only" in state]
        assert steps == ["SubmitOnlyShard", "DownloadOnlyShard", "SubmitShards", "DownloadResults"]


def test_an_execution_of_the_version_before_runs_its_map() -> None:
    """It keeps its definition, which has no states for an only shard, and calls the code of now."""
    former = former_machine()
    with World(machine=former) as world:
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
        assert run(world)["status"] == "succeeded"
        steps = [state for state in visits(world) if state in MAPS or "Only" in state]
        assert steps == ["SubmitShards", "DownloadResults"] * 2
        checks = [one for one in world.invocations if one.function == "check_status"]
        assert all(one.answer["shard_key"] == "" for one in checks)
