"""A deadline: what was paid is kept, the rest is asked by ordinary calls within budget and time."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from groq_batch.domain.on_demand import MeanUsage, Size
from groq_batch.domain.prices import table_prices
from groq_batch.request_file.ordinary_request import read_request
from local.state_machine.definition import Machine
from tests.fakes.step_functions import MACHINE_ARN
from tests.harness.invocations import Die, Hold, Invocation, Trouble
from tests.harness.jobs import (
    Line,
    Upload,
    audio_line,
    check_end,
    good_line,
    json_line,
    put,
    report_of,
)
from tests.harness.world import DEFINITION, START, SUBSTITUTIONS, World

HOUR = 3600.0
DEADLINE = START + 1.25 + 2 * HOUR
"""About when a deadline of two hours is, for a file that was uploaded at the beginning."""
ENOUGH = "1"
NO_LIMITS = MeanUsage()


def estimate(line: Line) -> float:
    """Return what a request is estimated to cost on demand."""
    size: Size = read_request(line.data).size
    price = size.estimate_usd(table_prices(), NO_LIMITS)
    assert price is not None
    return price


def amount(usd: float) -> str:
    """Return an amount as an option, rounded up."""
    return f"{math.ceil(usd * 1e9) / 1e9:.9f}"


def limited(count: int, prefix: str = "r") -> list[Line]:
    """Return requests whose answers have a limit, which all cost the same by their estimates."""
    return [good_line(f"{prefix}{number:04d}", max_tokens=100) for number in range(count)]


def with_deadline(
    world: World,
    lines: Sequence[Line],
    *,
    usd: str = ENOUGH,
    key: str = "input/a.jsonl",
    **more: str,
) -> Upload:
    return put(world, key, lines, batch_deadline="2h", deadline_max_usd=usd, **more)


def rows_of(world: World, upload: Upload) -> list[dict[str, Any]]:
    data = world.s3.read(f"output/{upload.path}")
    assert data is not None
    return [json.loads(line) for line in data.splitlines()]


def code_of(row: dict[str, Any]) -> str:
    """Return ``answer``, or the code of a row's error."""
    if row["error"]:
        return str(row["error"]["code"])
    status = row["response"]["status_code"]
    return "answer" if status == 200 else str(status)


def codes(world: World, upload: Upload) -> Counter[str]:
    return Counter(code_of(row) for row in rows_of(world, upload))


def ends_never(world: World, done: float = 0.7) -> None:
    """Let batches get stuck with a share of their requests done."""
    world.simulator.add_fate(end="stuck", done=done)


def hangs(world: World) -> None:
    ends_never(world, done=0.0)


def settled(world: World, upload: Upload) -> dict[str, Any]:
    world.settle()
    (report,) = check_end(world, upload)
    return report


# -- what is asked ---------------------------------------------------------------------------------


def test_what_a_batch_leaves_open_is_answered_by_ordinary_calls() -> None:
    with World() as world:
        ends_never(world)
        report = settled(world, with_deadline(world, limited(10)))
        assert report["status"] == "succeeded"
        told = report["on_demand"]
        assert (told["requests"], told["succeeded"], told["failed"]) == (3, 3, 0)
        assert 0 < told["cost_usd"] < report["cost_usd"]["actual"]
        assert report["requests"]["succeeded"] == 10
        (execution,) = world.executions.values()
        assert execution.events < 2_000
        waited = world.clock() - DEADLINE
        assert waited < 900, "the tail came late"


def test_the_rows_of_calls_have_the_form_of_a_batch() -> None:
    with World() as world:
        ends_never(world, done=0.0)
        world.simulator.add_rule(
            {"kind": "http_error", "status": 422, "code": "unprocessable"},
            match={"custom_id": "bad"},
        )
        lines = [good_line("good"), good_line("bad"), audio_line("heard", language="en")]
        upload = with_deadline(world, lines)
        report = settled(world, upload)
        good, bad, heard = rows_of(world, upload)
        assert good["id"] is None
        assert good["error"] is None
        assert good["response"]["request_id"].startswith("req_")
        assert good["response"]["body"]["service_tier"] == "on_demand"
        assert bad["response"]["status_code"] == 422
        assert bad["response"]["body"]["error"]["code"] == "unprocessable"
        assert heard["response"]["body"] == "Echo: https://example.com/heard.mp3"
        assert report["on_demand"]["requests"] == 3
        assert report["on_demand"]["failed"] == 1
        # A text says neither how long the audio is nor how many tokens it has.
        assert report["on_demand"]["cost_usd"] is report["cost_usd"]["actual"] is None


def test_a_body_is_sent_byte_by_byte_and_audio_as_a_form() -> None:
    odd = '{"custom_id":"odd","method":"POST","url":"/v1/chat/completions","body": {"model" : '
    odd += '"openai/gpt-oss-20b","messages":[{"role":"user","content":"\\u00e9 é"}],"seed": 1.0 } }'
    lines = [
        Line(odd.encode(), "odd", prompt="é é"),
        audio_line("heard", timestamp_granularities=["word", "segment"], temperature=0),
    ]
    with World() as world:
        ends_never(world, done=0.0)
        upload = with_deadline(world, lines)
        settled(world, upload)
        calls = {
            call["url"].rsplit("/", 1)[-1]: call["body"]
            for call in world.simulator.ordinary_calls()
        }
        assert calls["completions"]["seed"] == 1.0
        assert calls["transcriptions"]["timestamp_granularities[]"] == ["word", "segment"]
        assert calls["transcriptions"]["temperature"] == ["0"]
        assert "file" not in calls["transcriptions"]


def test_the_budget_is_used_in_the_order_of_the_file() -> None:
    lines = limited(10)
    with World({"MAX_REQUESTS_PER_BATCH": "4"}) as world:
        ends_never(world, done=0.25)
        upload = with_deadline(world, lines, usd=amount(3 * estimate(lines[0])))
        report = settled(world, upload)
        found = [code_of(row) for row in rows_of(world, upload)]
        left = [place for place, code in enumerate(found) if code == "deadline_passed"]
        assert report["on_demand"]["requests"] == 3
        assert left, found
        assert report["errors"][0]["code"] == "deadline_passed"
        assert "deadline-max-usd" in report["errors"][0]["message"]
        by_call = [place for place, row in enumerate(rows_of(world, upload)) if row["id"] is None]
        asked = [place for place in by_call if place not in left]
        assert max(asked) < min(left), "what was asked is not the beginning of the file"


@pytest.mark.parametrize("usd", ["0", "0.000000001"])
def test_without_a_budget_nothing_is_asked(usd: str) -> None:
    with World() as world:
        ends_never(world)
        upload = with_deadline(world, limited(10), usd=usd)
        report = settled(world, upload)
        assert codes(world, upload) == {"answer": 7, "deadline_passed": 3}
        assert report["on_demand"] == {"requests": 0, "succeeded": 0, "failed": 0, "cost_usd": 0.0}
        assert report["status"] == "partial"
        assert f"ordinary calls after it was {usd} USD" in report["errors"][0]["message"]
        row = next(row for row in rows_of(world, upload) if row["error"])
        assert "batch_cancelled" in row["error"]["message"]


def test_the_cap_bounds_the_budget() -> None:
    lines = limited(10)
    with World() as world:
        ends_never(world, done=0.0)
        cap = amount(4.5 * estimate(lines[0]) * 2)
        upload = with_deadline(world, lines, max_job_cost_usd=cap)
        report = settled(world, upload)
        assert report["on_demand"]["requests"] == 9


def test_a_model_without_a_price_is_left_out() -> None:
    with World(simulator={"models": {"m0": {}}}) as world:
        ends_never(world, done=0.0)
        lines = [good_line("a"), good_line("b", model="m0"), good_line("c")]
        upload = with_deadline(world, lines)
        settled(world, upload)
        assert [code_of(row) for row in rows_of(world, upload)] == [
            "answer",
            "deadline_passed",
            "answer",
        ]
        assert "price" in rows_of(world, upload)[1]["error"]["message"]


def test_what_has_failed_for_good_keeps_its_row() -> None:
    with World() as world:
        world.simulator.add_rule("fail", match={"custom_id": "r0000"})
        world.simulator.add_fate(end="expire", done=0.5, match={"metadata": {"attempt": "1"}})
        ends_never(world, done=0.0)
        upload = with_deadline(world, limited(6))
        settled(world, upload)
        found = codes(world, upload)
        assert found["deadline_passed"] == 0
        assert found["answer"] + found["400"] == 6


# -- when ------------------------------------------------------------------------------------------


def test_a_job_that_ends_before_its_deadline_has_no_tail() -> None:
    with World() as world:
        report = settled(world, with_deadline(world, limited(4)))
        assert report["status"] == "succeeded"
        assert report["on_demand"] == {"requests": 0, "succeeded": 0, "failed": 0, "cost_usd": 0.0}
        assert world.clock() < DEADLINE


def test_a_job_without_a_deadline_tells_nothing_of_calls() -> None:
    with World() as world:
        upload = put(world, "input/a.jsonl", limited(4))
        assert settled(world, upload)["on_demand"] is None


def test_a_batch_that_writes_its_results_is_left_to_end() -> None:
    with World(simulator={"batch_seconds": 7500.0}) as world:
        report = settled(world, with_deadline(world, limited(4)))
        assert report["status"] == "succeeded"
        assert report["on_demand"]["requests"] == 0
        assert [batch["status"] for batch in report["batches"]] == ["completed"]
        assert world.simulator.stats()["calls"].get("cancel", 0) == 0


def test_what_was_never_sent_is_asked() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "4"}) as world:
        world.simulator.add_fault("create", status=429, headers={"Retry-After": "900"}, times=None)
        upload = with_deadline(world, limited(10))
        report = settled(world, upload)
        assert report["status"] == "succeeded"
        assert report["batches"] == []
        assert report["on_demand"]["succeeded"] == 10


def test_no_batch_is_created_after_the_deadline() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "4"}) as world:
        world.simulator.add_fate(end="expire", done=0.5, batch_seconds=5000)
        report = settled(world, with_deadline(world, limited(8), max_attempts="9"))
        assert report["status"] == "succeeded"
        created = [call["time"] for call in world.simulator.calls("create")]
        assert created
        assert max(created) < DEADLINE


def test_a_batch_whose_creation_is_not_known_is_found_first() -> None:
    with World() as world:
        # The answer is lost shortly before the deadline.
        world.simulator.add_fault("create", status=503, times=10)
        world.run_until(DEADLINE - 70)
        world.simulator.clear_faults()
        world.simulator.add_fault("create", status=504, act=True, times=None)
        ends_never(world, done=0.5)
        upload = put(
            world, "input/late.jsonl", limited(4), batch_deadline="1m", deadline_max_usd=ENOUGH
        )
        report = settled(world, upload)
        assert report["status"] == "succeeded"
        assert len(report["batches"]) == 1
        assert report["on_demand"]["succeeded"] + report["batches"][0]["succeeded"] == 4


def test_divided_shards_are_asked_in_the_order_of_the_file() -> None:
    lines = [
        good_line(
            f"r{number:04d}",
            model=("openai/gpt-oss-20b", "openai/gpt-oss-120b")[number % 2],
            max_tokens=50,
        )
        for number in range(8)
    ]
    with World() as world:
        world.simulator.add_refusal(at="validation", match={}, times=1)
        world.simulator.add_fate(end="stuck", done=0.0, match={"metadata": {"attempt": "2"}})
        cheap, dear = estimate(lines[0]), estimate(lines[1])
        upload = with_deadline(world, lines, usd=amount(2 * cheap + 2 * dear))
        report = settled(world, upload)
        found = [code_of(row) for row in rows_of(world, upload)]
        assert found == ["answer"] * 4 + ["deadline_passed"] * 4, (found, report["batches"])


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_thousand_requests_of_which_the_budget_answers_some() -> None:
    lines = limited(1000)
    with World() as world:
        ends_never(world)
        upload = with_deadline(world, lines, usd=amount(200 * estimate(lines[0])))
        report = settled(world, upload)
        assert codes(world, upload) == {"answer": 900, "deadline_passed": 100}
        assert report["on_demand"]["requests"] == report["on_demand"]["succeeded"] == 200
        assert report["errors"][0]["code"] == "deadline_passed"


def dies_at_calls(
    numbers: Sequence[int], *, after: bool
) -> Callable[[Invocation], Sequence[Trouble]]:
    """Let the n-th invocations of the tail die at one of their ordinary calls each."""
    waiting = list(numbers)

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function != "answer_requests" or not waiting:
            return ()
        return [Die(at=f"groq.chat #{waiting.pop(0)}", after=after)]

    return director


@pytest.mark.parametrize("after", [False, True])
def test_ten_deaths_cost_no_more_than_the_calls_under_way(after: bool) -> None:
    lines = limited(1000)
    with World(director=dies_at_calls([3, 0, 7, 1, 1, 5, 20, 2, 0, 9], after=after)) as world:
        ends_never(world)
        upload = with_deadline(world, lines, usd=amount(200 * estimate(lines[0])))
        report = settled(world, upload)
        found = codes(world, upload)
        assert found["deadline_passed"] == 100
        assert found["answer"] + found["outcome_unknown"] == 900
        assert 10 <= found["outcome_unknown"] <= 60
        assert report["on_demand"]["requests"] == 200
        assert world.simulator.stats()["paid_twice"] == []


def test_what_may_pass_is_asked_again_as_often_as_the_job_allows() -> None:
    with World() as world:
        ends_never(world, done=0.0)
        world.simulator.add_fault("chat", status=503, match={"prompt": "r0001"}, times=2)
        world.simulator.add_fault("chat", status=500, match={"prompt": "r0002"}, times=None)
        upload = with_deadline(world, limited(4))
        settled(world, upload)
        assert [code_of(row) for row in rows_of(world, upload)] == [
            "answer",
            "answer",
            "500",
            "answer",
        ]
        tried = [one for one in world.simulator.calls("chat") if one["status"] == 500]
        assert len(tried) == 3


@pytest.mark.parametrize("answer", ["reset", "half_close", "cut", "stall"])
@pytest.mark.parametrize("act", [False, True])
def test_a_call_that_was_cut_is_never_repeated(answer: str, act: bool) -> None:
    with World() as world:
        ends_never(world, done=0.0)
        world.simulator.add_fault(
            "chat", answer=answer, act=act, match={"prompt": "r0001"}, times=None
        )
        upload = with_deadline(world, limited(3))
        report = settled(world, upload)
        assert [code_of(row) for row in rows_of(world, upload)] == [
            "answer",
            "outcome_unknown",
            "answer",
        ]
        assert report["on_demand"]["failed"] == 1
        assert len(world.simulator.calls("chat")) == 3


def test_a_limit_of_calls_is_kept() -> None:
    with World(simulator={"calls_per_minute": 20}) as world:
        ends_never(world, done=0.0)
        upload = with_deadline(world, limited(90))
        report = settled(world, upload)
        assert report["status"] == "succeeded"
        refused = [one for one in world.simulator.ordinary_calls() if one["status"] == 429]
        assert len(refused) <= 12
        assert report["on_demand"]["succeeded"] == 90


def test_the_running_report_says_how_far_the_calls_are() -> None:
    with World(simulator={"calls_per_minute": 20}) as world:
        ends_never(world, done=0.0)
        upload = with_deadline(world, limited(250), max_attempts="10")
        told = []
        for minutes in (6, 10):
            world.run_until(DEADLINE + minutes * 60)
            running = report_of(world, upload.path)
            assert running["status"] == "running"
            told.append(running["on_demand"]["succeeded"])
            assert running["progress"]["completed"] >= told[-1]
        assert 0 < told[0] < told[1] < 250
        assert settled(world, upload)["status"] == "succeeded"


def test_the_first_look_at_an_only_shard_is_no_later_than_the_deadline() -> None:
    with World({"POLL_MIN_SECONDS": "300"}) as world:
        ends_never(world, done=0.5)
        started = world.clock()
        upload = put(
            world, "input/a.jsonl", limited(4), batch_deadline="1m", deadline_max_usd=ENOUGH
        )
        world.run_until(started + 75)
        (batch,) = world.simulator.batches()
        assert batch["status"] in ("cancelling", "cancelled")
        assert settled(world, upload)["status"] == "succeeded"


def test_a_limit_of_tokens_is_kept_without_a_refusal() -> None:
    with World(simulator={"tokens_per_minute": 1000}) as world:
        ends_never(world, done=0.0)
        upload = with_deadline(world, limited(40))
        report = settled(world, upload)
        assert report["status"] == "succeeded"
        refused = [one for one in world.simulator.ordinary_calls() if one["status"] == 429]
        assert len(refused) <= 4


def test_a_pause_of_minutes_is_waited_for_by_step_functions() -> None:
    with World() as world:
        ends_never(world, done=0.0)
        world.simulator.add_fault("chat", status=429, headers={"Retry-After": "400"}, times=1)
        upload = with_deadline(world, limited(4))
        world.run_until(DEADLINE + 300)
        running = report_of(world, upload.path)
        assert running["status"] == "running"
        assert running["errors"][0]["code"] == "groq_unavailable"
        assert "pause until" in running["errors"][0]["message"]
        report = settled(world, upload)
        assert report["status"] == "succeeded"
        asked = [i for i in world.invocations if i.function == "answer_requests"]
        assert len(asked) == 2
        assert all(invocation.ahead <= 60 for invocation in asked)


def test_a_key_that_is_revoked_and_works_again_costs_no_try() -> None:
    with World() as world:
        ends_never(world, done=0.0)
        upload = with_deadline(world, limited(4), max_attempts="1")
        world.run_until(DEADLINE - 60)
        calls_refused(world)
        world.run_until(DEADLINE + 1000)
        running = report_of(world, upload.path)
        assert running["errors"][0]["code"] == "invalid_api_key"
        world.simulator.clear_faults("chat")
        report = settled(world, upload)
        assert report["status"] == "succeeded"
        assert report["errors"] == []
        assert report["on_demand"]["requests"] == 4


def calls_refused(world: World, *, times: int | None = None) -> None:
    """Refuse the key for ordinary calls, so that the batches' end is known all the same."""
    error = {"error": {"message": "Invalid API Key", "code": "invalid_api_key"}}
    world.simulator.add_fault("chat", status=401, body=error, times=times)


def test_a_key_that_never_works_again_ends_the_tail_after_an_hour() -> None:
    with World() as world:
        ends_never(world)
        upload = with_deadline(world, limited(10))
        calls_refused(world)
        report = settled(world, upload)
        assert report["status"] == "partial"
        assert codes(world, upload) == {"answer": 7, "deadline_passed": 3}
        first = report["errors"][0]
        assert first["code"] == "deadline_passed"
        assert "API key" in first["message"]
        assert DEADLINE + HOUR < world.clock() < DEADLINE + HOUR + 1000
        (execution,) = world.executions.values()
        assert execution.events < 4_000


def test_a_key_that_works_again_is_no_reason_any_more() -> None:
    """Neither while the calls go on, nor for what has no answer in the end."""
    with World() as world:
        hangs(world)
        upload = with_deadline(world, limited(90), max_attempts="10")
        calls_refused(world, times=4)
        world.simulator.add_fault("chat", status=500, times=None)
        world.run_until(DEADLINE + 600)
        assert report_of(world, upload.path)["errors"] == []
        first = settled(world, upload)["errors"][0]
        assert first["code"] == "deadline_passed"
        assert "API key" not in first["message"]


def test_the_reason_of_a_pause_is_told_while_the_api_is_out_of_reach() -> None:
    with World() as world:
        hangs(world)
        upload = with_deadline(world, limited(90), max_attempts="10")
        calls_refused(world, times=4)
        world.run_until(DEADLINE + 40)
        assert "pause until" in report_of(world, upload.path)["errors"][0]["message"]
        world.groq.reachable = False
        world.run_until(DEADLINE + 600)
        message = report_of(world, upload.path)["errors"][0]["message"]
        assert "are being retried, and end at" in message
        assert "API key" in message


def test_an_outage_for_half_an_hour_is_waited_for() -> None:
    with World() as world:
        ends_never(world, done=0.0)
        upload = with_deadline(world, limited(10))
        world.run_until(DEADLINE + 40)
        world.groq.reachable = False
        world.run_until(DEADLINE + 1800)
        world.groq.reachable = True
        report = settled(world, upload)
        assert report["status"] == "succeeded", report["errors"]


def test_an_outage_for_an_hour_leaves_nothing_to_ask() -> None:
    with World() as world:
        ends_never(world)
        upload = with_deadline(world, limited(10))
        world.run_until(DEADLINE - 10)
        world.groq.reachable = False
        world.run_until(DEADLINE + 2 * HOUR)
        world.groq.reachable = True
        report = settled(world, upload)
        assert codes(world, upload) == {"answer": 7, "deadline_passed": 3}
        assert world.simulator.ordinary_calls() == []
        assert report["status"] == "partial"


def test_a_stop_in_the_tail_keeps_what_was_answered() -> None:
    with World() as world:
        world.call_seconds = 20.0
        ends_never(world, done=0.0)
        upload = with_deadline(world, limited(40))
        world.run_until(DEADLINE + 400)
        assert world.stop(upload.job_id(world.s3.bucket))
        report = settled(world, upload)
        assert report["status"] == "cancelled"
        found = codes(world, upload)
        assert found["answer"] == report["on_demand"]["succeeded"] > 0
        assert found["cancelled"] > 0
        assert found["answer"] + found["cancelled"] + found["outcome_unknown"] == 40


def stopping(world: World, upload: Upload) -> Iterator[float]:
    world.stop(upload.job_id(world.s3.bucket))
    yield from ()


def test_a_stop_between_two_calls_is_seen_before_the_next() -> None:
    stopped: list[str] = []

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function == "answer_requests" and not stopped:
            return [Hold(at="groq.chat #5", after=True, seconds=20.0)]
        return ()

    with World(director=director) as world:
        ends_never(world, done=0.0)
        upload = with_deadline(world, limited(40))

        def on_held(invocation: Invocation) -> None:
            stopped.append(invocation.request_id)
            world.spawn(stopping(world, upload), after=1.0)

        world.on_held = on_held
        report = settled(world, upload)
        assert report["status"] == "cancelled"
        assert world.simulator.stats()["ordinary_calls"] == 6
        assert codes(world, upload) == {"answer": 6, "cancelled": 34}


def former_machine(folder: Path) -> Machine:
    """Return the machine of a version that knew no ordinary calls, and told no version."""
    definition = json.loads(DEFINITION.read_text("utf-8").replace('"machine": 2', '"unknown": 2'))
    states = definition["States"]
    choices = states["NextStep"]["Choices"]
    states["NextStep"]["Choices"] = [one for one in choices if one["Next"] != "AnswerRequests"]
    del states["AnswerRequests"]
    path = folder / "former.asl.json"
    path.write_text(json.dumps(definition), "utf-8")
    known = {name: arn for name, arn in SUBSTITUTIONS.items() if "AnswerRequests" not in name}
    return Machine.load(path, known, arn=MACHINE_ARN)


def test_an_execution_of_the_version_before_makes_no_calls(tmp_path: Path) -> None:
    machine = former_machine(tmp_path)
    with World(machine=machine) as world:
        ends_never(world)
        upload = with_deadline(world, limited(10))
        report = settled(world, upload)
        assert codes(world, upload) == {"answer": 7, "deadline_passed": 3}
        assert report["status"] == "partial"
        assert world.simulator.ordinary_calls() == []


# -- with a canary ---------------------------------------------------------------------------------


def is_never_sent(world: World) -> None:
    world.simulator.add_fault("create", status=429, headers={"Retry-After": "900"}, times=None)


@pytest.mark.parametrize("attempts", ["1", "3"])
@pytest.mark.parametrize("trouble", [hangs, is_never_sent])
def test_a_canary_without_an_answer_at_the_deadline_asks_nothing(
    trouble: Callable[[World], None], attempts: str
) -> None:
    with World() as world:
        trouble(world)
        upload = with_deadline(world, limited(10), canary_requests="3", max_attempts=attempts)
        report = settled(world, upload)
        assert codes(world, upload) == {"deadline_passed": 10}
        assert (report["canary"]["passed"], report["canary"]["failed"]) == (None, 0)
        assert report["status"] == "partial"
        assert "before the canary had an answer" in report["errors"][0]["message"]
        assert "could not be created" not in json.dumps(rows_of(world, upload))
        assert world.simulator.ordinary_calls() == []


@pytest.mark.parametrize("attempts", ["1", "3"])
def test_a_canary_with_answers_at_the_deadline_lets_the_rest_be_asked(attempts: str) -> None:
    """What the deadline has left open of it has not failed, be its attempts used up or not."""
    with World() as world:
        ends_never(world, done=0.5)
        upload = with_deadline(
            world,
            limited(10),
            canary_requests="4",
            canary_max_failed_percent="10",
            max_attempts=attempts,
        )
        report = settled(world, upload)
        assert report["status"] == "succeeded"
        assert report["canary"]["passed"] is True
        assert report["on_demand"]["succeeded"] == 8


def test_a_canary_that_has_failed_at_the_deadline_ends_the_job() -> None:
    with World() as world:
        world.simulator.add_rule("fail", match={"regex": "r000[01]"})
        ends_never(world, done=1.0)
        upload = with_deadline(
            world, limited(10), canary_requests="3", canary_max_failed_percent="10"
        )
        report = settled(world, upload)
        assert report["errors"][0]["code"] == "canary_failed"
        assert codes(world, upload)["not_sent"] == 7
        assert world.simulator.ordinary_calls() == []


def test_what_a_canary_has_used_up_is_asked_with_the_rest() -> None:
    with World() as world:
        world.simulator.add_rule("missing", match={"custom_id": "r0000"}, times=1)
        world.simulator.add_fate(end="stuck", done=0.0, match={"metadata": {"shard": "2"}})
        upload = with_deadline(
            world, limited(6), canary_requests="2", max_attempts="1", canary_max_failed_percent="50"
        )
        report = settled(world, upload)
        assert report["status"] == "succeeded", [code_of(row) for row in rows_of(world, upload)]
        assert report["on_demand"]["succeeded"] == 5


# -- with answers that have another form than is asked for -----------------------------------------


def test_an_answer_of_another_form_is_an_answer_for_the_tail() -> None:
    """Until the deadline it is asked for again in a batch; after it by nothing."""
    with World() as world:
        world.simulator.add_rule("not_json", match={"custom_id": "r0"}, times=1)
        world.simulator.add_fate(match={"nth": 1})
        ends_never(world, done=0.0)
        upload = with_deadline(
            world, [json_line("r0"), json_line("r1")], retry_invalid_output="true"
        )
        report = settled(world, upload)
        assert [batch["status"] for batch in report["batches"]] == ["completed", "cancelled"]
        assert report["status"] == "succeeded"
        assert report["requests"]["invalid_output"] == 1
        assert world.simulator.ordinary_calls() == []
