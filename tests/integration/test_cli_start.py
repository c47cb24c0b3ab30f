"""``groq-batch start``, and ``run --now``, which start jobs by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from groq_batch.domain import object_keys
from groq_batch.records import stored
from groq_batch_cli.main import run
from groq_batch_client import stack
from tests.integration.cli_world import (
    FIRING,
    Chapters,
    Said,
    World,
    good_row,
    request_line,
)


def answered(world: World, job_id: str, path: str, status: str = "started") -> dict[str, Any]:
    """Return what the start function answers."""
    report = world.storage.url(object_keys.delivery_keys(path).report)
    return {"job_id": job_id, "status": status, "message": "m", "input": "i", "report": report}


def test_start_of_a_recurring_file_follows_and_fetches(
    world: World, chapters: Chapters, capsys: Said
) -> None:
    world.start_answer = answered(world, FIRING.job_id, FIRING.path)

    def end() -> None:
        world.storage.put_json(object_keys.job_key(FIRING.job_id), stored.to_record(FIRING))
        world.deliver(FIRING, "succeeded", results=[good_row("a"), good_row("b")])

    chapters += [lambda: None, end]
    assert run(["start", FIRING.key, "--out", "nights"]) == 0
    assert world.payloads == [{"key": FIRING.key, "again": True}]
    assert f"{FIRING.path}: started as {FIRING.job_id}\n" in capsys.readouterr().out
    fetched = Path("nights/2026-03-01T12-00-00Z.results.jsonl").read_bytes()
    assert fetched == good_row("a") + good_row("b")
    assert run(["start", FIRING.key, "--again"]) == 2
    assert "a recurring file starts a new job each time" in capsys.readouterr().err


def test_start_of_a_scheduled_run_names_its_file(world: World, capsys: Said) -> None:
    world.storage.put_json(object_keys.job_key(FIRING.job_id), stored.to_record(FIRING))
    world.deliver(FIRING, "failed", results=[], code="invalid_api_key")
    for name in (FIRING.path, f"reports/{FIRING.path}.json"):
        assert run(["start", name]) == 1
        assert (
            f"{FIRING.path} is a run of {FIRING.key}. To run that file now, as it is in the bucket "
            f"today: groq-batch start {FIRING.key}\n"
        ) in capsys.readouterr().err
    assert world.payloads == []
    assert run(["retry", FIRING.path]) == 1
    assert f"run the file again: groq-batch start {FIRING.key}\n" in capsys.readouterr().err


def test_start_of_a_recurring_file_after_an_upload_to_its_reserved_path(world: World) -> None:
    world.storage.put_bytes("input/recurring/evals.jsonl", request_line("a"))
    world.end("recurring/evals.jsonl", "rejected", results=[], code="reserved_path")
    world.start_answer = answered(world, FIRING.job_id, FIRING.path)
    assert run(["start", FIRING.key, "--no-wait"]) == 0
    assert world.payloads == [{"key": FIRING.key, "again": True}]


@pytest.mark.parametrize("name", ["team/x.jsonl", "input/team/x.jsonl", "s3://bucket/input/team/x"])
def test_start_of_an_upload_that_waits(name: str, world: World, capsys: Said) -> None:
    name = name if name.endswith("l") else f"{name}.jsonl"
    world.start_answer = answered(world, "x-1", "team/x.jsonl")
    assert run(["start", name, "--no-wait"]) == 0
    assert world.payloads == [{"key": "input/team/x.jsonl"}]
    assert capsys.readouterr().out.splitlines() == [
        "team/x.jsonl: started as x-1",
        "  follow it: groq-batch status team/x.jsonl --watch",
        "  fetch its results: groq-batch results team/x.jsonl",
    ]
    world.start_answer = answered(world, "x-1", "team/x.jsonl", "exists")
    assert run(["start", name, "--no-wait"]) == 0
    assert "team/x.jsonl has a job already, x-1. To run it again, and pay again: --again" in (
        capsys.readouterr().err
    )
    assert run(["start", name, "--no-wait", "--again"]) == 0
    assert world.payloads[-1] == {"key": "input/team/x.jsonl", "again": True}


def test_start_that_is_paid_for_each_time_is_never_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    made: list[Any] = []
    client = stack.aws_client

    def remember(session: Any, target: Any, service: str, **options: Any) -> Any:
        made.append(client(session, target, service, **options))
        return made[-1]

    monkeypatch.setattr(stack, "aws_client", remember)
    world.start_answer = answered(world, "x-1", "x.jsonl")
    tries = {}
    for arguments in (["recurring/x.jsonl"], ["x.jsonl", "--again"], ["x.jsonl"]):
        assert run(["start", *arguments, "--no-wait"]) == 0
        (used,) = [one for one in made if one.meta.service_model.service_name == "lambda"]
        tries[" ".join(arguments)] = used.meta.config.retries["total_max_attempts"]
        made.clear()
    assert tries == {"recurring/x.jsonl": 1, "x.jsonl --again": 1, "x.jsonl": 6}


def test_job_is_started_by_hand_when_asked(world: World, capsys: Said) -> None:
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--no-wait", "--now"]) == 0
    assert world.payloads == [{"key": "input/x.jsonl"}]
    world.start_error = "No\nsuch role."
    assert run(["run", path, "--no-wait", "--now"]) == 1
    assert "The start function could not start input/x.jsonl: No such role." in (
        capsys.readouterr().err
    )
