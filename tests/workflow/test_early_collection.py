"""Shards whose batches have ended are collected while others run, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from groq_batch.domain import object_keys
from tests.fakes.s3 import client_error
from tests.harness.invocations import Break, Hold, Invocation, Refuse, Trouble
from tests.harness.jobs import Upload, check_end, good_lines, lines_of_models, put
from tests.harness.world import World
from tests.workflow.test_crashes import explore as die_everywhere
from tests.workflow.test_only_shard import former_machine
from tests.workflow.test_twins import LONG, LOST, stop_when_held
from tests.workflow.test_twins import explore as hold_everywhere

TWO_EACH = {"POLL_MIN_SECONDS": "60", "MAX_REQUESTS_PER_BATCH": "2", "MAX_ATTEMPTS": "2"}
EACH_ALONE = {"MAX_REQUESTS_PER_BATCH": "1"}
SLOW = 2000.0


def slow_shards(world: World, *numbers: int, **fate: Any) -> None:
    """Let the batches of some shards of the first attempt take long."""
    for number in numbers:
        metadata = {"attempt": "1", "shard": str(number)}
        world.simulator.add_fate(match={"metadata": metadata}, **{"batch_seconds": SLOW, **fate})


def staggered(world: World) -> list[Upload]:
    """Two of four shards end early; requests of both kinds are asked again."""
    slow_shards(world, 2, 4)
    world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
    world.simulator.add_rule("missing", match={"custom_id": "r6"}, times=1)
    world.simulator.add_rule("fail", match={"custom_id": "r3"})
    upload = put(world, "input/a.jsonl", good_lines(7))
    world.settle()
    return [upload]


def one_of_two(world: World) -> list[Upload]:
    """One of two shards ends early: it is the only one to collect, both times."""
    slow_shards(world, 2)
    world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
    upload = put(world, "input/a.jsonl", good_lines(4))
    world.settle()
    return [upload]


def stopped_between(world: World) -> list[Upload]:
    """Somebody stops the execution when some shards have been collected, and others run."""
    slow_shards(world, 2, 4)
    world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
    upload = put(world, "input/a.jsonl", good_lines(7))
    world.run_for(400)
    world.stop(upload.job_id(world.s3.bucket))
    world.settle()
    return [upload]


def stored(world: World, upload: Upload, attempt: int = 1) -> list[int]:
    """Return the shards of an attempt whose rows are stored."""
    keys = object_keys.WorkKeys(upload.job_id(world.s3.bucket))
    found = world.s3.keys(keys.summaries(attempt))
    return sorted(object_keys.shard_number(key) for key in found)


def collected(world: World) -> list[int]:
    """Return the shards that were handed to the download, in order."""
    return [
        object_keys.shard_of_key(one.payload["shard_key"])[1]
        for one in world.invocations
        if one.function == "download_results"
    ]


def end_of(world: World, upload: Upload) -> dict[str, Any]:
    """Check the end of a job; returns its report."""
    (report,) = check_end(world, upload)
    return report


def board_of(world: World, upload: Upload) -> Any:
    """Return what is known of the batches of a job's first attempt."""
    keys = object_keys.WorkKeys(upload.job_id(world.s3.bucket))
    return json.loads(world.s3.read(keys.batches(1)) or b"")


def test_what_has_ended_is_stored_while_the_rest_runs() -> None:
    with World(TWO_EACH) as world:
        slow_shards(world, 2, 4)
        upload = put(world, "input/a.jsonl", good_lines(7))
        world.run_for(600)
        assert stored(world, upload) == [1, 3]
        assert board_of(world, upload)["download_rounds"] == 0
        assert collected(world) == [1, 3]
        world.settle()
        assert end_of(world, upload)["status"] == "succeeded"
        assert stored(world, upload) == [1, 2, 3, 4]
        # Nobody asked for the first two again.
        assert len(collected(world)) == 4
        assert board_of(world, upload)["download_rounds"] == 1


def test_objects_below_shards_hold_request_lines_when_some_are_collected_early() -> None:
    """A listing of the shards must not show one twice, or one without requests."""
    with World(TWO_EACH) as world:
        slow_shards(world, 2, 4)
        upload = put(world, "input/a.jsonl", good_lines(7))
        world.run_for(600)
        assert stored(world, upload) == [1, 3]
        keys = object_keys.WorkKeys(upload.job_id(world.s3.bucket))
        shards = world.s3.keys(f"{keys.prefix}shards/")
        assert shards == [keys.shard(1, number) for number in (1, 2, 3, 4)]
        assert all(world.s3.read(shard) for shard in shards)
        world.settle()


def test_the_next_attempt_begins_when_all_of_the_last_is_stored() -> None:
    with World(TWO_EACH) as world:
        (upload,) = staggered(world)
        assert end_of(world, upload)["status"] == "partial"
        second = [
            one
            for one in world.invocations
            if one.function == "submit_batch" and "attempt-2" in one.payload["shard_key"]
        ]
        last = max(one.number for one in world.invocations if is_download_of(one, attempt=1))
        assert second
        assert min(one.number for one in second) > last


def is_download_of(one: Invocation, *, attempt: int) -> bool:
    return one.function == "download_results" and f"attempt-{attempt}/" in one.payload["shard_key"]


def seconds_behind_the_last_batch(machine: Any = None) -> float:
    """Return what a job of twenty shards takes from the look that finds all of them ended.

    Half of them end early; each takes a minute to be collected.
    """
    moments: dict[str, float] = {}

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function == "download_results":
            return (Hold(at="groq.content #0", seconds=60.0),)
        return ()

    with World(EACH_ALONE, director=director, machine=machine) as world:
        world.on_visit = lambda _, state: moments.update({state: world.clock()})
        slow_shards(world, *range(11, 21))
        upload = put(world, "input/a.jsonl", good_lines(20))
        world.settle()
        assert end_of(world, upload)["status"] == "succeeded"
        return moments["FinishJob"] - moments["DownloadResults"]


def test_a_turn_of_the_map_is_saved() -> None:
    assert seconds_behind_the_last_batch() == pytest.approx(60, abs=5)
    assert seconds_behind_the_last_batch(former_machine()) == pytest.approx(120, abs=5)


def test_shards_that_end_together_are_collected_together() -> None:
    with World(EACH_ALONE) as world:
        upload = put(world, "input/a.jsonl", good_lines(30))
        world.settle()
        assert end_of(world, upload)["status"] == "succeeded"
        visits = next(iter(world.executions.values())).visits
        assert visits.count("DownloadResults") == 1
        assert not [key for key in world.s3.keys("work/") if "/round-" in key]


def test_a_job_with_a_deadline_is_not_collected_early() -> None:
    """A round may last as long as a function's retries, and the look at the deadline may not."""
    with World(TWO_EACH) as world:
        slow_shards(world, 2, 4)
        upload = put(world, "input/a.jsonl", good_lines(7), batch_deadline="3h")
        world.run_for(600)
        assert stored(world, upload) == []
        world.settle()
        assert end_of(world, upload)["status"] == "succeeded"


def test_an_execution_of_the_version_before_collects_everything_at_its_end() -> None:
    with World(TWO_EACH, machine=former_machine()) as world:
        (upload,) = staggered(world)
        end_of(world, upload)
        maps = [state for state in next(iter(world.executions.values())).visits if "Downl" in state]
        assert maps == ["DownloadResults"] * 2


def test_a_batch_that_never_ends_holds_up_only_its_own_rows() -> None:
    with World(TWO_EACH) as world:
        slow_shards(world, 2, end="stuck", done=0.5)
        upload = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(600)
        assert stored(world, upload) == [1]
        world.settle()
        # Cancelled behind its window, it is sent again.
        assert end_of(world, upload)["status"] == "succeeded"
        assert next(iter(world.executions.values())).events < 5_000


def test_a_stop_behind_an_early_round_loses_no_row() -> None:
    with World(TWO_EACH) as world:
        slow_shards(world, 2, 4)
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
        upload = put(world, "input/a.jsonl", good_lines(7))
        world.run_for(400)
        assert stored(world, upload) == [1, 3]
        world.stop(upload.job_id(world.s3.bucket))
        world.settle()
        report = end_of(world, upload)
        assert report["status"] == "cancelled"
        assert report["requests"]["succeeded"] >= 3


def test_a_region_is_collected_when_all_of_its_parts_have_ended() -> None:
    with World({**TWO_EACH, "MAX_REQUESTS_PER_BATCH": "4", "MAX_ATTEMPTS": "3"}) as world:
        # Both shards are divided by model; of the first one's parts one takes long.
        world.simulator.add_refusal(at="validation", times=2)
        slow = {"metadata": {"attempt": "2", "shard": "3"}}
        world.simulator.add_fate(match=slow, batch_seconds=SLOW)
        upload = put(world, "input/a.jsonl", lines_of_models(2, 2, 2, 2))
        world.run_for(1500)
        assert stored(world, upload) == [1, 2]
        assert stored(world, upload, attempt=2) == [2]
        world.settle()
        assert end_of(world, upload)["status"] == "succeeded"
        assert stored(world, upload, attempt=2) == [1, 2]


@pytest.mark.parametrize("status", [503, 404, 429])
def test_an_early_download_that_fails_is_tried_again_with_the_others(status: int) -> None:
    with World(TWO_EACH) as world:
        slow_shards(world, 2, 4)
        upload = put(world, "input/a.jsonl", good_lines(7))
        world.run_for(90)
        headers = {"Retry-After": "3000"} if status == 429 else {}
        world.simulator.add_fault("content", status=status, headers=headers, times=None)
        world.run_for(600)
        assert stored(world, upload) == []
        # Each was handed out once, and its child did not wait: the batches that run are looked at.
        assert len(collected(world)) == 2
        looks = sum(one.function == "check_status" for one in world.invocations)
        world.run_for(600)
        assert sum(one.function == "check_status" for one in world.invocations) > looks
        world.simulator.clear_faults()
        world.settle()
        assert end_of(world, upload)["status"] == "succeeded"
        assert len(collected(world)) == 6


def test_an_early_download_that_cannot_run_is_tried_again_with_the_others() -> None:
    refused: list[int] = []

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function == "download_results" and len(refused) < 22:
            refused.append(invocation.number)
            return (Refuse(error="Runtime.ImportModuleError"),)
        return ()

    with World(TWO_EACH, director=director) as world:
        slow_shards(world, 2, 4, batch_seconds=9000.0)
        upload = put(world, "input/a.jsonl", good_lines(7))
        world.settle()
        assert len(refused) == 22
        assert end_of(world, upload)["status"] == "succeeded"


def test_a_key_revoked_during_an_early_download_says_nothing_of_the_job() -> None:
    with World(TWO_EACH) as world:
        slow_shards(world, 2, 4)
        upload = put(world, "input/a.jsonl", good_lines(7))
        world.run_for(90)
        world.simulator.add_fault("content", status=401, times=None)
        world.run_for(600)
        keys = object_keys.WorkKeys(upload.job_id(world.s3.bucket))
        assert not world.s3.keys(keys.account_hold)
        world.simulator.clear_faults()
        world.settle()
        assert end_of(world, upload)["status"] == "succeeded"


def test_a_thousand_shards_that_end_one_after_the_other_stay_within_the_history() -> None:
    with World(EACH_ALONE) as world:
        for number in range(1, 121):
            slow_shards(world, number, batch_seconds=number * 600.0)
        upload = put(world, "input/a.jsonl", good_lines(120))
        world.settle()
        assert end_of(world, upload)["status"] == "succeeded"
        execution = next(iter(world.executions.values()))
        assert 5 < execution.visits.count("DownloadResults") < 30
        # Each is handed out once: no child is there for a shard that is stored.
        assert len(collected(world)) == 120
        assert execution.events < 4_000


@pytest.mark.parametrize("script", [staggered, one_of_two, stopped_between])
def test_death_at_every_call_of_staggered_ends(script: Any) -> None:
    die_everywhere(script, TWO_EACH, ("check_status", "download_results", "cancel_job"))


@pytest.mark.parametrize("function", ["check_status", "download_results"])
@pytest.mark.parametrize("script", [staggered, one_of_two])
def test_twin_of_a_step_of_staggered_ends(script: Any, function: str) -> None:
    hold_everywhere(script, TWO_EACH, Hold(seconds=LONG, lost=LOST), [function])


@pytest.mark.parametrize("function", ["check_status", "download_results"])
def test_stop_at_every_call_of_staggered_ends(function: str) -> None:
    hold_everywhere(staggered, TWO_EACH, Hold(seconds=LONG), [function], prepare=stop_when_held)


def test_a_look_that_cannot_write_down_a_round_begins_none() -> None:
    """Another look has written meanwhile: what it wrote does not say who was tried."""
    with World(TWO_EACH) as world:
        staggered(world)
        first = next(
            one
            for one in world.invocations
            if one.function == "check_status" and one.answer.get("decision") == "download"
        )
        label = next(call for call in first.trace if "s3.put_object" in call and "batches/" in call)
    refusal = client_error("PutObject", 412, "PreconditionFailed", "it has changed")

    def director(invocation: Invocation) -> Sequence[Trouble]:
        is_first = invocation.number == first.number
        return (Break(at=label, error=lambda: refusal),) if is_first else ()

    with World(TWO_EACH, director=director) as world:
        (upload,) = staggered(world)
        check_end(world, upload)
        assert world.invocations[first.number - 1].answer["decision"] == "wait"
