"""The list of the account's models: what it changes, and that a job goes on without it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.models import read_models
from groq_batch.domain.prices import table_prices
from groq_batch.records.model_listing import ModelListing
from local.groq_simulator import answers
from local.state_machine.definition import Machine
from tests.fakes.step_functions import MACHINE_ARN
from tests.harness.invocations import Hold, Invocation, LoseAnswer, Refuse, Trouble
from tests.harness.jobs import Line, Upload, check_end, good_line, good_lines, put, report_of
from tests.harness.world import DEFINITION, SUBSTITUTIONS, World

SMALL = "openai/gpt-oss-20b"
RANGES = {"MAX_BYTES_PER_RANGE": "700", "MAX_REQUESTS_PER_BATCH": "4"}

Switch = Callable[[World], object]


def unknown(custom_id: str, model: str = "openai/gpt-oss-20") -> Line:
    """Return a request to a model that no list names."""
    return Line(good_line(custom_id, model=model).data, custom_id, "unknown_model")


def is_asking(invocation: Invocation) -> bool:
    """Tell whether an invocation asks for the models."""
    return bool(invocation.payload.get("read_models"))


def asked(world: World) -> list[dict[str, Any]]:
    """Return the calls that asked for the models."""
    return world.simulator.calls("models")


def rows_of(world: World, path: str) -> list[dict[str, Any]]:
    """Return the rows of a job's problems."""
    data = world.s3.read(f"invalid/{path}")
    assert data is not None
    return [json.loads(row) for row in data.splitlines()]


# -- with a list -----------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", [{}, RANGES], ids=["by one", "by ranges"])
class TestWithAList:
    LINES = (*good_lines(6), unknown("bad"), *good_lines(5, "s"), unknown("worse", "x"))

    def test_an_unknown_model_rejects_the_file(self, environment: dict[str, str]) -> None:
        with World(environment) as world:
            upload = put(world, "input/a.jsonl", self.LINES)
            world.settle()
            (report,) = check_end(world, upload)
            found = rows_of(world, "a.jsonl")
        assert report["status"] == "rejected"
        told = [(row["line"], row["custom_id"], row["code"]) for row in found]
        assert told == [(7, "bad", "unknown_model"), (13, "worse", "unknown_model")]
        assert "Similar names: openai/gpt-oss-20b" in found[0]["message"]

    def test_an_unknown_model_is_skipped(self, environment: dict[str, str]) -> None:
        with World(environment) as world:
            upload = put(world, "input/a.jsonl", self.LINES, on_invalid_line="skip")
            world.settle()
            (report,) = check_end(world, upload)
        assert report["requests"] == {"total": 13, "succeeded": 11, "failed": 0, "invalid": 2}

    def test_the_first_list_holds_for_the_whole_job(self, environment: dict[str, str]) -> None:
        """Whatever is listed later, and whoever prepares the job again."""

        def director(invocation: Invocation) -> Sequence[Trouble]:
            if is_asking(invocation) or invocation.function != "prepare_input":
                return ()
            # At every further step the account has other models.
            models = {SMALL: None} if invocation.number % 2 else {"openai/gpt-oss-20": {}}
            world.simulator.configure(models=models)
            return (LoseAnswer(error="Lambda.SdkClientException"),) if invocation.number < 5 else ()

        with World(environment, director=director) as world:
            upload = put(world, "input/a.jsonl", self.LINES, on_invalid_line="skip")
            world.settle()
            (report,) = check_end(world, upload)
            assert len(asked(world)) == 1
        assert report["requests"]["invalid"] == 2

    def test_a_job_may_do_without_the_check(self, environment: dict[str, str]) -> None:
        with World(environment) as world:
            lines = [Line(line.data, line.custom_id) for line in self.LINES]
            upload = put(world, "input/a.jsonl", lines, check_models="false")
            world.settle()
            (report,) = check_end_of_echoes(world, upload)
            assert len(asked(world)) == 1
        assert report["status"] == "succeeded"
        # The list's prices hold all the same; those of the made-up models are not known.
        assert report["prices"]["source"] == "groq"
        assert report["cost_usd"] == {"estimated": None, "actual": None}


def check_end_of_echoes(world: World, upload: Upload) -> list[dict[str, Any]]:
    """Check the end of a job whose lines do not say what they ask."""
    for line in upload.lines:
        object.__setattr__(line, "prompt", json.loads(line.data)["body"]["messages"][0]["content"])
    return check_end(world, upload)


# -- without a list --------------------------------------------------------------------------------


def _fault(**fault: Any) -> Switch:
    return lambda world: world.simulator.add_fault("models", times=None, **fault)


NO_LIST: dict[str, tuple[Switch, int | None]] = {
    "not found": (_fault(status=404), 1),
    "may not list": (_fault(status=403), 1),
    "network front": (_fault(status=403, body="<html>blocked</html>"), 1),
    "bad request": (_fault(status=400), 1),
    "server error": (_fault(status=500), 1),
    "busy": (_fault(status=503, headers={"Retry-After": "2"}), 2),
    "in a hurry": (_fault(status=429, headers={"Retry-After": "9"}), 2),
    "in a hurry for long": (_fault(status=429, headers={"Retry-After": "11"}), 1),
    "in a hurry without end": (_fault(status=429), 1),
    "no JSON": (_fault(answer="garbage"), 1),
    "HTML": (_fault(status=200, body="<html>welcome</html>"), 1),
    "empty list": (_fault(status=200, body={"data": []}), 1),
    "nameless models": (_fault(status=200, body={"data": [{"id": None}, 7]}), 1),
    "reset": (_fault(answer="reset"), 1),
    "cut": (_fault(answer="cut"), 1),
    "silent": (_fault(answer="stall", act=False), 1),
}
"""What keeps the list from coming, and how often it is asked for then."""


@pytest.mark.parametrize("name", NO_LIST)
def test_without_a_list_nothing_is_rejected_for_it(name: str) -> None:
    switch, calls = NO_LIST[name]
    with World() as world:
        switch(world)
        line = Line(good_line("a", model="no/such").data, "a", prompt="Say a.")
        upload = put(world, "input/a.jsonl", [line])
        world.settle()
        (report,) = check_end(world, upload)
        assert len(asked(world)) == calls
    assert report["status"] == "succeeded"
    assert report["prices"] == table_prices().about()


def test_a_list_that_comes_the_second_time_holds() -> None:
    with World() as world:
        world.simulator.add_fault("models", status=429, headers={"Retry-After": "3"}, times=1)
        upload = put(world, "input/a.jsonl", [unknown("a")])
        world.settle()
        (report,) = check_end(world, upload)
        assert len(asked(world)) == 2
    assert report["status"] == "rejected"


def test_a_connection_that_was_never_made_is_tried_once_more() -> None:
    with World() as world:
        world.groq.reachable = False
        put(world, "input/a.jsonl", good_lines(1))
        world.run_for(2.5)
        (asking,) = filter(is_asking, world.invocations)
        assert [call for call in asking.trace if call.startswith("groq.")] == [
            "groq.models #0",
            "groq.models #1",
        ]


@pytest.mark.parametrize("code", ["not_available_for_plan", "blocked_api_access", "spend_limit_x"])
def test_a_refused_account_ends_the_job(code: str) -> None:
    status = 403 if code == "not_available_for_plan" else 400
    body = {"error": {"message": "No.", "code": code}}
    with World() as world:
        _fault(status=status, body=body)(world)
        upload = put(world, "input/a.jsonl", good_lines(2))
        world.run_for(60)
        report = report_of(world, "a.jsonl")
        assert report["status"] == "failed"
        world.settle()
        (report,) = check_end(world, upload)
        assert len(asked(world)) == 1
        assert world.simulator.stats()["creates"] == 0
        end = world.events.published[-1][2]
        size = len(world.s3.read("input/a.jsonl") or b"")
    expected = "plan_required" if status == 403 else "spend_limit"
    assert [error["code"] for error in report["errors"]] == [expected]
    assert (report["input"]["bytes"], report["requests"]["total"]) == (size, 0)
    assert end["status"] == "failed"


def test_a_refused_account_removes_what_the_job_before_delivered() -> None:
    with World() as world:
        put(world, "input/a.jsonl", good_lines(2))
        world.settle()
        assert world.s3.read("output/a.jsonl") is not None
        world.groq.key = "gsk_wrong"
        upload = put(world, "input/a.jsonl", good_lines(1))
        world.settle()
        (report,) = check_end(world, upload)
        assert world.s3.read("output/a.jsonl") is None
    assert report["errors"][0]["code"] == "invalid_api_key"


# -- the step itself -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", ["Runtime.ImportModuleError", "Runtime.ExitError", "States.Timeout", "KeyError"]
)
def test_a_step_that_cannot_run_costs_no_job(error: str) -> None:
    def director(invocation: Invocation) -> Sequence[Trouble]:
        return (Refuse(error=error),) if is_asking(invocation) else ()

    with World(director=director) as world:
        upload = put(world, "input/a.jsonl", [*good_lines(2), good_line("x", model="no/such")])
        world.run_for(60)
        assert any(one.function == "submit_batch" for one in world.invocations)
        world.settle()
        (report,) = check_end(world, upload)
        assert asked(world) == []
    assert report["status"] == "succeeded"


def test_a_running_report_stands_while_the_models_are_asked_for() -> None:
    def director(invocation: Invocation) -> Sequence[Trouble]:
        return (Hold(at="groq.models #0", seconds=9),) if is_asking(invocation) else ()

    with World(director=director) as world:
        upload = put(world, "input/a.jsonl", good_lines(2))
        world.run_for(5)
        report = report_of(world, "a.jsonl")
        assert (report["status"], report["prices"]) == ("running", None)
        world.settle()
        (report,) = check_end(world, upload)
    assert report["status"] == "succeeded"


def test_an_earlier_report_stands_until_the_job_takes_its_path_over() -> None:
    def director(invocation: Invocation) -> Sequence[Trouble]:
        return (Hold(at="groq.models #0", seconds=9),) if is_asking(invocation) else ()

    with World() as world:
        older = put(world, "input/a.jsonl", good_lines(1))
        world.settle()
        world.director = director
        put(world, "input/a.jsonl", good_lines(2))
        world.run_for(5)
        # With it stand the results that belong to it.
        assert report_of(world, "a.jsonl")["job_id"] == older.job_id("bucket")
        assert world.s3.read("output/a.jsonl") is not None
        world.settle()


@pytest.mark.parametrize("seconds", [40.0, 400.0])
@pytest.mark.parametrize("late", ["refused", "listed"])
def test_what_a_lost_invocation_finds_too_late_changes_nothing(late: str, seconds: float) -> None:
    """It is held before it asks; another one, or the preparation, has written down its own."""

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if not is_asking(invocation):
            return ()
        if invocation.number == 2:
            return (Hold(at="groq.models #0", seconds=seconds, lost="Lambda.SdkClientException"),)
        return (Refuse(error="Runtime.ImportModuleError"),)

    def spoil(world: World) -> Iterator[float]:
        if late == "refused":
            world.simulator.add_fault("models", status=401, times=None)
        yield from ()

    with World(director=director) as world:
        line = Line(good_line("a", model="no/such").data, "a", prompt="Say a.")
        upload = put(world, "input/a.jsonl", [line])
        world.spawn(spoil(world), after=30)
        world.settle()
        (report,) = check_end(world, upload)
        assert len(asked(world)) == 1
    assert report["status"] == "succeeded"


def test_a_list_that_comes_while_ranges_are_read_changes_nothing() -> None:
    """That there is none stands from the beginning, or ranges would be checked differently."""
    late = ModelListing(
        at="2027-01-15T08:00:00.000Z", models=read_models({"data": [{"id": SMALL}]})
    )
    written: list[bool] = []

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if is_asking(invocation):
            return (Refuse(error="Runtime.ImportModuleError"),)
        if "/match/" in invocation.payload.get("task_key", ""):
            keys = object_keys.WorkKeys(invocation.payload["job_id"])
            bucket = Storage(s3=world.s3.client(), bucket="bucket")
            written.append(late.propose(bucket, keys) == late)
        return ()

    with World(RANGES, director=director) as world:
        lines = [*good_lines(10), Line(unknown("x").data, "x", prompt="Say x.")]
        upload = put(world, "input/a.jsonl", lines, on_invalid_line="skip")
        world.settle()
        (report,) = check_end(world, upload)
    assert written
    assert not any(written)
    assert report["status"] == "succeeded"


# -- prices ----------------------------------------------------------------------------------------


def _priced(prompt: str, completion: str) -> dict[str, Any]:
    return {SMALL: {"pricing": {"prompt": prompt, "completion": completion}}}


def test_listed_prices_are_fixed_when_the_input_is_checked() -> None:
    costs = []
    for models in ({}, _priced("0.00000075", "0.000003")):
        with World(simulator={"models": models}) as world:
            upload = put(world, "input/a.jsonl", good_lines(3), max_attempts="1")
            world.run_for(60)
            # Ten times as much again, when it has been sent.
            world.simulator.configure(models=_priced("0.0000075", "0.00003"))
            world.settle()
            (report,) = check_end(world, upload)
        assert report["prices"]["source"] == "groq"
        assert report["prices"]["date"] == "2027-01-15"
        costs.append(report["cost_usd"])
    assert costs[1]["estimated"] == pytest.approx(10 * costs[0]["estimated"])
    assert costs[1]["actual"] == pytest.approx(10 * costs[0]["actual"])


def test_a_listed_price_counts_for_the_cap() -> None:
    for prompt, status in (("0.000000075", "succeeded"), ("1", "rejected")):
        with World(simulator={"models": _priced(prompt, "0.0000003")}) as world:
            lines = good_lines(2)
            fatal = "too_expensive" if status == "rejected" else None
            upload = put(world, "input/a.jsonl", lines, max_job_cost_usd="0.01")
            upload.fatal = fatal
            world.settle()
            (report,) = check_end(world, upload)
        assert report["status"] == status


# -- audio -----------------------------------------------------------------------------------------


def transcription(custom_id: str, model: str, form: str) -> Line:
    """Return a request for audio."""
    request = json.loads(good_line(custom_id).data)
    request["url"] = "/v1/audio/transcriptions"
    address = f"https://example.com/{custom_id}.mp3"
    request["body"] = {"model": model, "url": address, "response_format": form}
    return Line(json.dumps(request).encode(), custom_id)


@pytest.fixture
def transcripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the simulator answer audio as the API does: without model and tokens."""
    chat = answers.success_row

    def row(custom_id: str, body: dict[str, Any], text: str, **named: Any) -> dict[str, Any]:
        made = chat(custom_id, body, text, **named)
        if "url" in body:
            length = {"duration": 12.5} if body["response_format"] == "verbose_json" else {}
            made["response"]["body"] = {"text": text, **length}
        return made

    monkeypatch.setattr(answers, "success_row", row)


@pytest.mark.usefixtures("transcripts")
class TestAudio:
    def cost_of(self, *lines: Line) -> dict[str, Any]:
        with World({"MAX_REQUESTS_PER_BATCH": "2"}) as world:
            put(world, "input/a.jsonl", lines)
            world.settle()
            report = report_of(world, "a.jsonl")
        assert report["status"] == "succeeded"
        cost: dict[str, Any] = report["cost_usd"]
        assert cost["estimated"] is None
        return cost

    def test_it_is_billed_by_its_length_at_the_price_of_the_model_asked(self) -> None:
        cost = self.cost_of(
            transcription("a", "whisper-large-v3", "verbose_json"),
            transcription("b", "whisper-large-v3-turbo", "verbose_json"),
            transcription("c", "whisper-large-v3", "verbose_json"),
        )
        assert cost["actual"] == pytest.approx(12.5 / 3600 * (2 * 0.0555 + 0.02))

    def test_with_chats_beside_it(self) -> None:
        chat = self.cost_of_chat()
        cost = self.cost_of(good_line("a"), transcription("b", "whisper-large-v3", "verbose_json"))
        assert cost["actual"] == pytest.approx(chat + 12.5 / 3600 * 0.0555)

    def cost_of_chat(self) -> float:
        with World() as world:
            put(world, "input/a.jsonl", [good_line("a")])
            world.settle()
            return float(report_of(world, "a.jsonl")["cost_usd"]["actual"])

    def test_an_answer_without_a_length_leaves_the_cost_unknown(self) -> None:
        cost = self.cost_of(
            transcription("a", "whisper-large-v3", "verbose_json"),
            transcription("b", "whisper-large-v3", "json"),
        )
        assert cost["actual"] is None


# -- executions of the version before --------------------------------------------------------------


def machine_of_the_version_before() -> Machine:
    """Return the definition without what is new in it."""
    text = DEFINITION.read_text("utf-8")
    for name, value in SUBSTITUTIONS.items():
        text = text.replace(f"${{{name}}}", value)
    definition = json.loads(text)
    states = definition["States"]
    for name in ("ReadModels", "AreModelsRead", "WaitToReadModels"):
        del states[name]
    states["ChooseMode"]["Choices"][0]["Next"] = "PrepareInput"

    def forget(part: Any) -> None:
        if isinstance(part, dict):
            part.get("Payload", {}).pop("machine", None)
            for one in part.values():
                forget(one)

    forget(definition)
    assert '"machine"' not in json.dumps(definition)
    return Machine(deepcopy(definition), arn=MACHINE_ARN)


@pytest.mark.parametrize("environment", [{}, RANGES], ids=["by one", "by ranges"])
def test_an_execution_of_the_version_before_has_no_list(environment: dict[str, str]) -> None:
    with World(environment, machine=machine_of_the_version_before()) as world:
        lines = [*good_lines(10), Line(unknown("x").data, "x", prompt="Say x.")]
        upload = put(world, "input/a.jsonl", lines)
        world.settle()
        (report,) = check_end(world, upload)
        assert asked(world) == []
        assert world.s3.read(object_keys.WorkKeys(upload.job_id("bucket")).models) is None
    assert report["status"] == "succeeded"
    assert report["prices"] == table_prices().about()
