"""The verbs that need a stack, against moto; what the pipeline would do is put there by hand."""

from __future__ import annotations

import functools
import gzip
import io
import itertools
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from groq_batch import layout
from groq_batch.jobs import JobRequest
from groq_batch.rows import pipeline_row
from groq_batch.storage import JOB_METADATA, Storage
from groq_batch_cli import uploads
from groq_batch_cli.aws import Target
from groq_batch_cli.following import Follower
from groq_batch_cli.main import run
from groq_batch_cli.verbs import status

REGION = "us-east-1"
REQUEST = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "openai/gpt-oss-20b", "messages": [{}]},
}
PARAMETERS = {
    "TriggerMode": "both",
    "ScheduleExpression": "rate(1 hour)",
    "CompletionWindow": "24h",
    "OnInvalidLine": "reject",
    "MaxAttempts": "3",
    "MaxJobCostUsd": "0",
    "MaxRequestsPerBatch": "2",
    "MaxBytesPerBatch": "100000000",
    "WorkRetentionDays": "30",
}
LOG_GROUP = "functions"


def request_line(custom_id: str, **changes: Any) -> bytes:
    return json.dumps({**REQUEST, "custom_id": custom_id, **changes}).encode() + b"\n"


def good_row(custom_id: str, text: str = "Hi") -> bytes:
    body = {"choices": [{"message": {"content": text}}]}
    row = {"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}
    return json.dumps(row).encode() + b"\n"


def bad_row(custom_id: str) -> bytes:
    return pipeline_row(custom_id, code="missing", message="No.")


@cache
def _shared_session() -> Any:
    """Return one session for all: reading the services' models takes most of the time."""
    return boto3.session.Session(region_name=REGION)


def _session(target: Target) -> Any:
    if target.region == REGION and target.profile is None:
        return _shared_session()
    return _new_session(target)


class World:
    """An account with stacks in it, and a pipeline that does what it is told.

    CloudFormation and Lambda are doubles: moto's need a great deal more to be installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stacks: dict[str, dict[str, Any]] = {}
        self.payloads: list[dict[str, Any]] = []
        self.start_error: str | None = None
        self.denied: str | None = None
        self.failure: Exception | None = None
        self.log_filters: list[str] = []
        self._make_call = BaseClient._make_api_call  # type: ignore[attr-defined]
        self.s3 = _shared_session().client("s3")
        self.bucket = "bucket"
        self.s3.create_bucket(Bucket=self.bucket)
        self.s3.put_bucket_versioning(
            Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"}
        )
        self.storage = Storage(s3=self.s3, bucket=self.bucket)
        self.states = _shared_session().client("stepfunctions")
        self.machine = self.states.create_state_machine(
            name="machine", definition="{}", roleArn="arn:aws:iam::123456789012:role/machine"
        )["stateMachineArn"]
        _shared_session().client("logs").create_log_group(logGroupName=LOG_GROUP)
        self.deploy("groq-batch")

    def deploy(self, name: str, **parameters: str) -> None:
        """Deploy a stack over the one bucket and the one state machine."""
        outputs = {
            "BucketName": self.bucket,
            "StateMachineArn": self.machine,
            "StartJobFunctionName": "start",
        }
        chosen = {**PARAMETERS, **parameters}
        self.stacks[name] = {
            "StackName": name,
            "StackStatus": "CREATE_COMPLETE",
            "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in outputs.items()],
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in chosen.items()],
        }

    def call(self, client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        """Answer a call of boto3."""
        if self.failure is not None:
            raise self.failure
        if operation == self.denied:
            error = {"Code": "AccessDenied", "Message": "not authorized: s3:ListBucket"}
            raise ClientError({"Error": error}, operation)
        match operation:
            case "DescribeStacks":
                # moto would sign the call as well, which needs credentials.
                client._request_signer.sign(operation, AWSRequest("POST", "https://aws/"))
                name = parameters["StackName"]
                if name not in self.stacks or client.meta.region_name != REGION:
                    message = f"Stack with id {name} does not exist"
                    error = {"Code": "ValidationError", "Message": message}
                    raise ClientError({"Error": error}, operation)
                return {"Stacks": [self.stacks[name]]}
            case "DescribeStackResource":
                assert parameters["LogicalResourceId"] == "LogGroup"
                return {"StackResourceDetail": {"PhysicalResourceId": LOG_GROUP}}
            case "Invoke":
                assert parameters["FunctionName"] == "start"
                self.payloads.append(json.loads(parameters["Payload"]))
                answer = {"errorMessage": self.start_error} if self.start_error else {"job_id": "x"}
                failed = {"FunctionError": "Unhandled"} if self.start_error else {}
                return {"Payload": io.BytesIO(json.dumps(answer).encode()), **failed}
            case "FilterLogEvents":
                # moto knows filters of words only.
                self.log_filters.append(parameters.pop("filterPattern"))
        return self._make_call(client, operation, parameters)

    def file(self, name: str, *lines: bytes) -> str:
        path = self.folder / name
        data = b"".join(lines)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    def job_of(self, path: str) -> JobRequest:
        """Return the job that the pipeline starts for the newest upload of a path."""
        key = layout.INPUT_PREFIX + path
        head = self.storage.head(key)
        assert head is not None, f"{key} was not uploaded"
        assert head.version_id is not None
        return JobRequest(
            job_id=layout.upload_job_id(bucket=self.bucket, key=key, version_id=head.version_id),
            bucket=self.bucket,
            key=key,
            version_id=head.version_id,
            path=path,
            started_at="2026-03-01T11:00:00.000Z",
            claimed_by="",
        )

    def start(self, path: str, **changes: Any) -> dict[str, Any]:
        """Start the job of the newest upload of a path; returns its report."""
        request = self.job_of(path)
        self.storage.put_json(layout.job_key(request.job_id), request.to_json())
        self.storage.put_json(layout.open_job_key(request.job_id), request.to_json())
        self.states.start_execution(stateMachineArn=self.machine, name=request.job_id, input="{}")
        return self.report(request, "running", **changes)

    def report(self, request: JobRequest, status: str, **changes: Any) -> dict[str, Any]:
        report = {
            "job_id": request.job_id,
            "status": status,
            "input": {"key": request.key, "version_id": request.version_id},
            "requests": {"total": 2, "succeeded": 0, "failed": 0, "invalid": 0},
            "progress": {"completed": 0, "total": 2},
            "batches": [],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            "cost_usd": {"estimated": 0.5, "actual": None},
            "timing": {"started_at": request.started_at, "seconds": None},
            "errors": [],
            "errors_total": 0,
            "outputs": {"results": None, "failed": None, "invalid": None},
            **changes,
        }
        key = layout.delivery_keys(request.path).report
        self.storage.put_json(key, report, metadata={JOB_METADATA: request.job_id})
        return report

    def end(
        self,
        path: str,
        status: str,
        *,
        results: list[bytes],
        failed: list[bytes] | None = None,
        invalid: int = 0,
    ) -> JobRequest:
        """Start the job of a path and let it come to its end."""
        self.start(path)
        request = self.job_of(path)
        keys = layout.delivery_keys(path)
        outputs: dict[str, str | None] = {"results": None, "failed": None, "invalid": None}
        for name, key, rows in [
            ("results", keys.results, results),
            ("failed", keys.failed, failed or []),
        ]:
            if rows:
                data = b"".join(rows)
                self.storage.put_bytes(
                    key,
                    gzip.compress(data) if path.endswith(".gz") else data,
                    metadata={JOB_METADATA: request.job_id},
                )
                outputs[name] = self.storage.url(key)
        succeeded = sum(b'"status_code": 200' in row for row in results)
        counts = {
            "total": len(results),
            "succeeded": succeeded,
            "failed": len(results) - succeeded - invalid,
            "invalid": invalid,
        }
        self.report(request, status, requests=counts, outputs=outputs)
        self.storage.delete([layout.open_job_key(request.job_id)])
        return request


_new_session = Target.session


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Work in a folder of the test's own, on an account of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GROQ_BATCH_STACK", raising=False)
    with mock_aws():
        made = World(tmp_path)

        def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
            return made.call(client, operation, parameters)

        monkeypatch.setattr(BaseClient, "_make_api_call", call)
        monkeypatch.setattr(Target, "session", _session)
        yield made


Said = pytest.CaptureFixture[str]


# -- the stack --------------------------------------------------------------------------------


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
    monkeypatch.setattr(Target, "session", _new_session)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    assert run(["jobs"]) == 1
    assert "There are no AWS credentials." in capsys.readouterr().err
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert run(["jobs"]) == 1
    assert "No AWS region is set." in capsys.readouterr().err


def test_profile_that_does_not_exist(world: World, capsys: Said) -> None:
    assert run(["jobs", "--profile", "nope"]) == 1
    assert "There is no AWS profile nope." in capsys.readouterr().err


def test_denied(world: World, capsys: Said) -> None:
    world.denied = "ListObjectsV2"
    assert run(["jobs"]) == 1
    assert capsys.readouterr().err.startswith(
        "Error: AWS denies ListObjectsV2 (not authorized: s3:ListBucket). Ask for this permission"
    )


# -- run --------------------------------------------------------------------------------------


def test_upload(world: World, capsys: Said) -> None:
    path = world.file("x y.jsonl", *[request_line(f"{n}") for n in range(5)])
    arguments = ["--to", "team", "--window", "7d", "--max-attempts", "2", "--max-cost", "1.5"]
    assert run(["run", path, "--no-wait", "--skip-invalid", *arguments]) == 0
    head = world.storage.head("input/team/x y.jsonl")
    assert head is not None
    digest = head.metadata.pop(uploads.DIGEST_METADATA)
    assert len(digest) == 64
    assert head.metadata == {
        "completion-window": "7d",
        "on-invalid-line": "skip",
        "max-attempts": "2",
        "max-job-cost-usd": "1.5",
    }
    assert (
        world.s3.get_object(Bucket=world.bucket, Key="input/team/x y.jsonl")["Body"].read()
        == Path(path).read_bytes()
    )
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: 5 requests, 3 batches, estimated $0.000002",
        f"x y.jsonl: uploaded as s3://{world.bucket}/input/team/x y.jsonl",
        "  follow it: groq-batch status 'team/x y.jsonl' --watch",
    ]


def test_large_file_is_uploaded_in_parts_as_it_is(world: World, capsys: Said) -> None:
    path = world.file(
        "x.jsonl",
        *[request_line(f"{n}", body={**REQUEST["body"], "x": "y" * 10**6}) for n in range(20)],
    )  # type: ignore[dict-item]
    assert run(["run", path, "--no-wait"]) == 0
    stored = world.s3.get_object(Bucket=world.bucket, Key="input/x.jsonl")["Body"].read()
    assert stored == Path(path).read_bytes()


@pytest.mark.parametrize(
    ("lines", "arguments", "expected"),
    [
        ([request_line("a"), b"1\n"], [], ":2:1: not_an_object"),
        ([b"1\n"], ["--skip-invalid"], ":1:1: not_an_object"),
        ([], [], ": empty_file"),
        ([request_line("a")], ["--max-cost", "0.000000001"], ": too_expensive"),
        ([request_line("a")], ["--to", "recurring/a"], ": reserved_path"),
        ([request_line("a")], ["--to", "x" * 900], ": key_too_long"),
    ],
)
def test_file_that_would_be_rejected_is_not_uploaded(
    lines: list[bytes], arguments: list[str], expected: str, world: World, capsys: Said
) -> None:
    path = world.file("x.jsonl", *lines)
    good = world.file("good.jsonl", request_line("a"))
    assert run(["run", path, good, "--no-wait", *arguments]) == 1
    said = capsys.readouterr()
    assert f"{path}{expected}" in said.out
    assert said.err.startswith("Error: Nothing was uploaded.")
    assert list(world.storage.objects("")) == []


def test_limits_and_options_are_those_of_the_stack(world: World, capsys: Said) -> None:
    world.deploy("lenient", OnInvalidLine="skip", MaxJobCostUsd="0.0000001")
    path = world.file("x.jsonl", request_line("a"), b"1\n")
    assert run(["run", path, "--no-wait", "--stack-name", "lenient"]) == 1
    assert "above the cap of 1e-07 USD" in capsys.readouterr().out
    assert run(["run", path, "--no-wait", "--stack-name", "lenient", "--max-cost", "0"]) == 0
    said = capsys.readouterr().out
    assert f"{path}: 1 request (1 bad line skipped), 1 batch" in said
    assert "status x.jsonl --watch --stack-name lenient" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--window", "8d"], "allowed is hours or days between 24h and 7d"),
        (["--window", "7d", "--max-attempts", "10"], "can take 72 days"),
    ],
)
def test_option_that_the_stack_would_refuse(
    arguments: list[str], expected: str, world: World, capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--no-wait", *arguments]) == 1
    assert expected in capsys.readouterr().err
    assert list(world.storage.objects("")) == []


def test_two_files_cannot_have_one_key(world: World, capsys: Said) -> None:
    (world.folder / "sub").mkdir()
    files = [world.file(name, request_line("a")) for name in ("x.jsonl", "sub/x.jsonl")]
    assert run(["run", *files, "--no-wait"]) == 2
    assert "would both be uploaded to input/x.jsonl" in capsys.readouterr().err


def test_results_never_replace_a_file_that_is_to_run(world: World, capsys: Said) -> None:
    files = [world.file("x.jsonl", request_line("a"))]
    files.append(world.file("x.failed.jsonl", request_line("b")))
    world.denied = "PutObject"
    assert run(["run", *files, "--out", f"{world.folder}/../{world.folder.name}"]) == 2
    assert f"a result of {files[0]}, would be written over {files[1]}" in capsys.readouterr().err
    world.denied = None
    assert run(["run", *files, "--no-wait"]) == 0, "nothing is fetched, and so nothing replaced"


def test_file_that_changes_while_it_is_uploaded(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))
    upload = uploads.upload

    def change(*arguments: Any, **options: Any) -> Any:
        world.file("x.jsonl", request_line("b"))
        return upload(*arguments, **options)

    monkeypatch.setattr(uploads, "upload", change)
    assert run(["run", path, "--no-wait"]) == 1
    assert "was changed after it had been checked" in capsys.readouterr().err
    assert list(world.storage.objects("")) == []
    assert "Uploads" not in world.s3.list_multipart_uploads(Bucket=world.bucket)


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_file_that_has_run_is_not_paid_for_again(ending: str, world: World, capsys: Said) -> None:
    path = world.file(f"x{ending}", request_line("a"), request_line("b"))
    assert run(["run", path, "--no-wait"]) == 0
    job = world.end(
        f"x{ending}", "partial", results=[good_row("a"), bad_row("b")], failed=[request_line("b")]
    )
    capsys.readouterr()
    assert run(["run", path, "--out", "results"]) == 1
    said = capsys.readouterr()
    assert f"x{ending} has run already, as {job.job_id}." in said.err
    assert said.out.splitlines()[1:] == [
        f"x{ending}: partial, 1 of 2 requests answered, 1 not",
        f"  results/x.results{ending}",
        f"  results/x.failed{ending}",
        "  results/x.report.json",
        f"  to run the failed ones again: groq-batch retry x{ending}",
    ]
    data = Path(f"results/x.results{ending}").read_bytes()
    assert (gzip.decompress(data) if ending.endswith("gz") else data) == good_row("a") + bad_row(
        "b"
    )
    assert json.loads(Path("results/x.report.json").read_text())["job_id"] == job.job_id
    assert world.job_of(f"x{ending}") == job, "it was uploaded again"
    assert run(["run", path, "--no-wait", "--again"]) == 0
    assert world.job_of(f"x{ending}") != job


def test_file_without_an_answer_is_run_again(world: World) -> None:
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--no-wait"]) == 0
    job = world.end("x.jsonl", "failed", results=[bad_row("a")], failed=[request_line("a")])
    assert run(["run", path, "--no-wait"]) == 0
    assert world.job_of("x.jsonl") != job


def test_other_content_is_another_job(world: World) -> None:
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--no-wait"]) == 0
    job = world.end("x.jsonl", "succeeded", results=[good_row("a")])
    world.file("x.jsonl", request_line("b"))
    assert run(["run", path, "--no-wait"]) == 0
    assert world.job_of("x.jsonl") != job


def test_several_files_as_json(world: World, capsys: Said) -> None:
    files = [world.file(name, request_line("a")) for name in ("x.jsonl", "y.jsonl")]
    assert run(["run", *files, "--no-wait"]) == 0
    jobs = [
        world.end(name, "succeeded", results=[good_row("a")]) for name in ("x.jsonl", "y.jsonl")
    ]
    capsys.readouterr()
    assert run(["run", *files, "--json"]) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["job_id"] for one in reports] == [job.job_id for job in jobs]


def test_job_is_started_by_hand_when_asked(world: World, capsys: Said) -> None:
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--no-wait", "--now"]) == 0
    assert world.payloads == [{"key": "input/x.jsonl"}]
    world.start_error = "No\nsuch role."
    assert run(["run", path, "--no-wait", "--now"]) == 1
    assert "The start function could not start input/x.jsonl: No such role." in (
        capsys.readouterr().err
    )


class Hurried(Follower):
    """Follows without waiting: at each pause something happens."""

    chapters: ClassVar[list[Callable[[], object]]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        moments = itertools.count(step=30.0)
        super().__init__(
            *arguments,
            clock=lambda: next(moments),
            sleep=lambda _: self.chapters.pop(0)(),
            **options,
        )


@pytest.fixture
def chapters(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Return what happens, one thing after the other, while jobs are followed."""
    monkeypatch.setattr(Hurried, "chapters", [])
    monkeypatch.setattr("groq_batch_cli.verbs.run.Follower", Hurried)
    return Hurried.chapters


def test_upload_that_starts_no_job_is_started_by_hand(
    world: World, chapters: list[Callable[[], object]], capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))
    end = functools.partial(world.end, "x.jsonl", "succeeded", results=[good_row("a")])
    chapters += [lambda: None, end]
    assert run(["run", path]) == 0
    assert world.payloads == [{"key": "input/x.jsonl"}]
    assert "the job was started by hand" in capsys.readouterr().err


def test_start_by_hand_that_is_denied_is_no_end(
    world: World, chapters: list[Callable[[], object]], capsys: Said
) -> None:
    world.denied = "Invoke"
    path = world.file("x.jsonl", request_line("a"))
    end = functools.partial(world.end, "x.jsonl", "succeeded", results=[good_row("a")])
    chapters += [lambda: None, end]
    assert run(["run", path]) == 0
    said = capsys.readouterr().err
    assert "The upload of x.jsonl has not started a job yet. AWS denies Invoke" in said


def test_schedule_is_not_forestalled(
    world: World, chapters: list[Callable[[], object]], capsys: Said
) -> None:
    world.deploy("nightly", TriggerMode="schedule")
    path = world.file("x.jsonl", request_line("a"))
    end = functools.partial(world.end, "x.jsonl", "succeeded", results=[good_row("a")])
    chapters += [lambda: None, lambda: None, end]
    assert run(["run", path, "--stack-name", "nightly"]) == 0
    assert world.payloads == []
    assert "when its schedule fires: rate(1 hour). --now starts them" in capsys.readouterr().err


def test_network_that_fails_for_a_while_is_no_end(
    world: World, chapters: list[Callable[[], object]], capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))

    def cut() -> None:
        world.failure = EndpointConnectionError(endpoint_url="https://s3")

    def mend() -> None:
        world.failure = None
        world.end("x.jsonl", "succeeded", results=[good_row("a")])

    chapters += [cut, lambda: None, mend]
    assert run(["run", path]) == 0
    said = capsys.readouterr().err
    assert said.count("AWS cannot be reached at the moment. Trying again") == 1
    assert "AWS can be reached again." in said


def test_credentials_that_expire_leave_the_way_back(
    world: World, chapters: list[Callable[[], object]], capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))

    def expire() -> None:
        error = {"Code": "ExpiredToken", "Message": "The token has expired"}
        world.failure = ClientError({"Error": error}, "GetObject")

    chapters += [expire]
    assert run(["run", path]) == 1
    said = capsys.readouterr().err
    assert "Come back with: groq-batch status x.jsonl --watch" in said
    assert "Error: The AWS credentials have expired." in said


# -- jobs, status, results --------------------------------------------------------------------


def test_list_of_jobs(world: World, capsys: Said) -> None:
    for name in ("x.jsonl", "y.jsonl"):
        assert run(["run", world.file(name, request_line("a")), "--no-wait"]) == 0
    world.end("x.jsonl", "succeeded", results=[good_row("a")])
    world.start("y.jsonl")
    capsys.readouterr()
    assert run(["jobs"]) == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == ["STATUS", "FILE", "DONE", "REQUESTS", "COST", "AGE", "JOB"]
    assert sorted(row[:2] for row in rows) == [["running", "y.jsonl"], ["succeeded", "x.jsonl"]]
    assert run(["jobs", "--status", "running", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["path"], found["status"]) == ("y.jsonl", "running")
    assert found["requests"]["total"] == 2
    assert run(["jobs", "--limit", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert run(["jobs", "--status", "failed"]) == 0
    assert capsys.readouterr() == ("", "There are no such jobs.\n")


def test_status(world: World, capsys: Said) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    capsys.readouterr()
    assert run(["status", "x.jsonl"]) == 0
    assert capsys.readouterr().out == "x.jsonl: uploaded; its job has not started yet\n"
    assert run(["status", "x.jsonl", "--json"]) == 1
    world.start("x.jsonl")
    assert run(["status", "x.jsonl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "running"
    job = world.end("x.jsonl", "partial", results=[bad_row("a")], failed=[request_line("a")])
    assert run(["status", job.job_id, "--watch"]) == 1
    assert "x.jsonl: partial, 0 of 1 request answered, 1 not" in capsys.readouterr().out


def test_status_says_what_to_do_about_an_upload_that_stays_without_a_job(
    world: World, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    sentence = status._not_started

    def then_it_starts_after_all(name: str) -> str:
        world.start("x.jsonl")
        world.end("x.jsonl", "succeeded", results=[good_row("a")])
        return sentence(name)

    monkeypatch.setattr(status, "_SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(status, "_not_started", then_it_starts_after_all)
    assert run(["status", "x.jsonl", "--watch"]) == 0
    assert "x.jsonl: no job has started for this upload yet." in capsys.readouterr().err


def test_results_of_a_job_that_has_not_ended(world: World, capsys: Said) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    world.start("x.jsonl")
    assert run(["results", "x.jsonl"]) == 1
    assert "x.jsonl has not ended yet (0 of 2 requests done (0 %))." in capsys.readouterr().err


def test_results_of_several_jobs(world: World) -> None:
    for name in ("x.jsonl", "y.jsonl"):
        assert run(["run", world.file(name, request_line("a")), "--no-wait"]) == 0
        world.end(name, "succeeded", results=[good_row("a", name)])
    world.storage.put_bytes("reports/x.jsonl.html", b"<html>")
    assert run(["results", "x.jsonl", "y.jsonl", "--out", "deep/er"]) == 0
    assert sorted(path.name for path in Path("deep/er").iterdir()) == [
        "x.report.html",
        "x.report.json",
        "x.results.jsonl",
        "y.report.json",
        "y.results.jsonl",
    ]


@pytest.mark.parametrize("arguments", [["--print"], []])
def test_page_of_a_job_in_a_pipe(arguments: list[str], world: World, capsys: Said) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    job = world.end("x.jsonl", "succeeded", results=[good_row("a")])
    world.storage.put_bytes("reports/x.jsonl.html", b"<html>", metadata={JOB_METADATA: job.job_id})
    capsys.readouterr()
    assert run(["open", "x.jsonl", *arguments]) == 0
    out, err = capsys.readouterr()
    page = Path(out.removesuffix("\n"))
    assert (page.name, page.read_bytes(), err) == ("x.report.html", b"<html>", "")


def test_page_of_a_job_in_the_browser(
    world: World, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    world.end("x.jsonl", "succeeded", results=[good_row("a")])
    world.storage.put_bytes("reports/x.jsonl.html", b"<html>")
    capsys.readouterr()
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["open", "x.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert [f"Opened {address.removeprefix('file://')}\n" for address in opened] == [err]
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    assert run(["open", "x.jsonl"]) == 0
    assert capsys.readouterr().out.endswith("x.report.html\n")


def test_page_that_is_not_there(world: World, capsys: Said) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    capsys.readouterr()
    assert run(["open", "x.jsonl"]) == 1
    assert "x.jsonl has no job yet, and so no report." in capsys.readouterr().err
    world.end("x.jsonl", "succeeded", results=[good_row("a")])
    assert run(["open", "x.jsonl"]) == 1
    assert "has no page at present" in capsys.readouterr().err
    world.storage.put_bytes("reports/x.jsonl.html", b"", metadata={JOB_METADATA: "another"})
    assert run(["open", "x.jsonl"]) == 1
    assert "a newer one has taken its place" in capsys.readouterr().err


def test_results_that_were_replaced(world: World, capsys: Said) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    world.end("x.jsonl", "succeeded", results=[good_row("a")])
    world.storage.put_bytes("output/x.jsonl", b"", metadata={JOB_METADATA: "another"})
    assert run(["results", "x.jsonl"]) == 1
    assert "have been replaced by those of a newer upload" in capsys.readouterr().err
    world.storage.delete(["output/x.jsonl"])
    assert run(["results", "x.jsonl"]) == 1
    assert "does not exist any more" in capsys.readouterr().err
    assert not Path("x.results.jsonl").exists()


def test_folder_that_cannot_be_made(world: World, capsys: Said) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    world.end("x.jsonl", "succeeded", results=[good_row("a")])
    assert run(["results", "x.jsonl", "--out", "x.jsonl/results"]) == 1
    assert "x.jsonl/results: Not a directory." in capsys.readouterr().err


# -- cancel -----------------------------------------------------------------------------------


def test_cancel(world: World, capsys: Said) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    assert run(["cancel", "x.jsonl"]) == 1
    assert "The upload x.jsonl has no job yet." in capsys.readouterr().err
    job = world.start("x.jsonl")
    assert run(["cancel", "x.jsonl"]) == 0
    assert f"x.jsonl: stopping {job['job_id']}" in capsys.readouterr().out
    (execution,) = world.states.list_executions(stateMachineArn=world.machine)["executions"]
    assert (execution["name"], execution["status"]) == (job["job_id"], "ABORTED")
    assert run(["cancel", "x.jsonl"]) == 1
    assert "has ended already (ABORTED); its results are being put in place" in (
        capsys.readouterr().err
    )
    world.report(world.job_of("x.jsonl"), "cancelled")
    assert run(["cancel", "x.jsonl"]) == 1
    assert "x.jsonl has ended already: cancelled." in capsys.readouterr().err


# -- retry ------------------------------------------------------------------------------------


def a_partial_job(world: World, path: str = "x.jsonl", **options: Any) -> None:
    file = world.file(path, request_line("a"), request_line("b"))
    assert run(["run", file, "--no-wait"]) == 0
    world.end(
        path,
        "partial",
        results=[good_row("a"), bad_row("b")],
        failed=[request_line("b")],
        **options,
    )


def read(world: World, key: str) -> bytes:
    data: bytes = world.s3.get_object(Bucket=world.bucket, Key=key)["Body"].read()
    return data


def test_retry_runs_what_has_failed_and_merges(world: World, capsys: Said) -> None:
    a_partial_job(world)
    assert run(["retry", "x.jsonl", "--no-wait", "--window", "48h"]) == 0
    assert read(world, "input/x.retry.jsonl") == request_line("b")
    head = world.storage.head("input/x.retry.jsonl")
    assert head is not None
    assert head.metadata == {"completion-window": "48h"}
    said = capsys.readouterr()
    assert "x.retry.jsonl: 1 failed request of x.jsonl" in said.out
    assert "come back with: groq-batch retry x.jsonl" in said.err
    job = world.end("x.retry.jsonl", "succeeded", results=[good_row("b", "at last")])
    assert run(["retry", "x.jsonl", "--out", "results"]) == 0
    said = capsys.readouterr()
    assert "A retry has run already: x.retry.jsonl." in said.err
    assert "results/x.merged.jsonl: 2 rows, 1 new answers" in said.out
    merged = Path("results/x.merged.jsonl").read_bytes()
    assert merged == good_row("a") + good_row("b", "at last")
    assert world.job_of("x.retry.jsonl") == job
    assert run(["retry", "x.jsonl", "--no-wait", "--again"]) == 0
    assert read(world, "input/x.retry-2.jsonl") == request_line("b")


def test_retry_of_a_retry_merges_into_the_original(world: World) -> None:
    a_partial_job(world, "x.jsonl.gz")
    for path in ("x.jsonl.gz", "x.retry.jsonl.gz"):
        assert run(["retry", path, "--no-wait"]) == 0
        if path == "x.jsonl.gz":
            world.end(
                "x.retry.jsonl.gz", "partial", results=[bad_row("b")], failed=[request_line("b")]
            )
    world.end("x.retry.retry.jsonl.gz", "succeeded", results=[good_row("b")])
    assert run(["retry", "x.retry.jsonl.gz"]) == 0
    merged = gzip.decompress(Path("x.merged.jsonl.gz").read_bytes())
    assert merged == good_row("a") + good_row("b")


def test_retry_without_an_answer_is_no_obstacle_to_another(world: World) -> None:
    a_partial_job(world)
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    world.end("x.retry.jsonl", "failed", results=[bad_row("b")], failed=[request_line("b")])
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    assert read(world, "input/x.retry-2.jsonl") == request_line("b")


def test_bad_lines_do_not_keep_the_others_from_a_retry(world: World) -> None:
    file = world.file("x.jsonl", request_line("b"), b"1\n")
    assert run(["run", file, "--no-wait", "--skip-invalid"]) == 0
    world.end(
        "x.jsonl",
        "partial",
        results=[bad_row("b"), bad_row("c")],
        failed=[request_line("b"), b"1\n"],
        invalid=1,
    )
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    head = world.storage.head("input/x.retry.jsonl")
    assert head is not None
    assert head.metadata == {"on-invalid-line": "skip"}


def test_retry_that_is_not_of_this_job(world: World, capsys: Said) -> None:
    a_partial_job(world)
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    world.end("x.retry.jsonl", "succeeded", results=[good_row("z")])
    assert run(["retry", "x.jsonl"]) == 1
    assert "is of b, but row 1 of x.retry.jsonl is of z" in capsys.readouterr().err
    assert not Path("x.merged.jsonl").exists()


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda world: world.start("x.jsonl"), "x.jsonl has not ended yet."),
        (
            lambda world: world.end("x.jsonl", "succeeded", results=[good_row("a")]),
            "Nothing of x.jsonl has failed; it ended as succeeded.",
        ),
        (lambda world: world.end("x.jsonl", "rejected", results=[]), "x.jsonl was rejected,"),
        (
            lambda world: world.end(
                "x.jsonl", "partial", results=[bad_row("a")], failed=[b"1\n"], invalid=1
            ),
            "What has failed of x.jsonl are 1 bad line, which would fail again.",
        ),
    ],
)
def test_nothing_to_retry(
    end: Callable[[World], object], expected: str, world: World, capsys: Said
) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    end(world)
    assert run(["retry", "x.jsonl"]) == 1
    assert expected in capsys.readouterr().err


# -- logs -------------------------------------------------------------------------------------


def test_logs(world: World, capsys: Said) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    assert run(["logs", "x.jsonl"]) == 1
    assert "has no job yet, and so no log" in capsys.readouterr().err
    job = world.start("x.jsonl")
    assert run(["logs", "x.jsonl"]) == 0
    assert "Nothing was logged about this job" in capsys.readouterr().err
    logs = _shared_session().client("logs")
    logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName="s")
    fields = {
        "level": "ERROR",
        "message": "Broken\x1b",
        "function_name": "s-CheckStatusFunction-X1",
        "job_id": job["job_id"],
        "wait_seconds": 5,
        "exception": "Traceback\n  line",
    }
    moment = int(time.time()) * 1000
    events = [json.dumps(fields), json.dumps({**fields, "job_id": "another"}), "START RequestId"]
    logs.put_log_events(
        logGroupName=LOG_GROUP,
        logStreamName="s",
        logEvents=[{"timestamp": moment, "message": text} for text in events],
    )
    assert run(["logs", "x.jsonl"]) == 0
    assert world.log_filters[1:] == [f'{{ $.job_id = "{job["job_id"]}" }}']
    assert capsys.readouterr().out == (
        f"{datetime.fromtimestamp(moment / 1000, UTC):%Y-%m-%d %H:%M:%S}Z ERROR   CheckStatus     "
        f"Broken wait_seconds=5\n"
        "    Traceback\n      line\n"
    )
    assert run(["logs", "x.jsonl", "--json"]) == 0
    assert capsys.readouterr().out == events[0] + "\n"
