"""Finding the stack; ``groq-batch cancel`` and ``logs``, which need more of it than its bucket."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from groq_batch import __version__
from groq_batch_cli.aws import Target
from groq_batch_cli.main import run
from tests.integration.aws_session import shared_session
from tests.integration.cli_world import (
    LOG_GROUP,
    Said,
    World,
    request_line,
)

NEW_SESSION = Target.session


def test_stack_that_does_not_exist(world: World, capsys: Said) -> None:
    assert run(["jobs", "--stack-name", "nope"]) == 1
    assert capsys.readouterr().err == (
        "Error: There is no stack nope in us-east-1. Name yours with --stack-name or "
        "GROQ_BATCH_STACK, its region with --region, or deploy it: sam build && sam deploy\n"
    )
    assert run(["jobs", "--region", "eu-west-1"]) == 1
    assert "There is no stack groq-batch in eu-west-1." in capsys.readouterr().err


def test_stack_of_something_else(world: World, capsys: Said) -> None:
    world.stacks["other"] = {"StackName": "other", "StackStatus": "CREATE_IN_PROGRESS"}
    assert run(["jobs", "--stack-name", "other"]) == 1
    assert "The stack other (CREATE_IN_PROGRESS) has no output BucketName" in (
        capsys.readouterr().err
    )


def test_no_credentials(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Said, tmp_path: Path
) -> None:
    monkeypatch.setattr(Target, "session", NEW_SESSION)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    assert run(["jobs"]) == 1
    assert "There are no AWS credentials." in capsys.readouterr().err
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert run(["jobs"]) == 1
    said = capsys.readouterr().err
    assert "There are no AWS credentials, and no AWS region is set. Sign in" in said
    assert "name the region with --region or AWS_REGION" in said
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    assert run(["jobs"]) == 1
    assert "Error: No AWS region is set. Set one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (None, "is of an older version, this command line of"),
        ("0.9.0", "is of version 0.9.0, this command line of"),
    ],
)
def test_stack_of_another_version_is_told_once(
    version: str | None, expected: str, world: World, capsys: Said
) -> None:
    outputs = world.stacks["groq-batch"]["Outputs"]
    outputs[:] = [one for one in outputs if one["OutputKey"] != "Version"]
    if version is not None:
        outputs.append({"OutputKey": "Version", "OutputValue": version})
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith(f"Warning: The stack groq-batch {expected} {__version__};")
    assert "Warning" not in said.out


def test_profile_that_does_not_exist(world: World, capsys: Said) -> None:
    assert run(["jobs", "--profile", "nope"]) == 1
    assert "There is no AWS profile nope." in capsys.readouterr().err


def test_region_of_an_impossible_name_is_a_wrong_usage_as_an_option(
    world: World, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["jobs", "--region", "mars!"]) == 2
    assert "'mars!' is not the name of a region." in capsys.readouterr().err
    monkeypatch.setenv("AWS_REGION", "mars!")
    assert run(["jobs"]) == 1
    assert "'mars!' is not the name of a region." in capsys.readouterr().err


def test_denied(world: World, capsys: Said) -> None:
    world.denied = "ListObjectsV2"
    assert run(["jobs"]) == 1
    assert capsys.readouterr().err.startswith(
        "Error: AWS denies ListObjectsV2 (not authorized: s3:ListBucket). Ask for this permission"
    )


def test_cancel(world: World, capsys: Said) -> None:
    world.upload()
    assert run(["cancel", "x.jsonl"]) == 1
    assert "The upload x.jsonl has no job yet." in capsys.readouterr().err
    job = world.start("x.jsonl")
    assert run(["cancel", "x.jsonl"]) == 0
    assert f"x.jsonl: stopping {job['job_id']}" in capsys.readouterr().out
    (execution,) = world.states.list_executions(stateMachineArn=world.machine)["executions"]
    assert (execution["name"], execution["status"]) == (job["job_id"], "ABORTED")
    assert run(["cancel", "x.jsonl"]) == 1
    assert "has ended already (ABORTED); its results are being delivered" in (
        capsys.readouterr().err
    )
    world.report(world.job_of("x.jsonl"), "cancelled")
    assert run(["cancel", "x.jsonl"]) == 1
    assert "x.jsonl has ended already: cancelled." in capsys.readouterr().err


def test_logs(world: World, capsys: Said) -> None:
    world.upload()
    assert run(["logs", "x.jsonl"]) == 1
    assert "has no job yet, so there is no log" in capsys.readouterr().err
    job = world.start("x.jsonl")
    assert run(["logs", "x.jsonl"]) == 0
    assert "The log has no lines of this job" in capsys.readouterr().err
    logs = shared_session().client("logs")
    logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName="s")
    fields = {
        "level": "ERROR",
        "message": "Broken\x1b",
        "function_name": "s-CheckStatusFunction-X1",
        "job_id": job["job_id"],
        "shard": 5,
        "exception": "Traceback\n  line",
    }
    metrics = {"level": "INFO", "job_id": job["job_id"], "_aws": {"CloudWatchMetrics": []}}
    moment = int(time.time()) * 1000
    events = [json.dumps(one) for one in (fields, metrics, {**fields, "job_id": "another"})]
    logs.put_log_events(
        logGroupName=LOG_GROUP,
        logStreamName="s",
        logEvents=[{"timestamp": moment, "message": text} for text in [*events, "START RequestId"]],
    )
    assert run(["logs", "x.jsonl"]) == 0
    assert world.log_filters[1:] == [f'{{ $.job_id = "{job["job_id"]}" }}']
    second = f"{datetime.fromtimestamp(moment / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    assert capsys.readouterr().out == (f"{second} CheckStatus     ERROR Broken shard=5 (line)\n")
    assert run(["logs", "x.jsonl", "--all"]) == 0
    assert capsys.readouterr().out == (
        f"{second} ERROR   CheckStatus     Broken shard=5\n"
        "    Traceback\n      line\n"
        f'{second} INFO                     _aws={{"CloudWatchMetrics": []}}\n'
    )
    assert run(["logs", "x.jsonl", "--json"]) == 0
    assert capsys.readouterr().out == f"{events[0]}\n{events[1]}\n"
