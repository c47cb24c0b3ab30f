"""Answers that have not the form asked for: sent again with ``retry-invalid-output``, and only so.

After each: every answer is paid for and counted, none comes after one that has the form, and the
row is the newest that has it, else the newest.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.harness.jobs import (
    Line,
    Upload,
    audio_line,
    check_end,
    good_line,
    json_line,
    put,
)
from tests.harness.world import World

RETRYING = {"retry_invalid_output": "true"}
ENVIRONMENT = {"POLL_MIN_SECONDS": "60", "MAX_ATTEMPTS": "3"}


def misfit(world: World, outcome: str, custom_id: str, times: int | None = 1) -> None:
    """Give the next answers to a request another form than is asked for."""
    world.simulator.add_rule(outcome, match={"custom_id": custom_id}, times=times)


def run(world: World, *lines: Line, **options: str) -> tuple[Upload, dict[str, Any]]:
    """Run a file to its end; return it and its report."""
    upload = put(world, "input/a.jsonl", lines, **options)
    world.settle()
    (report,) = check_end(world, upload)
    return upload, report


def contents(world: World) -> dict[str, str]:
    """Return the texts of the answers in the results."""
    rows = [json.loads(row) for row in (world.s3.read("output/a.jsonl") or b"").splitlines()]
    return {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"]
        for row in rows
        if row["response"]
    }


def sent(report: dict[str, Any]) -> list[tuple[int, int]]:
    """Return how many requests each batch had, and how many of them were answered."""
    return [(batch["requests"], batch["succeeded"]) for batch in report["batches"]]


@pytest.mark.parametrize("outcome", ["not_json", "not_as_schema", "cut_short"])
def test_answer_of_another_form_is_asked_for_again(outcome: str) -> None:
    with World(ENVIRONMENT) as world:
        misfit(world, outcome, "r1")
        _, report = run(world, json_line("r0"), json_line("r1"), good_line("r2"), **RETRYING)
        assert contents(world)["r1"] == '{"answer": "Echo: Say r1."}'
    assert report["status"] == "succeeded"
    assert sent(report) == [(3, 3), (1, 1)]
    assert report["requests"]["invalid_output"] == 0
    assert report["requests"]["succeeded"] == 3


def test_answer_of_another_form_stays_without_the_option() -> None:
    with World(ENVIRONMENT) as world:
        misfit(world, "not_json", "r1")
        _, report = run(world, json_line("r0"), json_line("r1"))
        assert contents(world)["r1"].startswith("Sure!")
    assert sent(report) == [(2, 2)]
    assert report["requests"] == {"total": 2, "succeeded": 2, "failed": 0, "invalid": 0}


def test_requests_that_ask_for_no_json_are_never_sent_again() -> None:
    with World(ENVIRONMENT) as world:
        misfit(world, "cut_short", "r0")
        _, report = run(world, good_line("r0"), audio_line("r1"), **RETRYING)
    assert sent(report) == [(2, 2)]


def test_newest_answer_stays_when_none_has_the_form() -> None:
    with World(ENVIRONMENT) as world:
        misfit(world, "not_json", "r0", times=2)
        misfit(world, "not_as_schema", "r0", times=None)
        upload, report = run(world, json_line("r0"), json_line("r1"), **RETRYING)
        assert contents(world)["r0"] == '{"something": "else"}'
        assert world.s3.read("failed/a.jsonl") is None
        counted = world.simulator.requests(upload.job_id(world.s3.bucket))
    assert counted["r0"] == {"sent": 3, "succeeded": 3}
    assert report["status"] == "succeeded"
    assert report["requests"]["succeeded"] == 2
    assert report["requests"]["invalid_output"] == 1
    assert sent(report) == [(2, 2), (1, 1), (1, 1)]


def test_all_answers_are_in_usage_and_cost() -> None:
    with World(ENVIRONMENT) as world:
        _, calm = run(world, json_line("r0"))
    with World(ENVIRONMENT) as world:
        misfit(world, "not_as_schema", "r0", times=1)
        _, report = run(world, json_line("r0"), **RETRYING)
    assert report["usage"]["prompt_tokens"] == 2 * calm["usage"]["prompt_tokens"]
    assert report["cost_usd"]["actual"] > calm["cost_usd"]["actual"]


@pytest.mark.parametrize(
    ("outcome", "sendings"),
    [
        # Expired, or without a row: another attempt may bring an answer yet.
        ("batch_expired", 3),
        ("missing", 3),
        # Refused for good: the last attempt is the other request's alone.
        ("fail", 2),
    ],
)
def test_earlier_answer_stays_when_the_later_attempt_has_none(outcome: str, sendings: int) -> None:
    with World(ENVIRONMENT) as world:
        misfit(world, "not_as_schema", "r0")
        misfit(world, outcome, "r0", times=None)
        misfit(world, "capacity_exhausted", "r1", times=None)
        _, report = run(world, json_line("r0"), json_line("r1"), **RETRYING)
        assert contents(world) == {"r0": '{"something": "else"}'}
    assert report["requests"]["succeeded"] == 1
    assert report["requests"]["invalid_output"] == 1
    assert [entry["custom_id"] for entry in report["errors"]] == ["r1"]
    assert sent(report) == [(2, 1), (2, 0), (sendings - 1, 0)]


def test_earlier_answer_stays_when_the_later_batch_expires() -> None:
    with World(ENVIRONMENT) as world:
        misfit(world, "cut_short", "r0", times=None)
        world.simulator.add_fate(match={"nth": 2}, end="expire", done=0.0, times=1)
        upload, report = run(world, json_line("r0"), **RETRYING)
        counted = world.simulator.requests(upload.job_id(world.s3.bucket))
    assert counted["r0"] == {"sent": 3, "succeeded": 2}
    assert [batch["status"] for batch in report["batches"]] == ["completed", "expired", "completed"]
    assert report["requests"]["invalid_output"] == 1


def test_earlier_answer_stays_when_the_later_batch_is_refused() -> None:
    with World(ENVIRONMENT) as world:
        misfit(world, "not_json", "r0")
        world.simulator.add_fate(match={"nth": 2}, end="fail", times=1)
        world.simulator.add_fate(match={"nth": 3}, end="fail", times=1)
        _, report = run(world, json_line("r0"), json_line("r1"), **RETRYING)
        assert contents(world)["r0"].startswith("Sure!")
    assert report["status"] == "succeeded"
    assert report["requests"]["invalid_output"] == 1
    assert sent(report) == [(2, 2), (1, 0), (1, 0)]


def test_earlier_answer_stays_when_the_job_is_stopped() -> None:
    with World(ENVIRONMENT) as world:
        misfit(world, "not_json", "r0", times=None)
        world.simulator.add_fate(match={"nth": 2}, batch_seconds=9_000.0, times=1)
        upload = put(world, "input/a.jsonl", [json_line("r0")], **RETRYING)
        world.run_for(2_000)
        assert len(world.simulator.batches()) == 2
        world.stop(upload.job_id(world.s3.bucket))
        world.settle()
        (report,) = check_end(world, upload)
        assert contents(world)["r0"].startswith("Sure!")
    assert report["status"] == "cancelled"
    assert report["requests"]["succeeded"] == 1
    assert report["requests"]["invalid_output"] == 1


def test_schema_that_no_validator_takes_lets_the_answer_stand() -> None:
    answer = {"type": "string", "pattern": "([a-z]{1000}){1000}|Echo"}
    schema = {"type": "object", "properties": {"answer": answer}, "required": ["answer"]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    line = replace(good_line("r0", response_format=form), asks_json=True)
    with World(ENVIRONMENT) as world:
        _, report = run(world, line, **RETRYING)
    assert sent(report) == [(1, 1)]
    assert report["requests"]["invalid_output"] == 0
    assert report["requests"]["unchecked_output"] == 1


def test_canary_takes_an_answer_of_another_form_for_an_answer() -> None:
    with World({**ENVIRONMENT, "MAX_REQUESTS_PER_BATCH": "4"}) as world:
        misfit(world, "not_json", "r0")
        misfit(world, "not_as_schema", "r1")
        options = {**RETRYING, "canary_requests": "2", "canary_max_failed_percent": "0"}
        _, report = run(world, *(json_line(f"r{number}") for number in range(6)), **options)
        assert all(text.startswith('{"answer"') for text in contents(world).values())
    assert report["canary"]["failed"] == 0
    assert report["canary"]["passed"] is True
    assert report["requests"]["invalid_output"] == 0
    assert sum(requests for requests, _ in sent(report)) == 8
