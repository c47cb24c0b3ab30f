"""Groq out of reach for half an hour, in every way and in every step; faults of the account.

An outage costs nothing but time: the same batches, the same answers, one execution. An account
that is at fault before anything was sent ends the job within a minute, with a sentence that says
what to do; once a batch exists the same fault is an outage like the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from groq_batch.groq.errors import AccountError
from local.groq_simulator import DEFAULT_KEY
from tests.harness.invocations import Invocation, Trouble
from tests.harness.jobs import Upload, check_end, good_lines, put, report_of
from tests.harness.world import START, World

ENVIRONMENT = {"MAX_REQUESTS_PER_BATCH": "2"}
HALF_AN_HOUR = 1800.0
BATCH_SECONDS = 600.0
WHILE_BATCHES_RUN = 200.0
LONGEST_INTERVAL = 900.0

Switch = Callable[[World], None]


def _unreachable(world: World) -> None:
    world.groq.reachable = False


def _answering(**fault: Any) -> Switch:
    return lambda world: world.simulator.add_fault("*", times=None, **fault)


def _refusing(world: World) -> None:
    world.simulator.set_keys({})


OUTAGES: dict[str, Switch] = {
    "connections refused": _unreachable,
    "503": _answering(status=503),
    "500 with HTML": _answering(status=500, body="<html>sorry</html>"),
    "429 without Retry-After": _answering(status=429),
    "429 with Retry-After of 10 minutes": _answering(status=429, headers={"Retry-After": "600"}),
    "connections reset": _answering(answer="reset"),
    "connections closed": _answering(answer="half_close"),
    "no answer in time": _answering(answer="stall", act=False),
    "HTML where JSON is expected": _answering(status=200, body="<html>welcome</html>"),
}
REFUSALS: dict[str, Switch] = {
    "401": _refusing,
    "403 of the network": _answering(status=403, body="<html>blocked</html>"),
}


def _end(world: World) -> None:
    world.groq.reachable = True
    world.simulator.clear_faults()
    world.simulator.set_keys({DEFAULT_KEY: "paid"})


def _later(act: Switch, world: World) -> Iterator[float]:
    act(world)
    yield from ()


def make_world() -> World:
    """Return a world whose batches take ten minutes."""
    return World(ENVIRONMENT, simulator={"batch_seconds": BATCH_SECONDS})


def upload(world: World) -> Upload:
    """Upload six requests for three batches, one of which fails for good."""
    world.simulator.add_rule("fail", match={"custom_id": "r3"})
    return put(world, "input/a.jsonl", good_lines(6))


def answers(world: World) -> list[tuple[str, Any]]:
    """Return what stands in the results: each id with its answer."""
    data = world.s3.read("output/a.jsonl")
    assert data is not None
    rows = [json.loads(line) for line in data.splitlines()]
    return [(row["custom_id"], _content(row)) for row in rows]


def _content(row: dict[str, Any]) -> Any:
    body = row["response"]["body"]
    return body["choices"][0]["message"]["content"] if "choices" in body else body["error"]["code"]


@pytest.fixture(scope="module")
def calm(_handlers: None) -> tuple[list[tuple[str, Any]], int, float]:
    """Return answers, creates and seconds of the same job when nothing goes wrong."""
    with make_world() as world:
        job = upload(world)
        world.settle()
        check_end(world, job)
        return answers(world), world.simulator.stats()["creates"], world.clock() - START


@pytest.mark.parametrize("name", [*OUTAGES, *REFUSALS])
def test_half_an_hour_while_batches_run(
    name: str, calm: tuple[list[tuple[str, Any]], int, float]
) -> None:
    with make_world() as world:
        job = upload(world)
        world.run_for(WHILE_BATCHES_RUN)
        assert world.simulator.stats()["running"] == 3
        {**OUTAGES, **REFUSALS}[name](world)
        world.run_for(HALF_AN_HOUR)
        report = report_of(world, "a.jsonl")
        assert report["status"] == "running"
        # What is waited for stands in the report: a fault of the account, or Groq itself.
        (code,) = (error["code"] for error in report["errors"])
        expected = {"401": "invalid_api_key", "403 of the network": "permission_denied"}
        assert code == expected.get(name, "groq_unavailable")
        _end(world)
        world.settle()
        (report,) = check_end(world, job)
        assert report["status"] == "partial"
        _check_cost_nothing_but_time(world, calm)
        assert world.clock() - START < WHILE_BATCHES_RUN + HALF_AN_HOUR + 2 * LONGEST_INTERVAL


def _check_cost_nothing_but_time(
    world: World, calm: tuple[list[tuple[str, Any]], int, float]
) -> None:
    expected, creates, _ = calm
    assert answers(world) == expected
    assert len(world.simulator.batches()) == creates
    assert list(world.executions) == [next(iter(world.executions))]
    assert next(iter(world.executions.values())).status == "SUCCEEDED"


def _run_with_half_an_hour_from(
    function: str, begin: Callable[[World], object], calm: tuple[list[tuple[str, Any]], int, float]
) -> float:
    """Run a job with an outage from the first call of a function on.

    Returns:
        How long after the outage the job ended, in seconds.
    """
    begun: list[float] = []

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function == function and not begun:
            begun.append(world.clock())
            begin(world)
            world.spawn(_later(_end, world), after=HALF_AN_HOUR)
        return ()

    with make_world() as world:
        world.director = director
        job = upload(world)
        world.settle()
        (report,) = check_end(world, job)
        assert report["status"] == "partial"
        _check_cost_nothing_but_time(world, calm)
        return world.clock() - begun[0] - HALF_AN_HOUR


@pytest.mark.parametrize("function", ["submit_batch", "download_results", "finish_job"])
@pytest.mark.parametrize("name", OUTAGES)
def test_half_an_hour_in_another_step(
    name: str, function: str, calm: tuple[list[tuple[str, Any]], int, float]
) -> None:
    late = _run_with_half_an_hour_from(function, OUTAGES[name], calm)
    # What could not be sent or fetched is tried again after a pause of an hour at most.
    assert 0 <= late < BATCH_SECONDS + 3_600 + LONGEST_INTERVAL


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("function", ["download_results", "finish_job"])
def test_a_refusing_account_after_batches_exist_is_an_outage(
    name: str, function: str, calm: tuple[list[tuple[str, Any]], int, float]
) -> None:
    _run_with_half_an_hour_from(function, REFUSALS[name], calm)


@pytest.mark.parametrize("name", OUTAGES)
def test_what_keeps_shards_from_being_sent_stands_in_the_report(name: str) -> None:
    with make_world() as world:
        OUTAGES[name](world)
        job = upload(world)
        world.run_for(3 * 3_600)
        report = report_of(world, "a.jsonl")
        assert (report["status"], report["batches"]) == ("running", [])
        assert [error["code"] for error in report["errors"]] == ["groq_unavailable"]
        assert "3 of 3 shards could not be sent" in report["errors"][0]["message"]
        _end(world)
        world.settle()
        (report,) = check_end(world, job)
        assert (report["status"], len(report["batches"])) == ("partial", 3)


def test_an_outage_longer_than_the_window_and_a_day_ends_the_job() -> None:
    with make_world() as world:
        job = upload(world)
        world.run_for(WHILE_BATCHES_RUN)
        _unreachable(world)
        world.run_for(47 * 3_600)
        assert report_of(world, "a.jsonl")["status"] == "running"
        world.run_for(2 * 3_600 + LONGEST_INTERVAL)
        assert report_of(world, "a.jsonl")["status"] == "failed"
        _end(world)
        world.settle()
        report = report_of(world, job.path)
        assert report["errors"][0]["code"] == "timed_out"
        assert "groq_unavailable" not in {error["code"] for error in report["errors"]}
        data = world.s3.read("output/a.jsonl")
        assert data is not None
        assert [json.loads(row)["custom_id"] for row in data.splitlines()] == [
            f"r{number}" for number in range(6)
        ]


# -- faults of the account before anything was sent ----------------------------------------------


def _account(state: str) -> Switch:
    return lambda world: world.simulator.set_keys({DEFAULT_KEY: state})


def _secret(code: str) -> Switch:
    def fail(*, refresh: bool = False) -> str:
        raise AccountError(f"The secret cannot be read: {code}.", code=code)

    def act(world: World) -> None:
        world.groq._key = fail  # type: ignore[method-assign, assignment]

    return act


def _once_prepared(act: Switch, world: World) -> None:
    """Let something happen when the account's models have been listed."""
    is_done: list[bool] = []

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function == "prepare_input" and not is_done:
            is_done.append(True)
            act(world)
        return ()

    world.director = director


FAULTS: dict[str, Switch] = {
    "invalid_api_key": _refusing,
    "plan_required": _account("free"),
    "spend_limit": _account("spend_limit"),
    "permission_denied": _account("network_blocked"),
    "secret_missing": _secret("secret_missing"),
    "secret_unreadable": _secret("secret_unreadable"),
}
SECRETS = ("secret_missing", "secret_unreadable")


@pytest.mark.parametrize("code", ["invalid_api_key", "spend_limit", *SECRETS])
def test_a_fault_of_the_account_ends_the_job_before_its_input_is_read(code: str) -> None:
    with World() as world:
        FAULTS[code](world)
        job = put(world, "input/a.jsonl", good_lines(3))
        world.run_for(60)
        report = report_of(world, job.path)
        assert (report["status"], report["requests"]["total"]) == ("failed", 0)
        assert [error["code"] for error in report["errors"]] == [code]
        assert set(report["outputs"].values()) == {None}
        assert report["input"]["bytes"] == len(world.s3.read("input/a.jsonl") or b"")
        asked = [one for one in world.invocations if one.payload.get("read_models")]
        assert len(asked) == (4 if code == "secret_unreadable" else 1)
        world.settle()
        check_end(world, job)


@pytest.mark.parametrize("shards", [1, 30])
@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_of_the_account_ends_the_job_within_a_minute(code: str, shards: int) -> None:
    """Also one that is met when the account's models have been listed."""
    with World({"MAX_REQUESTS_PER_BATCH": "1"}) as world:
        _once_prepared(FAULTS[code], world)
        job = put(world, "input/a.jsonl", good_lines(shards))
        world.run_for(60)
        report = report_of(world, job.path)
        assert report["status"] == "failed"
        error = report["errors"][0]
        assert error["code"] == code
        assert error["message"].endswith(".")
        assert len(error["message"]) > 20
        # Groq has nothing of the job: no cleanup is tried for hours.
        assert [one.status for one in world.executions.values()] == ["SUCCEEDED"]
        world.settle()
        assert world.simulator.batches() == []
        data = world.s3.read("output/a.jsonl")
        assert data is not None
        assert len(data.splitlines()) == shards
        # The first such error stops the other shards: only those under way meet it as well.
        assert sum(_meets_it(one) for one in world.invocations) <= SIDE_BY_SIDE


@pytest.mark.parametrize("is_sending", [False, True])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_secret_that_can_be_read_again_after_half_a_minute_ends_no_job(
    shards: int, is_sending: bool
) -> None:
    """A new secret's name and the permission for it come some seconds apart."""
    with World({"MAX_REQUESTS_PER_BATCH": "1"}) as world:
        readable = world.groq._key
        begin = FAULTS["secret_unreadable"]
        if is_sending:
            _once_prepared(begin, world)
        else:
            begin(world)
        job = put(world, "input/a.jsonl", good_lines(shards))
        world.run_for(35)
        assert report_of(world, job.path)["status"] == "running"
        world.groq._key = readable  # type: ignore[method-assign]
        world.settle()
        (report,) = check_end(world, job)
        assert report["status"] == "succeeded"


def test_a_secret_that_cannot_be_read_once_a_batch_exists_is_an_outage_at_once() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "1"}) as world:
        readable = world.groq._key
        is_over = False

        def key(*, refresh: bool = False) -> str:
            if world.simulator.batches() and not is_over:
                raise AccountError("The secret cannot be read.", code="secret_unreadable")
            return readable()

        world.groq._key = key  # type: ignore[method-assign]
        job = put(world, "input/a.jsonl", good_lines(3))
        world.run_for(30)
        report = report_of(world, job.path)
        assert (report["status"], len(report["batches"])) == ("running", 1)
        assert report["errors"][0]["code"] == "secret_unreadable"
        answers = [one.answer for one in world.invocations if one.function == "submit_batch"]
        assert [one["outcome"] for one in answers] == ["settled", "deferred", "deferred"]
        is_over = True
        world.settle()
        (report,) = check_end(world, job)
        assert report["status"] == "succeeded"


SIDE_BY_SIDE = 10
"""How many shards are sent at the same time."""


def _meets_it(invocation: Invocation) -> bool:
    return any("put_object" in call and "halt.json" in call for call in invocation.trace)
