"""An account with stacks for the tests of the command line, and a pipeline that does as told."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from groq_batch import __version__
from groq_batch.bucket.storage import JOB_METADATA, Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch.domain.result_row import pipeline_row
from groq_batch.records import stored
from groq_batch.records.job import JobRequest
from groq_batch.reports.report import running_report
from groq_batch_cli.job_progress import Follower
from groq_batch_cli.main import run
from tests.integration.aws_session import REGION, shared_session
from tests.samples import job_request

BUCKET = "bucket"
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
FIRING = job_request(
    "evals-04ad86b59a21faf11acc",
    key="recurring/evals.jsonl",
    path="recurring/evals/2026-03-01T12-00-00Z.jsonl",
    started_at="2026-03-01T12:00:00.000Z",
)
"""The job of a recurring file."""

Said = pytest.CaptureFixture[str]
Chapters = list[Callable[[], object]]


def request_line(custom_id: str, **changes: Any) -> bytes:
    return json.dumps({**REQUEST, "custom_id": custom_id, **changes}).encode() + b"\n"


def _answered_row(custom_id: str, status: int, body: Any) -> bytes:
    response = {"status_code": status, "body": body}
    row = {"custom_id": custom_id, "response": response, "error": None}
    return json.dumps(row).encode() + b"\n"


def good_row(custom_id: str, text: str = "Hi") -> bytes:
    return _answered_row(custom_id, 200, {"choices": [{"message": {"content": text}}]})


def refused_row(custom_id: str) -> bytes:
    """Return the row of a request that would fail again."""
    error = {"code": "context_length_exceeded", "message": "Too long."}
    return _answered_row(custom_id, 400, {"error": error})


def bad_row(custom_id: str) -> bytes:
    """Return the row of a request that another attempt may answer."""
    return pipeline_row(custom_id, code="missing", message="No.")


def unknown_row(custom_id: str) -> bytes:
    """Return the row of a request that may have been answered and paid for."""
    return pipeline_row(custom_id, code="outcome_unknown", message="Nobody knows.")


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
        self.s3 = shared_session().client("s3")
        self.bucket = BUCKET
        self.s3.create_bucket(Bucket=self.bucket)
        self.s3.put_bucket_versioning(
            Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"}
        )
        self.storage = Storage(s3=self.s3, bucket=self.bucket)
        self.states = shared_session().client("stepfunctions")
        self.machine = self.states.create_state_machine(
            name="machine", definition="{}", roleArn="arn:aws:iam::123456789012:role/machine"
        )["stateMachineArn"]
        shared_session().client("logs").create_log_group(logGroupName=LOG_GROUP)
        self.deploy("groq-batch")

    # -- AWS -------------------------------------------------------------------------------------

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

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let all calls of boto3 come here, and the test work in a folder of its own."""

        def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
            return self.call(client, operation, parameters)

        monkeypatch.chdir(self.folder)
        monkeypatch.delenv("GROQ_BATCH_STACK", raising=False)
        monkeypatch.setattr(BaseClient, "_make_api_call", call)

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

    def metadata(self, key: str) -> dict[str, str]:
        """Return the metadata of an object."""
        head = self.storage.head(key)
        assert head is not None, f"{key} is not there"
        return head.metadata

    def read(self, key: str) -> bytes:
        """Return the bytes of an object."""
        data: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return data

    # -- the user --------------------------------------------------------------------------------

    def file(self, name: str, *lines: bytes) -> str:
        """Write a file, compressed where its name says so; returns its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = b"".join(lines)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    def upload(self, path: str = "x.jsonl", ids: str = "a", *arguments: str) -> None:
        """Upload a file of requests whose ids are letters, without a word on the terminal."""
        file = self.file(Path(path).name, *map(request_line, ids))
        silence = io.StringIO()
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            status = run(["run", file, "--no-wait", "--to", path, *arguments])
        assert status == 0, silence.getvalue()

    # -- the pipeline ----------------------------------------------------------------------------

    def job_of(self, path: str, *, hour: int = 11) -> JobRequest:
        """Return the job that the pipeline starts for the newest upload of a path."""
        key = object_keys.INPUT_PREFIX + path
        head = self.storage.head(key)
        assert head is not None, f"{key} was not uploaded"
        assert head.version_id is not None
        return job_request(
            upload_job_id(bucket=self.bucket, key=key, version_id=head.version_id),
            key=key,
            version_id=head.version_id,
            started_at=f"2026-03-01T{hour}:00:00.000Z",
        )

    def start(self, path: str, *, hour: int = 11, **changes: Any) -> dict[str, Any]:
        """Start the job of the newest upload of a path; returns its report."""
        request = self.job_of(path, hour=hour)
        self.storage.put_json(object_keys.job_key(request.job_id), stored.to_record(request))
        self.storage.put_json(object_keys.open_job_key(request.job_id), stored.to_record(request))
        self.states.start_execution(stateMachineArn=self.machine, name=request.job_id, input="{}")
        return self.report(request, "running", **changes)

    def report(self, request: JobRequest, status: str, **changes: Any) -> dict[str, Any]:
        """Write the report of a job."""
        report = {
            **running_report(request, None),
            "status": status,
            "requests": {"total": 2, "succeeded": 0, "failed": 0, "invalid": 0},
            "progress": {"completed": 0, "total": 2},
            "cost_usd": {"estimated": 0.5, "actual": None},
            **changes,
        }
        key = object_keys.delivery_keys(request.path).report
        self.storage.put_json(key, report, metadata={JOB_METADATA: request.job_id})
        return report

    def end(
        self, path: str, status: str, *, results: list[bytes], hour: int = 11, **delivered: Any
    ) -> JobRequest:
        """Start the job of a path, at some hour, and let it come to its end."""
        self.start(path, hour=hour)
        request = self.job_of(path, hour=hour)
        self.deliver(request, status, results=results, **delivered)
        self.storage.delete([object_keys.open_job_key(request.job_id)])
        return request

    def deliver(
        self,
        request: JobRequest,
        status: str,
        *,
        results: list[bytes],
        failed: list[bytes] | None = None,
        invalid: int = 0,
        cost: float | None = None,
        code: str | None = None,
    ) -> None:
        """Write what a job delivers; unless given, ``failed`` are the rows without a success.

        The first error of the report has the ``code``, if there is one: the reason of the end.
        """
        rows = [json.loads(one) for one in results]
        bad = [row for row in rows if (row["response"] or {}).get("status_code") != 200]
        if failed is None:
            failed = [request_line(row["custom_id"]) for row in bad]
        keys = object_keys.delivery_keys(request.path)
        outputs: dict[str, str | None] = {"results": None, "failed": None, "invalid": None}
        named = (("results", keys.results, results), ("failed", keys.failed, failed))
        for name, key, lines in named:
            if lines:
                data = b"".join(lines)
                self.storage.put_bytes(
                    key,
                    gzip.compress(data) if request.path.endswith(".gz") else data,
                    metadata={JOB_METADATA: request.job_id},
                )
                outputs[name] = self.storage.url(key)
        errors = [
            {"line": line, "custom_id": row["custom_id"], **row["error"]}
            for line, row in enumerate(rows, start=1)
            if row["error"] is not None
        ]
        if code is not None:
            errors.insert(0, {"line": None, "custom_id": None, "code": code, "message": "Why."})
        self.report(
            request,
            status,
            requests={
                "total": len(rows),
                "succeeded": len(rows) - len(bad),
                "failed": len(bad) - invalid,
                "invalid": invalid,
            },
            outputs=outputs,
            cost_usd={"estimated": 0.5, "actual": cost},
            errors=errors,
            errors_total=len(errors),
        )

    def succeed(self, path: str = "x.jsonl", **delivered: Any) -> JobRequest:
        """Let the job of an upload of one request answer it."""
        return self.end(path, "succeeded", results=[good_row("a")], **delivered)

    def run_to_success(self, path: str = "x.jsonl") -> JobRequest:
        """Upload a file of one request, which its job answers."""
        self.upload(path)
        return self.succeed(path)

    def run_to_partial(self, path: str = "x.jsonl", **delivered: Any) -> JobRequest:
        """Upload a file of two requests, of which its job answers the first."""
        self.upload(path, "ab")
        return self.end(path, "partial", results=[good_row("a"), bad_row("b")], **delivered)


class Hurried(Follower):
    """Follows without waiting: at each pause something happens."""

    chapters: ClassVar[Chapters] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        moments = itertools.count(step=30.0)
        super().__init__(
            *arguments,
            clock=lambda: next(moments),
            sleep=lambda _: self.chapters.pop(0)(),
            **options,
        )


def follow(world: World, chapters: Chapters, *arguments: str, pauses: int = 1) -> int:
    """Run a file whose job answers it after some pauses in which nothing happens."""
    path = world.file("x.jsonl", request_line("a"))
    chapters += [lambda: None] * pauses + [world.succeed]
    return run(["run", path, *arguments])
