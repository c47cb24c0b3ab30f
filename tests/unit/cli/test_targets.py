"""Which stack a command is for, and what is known of the one that runs on this machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import boto3
import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch_cli import job_logs, local_choice, local_state, uploads
from groq_batch_cli.aws import Stack, Target
from groq_batch_cli.errors import CommandError
from groq_batch_cli.local_state import LocalFolder, LocalState
from groq_batch_cli.main import load_verb, run
from groq_batch_cli.options import _UPLOAD_OPTIONS, upload_options
from groq_batch_cli.targets import choose_target
from groq_batch_client.endpoints import check_endpoint, named_endpoint
from groq_batch_client.options import Options, options_as_metadata
from groq_batch_client.request_files import RequestFile
from groq_batch_client.stack import NEEDED_OUTPUTS

PROJECT = Path(__file__).parents[3]
STATE = LocalState(
    pid=12345,
    endpoint_url="http://127.0.0.1:4566",
    region="us-east-1",
    stack_name="groq-batch",
    access_key="key",
    secret_key="secret",
    bucket="bucket",
    groq_base_url="http://127.0.0.1:1/openai/v1",
    started_at=0.0,
    log_folder="/logs",
)
PARAMETERS = {
    "TriggerMode": "both",
    "CompletionWindow": "24h",
    "OnInvalidLine": "reject",
    "MaxAttempts": "3",
    "MaxJobCostUsd": "0",
    "MaxRequestsPerBatch": "100",
    "MaxBytesPerBatch": "1000",
    "WorkRetentionDays": "30",
}


def choose(environ: dict[str, str] | None = None, **options: str | bool | None) -> Target:
    given = dict.fromkeys(["stack_name", "region", "profile", "endpoint_url"])
    return choose_target(**{**given, "local": False, **options}, environ=environ or {})  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalFolder:
    """Keep the running stack's state in a folder of the test's own."""
    monkeypatch.setenv(local_choice.FOLDER_VARIABLE, str(tmp_path / "stack"))
    made = LocalFolder(PROJECT, tmp_path / "stack")
    made.prepare()
    return made


@pytest.fixture
def served(folder: LocalFolder) -> Iterator[LocalFolder]:
    """Be the server of a running stack."""
    with folder.locked():
        folder.write_ready(STATE)
        yield folder


def test_stack_is_chosen_by_option_environment_or_default() -> None:
    environ = {"GROQ_BATCH_STACK": "mine", "AWS_REGION": "eu-west-1"}
    assert choose(environ, stack_name="other", region="us-west-2") == Target(
        stack_name="other",
        region="us-west-2",
        options=("--stack-name", "other", "--region", "us-west-2"),
    )
    assert choose(environ) == Target(stack_name="mine", region="eu-west-1")
    assert choose() == Target(stack_name="groq-batch")
    assert choose(profile="work", endpoint_url="http://x").endpoint_url == "http://x"


def test_commands_to_come_are_for_the_same_stack() -> None:
    target = choose(stack_name="my stack", profile="p")
    assert target.command("status", "team/a b.jsonl", "--watch") == (
        "groq-batch status 'team/a b.jsonl' --watch --stack-name 'my stack' --profile p"
    )
    assert choose().command("jobs") == "groq-batch jobs"


def test_local_stack(served: LocalFolder) -> None:
    assert choose(local=True) == Target(
        stack_name="groq-batch",
        region="us-east-1",
        endpoint_url="http://127.0.0.1:4566",
        access_key=("key", "secret"),
        options=("--local",),
    )
    other = choose(local=True, stack_name="x", region="ignored")
    assert (other.stack_name, other.options) == ("x", ("--local", "--stack-name", "x"))


def test_state_that_a_crash_left_behind_is_none(folder: LocalFolder) -> None:
    folder.write_ready(STATE)
    assert folder.running() is None
    with folder.locked():
        assert folder.running() == STATE
    assert folder.running() is None


def test_only_one_server_at_a_time(served: LocalFolder) -> None:
    with pytest.raises(CommandError, match="Another server"), served.locked():
        pass
    assert served.is_served()


def test_status_and_environment_of_a_running_stack(
    served: LocalFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["local", "status"]) == 0
    assert "http://127.0.0.1:4566" in capsys.readouterr().out
    assert run(["local", "env"]) == 0
    exported = capsys.readouterr().out
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:4566\n" in exported
    assert "export GROQ_BATCH_STACK=groq-batch\n" in exported
    assert run(["local", "up"]) == 0
    said = capsys.readouterr()
    assert "is running already" in said.err
    assert "groq-batch run requests.jsonl --local" in said.out


def test_stack_that_is_being_started(
    folder: LocalFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with folder.locked():
        folder.write(local_state.STARTING, step="Building", pid=1)
        assert run(["local", "status"]) == 1
        assert "is starting: Building" in capsys.readouterr().out
        assert run(["local", "up"]) == 1
        assert "still starting" in capsys.readouterr().err


def test_server_that_fails_says_why(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = folder.path / "python"
    script.write_text("#!/bin/sh\necho 'No module named ministack' >&2; exit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr("groq_batch_cli.local_process._python", lambda _: str(script))
    assert run(["local", "up"]) == 1
    said = capsys.readouterr().err
    assert "No module named ministack. Install the project's tools first: make setup" in said
    failed = json.dumps({"phase": "failed", "message": "sam build failed"})
    script.write_text(f"#!/bin/sh\necho '{failed}' > {folder.path}/state.json; exit 1\n")
    assert run(["local", "up"]) == 1
    assert "did not start: sam build failed" in capsys.readouterr().err


# -- endpoints ----------------------------------------------------------------------------------

EXPECTED = (
    "but it must be a full URL that begins with http:// or https://, such as http://127.0.0.1:4566."
)


@pytest.mark.parametrize(
    "url", ["localhost:4566", "notaurl", "", "http://", "ftp://x", "http://[::1", "http://x:99999"]
)
def test_endpoint_of_the_option_is_a_whole_address(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["status", "x", "--endpoint-url", url]) == 2
    assert capsys.readouterr().err == f"Error: --endpoint-url is {url!r}, {EXPECTED}\n"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDFORMATION"])
def test_endpoint_of_a_variable_is_a_whole_address(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "localhost:4566")
    assert run(["status", "x"]) == 1
    assert capsys.readouterr().err == f"Error: {name} is 'localhost:4566', {EXPECTED}\n"


def test_endpoint_that_botocore_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://my_host:4566")
    assert run(["jobs"]) == 1
    assert capsys.readouterr().err == (
        "Error: AWS_ENDPOINT_URL is 'http://my_host:4566', but AWS clients accept only letters, "
        "digits, hyphens and dots in the host name.\n"
    )
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    (tmp_path / "config").write_text("[default]\nendpoint_url = localhost:4566\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert named_endpoint("s3", None, os.environ) is None
    monkeypatch.delenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert run(["jobs"]) == 1
    assert capsys.readouterr().err == (
        f"Error: endpoint_url in the AWS settings is 'localhost:4566', {EXPECTED}\n"
    )


def test_endpoint_that_is_not_of_use_is_not_looked_at() -> None:
    environ = {"AWS_ENDPOINT_URL": "x", "AWS_ENDPOINT_URL_S3": "http://s3", "AWS_OTHER": "y"}
    assert named_endpoint("s3", "http://option", environ) == ("--endpoint-url", "http://option")
    assert named_endpoint("s3", None, environ) == ("AWS_ENDPOINT_URL_S3", "http://s3")
    assert named_endpoint("logs", None, environ) == ("AWS_ENDPOINT_URL", "x")
    assert named_endpoint("logs", None, {"AWS_ENDPOINT_URL": ""}) is None
    check_endpoint("x", "HTTPS://[::1]:4566/path")


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("cloudformation", "AWS_ENDPOINT_URL_CLOUDFORMATION"),
        ("lambda", "AWS_ENDPOINT_URL_LAMBDA"),
        ("logs", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"),
        ("s3", "AWS_ENDPOINT_URL_S3"),
        ("scheduler", "AWS_ENDPOINT_URL_SCHEDULER"),
        ("secretsmanager", "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
        ("sqs", "AWS_ENDPOINT_URL_SQS"),
        ("stepfunctions", "AWS_ENDPOINT_URL_SFN"),
        ("sts", "AWS_ENDPOINT_URL_STS"),
    ],
)
def test_variables_are_those_that_botocore_looks_at(
    service: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert named_endpoint(service, None, os.environ) == (name, "http://127.0.0.1:1")
    session = boto3.session.Session("key", "secret", region_name="us-east-1")
    assert session.client(service).meta.endpoint_url == "http://127.0.0.1:1"


# -- options of a job -------------------------------------------------------------------------


def a_stack(**parameters: str) -> Stack:
    return Stack(
        target=Target(stack_name="s"),
        outputs={
            "BucketName": "bucket",
            "StateMachineArn": "arn:aws:states:us-east-1:1:stateMachine:m",
            "StartJobFunctionName": "f",
        },
        parameters={**PARAMETERS, **parameters},
        session=None,
    )


def test_settings_of_a_stack() -> None:
    stack = a_stack(TriggerMode="schedule", OnInvalidLine="skip", MaxJobCostUsd="2.5")
    assert stack.execution_arn("job") == "arn:aws:states:us-east-1:1:execution:m:job"
    assert not stack.starts_on_upload
    assert (stack.limits.max_requests, stack.limits.max_bytes) == (100, 1000)
    assert stack.limits.max_line_bytes == 1000
    assert stack.default_options.skip_invalid_lines
    assert stack.default_options.max_job_cost_usd == 2.5


def metadata_of(*arguments: str) -> dict[str, str]:
    """Return the metadata that a command with these options gets."""
    got: list[dict[str, str]] = []

    @click.command()
    @upload_options()
    def command(metadata: dict[str, str]) -> None:
        got.append(metadata)

    command.main(list(arguments), standalone_mode=False)
    return got[0]


def test_options_become_metadata() -> None:
    assert metadata_of(
        *("--window", "7d", "--skip-invalid", "--max-attempts", "2", "--max-cost", "0.0000001")
    ) == {
        "completion-window": "7d",
        "on-invalid-line": "skip",
        "max-attempts": "2",
        "max-job-cost-usd": "0.0000001",
    }
    assert metadata_of() == {}
    assert metadata_of("--max-cost", "0") == {"max-job-cost-usd": "0"}
    assert metadata_of(
        *("--canary", "0", "--canary-max-failed-percent", "10", "--deadline", "6h"),
        *("--deadline-max-usd", "2.5", "--retry-invalid-output"),
    ) == {
        "canary-requests": "0",
        "canary-max-failed-percent": "10",
        "batch-deadline": "6h",
        "deadline-max-usd": "2.5",
        "retry-invalid-output": "true",
    }


def test_command_line_has_every_option_of_an_upload_but_one() -> None:
    # Whether models are checked depends on the account, not on the file.
    assert set(_UPLOAD_OPTIONS) == set(Options.__annotations__) - {"check_models"}


def read_cap(text: str) -> float | None:
    """Return what --max-cost reads; None when it refuses the text."""
    try:
        found: float | None = max_cost_type().convert(text, None, None)
    except click.BadParameter:
        return None
    return found


def max_cost_type() -> click.ParamType:
    command = load_verb("run")
    return next(one.type for one in command.params if "--max-cost" in one.opts)


@given(st.decimals(0, 10**12, places=12) | st.floats(0).map(Decimal) | st.decimals(0, 1))
def test_cap_is_what_was_written_or_refused(amount: Decimal) -> None:
    text = str(amount)
    cap = read_cap(text)
    if cap is None:
        assert not amount.is_finite() or amount >= 10**12 or amount != round(amount, 9)
        return
    assert cap == float(text)
    metadata = options_as_metadata({"max_job_cost_usd": cap})
    if cap < 10**12:
        # The digits of a float may end one above the longest that the pipeline takes.
        read = uploads.options_in_force(a_stack(), metadata).max_job_cost_usd
        assert read == cap
        assert (read == 0) == (amount == 0), "a positive cap would be none"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.000000001", "0.000000001"),
        ("1e-9", "0.000000001"),
        ("123456789.123456789", "123456789.12345679"),
        ("1e3", "1000"),
        ("2.50", "2.5"),
        ("-0", "0"),
    ],
)
def test_cap_is_written_without_an_exponent(text: str, expected: str) -> None:
    metadata = options_as_metadata({"max_job_cost_usd": read_cap(text)})
    assert metadata == {"max-job-cost-usd": expected}


@pytest.mark.parametrize("verb", ["run", "check", "retry"])
@pytest.mark.parametrize("text", ["0.0000000001", "1e-400", "1e12", "nan", "inf", "-1"])
def test_cap_that_an_upload_cannot_hold(
    verb: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([verb, str(PROJECT / "events/sample.jsonl"), "--max-cost", text]) == 2
    assert "Invalid value for '--max-cost'" in capsys.readouterr().err


def test_cap_that_was_made_elsewhere_does_not_become_none() -> None:
    metadata = options_as_metadata({"max_job_cost_usd": 1e-10})
    assert metadata == {"max-job-cost-usd": "0.0000000001"}
    with pytest.raises(CommandError, match="max-job-cost-usd"):
        uploads.options_in_force(a_stack(), metadata)


def test_options_are_those_that_the_stack_will_use() -> None:
    stack = a_stack()
    assert uploads.options_in_force(stack, {"max-job-cost-usd": "100"}).max_job_cost_usd == 100
    with pytest.raises(CommandError, match="allowed is hours or days between 24h and 7d"):
        uploads.options_in_force(stack, {"completion-window": "8d"})
    with pytest.raises(CommandError, match="WorkRetentionDays=65"):
        uploads.options_in_force(stack, {"completion-window": "7d", "max-attempts": "9"})


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (None, "input/x.jsonl"),
        ("team", "input/team/x.jsonl"),
        ("/team/a/", "input/team/a/x.jsonl"),
        ("input/team", "input/team/x.jsonl"),
        ("team/y.jsonl", "input/team/y.jsonl"),
        ("team/y.jsonl.gz", "input/team/y.jsonl.gz"),
    ],
)
def test_key_of_an_upload(to: str | None, expected: str) -> None:
    assert uploads.input_key(RequestFile(f"data{os.sep}x.jsonl"), to) == expected


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("../../etc", "has the part '..'"),
        ("team/./x", "has the part '.'"),
        ("a//b", "has an empty part"),
        ("input/../team", "has the part '..'"),
        ("team\\june", "has a backslash or a control character"),
        ("team\njune", "has a backslash or a control character"),
        ("s3://bucket/input/team", "is a URI. Name a folder below input/"),
    ],
)
def test_input_key_to_an_unusual_folder_is_refused(to: str, expected: str) -> None:
    with pytest.raises(click.BadParameter, match=re.escape(expected)):
        uploads.input_key(RequestFile("x.jsonl"), to)


def test_input_key_of_a_file_in_a_folder_keeps_its_place() -> None:
    file = RequestFile("data/a/x.jsonl", below="data")
    assert uploads.input_key(file, None) == "input/a/x.jsonl"
    assert uploads.input_key(file, "team") == "input/team/a/x.jsonl"


def test_template_has_what_the_command_line_looks_for() -> None:
    template = (PROJECT / "template.yaml").read_text("utf-8")
    outputs = template.split("\nOutputs:\n")[1]
    resources = template.split("\nResources:\n")[1]
    parameters = template.split("\nParameters:\n")[1].split("\nConditions:\n")[0]
    assert all(f"  {name}:\n" in outputs for name in NEEDED_OUTPUTS)
    assert f"  {job_logs.LOG_GROUP}:\n    Type: AWS::Logs::LogGroup\n" in resources
    assert all(f"  {name}:\n" in parameters for name in (*PARAMETERS, "ScheduleExpression"))
