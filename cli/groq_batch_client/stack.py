"""How AWS is reached: the stack that was named, its settings, and clients for it.

boto3 is imported only here and only when it is needed: importing it takes longer than checking a
file of some megabytes.
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

_MOST_CONNECTIONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StackAddress:
    """Where a stack is.

    Attributes:
        stack_name: Name of the CloudFormation stack.
        region: Region; the AWS settings' own when None.
        profile: Profile of the AWS settings; the default one when None.
        endpoint_url: Where all AWS APIs are; AWS itself, or what ``AWS_ENDPOINT_URL`` says, when
            None.
        access_key: Keys for an emulator; those of the AWS settings when None.
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
        # An emulator on this machine: nobody's own profile or settings are looked at.
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
        target: How it was found.
        outputs: The outputs of its template.
        parameters: The parameters of its template, those with default values included.
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
        """Return the boto3 client of a service, made once."""
        if service not in self._clients:
            self._clients[service] = aws_client(self.session, self.target, service)
        return self._clients[service]

    def look_again(self) -> None:
        """Take over the parameters as they are now: a deployment may have changed them."""
        found = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        self.parameters = _parameters(found)

    def client_that_calls_once(self, service: str) -> Any:
        """Return a client for calls that have their effect anew each time they are repeated."""
        return aws_client(self.session, self.target, service, retries=0)

    def execution_arn(self, name: str) -> str:
        """Return the ARN of an execution, whose name is that of its job."""
        machine = self.outputs["StateMachineArn"]
        return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"

    # -- settings --------------------------------------------------------------------------------

    @property
    def starts_on_upload(self) -> bool:
        """Whether an upload starts its job at once."""
        return self.parameters.get("TriggerMode") != "schedule"

    @property
    def is_paused(self) -> bool:
        """Whether neither uploads nor the schedule start jobs."""
        return self.parameters.get("Paused") == "true"

    @property
    def holds_uploads(self) -> bool:
        """Whether uploads may wait for long before they have a job."""
        return not self.starts_on_upload or self.is_paused

    @property
    def default_options(self) -> JobOptions:
        """The options of an upload that brings none of its own."""
        return JobOptions(
            completion_window=self.parameters["CompletionWindow"],
            skip_invalid_lines=self.parameters["OnInvalidLine"] == "skip",
            max_attempts=int(self.parameters["MaxAttempts"]),
            max_job_cost_usd=float(self.parameters["MaxJobCostUsd"]),
            check_models=self.parameters.get("CheckModels") != "false",
            # A stack of an earlier version has none of these.
            canary_requests=int(self.parameters.get("CanaryRequests", 0)),
            canary_max_failed_percent=int(self.parameters.get("CanaryMaxFailedPercent", 50)),
            batch_deadline=self.parameters.get("BatchDeadline", "").replace(NO_DEADLINE, ""),
            deadline_max_usd=float(self.parameters.get("DeadlineMaxUsd", 0)),
            retry_invalid_output=self.parameters.get("RetryInvalidOutput") == "true",
        )

    @property
    def work_retention_days(self) -> int:
        """How long it keeps a job's work."""
        return int(self.parameters["WorkRetentionDays"])


def find_stack(target: StackAddress, *, words: Words = ARGUMENTS) -> Stack:
    """Find a deployed stack.

    Args:
        target: Where it is.
        words: What messages call the settings that name it.

    Raises:
        StackError: There is none of this name, or it is a stack of something else.
        AwsError: Neither credentials nor a region are set.
        WrongArgumentError: An argument names a region that there cannot be.
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
        raise WrongArgumentError(f"{target.region!r} is not a name of a region.") from None
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
            f"another application's, or its deployment has not come to an end."
        )
    return Stack(target=target, outputs=outputs, parameters=_parameters(found), session=session)


def _parameters(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of a stack as CloudFormation describes it."""
    return {
        one["ParameterKey"]: one.get("ParameterValue", "") for one in found.get("Parameters", [])
    }


def aws_client(session: Any, target: StackAddress, service: str, *, retries: int = 5) -> Any:
    """Return the boto3 client of a service.

    Raises:
        GroqBatchError: Its endpoint is no address.
    """
    from botocore.config import Config  # noqa: PLC0415 - see the module's docstring

    named = named_endpoint(service, target.endpoint_url, os.environ)
    if named is not None:
        check_endpoint(*named)
    config = Config(
        retries={"mode": "standard", "max_attempts": retries},
        connect_timeout=10,
        read_timeout=120,
        max_pool_connections=_MOST_CONNECTIONS,
        user_agent_extra="groq-batch-cli",
    )
    try:
        return session.client(service, endpoint_url=target.endpoint_url, config=config)
    except ValueError as error:
        refusal = refused_endpoint(error, named)
        if refusal is None:
            raise
        raise refusal from None
