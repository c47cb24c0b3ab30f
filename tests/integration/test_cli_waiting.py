"""Uploads that wait on purpose, on a stack that is paused or has a schedule, are left to wait."""

from __future__ import annotations

from typing import Any

import pytest

from groq_batch_cli.main import run
from tests.integration.cli_world import Chapters, Said, World, follow, request_line


@pytest.mark.parametrize(
    ("mode", "then"),
    [
        ("both", "its schedule, rate(1 hour), then starts the waiting uploads."),
        ("schedule", "its schedule, rate(1 hour), then starts the waiting uploads."),
        ("upload", "uploads made before that must be started by hand."),
    ],
)
def test_run_on_a_paused_stack_says_so_and_starts_nothing(
    mode: str, then: str, world: World, chapters: Chapters, capsys: Said
) -> None:
    world.deploy("groq-batch", Paused="true", TriggerMode=mode)
    assert follow(world, chapters, pauses=2) == 0
    assert world.payloads == []
    said = capsys.readouterr().err
    assert "The stack groq-batch is paused: uploads wait, and no job is started." in said
    assert f"To resume, deploy it with Paused=false; {then} --now starts them at once." in said
    assert "started by hand." not in said.replace(then, "")


def test_run_on_a_stack_that_is_paused_meanwhile_starts_nothing(
    world: World, chapters: Chapters, capsys: Said
) -> None:
    call = world.call

    def pausing(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if operation == "PutObject" and parameters["Key"].startswith("input/"):
            world.deploy("groq-batch", Paused="true")
        return call(client, operation, parameters)

    world.call = pausing  # type: ignore[method-assign]
    assert follow(world, chapters, pauses=2) == 0
    assert world.payloads == []
    assert "The stack groq-batch is paused" in capsys.readouterr().err


def test_run_now_on_a_paused_stack_starts_the_job(world: World, capsys: Said) -> None:
    world.deploy("groq-batch", Paused="true")
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--now", "--no-wait"]) == 0
    assert world.payloads == [{"key": "input/x.jsonl"}]
    assert (
        "The stack groq-batch is paused; --now starts the jobs anyway." in capsys.readouterr().err
    )


def test_upload_that_is_not_followed_waits_as_well(world: World, capsys: Said) -> None:
    world.deploy("groq-batch", TriggerMode="schedule", ScheduleExpression="cron(0 2 * * ? *)")
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--no-wait"]) == 0
    expected = "This stack starts uploads on its schedule: cron(0 2 * * ? *)."
    assert expected in capsys.readouterr().err
    world.deploy(
        "groq-batch",
        TriggerMode="schedule",
        ScheduleExpression="cron(0 2 * * ? *)",
        ScheduleTimezone="Europe/Berlin",
    )
    assert run(["run", path, "--no-wait", "--again"]) == 0
    assert "its schedule: cron(0 2 * * ? *) in Europe/Berlin. --now" in capsys.readouterr().err


def test_upload_that_waits_is_not_said_to_run(world: World, capsys: Said) -> None:
    world.deploy("groq-batch", TriggerMode="schedule")
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--no-wait"]) == 0
    capsys.readouterr()
    assert run(["run", path, "--no-wait", "--now"]) == 0
    said = capsys.readouterr().err
    assert "x.jsonl is uploaded already, as input/x.jsonl, and its job has not started." in said
    assert world.payloads == [{"key": "input/x.jsonl"}]


def test_job_that_has_begun_is_not_said_to_wait(world: World, capsys: Said) -> None:
    world.deploy("groq-batch", Paused="true")
    world.run_to_success()
    assert run(["run", "x.jsonl"]) == 0
    assert "paused" not in capsys.readouterr().err


def test_retry_on_a_paused_stack_says_so(world: World, capsys: Said) -> None:
    world.run_to_partial()
    world.deploy("groq-batch", Paused="true")
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    assert "The stack groq-batch is paused: uploads wait" in capsys.readouterr().err
