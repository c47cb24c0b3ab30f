"""The simulator's control: over HTTP as its page shows it, and by ``groq-batch local fault``."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from groq_batch_cli.errors import CommandError
from groq_batch_cli.local_choice import FOLDER_VARIABLE
from groq_batch_cli.local_faults import FAULTS, make_calls
from groq_batch_cli.local_state import LocalFolder
from groq_batch_cli.main import run
from local.environment import PROJECT_ROOT
from local.groq_simulator import DEFAULT_KEY, GroqSimulator
from local.groq_simulator.control import ControlError
from tests.integration.simulator_api import Api, request_lines
from tests.unit.cli.test_targets import STATE

PAGE = PROJECT_ROOT / "local" / "groq_simulator" / "README.md"
ROWS = re.findall(r"^\| `(\w+)` \| `(\{.*\})` \| .* \|$", PAGE.read_text("utf-8"), re.MULTILINE)
REQUESTS = 40
FINAL = ("completed", "failed", "expired")

Said = pytest.CaptureFixture[str]


def post(simulator: GroqSimulator, name: str, body: str) -> dict[str, Any]:
    """Call an operation as curl does; returns the answer."""
    request = urllib.request.Request(
        f"{simulator.host_url}/_control/{name}", data=body.encode(), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            found = json.load(error)
    return found


# -- over HTTP --------------------------------------------------------------------------------


def test_page_names_every_operation(simulator: GroqSimulator) -> None:
    with pytest.raises(ControlError) as caught:
        simulator.control.call("nothing", {})
    known = str(caught.value).partition("known: ")[2].split(", ")
    assert sorted(name for name, _ in ROWS) == sorted(known)


@pytest.mark.parametrize(("name", "arguments"), ROWS, ids=[name for name, _ in ROWS])
def test_arguments_on_the_page_are_taken(
    name: str, arguments: str, simulator: GroqSimulator, api: Api
) -> None:
    batch = api.submit(request_lines(REQUESTS))
    answer = post(simulator, name, arguments.replace("batch_…", batch))
    assert list(answer) == ["result"], answer


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        (
            "add_rule",
            {"outcome": "missing"},
            "add_rule has no argument outcome and needs the argument rule; known: rule",
        ),
        ("add_rule", {}, "add_rule needs the argument rule; known: rule"),
        ("stats", {"job": "j"}, "stats has no argument job; known: none"),
        (
            "add_rule",
            {"rule": {"outcom": "missing"}},
            "Rule has no field outcom; known: match, outcome, times",
        ),
        ("wait_held", {"count": 1}, "needs the argument name; known: name, count, timeout"),
        ("nothing", {}, "no operation 'nothing'; known: configure, set_keys"),
    ],
)
def test_wrong_arguments_are_answered_with_the_right_ones(
    name: str, arguments: dict[str, Any], sentence: str, simulator: GroqSimulator
) -> None:
    answer = post(simulator, name, json.dumps(arguments))
    assert sentence in answer["error"]


# -- groq-batch local fault -------------------------------------------------------------------


@pytest.fixture
def running(
    simulator: GroqSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalFolder]:
    """Be the server of a stack whose Groq is the simulator."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "stack"))
    folder = LocalFolder(None, tmp_path / "stack")
    with folder.locked():
        folder.write_ready(replace(STATE, groq_base_url=simulator.url, groq_api_key=DEFAULT_KEY))
        yield folder


def failed(api: Api) -> int:
    """Run a batch; returns how many of its requests have no success."""
    batch_id = api.submit(request_lines(REQUESTS))
    while (batch := api.batch(batch_id))["status"] not in FINAL:
        time.sleep(0.005)
    rows = api.rows(batch["output_file_id"]) if batch["output_file_id"] else []
    return REQUESTS - sum(row["response"]["status_code"] == 200 for row in rows)


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_can_be_had_and_ended(
    name: str, running: LocalFolder, simulator: GroqSimulator, api: Api, capsys: Said
) -> None:
    before = simulator.control.configure()
    assert run(["local", "fault", name]) == 0
    assert FAULTS[name].text in capsys.readouterr().err
    assert run(["local", "fault", "--clear"]) == 0
    assert simulator.control.configure() == before
    assert failed(api) == 0


@pytest.mark.parametrize(
    ("name", "options", "first", "second"),
    [
        ("requests-refused", [], 5, 5),
        ("requests-refused", ["--share", "1", "--times", "1"], 40, 0),
        ("requests-fail-once", ["--share", "1"], 40, 0),
        ("answers-missing", ["--share", "1"], 40, 40),
        ("batch-expires", ["--share", "0.5"], 20, 0),
    ],
)
def test_faults_hit_what_they_say(
    name: str, options: list[str], first: int, second: int, running: LocalFolder, api: Api
) -> None:
    assert run(["local", "fault", name, *options]) == 0
    assert [failed(api), failed(api)] == [first, second]


@pytest.mark.parametrize(("name", "code"), [("key-refused", 401), ("outage", 503)])
def test_faults_of_the_whole_api(
    name: str, code: int, running: LocalFolder, api: Api, simulator: GroqSimulator
) -> None:
    assert run(["local", "fault", name]) == 0
    assert api.call("GET", "/batches").status == code


def test_faults_are_listed(running: LocalFolder, capsys: Said) -> None:
    assert run(["local", "fault"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out] == list(FAULTS)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["nonsense"], "is not one of"),
        (["--share", "0.1"], "Name a fault: groq-batch local fault lists them."),
        (["outage", "--share", "0.1"], "outage does not hit single requests"),
        (["free-plan", "--times", "2"], "free-plan lasts until --clear; leave out --times."),
    ],
)
def test_options_without_a_meaning(
    options: list[str], sentence: str, running: LocalFolder, capsys: Said
) -> None:
    assert run(["local", "fault", *options]) == 2
    assert sentence in capsys.readouterr().err


def test_no_stack_and_no_simulator(
    running: LocalFolder, simulator: GroqSimulator, capsys: Said
) -> None:
    running.write_ready(replace(STATE, groq_base_url=simulator.url))
    assert run(["local", "fault", "outage"]) == 1
    assert "Restart it: groq-batch local up --restart" in capsys.readouterr().err
    with pytest.raises(CommandError, match="does not answer"):
        make_calls("http://127.0.0.1:9/openai/v1", [("stats", {})])
    with pytest.raises(CommandError, match=r"rejects nothing: .*no operation 'nothing'"):
        make_calls(simulator.url, [("nothing", {})])
    running.forget()
    assert run(["local", "fault", "outage"]) == 1
    assert "still starting" in capsys.readouterr().err
