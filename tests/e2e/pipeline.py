"""Uses a deployed stack as a user does: put objects, wait for reports, read results."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from local.groq_simulator import SimulatorControl
from local.stack import LocalStack
from tests.samples import chat_line as request_line


def request_file(ids: Iterable[str]) -> bytes:
    """Return a file of requests."""
    return b"".join(request_line(one) + b"\n" for one in ids)


def secret_of(parameters: Mapping[str, str]) -> str:
    """Return the name of a stack's secret."""
    return parameters["GroqApiKeySecretName"]


class Pipeline:
    """A deployed stack."""

    def __init__(
        self,
        stack: LocalStack,
        stack_name: str,
        parameters: Mapping[str, str],
        outputs: Mapping[str, str],
    ) -> None:
        self.stack = stack
        self.stack_name = stack_name
        self.parameters = dict(parameters)
        self.bucket = outputs["BucketName"]
        self.state_machine = outputs["StateMachineArn"]
        self.start_function = outputs["StartJobFunctionName"]
        self.s3 = stack.client("s3")
        self.states = stack.client("stepfunctions")

    @property
    def simulator(self) -> SimulatorControl:
        return self.stack.simulator

    # -- objects ---------------------------------------------------------------------------------

    def upload(self, key: str, data: bytes, **options: str) -> str:
        """Put an object with options as metadata; returns its version."""
        metadata = {name.replace("_", "-"): value for name, value in options.items()}
        answer = self.s3.put_object(Bucket=self.bucket, Key=key, Body=data, Metadata=metadata)
        return str(answer["VersionId"])

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None when there is none."""
        try:
            return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise

    def rows(self, key: str) -> list[dict[str, Any]]:
        """Return the rows of a JSONL object, unpacked if its name says so."""
        data = self.read(key)
        assert data is not None, f"{key} does not exist"
        if key.endswith(".gz"):
            data = gzip.decompress(data)
        assert data.endswith(b"\n")
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below a prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def keys_ever(self, prefix: str) -> set[str]:
        """Return the keys below a prefix, those of removed objects among them."""
        pages = self.s3.get_paginator("list_object_versions").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        return {item["Key"] for page in pages for item in page.get("Versions", [])}

    # -- jobs ------------------------------------------------------------------------------------

    def report(self, path: str) -> dict[str, Any] | None:
        """Return the report of a path, or None."""
        data = self.read(f"reports/{path}.json")
        return json.loads(data) if data is not None else None

    def wait_for_report(
        self,
        path: str,
        *,
        seconds: float = 90,
        job_id: str | None = None,
        version: str | None = None,
    ) -> dict[str, Any]:
        """Wait until the report of a path is final (and of a certain job or upload)."""

        def final() -> dict[str, Any] | None:
            report = self.report(path)
            if report is None or report["status"] == "running":
                return None
            if job_id is not None and report["job_id"] != job_id:
                return None
            if version is not None and report["input"]["version_id"] != version:
                return None
            return report

        report: dict[str, Any] = wait_until(
            final, seconds, lambda: f"no final report of {path}: {self.describe(path)}"
        )
        return report

    def run(self, path: str, data: bytes, *, seconds: float = 90, **options: str) -> dict[str, Any]:
        """Upload a file and wait for the end of its job."""
        version = self.upload(f"input/{path}", data, **options)
        return self.wait_for_report(path, seconds=seconds, version=version)

    def start(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke the start function by hand."""
        result: dict[str, Any] = self._invoke(self.start_function, payload)
        return result

    def invoke(self, logical_id: str, payload: Mapping[str, Any]) -> Any:
        """Invoke one of the stack's functions."""
        return self._invoke(self.function(logical_id), payload)

    def _invoke(self, function: str, payload: Mapping[str, Any]) -> Any:
        """Invoke a function, again while others take all that may run at once."""
        client = self.stack.client("lambda")

        def answer() -> Any:
            try:
                return client.invoke(FunctionName=function, Payload=json.dumps(payload))
            except client.exceptions.TooManyRequestsException:
                return None

        found = wait_until(answer, 120, lambda: f"{function} is throttled all the time")
        return json.loads(found["Payload"].read())

    def function(self, logical_id: str) -> str:
        """Return the name of one of the stack's functions."""
        return self.resource(logical_id)

    def resource(self, logical_id: str) -> str:
        """Return the physical id of one of the stack's resources."""
        cloudformation = self.stack.client("cloudformation")
        found = cloudformation.describe_stack_resource(
            StackName=self.stack_name, LogicalResourceId=logical_id
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def age_open_job(self, job_id: str, *, minutes: int) -> None:
        """Make the reconciler take an open job for one that was started some time ago."""
        key = f"work/open/{job_id}"
        data = self.read(key)
        assert data is not None, f"{job_id} is not open"
        request = json.loads(data)
        begun = datetime.fromisoformat(request["started_at"]) - timedelta(minutes=minutes)
        request["started_at"] = begun.isoformat().replace("+00:00", "Z")
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=json.dumps(request).encode())

    def executions(self) -> dict[str, str]:
        """Return the status of every execution by name."""
        pages = self.states.get_paginator("list_executions").paginate(
            stateMachineArn=self.state_machine
        )
        return {one["name"]: one["status"] for page in pages for one in page["executions"]}

    def execution_arn(self, name: str) -> str:
        """Return the ARN of an execution."""
        return self.state_machine.replace(":stateMachine:", ":execution:") + ":" + name

    def history(self, name: str) -> list[str]:
        """Return the types of all events of an execution."""
        pages = self.states.get_paginator("get_execution_history").paginate(
            executionArn=self.execution_arn(name)
        )
        return [event["type"] for page in pages for event in page["events"]]

    def describe(self, path: str) -> str:
        """Say what is known of a job, for a failing test."""
        report = self.report(path)
        lines = [json.dumps(report)]
        if report is not None:
            name = report["job_id"]
            for suffix in ("", "-c1", "-c2"):
                arn = self.execution_arn(name + suffix)
                try:
                    found = self.states.describe_execution(executionArn=arn)
                    history = self.states.get_execution_history(
                        executionArn=arn, reverseOrder=True, maxResults=8
                    )
                except ClientError:
                    continue
                lines.append(f"{name + suffix}: {found['status']} {found.get('error')}")
                lines += [json.dumps(one, default=str)[:600] for one in history["events"]]
            lines += self.keys(f"work/{name}/")
        return "\n".join(lines)


_PATIENCE = 5
"""How much longer than on an idle machine things may take: others may work on this one as well."""


def wait_until(look: Callable[[], Any], seconds: float, failure: Callable[[], str]) -> Any:
    """Return what ``look`` returns as soon as it is true.

    Args:
        look: Looks once.
        seconds: How long it takes at the very most while the machine does nothing else.
        failure: Says what has not happened.

    Raises:
        AssertionError: It is still not true after a multiple of that.
    """
    end = time.monotonic() + seconds * _PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, failure()
        time.sleep(0.1)
    return found
