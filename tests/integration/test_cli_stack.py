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
from click.shell_completion import ShellComplete
from moto import mock_aws

from groq_batch import __version__
from groq_batch.bucket.storage import JOB_METADATA, Storage
from groq_batch.domain import object_keys
from groq_batch.domain.input_key import check_key
from groq_batch.domain.job_id import upload_job_id
from groq_batch.domain.result_row import pipeline_row
from groq_batch.records import stored
from groq_batch.records.job import JobRequest
from groq_batch_cli.aws import Target
from groq_batch_cli.job_progress import Follower
from groq_batch_cli.main import cli, run
from groq_batch_cli.verbs import status
from groq_batch_client import stack, uploads

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
        self.start_answer: dict[str, Any] = {"job_id": "x"}
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
            "Version": __version__,
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
                answer = self.start_answer
                if self.start_error:
                    answer = {"errorMessage": self.start_error}
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

    def job_of(self, path: str, *, hour: int = 11) -> JobRequest:
        """Return the job that the pipeline starts for the newest upload of a path."""
        key = object_keys.INPUT_PREFIX + path
        head = self.storage.head(key)
        assert head is not None, f"{key} was not uploaded"
        assert head.version_id is not None
        return JobRequest(
            job_id=upload_job_id(bucket=self.bucket, key=key, version_id=head.version_id),
            bucket=self.bucket,
            key=key,
            version_id=head.version_id,
            path=path,
            started_at=f"2026-03-01T{hour}:00:00.000Z",
            claimed_by="",
        )

    def read_report(self, path: str) -> dict[str, Any]:
        """Return the report at a path."""
        found = self.storage.get_json(object_keys.delivery_keys(path).report)
        assert found is not None
        return found[0]

    def start(self, path: str, *, hour: int = 11, **changes: Any) -> dict[str, Any]:
        """Start the job of the newest upload of a path; returns its report."""
        request = self.job_of(path, hour=hour)
        self.storage.put_json(object_keys.job_key(request.job_id), stored.to_record(request))
        self.storage.put_json(object_keys.open_job_key(request.job_id), stored.to_record(request))
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
            "timing": {
                "started_at": request.started_at,
                "submitted_at": None,
                "finished_at": None,
                "seconds": None,
            },
            "errors": [],
            "errors_total": 0,
            "outputs": {"results": None, "failed": None, "invalid": None},
            **changes,
        }
        key = object_keys.delivery_keys(request.path).report
        self.storage.put_json(key, report, metadata={JOB_METADATA: request.job_id})
        return report

    @staticmethod
    def _errors(results: list[bytes]) -> Iterator[dict[str, Any]]:
        """Yield what a report says of rows without a success."""
        for line, row in enumerate(map(json.loads, results), start=1):
            if row["error"] is not None:
                yield {"line": line, "custom_id": row["custom_id"], **row["error"]}

    def end(
        self,
        path: str,
        status: str,
        *,
        results: list[bytes],
        failed: list[bytes] | None = None,
        invalid: int = 0,
        hour: int = 11,
        cost: float | None = None,
        code: str | None = None,
    ) -> JobRequest:
        """Start the job of a path at some hour and end it, with an error of the job if given."""
        self.start(path, hour=hour)
        request = self.job_of(path, hour=hour)
        keys = object_keys.delivery_keys(path)
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
        costs = {"estimated": 0.5, "actual": cost}
        errors = list(self._errors(results))
        if code is not None:
            errors.insert(0, {"line": None, "custom_id": None, "code": code, "message": "Why."})
        self.report(
            request,
            status,
            requests=counts,
            outputs=outputs,
            cost_usd=costs,
            errors=errors,
            errors_total=len(errors),
        )
        self.storage.delete([object_keys.open_job_key(request.job_id)])
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


# -- run --------------------------------------------------------------------------------------


def test_upload(world: World, capsys: Said) -> None:
    path = world.file("x y.jsonl", *[request_line(f"{n}") for n in range(5)])
    arguments = ["--to", "team", "--window", "7d", "--max-attempts", "2", "--max-cost", "1.5"]
    arguments += ["--canary", "50", "--canary-max-failed-percent", "10", "--deadline", "6h"]
    arguments += ["--deadline-max-usd", "5", "--retry-invalid-output"]
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
        "canary-requests": "50",
        "canary-max-failed-percent": "10",
        "batch-deadline": "6h",
        "deadline-max-usd": "5",
        "retry-invalid-output": "true",
    }
    assert (
        world.s3.get_object(Bucket=world.bucket, Key="input/team/x y.jsonl")["Body"].read()
        == Path(path).read_bytes()
    )
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: 5 requests, 3 batches, estimated $0.000002",
        f"x y.jsonl: uploaded as s3://{world.bucket}/input/team/x y.jsonl",
        "  follow it: groq-batch status 'team/x y.jsonl' --watch",
        "  fetch its results: groq-batch results 'team/x y.jsonl'",
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
    ("lines", "arguments", "expected", "advice"),
    [
        (
            [request_line("a"), b"1\n"],
            [],
            ":2:1: not_an_object",
            " Repair the files, or run the good lines only: --skip-invalid",
        ),
        ([b"1\n"], ["--skip-invalid"], ":1:1: not_an_object", " Repair the files."),
        ([], [], ": empty_file", " Repair the files."),
        ([request_line("a")], ["--max-cost", "0.000000001"], ": too_expensive", ""),
    ],
)
def test_file_that_would_be_rejected_is_not_uploaded(
    lines: list[bytes],
    arguments: list[str],
    expected: str,
    advice: str,
    world: World,
    capsys: Said,
) -> None:
    path = world.file("x.jsonl", *lines)
    good = world.file("good.jsonl", request_line("a"))
    assert run(["run", path, good, "--no-wait", *arguments]) == 1
    said = capsys.readouterr()
    assert f"{path}{expected}" in said.out
    assert said.err == f"Error: Nothing was uploaded.{advice}\n"
    assert list(world.storage.objects("")) == []


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("recurring/a", "input/recurring/ and input/superseded/ are reserved"),
        ("x" * 900, "The key is longer than 900 bytes"),
        ("../../etc", "'../../etc' has the part '..'"),
    ],
)
def test_folder_that_uploads_may_not_have_is_a_wrong_usage(
    to: str, expected: str, world: World, capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--no-wait", "--to", to]) == 2
    assert expected in capsys.readouterr().err
    assert list(world.storage.objects("")) == []


def test_limits_and_options_are_those_of_the_stack(world: World, capsys: Said) -> None:
    world.deploy("lenient", OnInvalidLine="skip", MaxJobCostUsd="0.0000001")
    path = world.file("x.jsonl", request_line("a"), b"1\n")
    assert run(["run", path, "--no-wait", "--stack-name", "lenient"]) == 1
    said = capsys.readouterr()
    assert "is above the cap of 0.0000001 USD. Split the file, or deploy" in said.out
    assert said.err == "Error: Nothing was uploaded.\n"
    # No upload lifts the stack's cap.
    assert run(["run", path, "--no-wait", "--stack-name", "lenient", "--max-cost", "0"]) == 1
    capsys.readouterr()
    world.deploy("uncapped", OnInvalidLine="skip")
    assert run(["run", path, "--no-wait", "--stack-name", "uncapped"]) == 0
    said = capsys.readouterr().out
    assert f"{path}: 1 request (1 bad line skipped), 1 batch" in said
    assert "status x.jsonl --watch --stack-name uncapped" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--window", "12h"], "'--window': '12h' is not a window that Groq accepts. Give hours"),
        (["--window", "7d", "--max-attempts", "10"], "can take 72 days"),
        (["--canary", "10001"], "'--canary': 10001 is not in the range"),
        (["--canary-max-failed-percent", "101"], "101 is not in the range"),
        (["--deadline", "30s"], "'--deadline': '30s' is not a deadline. Give minutes"),
        (
            ["--deadline-max-usd", "0.0000000001"],
            "The smallest amount is 0.000000001; 0 means no ordinary calls.",
        ),
    ],
)
def test_option_that_the_stack_would_refuse(
    arguments: list[str], expected: str, world: World, capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--no-wait", *arguments]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert "metadata" not in said
    assert "Upload the file again" not in said
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
    assert f"a result of {files[0]}, would overwrite {files[1]}" in capsys.readouterr().err
    world.denied = None
    assert run(["run", *files, "--no-wait"]) == 0, "nothing is fetched, and so nothing replaced"


def test_results_of_two_files_never_replace_each_other(world: World, capsys: Said) -> None:
    files = [world.file(name, request_line("a")) for name in ("x.jsonl", "x.jsonl.gz")]
    assert run(["run", *files]) == 2
    assert f"x.report.json would hold results of {files[0]} and of {files[1]}." in (
        capsys.readouterr().err
    )
    assert list(world.storage.objects("")) == []


@pytest.mark.parametrize(
    "arguments",
    [["run", "x.jsonl"], ["start", "recurring/x.jsonl"], ["retry", "x.jsonl"]],
    ids=["run", "start", "retry"],
)
def test_folder_that_cannot_hold_the_results_is_said_before_anything_is_paid_for(
    arguments: list[str], world: World, capsys: Said
) -> None:
    world.file("x.jsonl", request_line("a"))
    assert run([*arguments, "--out", "x.jsonl/results"]) == 2
    assert "x.jsonl/results cannot hold the results: Not a directory." in capsys.readouterr().err
    assert list(world.storage.objects("")) == []


def test_results_that_cannot_be_written_leave_the_others_and_the_way_back(
    world: World, capsys: Said
) -> None:
    for name in ("a/x.jsonl", "b/x.jsonl"):
        (world.folder / "many" / name).parent.mkdir(parents=True)
        world.file(f"many/{name}", request_line("a"))
    assert run(["run", "many", "--no-wait"]) == 0
    for name in ("a/x.jsonl", "b/x.jsonl"):
        world.end(name, "succeeded", results=[good_row("a")])
    (world.folder / "results").mkdir()
    world.file("results/a", b"in the way")
    capsys.readouterr()
    assert run(["run", "many", "--out", "results"]) == 1
    said = capsys.readouterr()
    assert "a/x.jsonl: results/a: File exists. Fetch its results again: " in said.err
    assert "groq-batch results a/x.jsonl --out results/a" in said.err
    assert Path("results/b/x.results.jsonl").exists()


def test_file_that_changes_while_it_is_uploaded(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))
    upload = uploads.upload

    def change(*arguments: Any, **options: Any) -> Any:
        world.file("x.jsonl", request_line("b"))
        return upload(*arguments, **options)

    monkeypatch.setattr("groq_batch_cli.verbs.run.upload", change)
    assert run(["run", path, "--no-wait"]) == 1
    assert "was changed after it had been checked" in capsys.readouterr().err
    assert list(world.storage.objects("")) == []
    assert "Uploads" not in world.s3.list_multipart_uploads(Bucket=world.bucket)


@pytest.mark.parametrize(
    ("code", "invalid", "is_offered"),
    [("canary_failed", 0, False), (None, 0, True), (None, 1, True), (None, 2, False)],
)
def test_retry_is_offered_unless_all_failed_requests_must_be_corrected(
    code: str | None, invalid: int, is_offered: bool, world: World, capsys: Said
) -> None:
    rows = [bad_row("a"), bad_row("b")]
    failed = [request_line("a"), request_line("b")]
    assert run(["run", world.file("x.jsonl", *failed), "--no-wait"]) == 0
    world.end("x.jsonl", "partial", results=rows, failed=failed, code=code, invalid=invalid)
    assert run(["results", "x.jsonl", "--out", "results"]) == 0
    assert ("groq-batch retry x.jsonl" in capsys.readouterr().out) == is_offered


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
        "  not answered: 1 missing",
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


def test_folder_runs_with_the_names_that_its_files_have(world: World, capsys: Said) -> None:
    (world.folder / "many" / "deep").mkdir(parents=True)
    files = ["many/x.jsonl", "many/deep/x.jsonl.gz", "many/._x.jsonl", "many/deep/notes.txt"]
    for name in files:
        world.file(name, request_line("a"))
    assert run(["run", "many", "--to", "team", "--no-wait"]) == 0
    assert [one.key for one in world.storage.objects("input/")] == [
        "input/team/deep/x.jsonl.gz",
        "input/team/x.jsonl",
    ]
    said = capsys.readouterr()
    assert said.err == "Skipped, as hidden: many/._x.jsonl\n"
    assert "deep/x.jsonl.gz: uploaded as s3://bucket/input/team/deep/x.jsonl.gz" in said.out
    assert "  fetch its results: groq-batch results team/deep/x.jsonl.gz --out deep" in said.out


def test_folder_that_has_run_is_not_run_with_its_results(world: World, capsys: Said) -> None:
    (world.folder / "many" / "deep").mkdir(parents=True)
    for name in ("x.jsonl", "deep/x.jsonl"):
        world.file(f"many/{name}", request_line("a"), request_line("b"))
    assert run(["run", "many", "--no-wait"]) == 0
    for name in ("x.jsonl", "deep/x.jsonl"):
        rows = [good_row("a", name), bad_row("b")]
        world.end(name, "partial", results=rows, failed=[request_line("b")])
    for _ in range(2):
        assert run(["run", "many", "--out", "many"]) == 1
        assert (
            Path("many/deep/x.results.jsonl").read_bytes().startswith(good_row("a", "deep/x.jsonl"))
        )
        assert Path("many/x.results.jsonl").read_bytes().startswith(good_row("a", "x.jsonl"))
    said = capsys.readouterr().err
    assert "Skipped, as fetched by an earlier run: many/x.failed.jsonl, many/x.results" in said
    assert [one.key for one in world.storage.objects("input/")] == [
        "input/deep/x.jsonl",
        "input/x.jsonl",
    ]


def test_upload_over_a_running_job_warns(world: World, capsys: Said) -> None:
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--to", "team", "--no-wait"]) == 0
    job = world.start("team/x.jsonl", progress={"completed": 1, "total": 2})
    world.file("x.jsonl", request_line("b"))
    capsys.readouterr()
    assert run(["run", path, "--to", "team", "--no-wait"]) == 0
    said = capsys.readouterr().err
    assert said == (
        f"Warning: An earlier upload of team/x.jsonl is still running, as {job['job_id']} (1 of 2 "
        f"requests done (50 %)). This one replaces it; the results of the earlier one will be "
        f"in output/superseded/{job['job_id']}/team/x.jsonl. To stop it: groq-batch cancel "
        f"{job['job_id']}\n"
    )
    world.end("team/x.jsonl", "succeeded", results=[good_row("b")])
    assert run(["run", path, "--to", "team", "--no-wait", "--again"]) == 0
    assert capsys.readouterr().err == ""


# -- start ------------------------------------------------------------------------------------


def answered(world: World, job_id: str, path: str, status: str = "started") -> dict[str, Any]:
    """Return what the start function answers."""
    report = world.storage.url(object_keys.delivery_keys(path).report)
    return {"job_id": job_id, "status": status, "message": "m", "input": "i", "report": report}


def test_start_of_a_recurring_file_follows_and_fetches(
    world: World, chapters: list[Callable[[], object]], capsys: Said
) -> None:
    path = "recurring/evals/2026-03-01T12-00-00Z.jsonl"
    job = JobRequest(
        job_id="evals-04ad86b59a21faf11acc",
        bucket=world.bucket,
        key="recurring/evals.jsonl",
        version_id="v",
        path=path,
        started_at="2026-03-01T12:00:00.000Z",
        claimed_by="",
    )
    world.start_answer = answered(world, job.job_id, path)

    def end() -> None:
        key = object_keys.delivery_keys(path).results
        world.storage.put_json(object_keys.job_key(job.job_id), stored.to_record(job))
        rows = good_row("a") + good_row("b")
        world.storage.put_bytes(key, rows, metadata={JOB_METADATA: job.job_id})
        outputs = {"results": world.storage.url(key), "failed": None, "invalid": None}
        world.report(job, "succeeded", outputs=outputs)

    chapters += [lambda: None, end]
    assert run(["start", "recurring/evals.jsonl", "--out", "nights"]) == 0
    assert world.payloads == [{"key": "recurring/evals.jsonl", "again": True}]
    said = capsys.readouterr().out
    assert f"{path}: started as {job.job_id}\n" in said
    fetched = Path("nights/2026-03-01T12-00-00Z.results.jsonl").read_bytes()
    assert fetched == good_row("a") + good_row("b")
    assert run(["start", "recurring/evals.jsonl", "--again"]) == 2
    assert "a recurring file starts a new job each time" in capsys.readouterr().err


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
    monkeypatch.setattr("groq_batch_cli.verbs.start.Follower", Hurried)
    return Hurried.chapters


def test_upload_that_starts_no_job_is_started_by_hand(
    world: World, chapters: list[Callable[[], object]], capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))
    end = functools.partial(world.end, "x.jsonl", "succeeded", results=[good_row("a")])
    chapters += [lambda: None, end]
    assert run(["run", path]) == 0
    assert world.payloads == [{"key": "input/x.jsonl"}]
    assert "so this command started the job" in capsys.readouterr().err


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
    assert "on its schedule: rate(1 hour). --now starts them" in capsys.readouterr().err


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
    assert "x.jsonl continues without this terminal." in said
    assert "follow it: groq-batch status x.jsonl --watch" in said
    assert "fetch its results when it has ended: groq-batch results x.jsonl" in said
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
        file = world.file("x.jsonl", request_line("a"), request_line("b"))
        assert run(["run", file, "--no-wait", "--to", name]) == 0
        rows = [good_row("a"), bad_row("b")]
        world.end(name, "partial", results=rows, failed=[request_line("b")], cost=0.25)
    capsys.readouterr()
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


BEFORE_MORE_WAS_TOLD = {
    "job_id", "path", "status", "started_at", "requests", "progress", "cost_usd",
}  # fmt: skip


def test_jobs_as_json_have_all_fields_that_they_ever_had(world: World, capsys: Said) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    world.end("x.jsonl", "succeeded", results=[good_row("a")])
    capsys.readouterr()
    assert run(["jobs", "--all", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() > BEFORE_MORE_WAS_TOLD
    assert found["status"] == found["report_status"] == "succeeded"
    assert found["requests"]["total"] == 1


def test_sum_of_the_costs_has_those_of_replaced_jobs(world: World, capsys: Said) -> None:
    path = world.file("x.jsonl", request_line("a"))
    for hour, cost in ((10, 0.5), (11, 0.25)):
        assert run(["run", path, "--no-wait", "--again"]) == 0
        world.end("x.jsonl", "succeeded", results=[good_row("a")], hour=hour, cost=cost)
    capsys.readouterr()
    assert run(["jobs", "--all", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(one["status"] for one in found) == ["replaced", "succeeded"]
    assert sum(one["cost_usd"]["actual"] for one in found) == 0.75
    assert {one["report_status"] for one in found} == {"succeeded"}


@pytest.mark.parametrize("parameters", [{"TriggerMode": "schedule"}, {"Paused": "true"}])
def test_uploads_that_wait_for_the_stack_are_listed(
    parameters: dict[str, str], world: World, capsys: Said
) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    capsys.readouterr()
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


def test_results_of_a_replaced_job_are_fetched_by_its_name(world: World, capsys: Said) -> None:
    path = world.file("x.jsonl", request_line("a"))
    jobs = []
    for hour, text in ((10, "first"), (11, "second")):
        assert run(["run", path, "--no-wait", "--again"]) == 0
        row = good_row("a", text)
        jobs.append(world.end("x.jsonl", "succeeded", results=[row], hour=hour))
    assert run(["results", jobs[0].job_id, "--out", "older"]) == 0
    assert run(["results", "x.jsonl", "--out", "newer"]) == 0
    assert Path("older/x.results.jsonl").read_bytes() == good_row("a", "first")
    assert json.loads(Path("older/x.report.json").read_text())["job_id"] == jobs[0].job_id
    assert Path("newer/x.results.jsonl").read_bytes() == good_row("a", "second")
    capsys.readouterr()
    assert run(["status", jobs[0].job_id]) == 0
    assert f"groq-batch results {jobs[0].job_id}" in capsys.readouterr().out
    assert run(["retry", jobs[0].job_id]) == 1
    assert f"A newer run of x.jsonl has replaced {jobs[0].job_id}" in capsys.readouterr().err


def test_status_says_why_a_job_is_partial(world: World, capsys: Said) -> None:
    file = world.file("x.jsonl", request_line("a"), request_line("b"))
    assert run(["run", file, "--no-wait"]) == 0
    world.end(
        "x.jsonl", "partial", results=[good_row("a"), bad_row("b")], failed=[request_line("b")]
    )
    capsys.readouterr()
    assert run(["status", "x.jsonl"]) == 1
    said = capsys.readouterr().out
    assert "  1 error by code:\n    1  missing  No.\n" in said


def test_completion_of_jobs_has_their_paths(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(world.folder / "cache"))
    complete = ShellComplete(cli, {}, "groq-batch", "_GROQ_BATCH_COMPLETE")
    for name in ("team/x.jsonl", "team/y.jsonl", "z.jsonl"):
        file = world.file("x.jsonl", request_line("a"))
        assert run(["run", file, "--no-wait", "--to", name]) == 0
        world.end(name, "succeeded", results=[good_row("a")])
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
    assert "x.jsonl has no job yet, so there is no report." in capsys.readouterr().err
    world.end("x.jsonl", "succeeded", results=[good_row("a")])
    assert run(["open", "x.jsonl"]) == 1
    assert "has no page at present" in capsys.readouterr().err
    world.storage.put_bytes("reports/x.jsonl.html", b"", metadata={JOB_METADATA: "another"})
    assert run(["open", "x.jsonl"]) == 1
    assert "a newer job has replaced it" in capsys.readouterr().err


def test_results_that_were_replaced(world: World, capsys: Said) -> None:
    assert run(["run", world.file("x.jsonl", request_line("a")), "--no-wait"]) == 0
    world.end("x.jsonl", "succeeded", results=[good_row("a")])
    world.storage.put_bytes("output/x.jsonl", b"", metadata={JOB_METADATA: "another"})
    assert run(["results", "x.jsonl"]) == 1
    assert "have been replaced by those of a newer upload" in capsys.readouterr().err
    world.storage.delete(["output/x.jsonl"])
    assert run(["results", "x.jsonl"]) == 1
    assert "no longer exists" in capsys.readouterr().err
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
    assert "has ended already (ABORTED); its results are being delivered" in (
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
        results=[bad_row("b"), pipeline_row(None, code="not_an_object", message="No.")],
        failed=[request_line("b"), b"1\n"],
        invalid=1,
    )
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    assert read(world, "input/x.retry.jsonl") == request_line("b")
    assert run(["retry", "x.jsonl", "--no-wait", "--again", "--all"]) == 0
    assert read(world, "input/x.retry-2.jsonl") == request_line("b") + b"1\n"
    head = world.storage.head("input/x.retry-2.jsonl")
    assert head is not None
    assert head.metadata == {"on-invalid-line": "skip"}


def refused_row(custom_id: str) -> bytes:
    body = {"error": {"code": "context_length_exceeded", "message": "Too long."}}
    row = {"custom_id": custom_id, "response": {"status_code": 400, "body": body}, "error": None}
    return json.dumps(row).encode() + b"\n"


def unknown_row(custom_id: str) -> bytes:
    return pipeline_row(custom_id, code="outcome_unknown", message="Nobody knows.")


def a_job_with_final_errors(world: World, path: str = "x.jsonl") -> None:
    """Run a job of five requests: answered, refused for good, missing, unknown, missing."""
    names = "abcde"
    file = world.file(path, *[request_line(name) for name in names])
    assert run(["run", file, "--no-wait"]) == 0
    rows = [good_row("a"), refused_row("b"), bad_row("c"), unknown_row("d"), bad_row("e")]
    world.end(path, "partial", results=rows, failed=[request_line(name) for name in "bcde"])


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_retry_leaves_out_what_would_fail_again_or_may_have_been_answered(
    ending: str, world: World, capsys: Said
) -> None:
    a_job_with_final_errors(world, f"x{ending}")
    capsys.readouterr()
    assert run(["retry", f"x{ending}", "--no-wait", "--window", "48h"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"x.retry{ending}: 2 failed requests of x{ending}",
        (
            "  skipped: 1 whose error is final (1 context_length_exceeded), 1 whose outcome is "
            "not known (they may have been answered and paid for)"
        ),
    ]
    assert f"to send them too: groq-batch retry x{ending} --all" in said.err
    data = read(world, f"input/x.retry{ending}")
    sent = gzip.decompress(data) if ending.endswith("gz") else data
    assert sent == request_line("c") + request_line("e")
    head = world.storage.head(f"input/x.retry{ending}")
    assert head is not None
    assert head.metadata["completion-window"] == "48h"
    world.end(f"x.retry{ending}", "succeeded", results=[good_row("c"), good_row("e")])
    assert run(["retry", f"x{ending}"]) == 0
    assert "5 rows, 2 new answers, 2 still without a success" in capsys.readouterr().out
    merged = Path(f"x.merged{ending}").read_bytes()
    assert (gzip.decompress(merged) if ending.endswith("gz") else merged) == b"".join(
        [good_row("a"), refused_row("b"), good_row("c"), unknown_row("d"), good_row("e")]
    )


def test_retry_of_all_after_a_retry_sends_nothing_that_was_answered(
    world: World, capsys: Said
) -> None:
    a_job_with_final_errors(world)
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    world.start("x.retry.jsonl")
    assert run(["retry", "x.jsonl", "--no-wait", "--all"]) == 0
    assert "It skips 2 lines; use --all when it has ended." in capsys.readouterr().err
    rows = [good_row("c"), bad_row("e")]
    world.end("x.retry.jsonl", "partial", results=rows, failed=[request_line("e")])
    assert run(["retry", "x.jsonl", "--no-wait", "--all"]) == 0
    assert read(world, "input/x.retry-2.jsonl") == b"".join(map(request_line, "bde"))
    assert "x.retry-2.jsonl: 3 failed requests of x.jsonl\n" in capsys.readouterr().out
    rows = [refused_row("b"), good_row("d"), good_row("e")]
    world.end("x.retry-2.jsonl", "partial", results=rows, failed=[request_line("b")])
    # The same command comes back to it, and merges the answers of both.
    assert run(["retry", "x.jsonl", "--all"]) == 1
    said = capsys.readouterr()
    assert "A retry has run already: x.retry-2.jsonl." in said.err
    assert "x.merged.jsonl: 5 rows, 3 new answers, 1 still without a success" in said.out
    assert Path("x.merged.jsonl").read_bytes() == b"".join(
        [good_row("a"), refused_row("b"), good_row("c"), good_row("d"), good_row("e")]
    )


def test_retry_of_all_is_a_copy_within_s3(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    a_job_with_final_errors(world)
    world.denied = "PutObject"
    assert run(["retry", "x.jsonl", "--no-wait"]) == 1
    assert run(["retry", "x.jsonl", "--no-wait", "--all"]) == 0
    assert read(world, "input/x.retry.jsonl") == b"".join(map(request_line, "bcde"))
    assert "left out" not in capsys.readouterr().out


def test_retry_of_final_errors_alone_sends_nothing(world: World, capsys: Said) -> None:
    assert run(["run", world.file("x.jsonl", request_line("b")), "--no-wait"]) == 0
    world.end("x.jsonl", "partial", results=[refused_row("b")], failed=[request_line("b")])
    assert run(["retry", "x.jsonl", "--no-wait"]) == 1
    assert (
        "No failed request of x.jsonl is worth sending again: 1 whose error is final (1 "
        "context_length_exceeded). To send them anyway: groq-batch retry x.jsonl --all"
    ) in capsys.readouterr().err
    assert world.storage.head("input/x.retry.jsonl") is None


def test_retry_of_files_that_do_not_belong_together_sends_nothing(
    world: World, capsys: Said
) -> None:
    a_job_with_final_errors(world)
    metadata = {JOB_METADATA: world.job_of("x.jsonl").job_id}
    world.storage.put_bytes("failed/x.jsonl", request_line("b"), metadata=metadata)
    assert run(["retry", "x.jsonl", "--no-wait"]) == 1
    assert "do not match the failures in the job's results" in capsys.readouterr().err
    assert world.storage.head("input/x.retry.jsonl") is None
    assert "Uploads" not in world.s3.list_multipart_uploads(Bucket=world.bucket)


def test_retry_of_a_firing_goes_where_uploads_may_go(world: World) -> None:
    path = "recurring/evals/2026-03-01T12-00-00Z.jsonl"
    key = object_keys.delivery_keys(path)
    job = JobRequest(
        job_id="evals-04ad86b59a21faf11acc",
        bucket=world.bucket,
        key="recurring/evals.jsonl",
        version_id="v",
        path=path,
        started_at="2026-03-01T12:00:00.000Z",
        claimed_by="",
    )
    world.storage.put_json(object_keys.job_key(job.job_id), stored.to_record(job))
    world.storage.put_bytes(key.results, good_row("a") + bad_row("b"))
    world.storage.put_bytes(key.failed, request_line("b"))
    outputs = {
        "results": world.storage.url(key.results),
        "failed": world.storage.url(key.failed),
        "invalid": None,
    }
    counts = {"total": 2, "succeeded": 1, "failed": 1, "invalid": 0}
    world.report(job, "partial", outputs=outputs, requests=counts)
    assert run(["retry", "recurring/evals.jsonl", "--no-wait"]) == 0
    retried = "retries/recurring/evals/2026-03-01T12-00-00Z.retry.jsonl"
    assert read(world, f"input/{retried}") == request_line("b")
    assert check_key(f"input/{retried}") is None
    world.end(retried, "succeeded", results=[good_row("b")])
    assert run(["retry", "recurring/evals.jsonl"]) == 0
    assert Path("2026-03-01T12-00-00Z.merged.jsonl").read_bytes() == good_row("a") + good_row("b")


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
            "The only failures of x.jsonl are 1 bad line, which would fail again.",
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
    assert "has no job yet, so there is no log" in capsys.readouterr().err
    job = world.start("x.jsonl")
    assert run(["logs", "x.jsonl"]) == 0
    assert "The log has no lines of this job" in capsys.readouterr().err
    logs = _shared_session().client("logs")
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
