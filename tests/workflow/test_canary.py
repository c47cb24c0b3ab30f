"""A canary: the first requests of a job go alone, and the rest only if they do well.

``test_crashes.py``, ``test_twins.py`` and ``test_lives.py`` go through deaths, twins and stops of
such jobs as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.harness.invocations import Invocation, Refuse, Trouble
from tests.harness.jobs import (
    Line,
    Upload,
    bad_line,
    check_end,
    good_line,
    good_lines,
    put,
    report_of,
)
from tests.harness.world import World
from tests.workflow.test_refusals import asked_in, batches, rows

KEYS = ("input/a.jsonl", "input/a.jsonl.gz")


def run(world: World, lines: list[Line], **options: str) -> tuple[Upload, dict[str, Any]]:
    """Run a job to its end, and check everything that must hold then."""
    options.setdefault("canary_requests", "2")
    job = put(world, options.pop("key", "input/a.jsonl"), lines, **options)
    world.settle()
    (report,) = check_end(world, job)
    return job, report


def canary(requests: int, failed: int, *, passed: bool | None) -> dict[str, Any]:
    """Return the report's canary, but for the projected cost."""
    return {"requests": requests, "failed": failed, "passed": passed}


def told(report: dict[str, Any]) -> dict[str, Any]:
    """Return what the report tells of the canary, but for the projected cost."""
    return {name: one for name, one in report["canary"].items() if name != "projected_cost_usd"}


def ids(first: int, end: int) -> list[str]:
    return [f"r{number}" for number in range(first, end)]


# Passing


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("range_bytes", ["700", "1073741824"])
def test_canary_that_passes_is_followed_by_the_rest(key: str, range_bytes: str) -> None:
    environment = {"MAX_REQUESTS_PER_BATCH": "4", "MAX_BYTES_PER_RANGE": range_bytes}
    with World(environment) as world:
        job, report = run(world, good_lines(9), key=key)
        assert report["status"] == "succeeded"
        first, *others = batches(report)
        assert first == (1, 1, "completed", 2, 2)
        assert {one[1] for one in others} == {1}
        assert min(one[0] for one in others) == 2
        assert sum(one[3] for one in others) == 7
        assert told(report) == canary(2, 0, passed=True)
        assert report["canary"]["projected_cost_usd"] > 0
        assert set(map(tuple, asked_in(world, job).values())) == {("1",)}
        times = {one["shard"]: one for one in report["batches"]}
        assert all(
            times[1]["ended_at"] <= one["created_at"]
            for one in report["batches"]
            if one["shard"] > 1
        )


@pytest.mark.parametrize("attempts", ["1", "3", "10"])
def test_rest_has_as_many_attempts_as_any_request(attempts: str) -> None:
    with World({"MAX_ATTEMPTS": attempts, "MAX_REQUESTS_PER_BATCH": "2"}) as world:
        world.simulator.add_rule("capacity_exhausted", match={"regex": "^r[15]$"})
        job, report = run(world, good_lines(6))
        asked = asked_in(world, job)
        every = [str(number) for number in range(1, int(attempts) + 1)]
        # The canary has one answer, so the rest is sent whatever becomes of its other request.
        assert sorted(asked["r1"], key=int) == sorted(asked["r5"], key=int) == every
        assert report["requests"] == {"total": 6, "succeeded": 4, "failed": 2, "invalid": 0}
        assert told(report) == canary(2, 1 if attempts == "1" else 0, passed=True)
        assert report["status"] == "partial"


def test_left_overs_of_the_canary_go_with_the_rest() -> None:
    with World() as world:
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
        _, report = run(world, good_lines(5))
        assert report["status"] == "succeeded"
        assert batches(report) == [
            (1, 1, "completed", 2, 1),
            (1, 2, "completed", 1, 1),
            (2, 1, "completed", 3, 3),
        ]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("range_bytes", ["300", "700", "1073741824"])
@pytest.mark.parametrize("batch", ["1", "3", "50"])
def test_bad_lines_and_repeated_ids_do_not_count(key: str, range_bytes: str, batch: str) -> None:
    environment = {"MAX_REQUESTS_PER_BATCH": batch, "MAX_BYTES_PER_RANGE": range_bytes}
    twice = Line(good_line("r0").data, "r0", "duplicate_custom_id")
    lines = [bad_line("b0"), good_line("r0"), twice, bad_line("b1"), good_line("r1"), twice]
    lines += [good_line("r2"), bad_line("b2"), *good_lines(4, "s"), twice]
    with World(environment) as world:
        world.simulator.add_rule("fail", match={"regex": "^r"})
        _, report = run(
            world, lines, key=key, canary_requests="3", on_invalid_line="skip", max_attempts="1"
        )
        in_first = min(3, int(batch))
        assert told(report) == canary(in_first, in_first, passed=False)
        assert batches(report) == [(1, 1, "completed", in_first, 0)]
        assert report["requests"]["invalid"] == 6
        assert report["requests"]["failed"] == 7


@pytest.mark.parametrize("range_bytes", ["300", "1073741824"])
@pytest.mark.parametrize("batch", ["1", "2", "50"])
@pytest.mark.parametrize("count", ["3", "4", "5", "10000"])
def test_file_of_at_most_as_many_lines_has_no_canary(
    range_bytes: str, batch: str, count: str
) -> None:
    environment = {"MAX_REQUESTS_PER_BATCH": batch, "MAX_BYTES_PER_RANGE": range_bytes}
    twice = Line(good_line("r0").data, "r0", "duplicate_custom_id")
    with World(environment) as world:
        lines = [*good_lines(4), twice]
        _, report = run(world, lines, canary_requests=count, on_invalid_line="skip")
        assert report["requests"]["succeeded"] == 4
        created = {one["created_at"] for one in report["batches"]}
        if count == "3":
            assert told(report) == canary(min(3, int(batch)), 0, passed=True)
            assert len(created) == 2
        else:
            assert report["canary"] is None
            assert len(created) == 1


# Failing


@pytest.mark.parametrize("range_bytes", ["700", "1073741824"])
def test_canary_that_fails_is_all_that_is_sent(range_bytes: str) -> None:
    environment = {"MAX_REQUESTS_PER_BATCH": "3", "MAX_BYTES_PER_RANGE": range_bytes}
    with World(environment) as world:
        world.simulator.add_rule("fail", match={"regex": "^r"})
        job, report = run(world, good_lines(9))
        assert report["status"] == "partial"
        assert told(report) == canary(2, 2, passed=False)
        assert batches(report) == [(1, 1, "completed", 2, 0)]
        assert set(asked_in(world, job)) == {"r0", "r1"}
        assert report["requests"] == {"total": 9, "succeeded": 0, "failed": 9, "invalid": 0}
        error = report["errors"][0]
        assert error["code"] == "canary_failed"
        assert "None of the first 2 requests" in error["message"]
        assert "The other 7 requests were not sent." in error["message"]
        found = rows(world)
        assert {found[one]["error"]["code"] for one in ids(2, 9)} == {"not_sent"}
        assert error["message"] in found["r5"]["error"]["message"]
        failed = (world.s3.read("failed/a.jsonl") or b"").splitlines()
        assert failed == [line.data for line in job.lines]


def test_canary_that_shows_a_cost_above_the_cap() -> None:
    """Without a limit of their tokens the estimate knows nothing of answers."""
    with World() as world:
        _, report = run(world, good_lines(40))
        projected = report["canary"]["projected_cost_usd"]
        assert projected == pytest.approx(report["cost_usd"]["actual"], rel=0.5)
        cap = (report["cost_usd"]["estimated"] + projected) / 2
        assert report["cost_usd"]["estimated"] < cap < projected
    with World() as world:
        _, report = run(world, good_lines(40), max_job_cost_usd=f"{cap:.9f}")
        assert report["status"] == "partial"
        assert report["errors"][0]["code"] == "canary_too_expensive"
        assert told(report) == canary(2, 0, passed=False)
        assert report["canary"]["projected_cost_usd"] == projected
        assert report["requests"]["succeeded"] == 2
        assert {row["error"]["code"] for row in rows(world).values() if row["error"]} == {
            "not_sent"
        }


# Alone again


@pytest.mark.parametrize("at", ["create", "validation"])
@pytest.mark.parametrize("range_bytes", ["700", "1073741824"])
def test_refused_canary_is_sent_again_alone(at: str, range_bytes: str) -> None:
    environment = {"MAX_REQUESTS_PER_BATCH": "3", "MAX_BYTES_PER_RANGE": range_bytes}
    with World(environment) as world:
        world.simulator.add_refusal(at=at, match={"model": "m0"}, times=2)
        lines = [good_line("r0", model="m0"), good_line("r1", model="m0"), *good_lines(9)[2:]]
        job, report = run(world, lines)
        assert report["status"] == "succeeded"
        assert told(report) == canary(2, 0, passed=True)
        asked = asked_in(world, job)
        assert asked["r0"] == asked["r1"] == ["1", "2", "3"]
        assert {tuple(asked[one]) for one in ids(2, 9)} == {("1",)}
        ended = max(one["ended_at"] for one in report["batches"] if one["shard"] == 1)
        assert all(one["created_at"] >= ended for one in report["batches"] if one["shard"] > 1)


@pytest.mark.parametrize("attempts", ["1", "2", "3"])
@pytest.mark.parametrize("at", ["create", "validation"])
def test_canary_without_any_answer_has_failed_in_the_end(at: str, attempts: str) -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "3", "MAX_ATTEMPTS": attempts}) as world:
        world.simulator.add_refusal(at=at, match={"model": "m0"})
        job, report = run(world, good_lines(9, model="m0"), canary_max_failed_percent="100")
        assert report["status"] == "partial"
        assert told(report) == canary(2, 2, passed=False)
        assert report["errors"][0]["code"] == "canary_failed"
        assert "batch_failed (2 times)" in report["errors"][0]["message"]
        assert set(asked_in(world, job)) == {"r0", "r1"}
        assert len(asked_in(world, job)["r0"]) == int(attempts)


def test_canary_of_two_models_is_divided_and_judged_by_the_part_that_runs() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "3"}) as world:
        world.simulator.add_refusal(match={"model": "m1"})
        lines = [good_line("a", model="m0"), good_line("b", model="m1"), *good_lines(5)]
        job, report = run(world, lines)
        assert report["status"] == "partial"
        assert told(report) == canary(2, 0, passed=True)
        asked = asked_in(world, job)
        assert asked["a"] == ["1", "2"]
        assert asked["b"] == ["1", "2", "3"]
        assert {tuple(asked[one]) for one in ids(0, 5)} == {("1",)}
        assert report["requests"]["succeeded"] == 6


def test_expired_canary_is_sent_again_alone() -> None:
    with World() as world:
        world.simulator.add_fate(end="expire", done=0.0, times=2)
        job, report = run(world, good_lines(5))
        assert report["status"] == "succeeded"
        assert told(report) == canary(2, 0, passed=True)
        assert asked_in(world, job)["r0"] == ["1", "2", "3"]
        assert asked_in(world, job)["r2"] == ["1"]


# Stops


@pytest.mark.parametrize("percent", ["0", "100"])
def test_stop_at_every_state(percent: str) -> None:
    """Whenever somebody stops the job, every line has a row; what was not sent never is."""
    states = len(_stopped_at(0, percent)[1])
    assert states > 10
    seen = {_stopped_at(number, percent)[0] for number in range(1, states + 1)}
    assert ("cancelled", None) in seen
    # Behind a verdict against it the fence is up already, which no stop replaces.
    assert (("cancelled", True) if percent == "100" else ("partial", False)) in seen


def _stopped_at(number: int, percent: str) -> tuple[tuple[str, bool | None], list[str]]:
    """Stop a job when it enters its n-th state; 0 never.

    Returns:
        How it ended and what became of its canary, and the states that it went through.
    """
    with World({"MAX_REQUESTS_PER_BATCH": "3", "POLL_MIN_SECONDS": "60"}) as world:
        world.simulator.add_rule("fail", match={"custom_id": "r0"})
        visits: list[str] = []

        def on_visit(execution: str, state: str) -> None:
            visits.append(state)
            if len(visits) == number:
                world.spawn(_stopping(world, execution))

        world.on_visit = on_visit
        job = put(
            world,
            "input/a.jsonl",
            good_lines(7),
            canary_requests="2",
            canary_max_failed_percent=percent,
        )
        world.settle()
        (report,) = check_end(world, job)
        return (report["status"], (report["canary"] or {}).get("passed")), visits


def test_last_resort_gives_every_line_its_row() -> None:
    """No status check can run any more, so that nobody judges the canary."""

    def director(invocation: Invocation) -> Sequence[Trouble]:
        is_broken = invocation.function == "check_status" and world.clock() > begun + 60
        return (Refuse(error="Runtime.ImportModuleError"),) if is_broken else ()

    with World({"MAX_REQUESTS_PER_BATCH": "3"}, director=director) as world:
        begun = world.clock()
        job = put(world, "input/a.jsonl", good_lines(7), canary_requests="2")
        world.settle()
        (report,) = check_end(world, job)
        assert report["status"] == "failed"
        assert told(report)["passed"] is None
        assert report["requests"]["total"] == 7
        assert set(asked_in(world, job)) == {"r0", "r1"}


def _stopping(world: World, name: str) -> Iterator[float]:
    world.stop(name)
    yield from ()


def test_running_report_tells_of_the_canary() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "3"}) as world:
        job = put(world, "input/a.jsonl", good_lines(9), canary_requests="2")
        world.run_for(80)
        report = report_of(world, "a.jsonl")
        assert report["canary"] == {
            "requests": 2,
            "failed": 0,
            "projected_cost_usd": None,
            "passed": None,
        }
        assert report["progress"] == {"completed": 1, "total": 9}
        world.settle()
        check_end(world, job)


def test_no_attempt_begins_that_could_outlive_the_working_files() -> None:
    """A canary that expires without an answer takes windows that the retention does not count."""
    environment = {
        "COMPLETION_WINDOW": "72h",
        "WORK_RETENTION_DAYS": "15",
        "POLL_MIN_SECONDS": "900",
    }
    with World(environment) as world:
        # All of them but the one that answers the canary take three days, and expire.
        lasts = {"end": "expire", "done": 0.0, "batch_seconds": 72 * 3_600 / 0.9}
        for nth in (1, 2, 4, 5, 6):
            world.simulator.add_fate(match={"nth": nth}, times=1, **lasts)
        job = put(world, "input/a.jsonl", good_lines(5), canary_requests="2")
        world.settle()
        report = report_of(world, "a.jsonl")
        # Six days for the canary; from the thirteenth on another three would be too many.
        asked = asked_in(world, job)
        assert asked["r0"] == ["1", "2", "3"]
        assert asked["r2"] == ["1", "2"]
        assert report["status"] == "partial"
        assert report["requests"] == {"total": 5, "succeeded": 2, "failed": 3, "invalid": 0}
        assert [row["custom_id"] for row in rows(world).values()] == ids(0, 5)
