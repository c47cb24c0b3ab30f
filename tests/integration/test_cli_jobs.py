"""``groq-batch jobs``, and the completion of jobs in a shell."""

from __future__ import annotations

import json

import pytest
from click.shell_completion import ShellComplete

from groq_batch_cli.main import cli, run
from tests.integration.cli_world import (
    Said,
    World,
)

BEFORE_MORE_WAS_TOLD = {
    "job_id", "path", "status", "started_at", "requests", "progress", "cost_usd",
}  # fmt: skip


def test_list_of_jobs(world: World, capsys: Said) -> None:
    world.run_to_success()
    world.upload("y.jsonl")
    world.start("y.jsonl")
    assert run(["jobs"]) == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == ["STATUS", "FILE", "DONE", "REQUESTS", "FAILED", "COST", "AGE", "JOB"]
    assert sorted(row[:2] for row in rows[:-1]) == [
        ["running", "y.jsonl"],
        ["succeeded", "x.jsonl"],
    ]
    assert rows[-1] == ["Total:", "2", "jobs,", "3", "requests,", "$0"]
    assert run(["jobs", "--status", "running", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["path"], found["status"]) == ("y.jsonl", "running")
    assert found["requests"]["total"] == 2
    assert run(["jobs", "--limit", "1"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3
    assert said.err == "These are the newest 1; --limit N lists more, --all lists all.\n"
    assert run(["jobs", "--status", "failed"]) == 0
    assert capsys.readouterr() == ("", "No job matches.\n")


def test_list_of_no_jobs_at_all_says_so(world: World, capsys: Said) -> None:
    assert run(["jobs"]) == 0
    assert capsys.readouterr() == ("", "There are no jobs yet. Start one: groq-batch run\n")


def test_list_of_jobs_tells_why_and_sums_up(world: World, capsys: Said) -> None:
    for name in ("x.jsonl", "team/y.jsonl"):
        world.run_to_partial(name, cost=0.25)
    assert run(["jobs", "--all"]) == 0
    head, *lines, total = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == ["STATUS", "FILE", "DONE", "REQUESTS", "FAILED", "COST", "AGE", "WHY", "JOB"]
    for line in lines:
        assert line[2:7] == ["50", "%", "2", "1", "$0.2500"]
        assert line[-2] == "missing"
    assert total == ["Total:", "2", "jobs,", "4", "requests,", "$0.5000"]
    assert run(["jobs", "--json", "--under", "team"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["path"], found["error_code"], found["errors_total"]) == (
        "team/y.jsonl",
        "missing",
        1,
    )
    assert run(["jobs", "--under", "s3://other/input/team"]) == 2
    assert "s3://other is not this stack's bucket, which is bucket." in capsys.readouterr().err
    assert run(["jobs", "--since", "2w", "--under", "s3://bucket/input/other/"]) == 0
    assert capsys.readouterr() == ("", "No job matches.\n")


def test_jobs_as_json_have_all_fields_that_they_ever_had(world: World, capsys: Said) -> None:
    world.run_to_success()
    assert run(["jobs", "--all", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() > BEFORE_MORE_WAS_TOLD
    assert found["status"] == found["report_status"] == "succeeded"
    assert found["requests"]["total"] == 1


def test_sum_of_the_costs_has_those_of_replaced_jobs(world: World, capsys: Said) -> None:
    for hour, cost in ((10, 0.5), (11, 0.25)):
        world.upload("x.jsonl", "a", "--again")
        world.succeed(hour=hour, cost=cost)
    assert run(["jobs", "--all", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(one["status"] for one in found) == ["replaced", "succeeded"]
    assert sum(one["cost_usd"]["actual"] for one in found) == 0.75
    assert {one["report_status"] for one in found} == {"succeeded"}


@pytest.mark.parametrize("parameters", [{"TriggerMode": "schedule"}, {"Paused": "true"}])
def test_uploads_that_wait_for_the_stack_are_listed(
    parameters: dict[str, str], world: World, capsys: Said
) -> None:
    world.upload()
    assert run(["jobs"]) == 0
    assert "There are no jobs yet." in capsys.readouterr().err
    world.deploy("holds", **parameters)
    assert run(["status", "x.jsonl", "--stack-name", "holds"]) == 0
    assert capsys.readouterr().out == (
        "x.jsonl: uploaded; its job has not started yet\n"
        "  to start it now: groq-batch start x.jsonl --stack-name holds\n"
    )
    assert run(["jobs", "--stack-name", "holds", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["path"], found["status"], found["started_at"]) == ("x.jsonl", "waiting", None)
    assert found["job_id"] == world.job_of("x.jsonl").job_id
    assert found["uploaded_at"] is not None
    assert run(["jobs", "--status", "waiting"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["waiting", "x.jsonl"]


def test_completion_of_jobs_has_their_paths(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(world.folder / "cache"))
    complete = ShellComplete(cli, {}, "groq-batch", "_GROQ_BATCH_COMPLETE")
    for name in ("team/x.jsonl", "team/y.jsonl", "z.jsonl"):
        world.run_to_success(name)
        world.storage.put_bytes(f"reports/{name}.html", b"")
    for arguments in (["status"], ["retry", "--all"], ["results", "z.jsonl"]):
        found = complete.get_completions(arguments, "team/")
        assert [one.value for one in found] == ["team/x.jsonl", "team/y.jsonl"]
    world.denied = "DescribeStacks"
    found = complete.get_completions(["cancel"], "z")
    assert [one.value for one in found] == ["z.jsonl"], "the bucket was looked up again"
    world.denied = "ListObjectsV2"
    assert complete.get_completions(["cancel"], "z") == []
    assert complete.get_completions(["status", "--stack-name", "nope"], "z") == []
