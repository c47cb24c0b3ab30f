"""Emulated stacks are found from every folder, and are what was asked for."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from groq_batch_cli import local_process
from groq_batch_cli.errors import CommandError
from groq_batch_cli.local_choice import FOLDER_VARIABLE, chosen_folder, folder_to_start
from groq_batch_cli.local_registry import Registry, state_folder
from groq_batch_cli.local_state import LocalFolder, LocalState
from groq_batch_cli.main import run
from groq_batch_cli.targets import choose_target
from groq_batch_cli.verbs import local
from local.template_parameters import read_template, refusals, whole_numbers
from tests.unit.cli.test_targets import STATE

Said = pytest.CaptureFixture[str]
Serve = Callable[..., LocalFolder]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is remembered in a folder of the test's; the program belongs to no clone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr("groq_batch_cli.local_state.__file__", str(tmp_path / "program.py"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return elsewhere


@pytest.fixture
def clone(tmp_path: Path) -> Callable[[str], Path]:
    """Make something that looks like a clone of the project."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        (folder / "functions" / "groq_batch").mkdir(parents=True)
        (folder / "local").mkdir()
        (folder / "local" / "stack.py").touch()
        (folder / "template.yaml").touch()
        return folder

    return make


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Be the server of a clone's stack until the end of the test."""
    with contextlib.ExitStack() as servers:

        def begin(project: Path, state: LocalState = STATE) -> LocalFolder:
            folder = LocalFolder(project, project / ".local" / "stack")
            servers.enter_context(folder.locked())
            folder.write_ready(replace(state, log_folder=str(project)))
            Registry().add(folder)
            return folder

        yield begin


def target(**options: str) -> str | None:
    """Return where the stack of ``--local`` is."""
    given = dict.fromkeys(["stack_name", "region", "profile", "endpoint_url"])
    return choose_target(**{**given, **options}, local=True, environ={}).endpoint_url  # type: ignore[arg-type]


# -- which stack is meant ---------------------------------------------------------------------


def test_stack_is_found_from_every_folder(
    clone: Callable[[str], Path], serve: Serve, capsys: Said
) -> None:
    project = clone("a")
    serve(project)
    assert target() == STATE.endpoint_url
    assert run(["local", "status"]) == 0
    assert f"  clone      {project}\n" in capsys.readouterr().out
    assert run(["local", "env"]) == 0
    assert run(["local", "up"]) == 0


def test_clone_wins_over_others_that_run(
    clone: Callable[[str], Path], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = clone("a"), clone("b")
    serve(first)
    serve(second, replace(STATE, endpoint_url="http://127.0.0.1:2"))
    for project, expected in ((first, STATE.endpoint_url), (second, "http://127.0.0.1:2")):
        monkeypatch.chdir(project / "functions")
        assert target() == expected


def test_clone_without_a_stack_does_not_use_that_of_another(
    clone: Callable[[str], Path], serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    first, second = clone("a"), clone("b")
    serve(first)
    monkeypatch.chdir(second)
    with pytest.raises(CommandError, match=f"that of {first} is. Go there to use it"):
        target()
    assert run(["local", "down"]) == 0
    assert f"that of {first} is. Go there to stop it." in capsys.readouterr().err


def test_several_stacks_have_to_be_told_apart(
    clone: Callable[[str], Path], serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    first, second = clone("a"), clone("b b")
    serve(first)
    serve(second, replace(STATE, endpoint_url="http://127.0.0.1:2"))
    for verb in (["local", "down"], ["local", "status"], ["local", "env"], ["jobs", "--local"]):
        assert run(verb) == 1
        said = capsys.readouterr().err
        assert f"Several emulated stacks run on this machine: {first}, {second}." in said
        assert f"export {FOLDER_VARIABLE}={first}/.local/stack" in said
    monkeypatch.setenv(FOLDER_VARIABLE, str(second / ".local" / "stack"))
    assert target() == "http://127.0.0.1:2"


def test_stack_of_the_programs_own_clone_comes_before_others(
    clone: Callable[[str], Path], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = clone("own"), clone("other")
    program = own / "cli" / "groq_batch_cli" / "local_state.py"
    monkeypatch.setattr("groq_batch_cli.local_state.__file__", str(program))
    serve(other)
    assert target() == STATE.endpoint_url
    serve(own, replace(STATE, endpoint_url="http://127.0.0.1:2"))
    assert target() == "http://127.0.0.1:2"
    assert folder_to_start().project == own
    monkeypatch.chdir(other)
    assert folder_to_start().project == other


def test_no_stack_anywhere(
    clone: Callable[[str], Path], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    with pytest.raises(CommandError, match="Start one in a clone of the project: groq-batch"):
        target()
    assert run(["local", "up"]) == 1
    said = capsys.readouterr().err
    assert f"needs a clone of the project, and {home} is not in one." in said
    assert "Go to your clone and start the stack there: groq-batch local up." in said
    assert run(["local", "status"]) == run(["local", "env"]) == 1
    capsys.readouterr()
    assert run(["local", "down"]) == 0
    assert capsys.readouterr().err == "No emulated stack is running.\n"
    monkeypatch.chdir(clone("a"))
    with pytest.raises(CommandError, match=r"on this machine\. Start one: groq-batch local up"):
        target()


def test_stack_that_has_crashed_is_forgotten(clone: Callable[[str], Path], tmp_path: Path) -> None:
    folder = LocalFolder(clone("a"), tmp_path / "a" / ".local" / "stack")
    with folder.locked():
        Registry().add(folder)
        assert Registry().served() == [folder]
    assert len(list(tmp_path.glob("state/**/*.json"))) == 1
    assert Registry().served() == []
    assert list(tmp_path.glob("state/**/*.json")) == []
    assert chosen_folder() is None


def test_entries_of_others_are_passed_over(
    clone: Callable[[str], Path], serve: Serve, tmp_path: Path
) -> None:
    folder = serve(clone("a"))
    entries = tmp_path / "state" / "groq-batch" / "local-stacks"
    (entries / "broken.json").write_text("{")
    (entries / "other.json").write_text("[]")
    assert Registry().served() == [folder]
    Registry().remove(folder)
    Registry().remove(folder)
    assert Registry().served() == []


def test_state_of_another_version_is_read(clone: Callable[[str], Path], serve: Serve) -> None:
    folder = serve(clone("a"))
    written = folder.read()
    del written["parameters"], written["batch_seconds"]
    folder.write(written.pop("phase"), **written, something_new=1)
    found = folder.running()
    assert found is not None
    assert (found.endpoint_url, found.parameters) == (STATE.endpoint_url, {})


def test_looking_does_not_keep_a_server_from_starting(
    clone: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = LocalFolder(clone("a"), tmp_path / "a" / ".local" / "stack")
    folder.prepare()
    (folder.path / "lock").touch()
    with (folder.path / "lock").open("rb") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        assert not folder.is_served()


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"XDG_STATE_HOME": "/states"}, "linux", "/states/groq-batch"),
        ({"XDG_STATE_HOME": "/states"}, "darwin", "/states/groq-batch"),
        ({"XDG_STATE_HOME": "relative"}, "linux", "~/.local/state/groq-batch"),
        ({}, "linux", "~/.local/state/groq-batch"),
        ({}, "darwin", "~/Library/Application Support/groq-batch"),
    ],
)
def test_folder_for_state_is_where_the_platform_has_it(
    environ: dict[str, str], platform: str, expected: str
) -> None:
    assert state_folder(environ, platform) == Path(expected).expanduser()


# -- what is asked for ------------------------------------------------------------------------

RUNNING = replace(STATE, parameters={"MaxAttempts": "3", "Paused": "false"}, batch_seconds=5.0)


@pytest.fixture
def running(
    clone: Callable[[str], Path], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> LocalFolder:
    """Return a running stack whose template takes every parameter."""
    monkeypatch.setattr(local, "check_parameters", lambda *_: None)
    return serve(clone("a"), RUNNING)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--parameter", "MaxAttempts=3"],
        ["--batch-seconds", "5"],
        ["--stack-name", "groq-batch", "--parameter", "Paused=false"],
    ],
)
def test_stack_that_runs_as_asked_for_is_fine(
    options: list[str], running: LocalFolder, capsys: Said
) -> None:
    assert run(["local", "up", *options]) == 0
    assert "The stack groq-batch is running already." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "has"),
    [
        (["--parameter", "MaxAttempts=5"], "MaxAttempts=3"),
        (["--parameter", "MaxAttempts=5", "--parameter", "Paused=true"], "MaxAttempts=3, Paused=f"),
        (["--batch-seconds", "0.5"], "--batch-seconds 5"),
        (["--stack-name", "other"], "the name groq-batch"),
    ],
)
def test_stack_that_runs_otherwise_has_to_be_started_anew(
    options: list[str], has: str, running: LocalFolder, capsys: Said
) -> None:
    assert run(["local", "up", *options]) == 1
    said = capsys.readouterr().err
    assert f"The stack groq-batch is running already, with {has}" in said
    assert f"deletes everything in it: groq-batch local up {' '.join(options)} --restart" in said


def test_restart_stops_the_stack_and_starts_it_as_asked_for(
    running: LocalFolder, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    assert running.project is not None
    monkeypatch.chdir(running.project)
    done: list[object] = []
    monkeypatch.setattr(local, "stop_server", done.append)
    monkeypatch.setattr(
        local, "start_server", lambda folder, arguments, _: done.append(arguments) or RUNNING
    )
    assert run(["local", "up", "--parameter", "Paused=true", "--restart"]) == 0
    arguments = ["--stack-name", "groq-batch", "--batch-seconds", "5", "--parameter", "Paused=true"]
    assert done == [running, arguments]
    assert "groq-batch run requests.jsonl --local" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--parameter", "A-B=1"], "'A-B=1' is not NAME=VALUE."),
        (["--parameter", "A"], "'A' is not NAME=VALUE."),
        (["--parameter", "=1"], "'=1' is not NAME=VALUE."),
        (["--parameter", "A=1", "--parameter", "A=2"], "A is given twice."),
        (["--batch-seconds", "-1"], "is not in the range x>=0"),
    ],
)
def test_options_of_up_that_are_wrong(options: list[str], expected: str, capsys: Said) -> None:
    assert run(["local", "up", *options]) == 2
    assert expected in capsys.readouterr().err


def test_parameters_are_checked_by_the_clones_own_tools_before_anything_is_stopped(
    clone: Callable[[str], Path], serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    folder = serve(clone("a"), RUNNING)
    script = folder.path / "python"
    monkeypatch.setattr(local_process, "_python", lambda _: str(script))
    monkeypatch.setattr(local, "stop_server", lambda _: pytest.fail("it was stopped"))
    for words, status, expected in (
        ("echo The template has no parameter Nope.; exit 1", 2, "has no parameter Nope."),
        ("echo No module named samcli >&2; exit 1", 1, "project's tools first: make setup"),
    ):
        script.write_text(f"#!/bin/sh\n{words}\n")
        script.chmod(0o755)
        for more in ([], ["--restart"]):
            monkeypatch.chdir(str(folder.project))
            assert run(["local", "up", "--parameter", "Nope=1", *more]) == status
            assert expected in capsys.readouterr().err


# -- the template's parameters ----------------------------------------------------------------


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """Read the template once: it is long."""
    return read_template()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MaxAttempt", "3", "The template has no parameter MaxAttempt. Is MaxAttempts meant?"),
        ("paused", "true", "The template has no parameter paused. Is Paused meant?"),
        (
            "Nope",
            "1",
            "The template has no parameter Nope; docs/reference/parameters.md lists those it has.",
        ),
        ("Paused", "yes", "Paused=yes is not allowed; allowed is true or false."),
        *(
            (
                "MaxAttempts",
                value,
                f"MaxAttempts={value} is not allowed; allowed is a whole number from 1 to 10.",
            )
            for value in ("11", "0", "", "2.5", "3.0", "03")
        ),
        ("MaxJobCostUsd", "x", "MaxJobCostUsd=x is not allowed; allowed is a number of 0 or more."),
        (
            "CompletionWindow",
            "8d",
            (
                "CompletionWindow=8d is not allowed; allowed is hours or days between 24h and 7d, "
                "such as 24h, 72h or 7d."
            ),
        ),
    ],
)
def test_parameter_that_the_template_refuses(
    name: str, value: str, sentence: str, template: dict[str, Any]
) -> None:
    found = refusals({name: value}, template["Parameters"], whole_numbers(template))
    assert list(found) == [sentence]


def test_defaults_of_the_template_are_taken(template: dict[str, Any]) -> None:
    parameters, whole = template["Parameters"], whole_numbers(template)
    defaults = {name: str(one["Default"]) for name, one in parameters.items()}
    assert list(refusals(defaults, parameters, whole)) == []
    more = {"MaxJobCostUsd": "0.5", "CompletionWindow": "7d", "ScheduleTimezone": "a b"}
    assert list(refusals(more, parameters, whole)) == []


def test_constraints_of_texts() -> None:
    parameters = {
        "Short": {"Type": "String", "MinLength": 1, "MaxLength": 2},
        "Shape": {"Type": "String", "AllowedPattern": "[a-z]+"},
        "Low": {"Type": "Number", "MaxValue": 2},
        "Only": {"Type": "String", "AllowedValues": ["x"]},
    }
    taken = {"Short": "ab", "Shape": "a", "Low": "-1e3", "Only": "x"}
    assert list(refusals(taken, parameters, ())) == []
    assert list(refusals(dict.fromkeys(parameters, "abc3"), parameters, ())) == [
        "Short=abc3 is not allowed; allowed is a text with a number of characters from 1 to 2.",
        "Shape=abc3 is not allowed; allowed is what matches [a-z]+.",
        "Low=abc3 is not allowed; allowed is a number of 2 or less.",
        "Only=abc3 is not allowed; allowed is x.",
    ]
