"""Batches that Groq refuses as a whole, without naming a line: at their creation, at validation.

What they hold is sent again in the next attempt, after a pause, and divided by URL and model, so
that what cannot run does not take the rest with it. ``test_crashes.py`` and ``test_twins.py`` go
through deaths, twins and stops of such jobs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from tests.harness.invocations import Invocation, Refuse, Trouble
from tests.harness.jobs import (
    CHAT_URL,
    TRANSCRIPTIONS_URL,
    Line,
    Upload,
    audio_line,
    bad_line,
    check_end,
    good_lines,
    lines_of_models,
    put,
    report_of,
)
from tests.harness.world import START, World

PLACES = ("create", "validation")
HOUR = 3_600.0
DAY = 24 * HOUR
TRANSLATIONS_URL = "/v1/audio/translations"
GONE = "The model m1 has been withdrawn."


def refuse(world: World, at: str, model: str = "m1", times: int | None = None) -> None:
    """Let Groq refuse batches that hold a request to a model."""
    world.simulator.add_refusal(
        at=at, match={"model": model}, code="model_decommissioned", message=GONE, times=times
    )


def run(world: World, lines: list[Line], **options: str) -> tuple[Upload, dict[str, Any]]:
    """Run a job to its end, and check everything that must hold then."""
    job = put(world, "input/a.jsonl", lines, **options)
    world.settle()
    (report,) = check_end(world, job)
    return job, report


def batches(report: dict[str, Any]) -> list[tuple[int, int, str, int, int]]:
    """Return shard, attempt, status, requests and answered requests of each batch."""
    names = ("shard", "attempt", "status", "requests", "succeeded")
    return [tuple(one[name] for name in names) for one in report["batches"]]


def rows(world: World) -> dict[str, dict[str, Any]]:
    """Return the result rows by their id."""
    data = world.s3.read("output/a.jsonl") or b""
    found = [json.loads(line) for line in data.splitlines()]
    return {row["custom_id"]: row for row in found}


def asked_in(world: World, job: Upload) -> dict[str, list[str]]:
    """Return by id the attempts in which Groq was asked for each request."""
    found: dict[str, list[str]] = world.simulator.attempts(job.job_id("bucket"))
    return found


def creates(world: World) -> list[tuple[float, int]]:
    """Return when a batch was asked for, in seconds since 1970, and the status of the answer."""
    return [(one["time"], one["status"]) for one in world.simulator.calls("create")]


# RangePlan


@pytest.mark.parametrize("at", PLACES)
def test_model_that_cannot_run_does_not_take_the_rest_with_it(at: str) -> None:
    with World() as world:
        refuse(world, at)
        job, report = run(world, lines_of_models(1, 2, 3))
        assert report["status"] == "partial"
        assert report["requests"] == {"total": 6, "succeeded": 4, "failed": 2, "invalid": 0}
        # The part with most lines comes first; what is refused again stays as it is.
        failed = [(1, 1, "failed", 6, 0), (3, 2, "failed", 2, 0), (3, 3, "failed", 2, 0)]
        ran = [(2, 2, "completed", 3, 3), (4, 2, "completed", 1, 1)]
        expected = [failed[0], ran[0], failed[1], ran[1], failed[2]]
        assert batches(report) == (expected if at == "validation" else ran)
        asked = asked_in(world, job)
        assert asked["m0-0"] == asked["m2-0"] == ["1", "2"]
        assert asked["m1-0"] == asked["m1-1"] == ["1", "2", "3"]
        for custom_id in ("m1-0", "m1-1"):
            error = rows(world)[custom_id]["error"]
            assert error["code"] == "batch_failed"
            assert f"model_decommissioned: {GONE}" in error["message"]
        assert [error["custom_id"] for error in report["errors"]] == ["m1-0", "m1-1"]
        assert [error["line"] for error in report["errors"]] == [2, 4]
        assert all(GONE in error["message"] for error in report["errors"])


@pytest.mark.parametrize("at", PLACES)
def test_refusal_in_the_last_attempt_fails_the_rows(at: str) -> None:
    with World({"MAX_ATTEMPTS": "1"}) as world:
        refuse(world, at)
        job, report = run(world, lines_of_models(2, 1))
        assert (report["status"], report["requests"]["failed"]) == ("partial", 3)
        assert {row["error"]["code"] for row in rows(world).values()} == {"batch_failed"}
        assert all(GONE in row["error"]["message"] for row in rows(world).values())
        assert {tuple(attempts) for attempts in asked_in(world, job).values()} == {("1",)}


@pytest.mark.parametrize("at", PLACES)
def test_refusal_that_passes_costs_an_attempt_and_no_answer(at: str) -> None:
    with World() as world:
        refuse(world, at, times=1)
        _, report = run(world, lines_of_models(2, 1))
        assert report["status"] == "succeeded"
        assert report["errors"] == []
        assert batches(report)[-2:] == [(2, 2, "completed", 2, 2), (3, 2, "completed", 1, 1)]


@pytest.mark.parametrize("at", PLACES)
def test_shard_of_one_model_is_sent_again_as_it_is(at: str) -> None:
    with World() as world:
        refuse(world, at, times=2)
        _, report = run(world, good_lines(3, model="m1"))
        assert report["status"] == "succeeded"
        assert batches(report)[-1] == (1, 3, "completed", 3, 3)


@pytest.mark.parametrize("at", PLACES)
def test_one_model_at_two_urls_is_divided(at: str) -> None:
    with World() as world:
        world.simulator.add_refusal(at=at, match={"url": TRANSLATIONS_URL})
        lines = [audio_line(f"s{n}") for n in range(2)]
        lines.append(audio_line("t", url=TRANSLATIONS_URL))
        _, report = run(world, lines)
        assert report["requests"]["succeeded"] == 2
        assert (2, 2, "completed", 2, 2) in batches(report)


@pytest.mark.parametrize("at", PLACES)
def test_many_shards_that_are_refused_at_once_get_different_numbers(at: str) -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "3", "MAX_ATTEMPTS": "2"}) as world:
        refuse(world, at)
        _, report = run(world, lines_of_models(8, 4, 3))
        # Four shards hold the model; the fifth does not.
        assert report["requests"]["failed"] == 4
        second = [one for one in batches(report) if one[1] == 2]
        numbers = [one[0] for one in second if one[2] == "completed"]
        assert min(numbers) == 6
        assert len(set(numbers)) == len(numbers) == 7
        assert max(numbers) <= 6 + 10


def test_parts_and_left_overs_of_parts_keep_their_numbers() -> None:
    with World() as world:
        refuse(world, "create", times=1)
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "m0-1"}, times=1)
        _, report = run(world, lines_of_models(3, 1))
        assert report["status"] == "succeeded"
        assert batches(report) == [
            (2, 2, "completed", 3, 2),
            (3, 2, "completed", 1, 1),
            (2, 3, "completed", 1, 1),
        ]


def test_more_than_a_hundred_models_make_a_hundred_parts_and_the_last_is_divided_again() -> None:
    models = {f"m{number}": {} for number in range(103)}
    with World({"MAX_ATTEMPTS": "4"}, simulator={"models": models}) as world:
        refuse(world, "validation", "m100")
        job, report = run(world, lines_of_models(*[2] * 98, *[1] * 5))
        assert report["requests"]["failed"] == 1
        parts = [one for one in batches(report) if one[1] == 2]
        assert [one[0] for one in parts] == list(range(2, 102))
        assert [one[3] for one in parts] == [2] * 98 + [1, 4]
        assert [one[2] for one in parts] == ["completed"] * 99 + ["failed"]
        again = [one for one in batches(report) if one[1] == 3]
        assert [one[:4] for one in again] == [
            (102, 3, "completed", 1),
            (103, 3, "failed", 1),
            (104, 3, "completed", 1),
            (105, 3, "completed", 1),
        ]
        assert asked_in(world, job)["m100-0"] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("key", ["input/a.jsonl", "input/a.jsonl.gz"])
@pytest.mark.parametrize("range_bytes", ["700", "1073741824"])
def test_rows_keep_their_places(at: str, key: str, range_bytes: str) -> None:
    environment = {"MAX_REQUESTS_PER_BATCH": "4", "MAX_BYTES_PER_RANGE": range_bytes}
    with World(environment) as world:
        refuse(world, at)
        world.simulator.add_rule("capacity_exhausted", match={"regex": "^m0-[02]$"}, times=1)
        lines = lines_of_models(6, 4, 2)
        lines[3:3] = [bad_line("bad")]
        lines.append(bad_line("last"))
        job = put(world, key, lines, on_invalid_line="skip")
        world.settle()
        (report,) = check_end(world, job)
        assert report["requests"] == {"total": 14, "succeeded": 8, "failed": 4, "invalid": 2}


def test_large_results_of_parts_are_joined_by_copies() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "2"}) as world:
        refuse(world, "create", times=2)
        world.simulator.add_rule({"kind": "padding", "bytes": 5_300_000})
        _, report = run(world, lines_of_models(2, 2))
        assert report["status"] == "succeeded"
        (finish,) = (one for one in world.invocations if one.function == "finish_job")
        copies = [call for call in finish.trace if call.startswith("s3.upload_part_copy")]
        assert len(copies) == 2


# Pauses


@pytest.mark.parametrize("at", PLACES)
def test_pauses_double_from_a_minute(at: str) -> None:
    with World({"MAX_ATTEMPTS": "10"}, simulator={"batch_seconds": 1.0}) as world:
        refuse(world, at)
        run(world, good_lines(2, model="m1"))
        times = [time for time, _ in creates(world)]
        (execution,) = world.executions.values()
        assert execution.events < 1_000
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(pauses) == 9
    for count, pause in enumerate(pauses):
        assert 60 * 2**count <= pause < 60 * 2**count + 30


def test_report_of_a_waiting_job_says_why_it_waits() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "2"}, simulator={"batch_seconds": 600.0}) as world:
        refuse(world, "create")
        job = put(world, "input/a.jsonl", [*good_lines(2), *lines_of_models(1, 1)])
        world.run_for(100)
        (error,) = report_of(world, "a.jsonl")["errors"]
        assert error["code"] == "batch_failed"
        assert "Groq refused 1 of 2 batches of attempt 1." in error["message"]
        assert f"model_decommissioned: {GONE}" in error["message"]
        assert "when the others have ended" in error["message"]
        report = report_of(world, "a.jsonl")
        while "not before" not in report["errors"][0]["message"]:
            # The next look at the other batch may come some minutes after its end.
            world.run_for(20)
            report = report_of(world, "a.jsonl")
        assert report["status"] == "running"
        assert "are sent in attempt 2, not before 2027-01-15T08:1" in report["errors"][0]["message"]
        world.run_for(100)
        # The next attempt has begun.
        (error,) = report_of(world, "a.jsonl")["errors"]
        assert "of attempt 2" in error["message"]
        world.settle()
        check_end(world, job)


# What else may happen to such a job


@pytest.mark.parametrize("moment", [10.0, 40.0, 70.0, 100.0, 150.0])
@pytest.mark.parametrize("redrives", [False, True])
def test_stop_while_refused_batches_wait(moment: float, redrives: bool) -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "3"}) as world:
        refuse(world, "create")
        job = put(world, "input/a.jsonl", lines_of_models(4, 4))
        world.run_for(moment)
        name = job.job_id("bucket")
        assert world.stop(name)

        def redrive() -> Iterator[float]:
            world.redrive(name)
            yield from ()

        if redrives:
            world.spawn(redrive(), after=5.0)
        world.settle()
        (report,) = check_end(world, job)
        assert report["status"] in ("cancelled", "partial" if redrives else "cancelled")
        assert all("1" in attempts for attempts in asked_in(world, job).values())


def test_rows_of_parts_are_fetched_at_last_when_all_collecting_executions_fail() -> None:
    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function == "check_status" and len(world.simulator.batches()) == 2:
            return (Refuse(error="Runtime.ImportModuleError"),)
        return ()

    with World() as world:
        world.director = director
        refuse(world, "create", times=1)
        _, report = run(world, lines_of_models(3, 2))
        assert len(world.executions) == 4
    assert report["status"] == "failed"
    assert report["requests"]["succeeded"] == 5
    assert [one[:2] for one in batches(report)] == [(2, 2), (3, 2)]


def test_parts_that_cannot_be_written_end_the_job_a_day_later_with_its_rows() -> None:
    def director(invocation: Invocation) -> Sequence[Trouble]:
        # The function collects the attempt, and cannot run any more when it is to divide it.
        is_collected = any(
            world.s3.keys(f"work/{job_id}/summaries/") for job_id in world.executions
        )
        if invocation.function == "download_results" and is_collected:
            return (Refuse(error="Runtime.ImportModuleError"),)
        return ()

    with World() as world:
        world.director = director
        refuse(world, "create")
        job, report = run(world, lines_of_models(2, 1))
        assert report["status"] == "failed"
        assert report["errors"][0]["code"] == "internal_error"
        assert "could not be divided" in report["errors"][0]["message"]
        assert {row["error"]["code"] for row in rows(world).values()} == {"batch_failed"}
        assert DAY < report["timing"]["seconds"] < DAY + 3 * HOUR
        assert {tuple(attempts) for attempts in asked_in(world, job).values()} == {("1",)}
        (execution,) = world.executions.values()
        assert execution.events < 2_000


@pytest.mark.parametrize("window", ["24h", "7d"])
def test_ten_attempts_that_are_all_refused_stay_far_below_the_limit_of_events(window: str) -> None:
    environment = {
        "MAX_ATTEMPTS": "10",
        "MAX_REQUESTS_PER_BATCH": "4",
        "COMPLETION_WINDOW": window,
        "POLL_MIN_SECONDS": "1",
        "POLL_MAX_SECONDS": "300",
        "WORK_RETENTION_DAYS": "100",
    }
    # Each attempt runs into its window as well, since one of its batches never ends.
    with World(environment, simulator={"batch_seconds": 8 * DAY}) as world:
        refuse(world, "create")
        job = put(world, "input/a.jsonl", lines_of_models(4, 4))
        world.settle(days=100)
        check_end(world, job)
        (execution,) = world.executions.values()
        print(f"{execution.events} events in {(world.clock() - START) / DAY:.1f} days")
        assert execution.events < 20_000


# The endpoint


def test_endpoint_that_is_refused_is_replaced_once_by_the_url_of_the_lines() -> None:
    with World(simulator={"endpoint_rule": "own_at_create"}) as world:
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "s1"}, times=1)
        job, report = run(world, [audio_line(f"s{n}") for n in range(3)])
        assert report["status"] == "succeeded"
        assert batches(report) == [(1, 1, "completed", 3, 2), (1, 2, "completed", 1, 1)]
        # Nobody tries the refused one again in the next attempt.
        assert [status for _, status in creates(world)] == [400, 200, 200]
        used = {one["endpoint"] for one in world.simulator.batches()}
        assert used == {TRANSCRIPTIONS_URL}
        assert asked_in(world, job)["s0"] == ["1"]


def test_endpoint_that_is_refused_twice_refuses_the_batch() -> None:
    with World({"MAX_ATTEMPTS": "2"}) as world:
        error = {"error": {"message": "No such endpoint.", "code": "x"}}
        world.simulator.add_fault("create", status=400, body=error, times=None)
        job = put(world, "input/a.jsonl", [audio_line("s")])
        world.settle()
        report = report_of(world, job.path)
        assert report["status"] == "partial"
        assert "x: No such endpoint." in report["errors"][0]["message"]
        assert len(creates(world)) == 3


@pytest.mark.parametrize(
    "lines", [good_lines(2), [audio_line("s"), *good_lines(1)]], ids=["chat", "mixed"]
)
def test_endpoint_is_not_replaced_for_other_lines(lines: list[Line]) -> None:
    with World({"MAX_ATTEMPTS": "1"}) as world:
        error = {"error": {"message": "Unsupported.", "param": "endpoint"}}
        world.simulator.add_fault("create", status=400, body=error, times=None)
        put(world, "input/a.jsonl", lines)
        world.settle()
        assert report_of(world, "a.jsonl")["status"] == "partial"
        assert len(creates(world)) == 1


def test_batch_that_fails_for_its_endpoint_is_sent_with_the_url_of_its_lines() -> None:
    with World(simulator={"endpoint_rule": "own_at_validation"}) as world:
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "s1"}, times=1)
        # Two models: what lacks the right endpoint is not divided for it.
        lines = [audio_line("s0"), audio_line("s1", model="whisper-large-v3-turbo")]
        _, report = run(world, lines)
        assert report["status"] == "succeeded"
        assert batches(report) == [
            (1, 1, "failed", 2, 0),
            (1, 2, "completed", 2, 1),
            (1, 3, "completed", 1, 1),
        ]
        used = [one["endpoint"] for one in world.simulator.batches()]
        assert used == [CHAT_URL, TRANSCRIPTIONS_URL, TRANSCRIPTIONS_URL]


@pytest.mark.parametrize("rule", ["own_at_create", "own_at_validation"])
def test_mixed_urls_are_divided_and_each_part_has_its_endpoint(rule: str) -> None:
    with World({"MAX_ATTEMPTS": "2"}, simulator={"endpoint_rule": rule}) as world:
        lines = [audio_line("s"), *good_lines(3), audio_line("t", url=TRANSLATIONS_URL)]
        _, report = run(world, lines)
        assert report["status"] == "succeeded"
        second = [one for one in batches(report) if one[1] == 2]
        assert second == [
            (2, 2, "completed", 3, 3),
            (3, 2, "completed", 1, 1),
            (4, 2, "completed", 1, 1),
        ]
        used = [one["endpoint"] for one in world.simulator.batches()][-3:]
        assert used == [CHAT_URL, TRANSCRIPTIONS_URL, TRANSLATIONS_URL]


# Answers that are no objects


@pytest.mark.parametrize("form", ["text", "json", "verbose_json"])
def test_transcription_is_passed_on_as_it_is_and_asked_for_once(form: str) -> None:
    with World() as world:
        job, report = run(world, [audio_line("s", response_format=form), *good_lines(1)])
        assert report["status"] == "succeeded"
        assert len(report["batches"]) == 1
        body = rows(world)["s"]["response"]["body"]
        said = "Echo: https://example.com/s.mp3"
        assert (body if form == "text" else body["text"]) == said
        assert world.simulator.requests(job.job_id("bucket"))["s"] == {"sent": 1, "succeeded": 1}


# Jobs that were begun by an older version


def without(data: Any, *names: str) -> Any:
    """Return JSON data without some fields, at any depth."""
    if isinstance(data, dict):
        return {name: without(value, *names) for name, value in data.items() if name not in names}
    return [without(one, *names) for one in data] if isinstance(data, list) else data


NEW_FIELDS = ("endpoint", "region", "refusal", "division_rounds", "batches", "refused")
"""Fields of records that an older version does not write."""


@pytest.mark.parametrize("at", PLACES)
def test_records_of_an_older_version_are_read(at: str) -> None:
    with World(simulator={"batch_seconds": 1_000.0}) as world:
        refuse(world, at, times=1)
        job = put(world, "input/a.jsonl", lines_of_models(2, 1))
        work = f"work/{job.job_id('bucket')}/"
        for seconds in (3.0, 90.0):
            world.run_for(seconds)
            for folder in ("submissions", "batches", "summaries"):
                for key in world.s3.keys(f"{work}{folder}/"):
                    old = without(json.loads(world.s3.read(key) or b""), *NEW_FIELDS)
                    world._user.put_object(Bucket="bucket", Key=key, Body=json.dumps(old).encode())
        world.settle()
        (report,) = check_end(world, job)
        assert report["status"] == "succeeded"


@pytest.mark.parametrize("at", PLACES)
def test_left_overs_of_an_older_version_are_not_sent_beside_the_parts(at: str) -> None:
    """A function of the version before died when it had passed the refused shard on as a whole."""
    with World() as world:
        refuse(world, at, times=1)
        job = put(world, "input/a.jsonl", lines_of_models(2, 1))
        work = f"work/{job.job_id('bucket')}/shards/"
        world.run_for(3.0)
        whole = world.s3.read(f"{work}attempt-1/00001.jsonl") or b""
        world._user.put_object(Bucket="bucket", Key=f"{work}attempt-2/00001.jsonl", Body=whole)
        world.settle()
        (report,) = check_end(world, job)
        assert report["status"] == "succeeded"
        assert [one[0] for one in batches(report) if one[1] == 2] == [2, 3]
