"""Connect to AWS: find a stack, read its settings, and create boto3 clients.

Only this module imports boto3, and only on first use: the import takes longer than checking a file
of some megabytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from groq_batch.bucket.storage import Storage
from groq_batch.domain.job_options import NO_DEADLINE, JobOptions
from groq_batch_client.endpoints import check_endpoint, named_endpoint, refused_endpoint
from groq_batch_client.errors import AwsError, StackError, WrongArgumentError
from groq_batch_client.setting_names import ARGUMENTS, Words

DEFAULT_STACK_NAME = "groq-batch"
STACK_VARIABLE = "GROQ_BATCH_STACK"

NEEDED_OUTPUTS = ("BucketName", "StateMachineArn", "StartJobFunctionName")

_MAX_CONNECTIONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StackAddress:
    """Location of a stack.

    Attributes:
        stack_name: Name of the CloudFormation stack.
        region: AWS region; None means that of the AWS settings.
        profile: AWS profile; None means that of the AWS settings.
        endpoint_url: URL of all AWS APIs; None means AWS itself, or ``AWS_ENDPOINT_URL``.
        access_key: Keys for an emulator; None means those of the AWS settings.
    """

    stack_name: str
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    access_key: tuple[str, str] | None = None

    def session(self) -> Any:
        """Return a boto3 session with these settings."""
        import boto3  # noqa: PLC0415 - see the module's docstring
        import botocore.session  # noqa: PLC0415

        if self.access_key is None:
            return boto3.session.Session(profile_name=self.profile, region_name=self.region)
        # For an emulator on this machine, ignore the user's profile and settings.
        session = botocore.session.Session(
            session_vars={
                "profile": (None, None, None, None),
                "config_file": (None, None, os.devnull, None),
                "credentials_file": (None, None, os.devnull, None),
            }
        )
        session.set_credentials(*self.access_key)
        return boto3.session.Session(botocore_session=session, region_name=self.region)


@dataclass(slots=False)
class Stack:
    """A deployed stack.

    Attributes:
        target: The location at which it was found.
        outputs: Its outputs.
        parameters: Its parameters, including those with default values.
        session: The boto3 session.
    """

    target: StackAddress
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    session: Any
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the stack."""
        return self.target.stack_name

    @property
    def bucket(self) -> str:
        """Name of its bucket."""
        return self.outputs["BucketName"]

    @property
    def start_function(self) -> str:
        """Name of the function that starts jobs."""
        return self.outputs["StartJobFunctionName"]

    @cached_property
    def storage(self) -> Storage:
        """Its bucket."""
        return Storage(s3=self.client("s3"), bucket=self.bucket)

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service, created once."""
        if service not in self._clients:
            self._clients[service] = aws_client(self.session, self.target, service)
        return self._clients[service]

    def look_again(self) -> None:
        """Read the parameters again, as a deployment may have changed them."""
        found = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        self.parameters = _parameters(found)

    def client_that_calls_once(self, service: str) -> Any:
        """Return a client without retries, for calls that are not idempotent."""
        return aws_client(self.session, self.target, service, retries=0)

    def execution_arn(self, name: str) -> str:
        """Return the ARN of the execution of a job, which has the same name."""
        machine = self.outputs["StateMachineArn"]
        return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"

    # -- settings --------------------------------------------------------------------------------

    @property
    def starts_on_upload(self) -> bool:
        """Whether uploads start their jobs at once."""
        return self.parameters.get("TriggerMode") != "schedule"

    @property
    def is_paused(self) -> bool:
        """Whether neither uploads nor the schedule start jobs."""
        return self.parameters.get("Paused") == "true"

    @property
    def holds_uploads(self) -> bool:
        """Whether uploads may wait a long time for their jobs."""
        return not self.starts_on_upload or self.is_paused

    @property
    def default_options(self) -> JobOptions:
        """The default options of uploads."""
        return JobOptions(
            completion_window=self.parameters["CompletionWindow"],
            skip_invalid_lines=self.parameters["OnInvalidLine"] == "skip",
            max_attempts=int(self.parameters["MaxAttempts"]),
            max_job_cost_usd=float(self.parameters["MaxJobCostUsd"]),
            check_models=self.parameters.get("CheckModels") != "false",
            # Stacks of earlier versions lack these.
            canary_requests=int(self.parameters.get("CanaryRequests", 0)),
            canary_max_failed_percent=int(self.parameters.get("CanaryMaxFailedPercent", 50)),
            batch_deadline=self.parameters.get("BatchDeadline", "").replace(NO_DEADLINE, ""),
            deadline_max_usd=float(self.parameters.get("DeadlineMaxUsd", 0)),
            retry_invalid_output=self.parameters.get("RetryInvalidOutput") == "true",
        )

    @property
    def work_retention_days(self) -> int:
        """How long it keeps the working files of a job."""
        return int(self.parameters["WorkRetentionDays"])


def find_stack(target: StackAddress, *, words: Words = ARGUMENTS) -> Stack:
    """Find a deployed stack.

    Args:
        target: Its location.
        words: Names of the stack settings in messages.

    Raises:
        StackError: No stack has this name, or it is not a Groq Batch stack.
        AwsError: Credentials or a region are missing.
        WrongArgumentError: An argument has an invalid region.
    """
    from botocore.exceptions import (  # noqa: PLC0415 - see the module's docstring
        ClientError,
        InvalidRegionError,
        NoRegionError,
    )

    session = target.session()
    try:
        cloudformation = aws_client(session, target, "cloudformation")
    except NoRegionError:
        if session.get_credentials() is not None:
            raise
        raise AwsError(words.no_credentials_no_region) from None
    except InvalidRegionError:
        # Without an argument the region comes from the settings.
        if target.region is None or target.region == os.environ.get("AWS_REGION"):
            raise
        raise WrongArgumentError(f"{target.region!r} is not the name of a region.") from None
    try:
        found = cloudformation.describe_stacks(StackName=target.stack_name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        region = cloudformation.meta.region_name
        where = f" at {target.endpoint_url}" if target.endpoint_url else f" in {region}"
        raise StackError(
            f"There is no stack {target.stack_name}{where}. Name yours with {words.stack} or "
            f"{STACK_VARIABLE}, its region with {words.region}, or deploy it: sam build && sam "
            f"deploy"
        ) from None
    outputs = {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}
    if not all(name in outputs for name in NEEDED_OUTPUTS):
        status = found.get("StackStatus", "")
        raise StackError(
            f"The stack {target.stack_name} ({status}) has no output {NEEDED_OUTPUTS[0]}: it is "
            f"another application, or its deployment is not complete."
        )
    return Stack(target=target, outputs=outputs, parameters=_parameters(found), session=session)


def _parameters(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters from CloudFormation's description of a stack."""
    return {
        one["ParameterKey"]: one.get("ParameterValue", "") for one in found.get("Parameters", [])
    }


def aws_client(session: Any, target: StackAddress, service: str, *, retries: int = 5) -> Any:
    """Return the boto3 client of a service.

    Raises:
        GroqBatchError: Its endpoint is not a URL.
    """
    from botocore.config import Config  # noqa: PLC0415 - see the module's docstring

    named = named_endpoint(service, target.endpoint_url, os.environ)
    if named is not None:
        check_endpoint(*named)
    config = Config(
        retries={"mode": "standard", "max_attempts": retries},
        connect_timeout=10,
        read_timeout=120,
        max_pool_connections=_MAX_CONNECTIONS,
        user_agent_extra="groq-batch-cli",
    )
    try:
        return session.client(service, endpoint_url=target.endpoint_url, config=config)
    except ValueError as error:
        refusal = refused_endpoint(error, named)
        if refusal is None:
            raise
        raise refusal from None
