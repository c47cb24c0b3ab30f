"""An emulated account and a simulated Groq, without a deployment: the functions run here."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

from bench.functions_runner import Functions, StateMachine, log_file
from local.emulator import Emulator, EmulatorOptions
from local.environment import REGION, aws_environment
from local.function_environment import PARAMETER_DEFAULTS
from local.simulator_process import SimulatorProcess

BUCKET = "bench"
SECRET = "groq/api-key"
_SIMULATOR_WORKERS = 2
_MACHINE = '{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}'
_ROLE = "arn:aws:iam::000000000000:role/bench"

DEFAULTS = {
    **PARAMETER_DEFAULTS,
    "MAX_BYTES_PER_RANGE": "4000000000",
    "LOG_LEVEL": "INFO",
}
"""What the template's parameters are by default, but for the size of a range: the large files here
go through one invocation, whose limits are looked for."""


class Account:
    """A bucket, a secret, the Groq API, and a state machine that does nothing: it is run here."""

    def __init__(self, *, simulator_arguments: tuple[str, ...] = ()) -> None:
        """Describe it; the ``with`` block starts and ends it."""
        self._simulator_arguments = simulator_arguments
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as resources:
            folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="groq-bench-"))
            self.folder = Path(folder)
            self.simulator = resources.enter_context(
                SimulatorProcess(
                    log_file=self.folder / "simulator.log",
                    honours_hints=False,
                    arguments=(
                        "--batch-seconds",
                        "0.1",
                        "--no-request-accounting",
                        # Like the API, work on several batches at the same time.
                        *("--set", f"workers={_SIMULATOR_WORKERS}"),
                        *self._simulator_arguments,
                    ),
                )
            )
            self._emulator = resources.enter_context(
                Emulator.start(
                    self.folder / "emulator.log",
                    # S3 does not have to search for memory either.
                    EmulatorOptions(wait_scale=0.02, check_permissions=False, keeps_memory=True),
                )
            )
            self.s3 = self._client("s3")
            resources.callback(self.s3.close)
            self._states = self._client("stepfunctions")
            resources.callback(self._states.close)
            self._set_up()
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._emulator.endpoint_url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"mode": "standard"}, read_timeout=300),
        )

    def _set_up(self) -> None:
        self.s3.create_bucket(Bucket=BUCKET)
        self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        with contextlib.closing(self._client("secretsmanager")) as secrets:
            secrets.create_secret(Name=SECRET, SecretString=self.simulator.api_key)
        self.machine_arn = self._states.create_state_machine(
            name="bench", definition=_MACHINE, roleArn=_ROLE
        )["stateMachineArn"]

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the environment of the functions, with additional settings."""
        return {
            **aws_environment(self._emulator.endpoint_url),
            **DEFAULTS,
            # As on Lambda, functions build their clients when they are started.
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            # Lambda has botocore without awscrt, and so have the other tools here.
            "BOTO_DISABLE_CRT": "true",
            "BUCKET_NAME": BUCKET,
            "USES_EXISTING_BUCKET": "false",
            "GROQ_BASE_URL": self.simulator.groq_base_url,
            "GROQ_API_KEY_SECRET_NAME": SECRET,
            "STATE_MACHINE_ARN": self.machine_arn,
            "POWERTOOLS_SERVICE_NAME": "bench",
            "POWERTOOLS_METRICS_NAMESPACE": "GroqBatch",
            "POWERTOOLS_TRACE_DISABLED": "1",
            "TMPDIR": str(self.folder),
            "BENCH_LOG": str(log_file(self.folder)),
            **settings,
        }

    def client_environment(self) -> dict[str, str]:
        """Return the environment of a program that uses the bucket."""
        return aws_environment(self._emulator.endpoint_url)

    def functions(self, **settings: str) -> Functions:
        """Return the functions, to be started by a ``with`` block."""
        return Functions(self.environment(**settings))

    def machine(self, functions: Functions) -> StateMachine:
        """Return what drives jobs through the functions."""
        return StateMachine(
            functions, s3=self.s3, states=self._states, arn=self.machine_arn, bucket=BUCKET
        )

    def upload(self, path: Path, key: str) -> Mapping[str, str]:
        """Upload a file as a user does; returns its version id and ETag."""
        self.s3.upload_file(str(path), BUCKET, key)
        head = self.s3.head_object(Bucket=BUCKET, Key=key)
        return {"version_id": head["VersionId"], "etag": head["ETag"]}

    def clear(self) -> None:
        """Forget all objects, so that the next run finds the memory that this one took."""
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
            entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            if entries:
                self.s3.delete_objects(
                    Bucket=BUCKET,
                    Delete={
                        "Objects": [
                            {"Key": one["Key"], "VersionId": one["VersionId"]} for one in entries
                        ],
                        "Quiet": True,
                    },
                )
        self.simulator.control.reset()
