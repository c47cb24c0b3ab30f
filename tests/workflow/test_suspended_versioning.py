"""A bucket whose versioning its owner has suspended: each upload replaces the one before.

All uploads of a key then have the version ``null``. None may be met with silence, and no job may
read what another upload has put in place of its own.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.harness.jobs import (
    check_bucket,
    check_groq,
    check_invocations,
    file_of,
    good_lines,
    report_of,
)
from tests.harness.world import World

KEY = "input/a.jsonl"
SMALL_SHARDS = {"MAX_REQUESTS_PER_BATCH": "2"}


def settle(world: World) -> dict[str, Any]:
    """Let the world come to rest, and return the report that stands."""
    world.settle(days=1)
    check_groq(world)
    check_bucket(world)
    check_invocations(world)
    return report_of(world, "a.jsonl")


def ids_in_results(world: World) -> list[str]:
    data = world.s3.read("output/a.jsonl") or b""
    return [json.loads(line)["custom_id"] for line in data.splitlines()]


@pytest.mark.parametrize("seconds", [20.0, 60.0, 1_000.0])
def test_second_upload_of_a_key_is_a_job_of_its_own(seconds: float) -> None:
    with World(SMALL_SHARDS, versioned=False) as world:
        world.upload(KEY, file_of(good_lines(4)))
        world.run_for(seconds)
        world.upload(KEY, file_of(good_lines(3, "s")), delays=(1.0, 5.0, 2_000.0))
        report = settle(world)
        world.sweep()
        assert settle(world) == report
        assert ids_in_results(world) == ["s0", "s1", "s2"]
        assert len(world.states.executions) == 2
    assert report["status"] == "succeeded"


def test_upload_that_another_one_replaced_before_it_was_read_says_so() -> None:
    with World(SMALL_SHARDS, versioned=False) as world:
        world.upload(KEY, file_of(good_lines(4)), delays=(0.0,))
        world.run_for(0.3)
        assert len(world.states.executions) == 1
        world.upload(KEY, file_of(good_lines(3, "s")), delays=(20.0,))
        world.run_for(15.0)
        first = report_of(world, "a.jsonl")
        report = settle(world)
        assert ids_in_results(world) == ["s0", "s1", "s2"]
    assert first["errors"][0]["code"] == "input_unreadable"
    assert report["status"] == "succeeded"


def test_late_event_of_an_upload_that_was_replaced_starts_nothing() -> None:
    with World(SMALL_SHARDS, versioned=False) as world:
        world.upload(KEY, file_of(good_lines(4)), delays=(5_000.0,))
        world.upload(KEY, file_of(good_lines(3, "s")))
        report = settle(world)
        assert ids_in_results(world) == ["s0", "s1", "s2"]
        assert len(world.states.executions) == 1
    assert report["status"] == "succeeded"
