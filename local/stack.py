"""The whole system on this machine: emulated AWS, a Groq simulator, the real template deployed.

    with LocalStack() as stack:
        stack.put_secret("groq/api-key", stack.groq_api_key)
        outputs = stack.deploy("demo", {"GroqBaseUrl": stack.groq_base_url})
        stack.client("s3").upload_file("requests.jsonl", outputs["BucketName"], "input/a.jsonl")

The demo and the end-to-end tests use it. Everything ends with the ``with`` block, and also when
this process is killed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from local.build import Build, build_application
from local.emulator import Emulator, EmulatorOptions
from local.environment import REGION, ROOT_ACCESS_KEY, ROOT_SECRET_KEY, sam_environment
from local.function_limits import FunctionLimits
from local.groq_simulator import SimulatorControl
from local.processes import LocalStackError, run_program
from local.simulator_process import SimulatorProcess

__all__ = ["LocalStack", "LocalStackError"]

DEFAULT_WAIT_SCALE = 0.02
"""Step Functions' waits run 50 times faster."""

_DEPLOY_TIMEOUT_SECONDS = 180


class LocalStack:
    """An emulated AWS account with a Groq API, for the time of a ``with`` block.

    Attributes:
        region: Region of all that is deployed.
        log_dir: Folder of the logs of the emulator, the simulator and the SAM CLI.
    """

    region = REGION

    def __init__(
        self,
        *,
        wait_scale: float = DEFAULT_WAIT_SCALE,
        auth: bool = True,
        groq_url: str | None = None,
        simulator_arguments: tuple[str, ...] = (),
        log_dir: Path | None = None,
        limits: FunctionLimits | None = None,
    ) -> None:
        """Configure the stack; entering the ``with`` block starts it.

        Args:
            wait_scale: Factor for Step Functions' waits and retry intervals; 1 is real time.
            auth: Whether functions may do only what their roles allow, as on AWS.
            groq_url: A Groq API ending in ``/openai/v1``; a simulator is started when not given.
            simulator_arguments: More options for the simulator's command line.
            log_dir: Where the logs go; a temporary folder, removed at the end, when not given.
            limits: How many functions may run at once; what fits this machine when not given.
        """
        self._emulator_options = EmulatorOptions(
            wait_scale=wait_scale, check_permissions=auth, limits=limits
        )
        self._groq_url = groq_url
        self._simulator_arguments = simulator_arguments
        self._given_log_dir = log_dir
        self._resources = contextlib.ExitStack()
        self._clients: dict[str, Any] = {}
        self._build: Build | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as resources:
            scratch = resources.enter_context(tempfile.TemporaryDirectory(prefix="groq-batch-"))
            self._scratch = Path(scratch)
            self.log_dir = self._given_log_dir or self._scratch / "logs"
            self.log_dir.mkdir(parents=True, exist_ok=True)
            resources.callback(self._close_clients)
            self._simulator = self._start_simulator(resources)
            self._emulator = resources.enter_context(
                Emulator.start(self.log_dir / "emulator.log", self._emulator_options)
            )
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _start_simulator(self, resources: contextlib.ExitStack) -> SimulatorProcess | None:
        if self._groq_url is not None:
            return None
        return resources.enter_context(
            SimulatorProcess(
                log_file=self.log_dir / "simulator.log", arguments=self._simulator_arguments
            )
        )

    @property
    def endpoint_url(self) -> str:
        """Where the AWS APIs are."""
        return self._emulator.endpoint_url

    @property
    def groq_base_url(self) -> str:
        """Where the Groq API is, ending in ``/openai/v1``."""
        return self._groq_url or self._simulator_process.groq_base_url

    @property
    def simulator(self) -> SimulatorControl:
        """The simulator's remote control.

        Raises:
            LocalStackError: The stack runs against another API.
        """
        return self._simulator_process.control

    @property
    def groq_api_key(self) -> str:
        """A key that the simulator accepts.

        Raises:
            LocalStackError: The stack runs against another API.
        """
        return self._simulator_process.api_key

    @property
    def _simulator_process(self) -> SimulatorProcess:
        if self._simulator is None:
            raise LocalStackError("This stack runs against a Groq API of its own: no simulator.")
        return self._simulator

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service, made once. It acts as the account's root user."""
        if service not in self._clients:
            self._clients[service] = self._session().client(
                service, endpoint_url=self.endpoint_url, config=_CLIENT_CONFIG
            )
        return self._clients[service]

    def _session(self) -> Any:
        # Ignore the user's profile and settings, and the variables that would name them.
        session = botocore.session.Session(
            session_vars={
                "profile": (None, None, None, None),
                "config_file": (None, None, os.devnull, None),
                "credentials_file": (None, None, os.devnull, None),
            }
        )
        session.set_credentials(ROOT_ACCESS_KEY, ROOT_SECRET_KEY)
        return boto3.Session(botocore_session=session, region_name=self.region)

    def _close_clients(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def put_secret(self, name: str, value: str) -> None:
        """Write a secret, or a new value of it."""
        secrets = self.client("secretsmanager")
        try:
            secrets.create_secret(Name=name, SecretString=value)
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=name, SecretString=value)

    def use_build(self, build: Build) -> None:
        """Deploy this build instead of building when the first deployment needs it."""
        self._build = build

    def deploy(self, stack_name: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """Deploy the built template with the real ``sam deploy``, or update the stack.

        Args:
            stack_name: Name of the CloudFormation stack.
            parameters: The template's parameters; runtime and architecture are added.

        Returns:
            The stack's outputs.

        Raises:
            LocalStackError: ``sam build`` or ``sam deploy`` failed; its last words are in the
                message.
        """
        if self._build is None:
            self._build = build_application()
        log_file = self.log_dir / f"sam-deploy-{stack_name}.log"
        command = [sys.executable, "-m", "samcli", "deploy", "--stack-name", stack_name]
        command += ["--template-file", str(self._build.template), "--region", self.region]
        command += ["--resolve-s3", "--capabilities", "CAPABILITY_IAM"]
        command += ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]
        command += ["--parameter-overrides"]
        command += parameter_overrides({**self._build.parameters, **parameters})
        run_program(
            "sam deploy",
            command,
            environment=sam_environment(self._scratch / "sam", self.endpoint_url),
            log_file=log_file,
            # Run outside the project, because its samconfig.toml is for real accounts.
            directory=self._scratch,
            timeout_seconds=_DEPLOY_TIMEOUT_SECONDS,
        )
        return self.outputs(stack_name)

    def outputs(self, stack_name: str) -> dict[str, str]:
        """Return the outputs of a deployed stack."""
        stacks = self.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in stacks[0].get("Outputs", [])}

    def parameters(self, stack_name: str) -> dict[str, str]:
        """Return the parameters of a deployed stack, those with default values included."""
        stacks = self.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
        return {
            one["ParameterKey"]: one.get("ParameterValue", "")
            for one in stacks[0].get("Parameters", [])
        }

    def delete(self, stack_name: str) -> None:
        """Delete a stack and wait until it is gone.

        Raises:
            LocalStackError: It could not be deleted.
        """
        cloudformation = self.client("cloudformation")
        try:
            cloudformation.delete_stack(StackName=stack_name)
            cloudformation.get_waiter("stack_delete_complete").wait(
                StackName=stack_name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
            )
        except (ClientError, WaiterError) as error:
            raise LocalStackError(
                f"The stack {stack_name} could not be deleted: {error}"
            ) from error


def parameter_overrides(parameters: Mapping[str, str]) -> list[str]:
    """Return parameters as arguments of ``sam deploy --parameter-overrides``.

    The SAM CLI takes each argument apart once more, so that values need quotes of their own.
    """
    return [f'{name}="{value}"' for name, value in parameters.items()]


_CLIENT_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 3},
    connect_timeout=5,
    read_timeout=70,
    max_pool_connections=20,
    proxies={},
)
