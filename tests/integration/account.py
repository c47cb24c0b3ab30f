"""An AWS account in moto with a stack's bucket, secret and state machine, and its functions.

The functions get the environment that the template gives them, and every call that they make is
held against the role that the template gives them: moto lets everything pass, AWS does not.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.client import BaseClient
from moto import mock_aws
from moto.s3.models import s3_backends
from moto.stepfunctions.models import stepfunctions_backends

from groq_batch import bootstrap
from local.groq_simulator import DEFAULT_KEY
from tests.infrastructure.stack import ACCOUNT, PROJECT, Role, Stack
from tests.infrastructure.test_functions import HANDLERS
from tests.integration.aws_session import REGION, shared_session

EVENTS = PROJECT / "events"
FUNCTIONS = {folder: name for name, folder in HANDLERS.items()}
BUS_LOG = "/aws/events/ended"
_ACTIONS_ON_A_KEY = {
    **dict.fromkeys(
        ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"),
        "s3:PutObject",
    ),
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
}
"""What operations on one key ask for; with an ``If-Match`` also ``s3:GetObject``
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-delete-enforce.html)."""


def stored(name: str) -> dict[str, Any]:
    """Return one of the stored events."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text("utf-8"))
    return event


UPLOAD = stored("start_job/s3_object_created")["detail"]
BUCKET: str = UPLOAD["bucket"]["name"]
KEY: str = UPLOAD["object"]["key"]
STATUS_CHANGE = stored("cancel_job/execution_aborted")["detail"]
MACHINE: str = STATUS_CHANGE["stateMachineArn"]
JOB: str = STATUS_CHANGE["name"]


@dataclass(frozen=True)
class AwsCall:
    """One call of an AWS API."""

    operation: str
    parameters: Mapping[str, Any]

    def permissions(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Yield what AWS asks the caller's role for: action, resource and context."""
        given = self.parameters
        if self.operation in ("HeadObject", "GetObject"):
            action = "s3:GetObjectVersion" if "VersionId" in given else "s3:GetObject"
            yield action, f"<Bucket.Arn>/{given['Key']}", {}
            # Without it a key that does not exist is answered with 403.
            yield "s3:ListBucket", "<Bucket.Arn>", {"s3_prefix": given["Key"]}
        elif self.operation in _ACTIONS_ON_A_KEY:
            yield _ACTIONS_ON_A_KEY[self.operation], f"<Bucket.Arn>/{given['Key']}", {}
            if "IfMatch" in given:
                yield "s3:GetObject", f"<Bucket.Arn>/{given['Key']}", {}
        elif self.operation == "UploadPartCopy":
            yield "s3:PutObject", f"<Bucket.Arn>/{given['Key']}", {}
            source = given["CopySource"]
            action = "s3:GetObjectVersion" if "VersionId" in source else "s3:GetObject"
            yield action, f"<Bucket.Arn>/{source['Key']}", {}
        elif self.operation == "AbortMultipartUpload":
            yield "s3:AbortMultipartUpload", f"<Bucket.Arn>/{given['Key']}", {}
        elif self.operation in ("DeleteObject", "DeleteObjects"):
            yield from self._deletions()
        elif self.operation == "ListObjectsV2":
            yield "s3:ListBucket", "<Bucket.Arn>", {"s3_prefix": given["Prefix"]}
        elif self.operation == "ListObjectVersions":
            yield "s3:ListBucketVersions", "<Bucket.Arn>", {"s3_prefix": given["Prefix"]}
        else:
            yield from self._other_permissions()

    def _deletions(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Yield what it takes to remove objects: where an ETag is compared first, also to read.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-delete-enforce.html
        """
        given = self.parameters
        objects = given["Delete"]["Objects"] if "Delete" in given else [given]
        for one in objects:
            yield "s3:DeleteObject", f"<Bucket.Arn>/{one['Key']}", {}
            if "ETag" in one or "IfMatch" in one:
                yield "s3:GetObject", f"<Bucket.Arn>/{one['Key']}", {}

    def _other_permissions(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        given = self.parameters
        arn = f"arn:aws:{{}}:{REGION}:{ACCOUNT}:"
        if self.operation == "GetBucketVersioning":
            yield "s3:GetBucketVersioning", "<Bucket.Arn>", {}
        elif self.operation == "GetBucketNotificationConfiguration":
            yield "s3:GetBucketNotification", "<Bucket.Arn>", {}
        elif self.operation == "StartExecution":
            assert given["stateMachineArn"] == MACHINE
            yield "states:StartExecution", "<BatchJob>", {}
        elif self.operation == "DescribeExecution":
            name = given["executionArn"].rsplit(":", 1)[-1]
            resource = f"{arn.format('states')}execution:<BatchJob.Name>:{name}"
            yield "states:DescribeExecution", resource, {}
        elif self.operation == "ListExecutions":
            assert given["stateMachineArn"] == MACHINE
            yield "states:ListExecutions", "<BatchJob>", {}
        elif self.operation == "GetSecretValue":
            resource = f"{arn.format('secretsmanager')}secret:{given['SecretId']}-a1B2c3"
            yield "secretsmanager:GetSecretValue", resource, {}
        elif self.operation == "PutEvents":
            for entry in given["Entries"]:
                resource = f"{arn.format('events')}event-bus/default"
                yield "events:PutEvents", resource, {"events_source": entry["Source"]}
        else:
            raise NotImplementedError(f"What does {self.operation} ask for?")


@dataclass
class Account:
    """The account, as root sees it, and the functions, with no more than their roles."""

    context: LambdaContext
    stack: Stack
    s3: Any
    states: Any
    events: Any
    logs: Any
    recorded: list[AwsCall] | None = None
    calls: list[AwsCall] = field(default_factory=list)
    warm: str | None = None

    # -- functions -------------------------------------------------------------------------------

    def invoke(self, folder: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke a function; fails when it does what its role does not allow."""
        handler = importlib.import_module(f"{folder}.app").lambda_handler
        if folder != self.warm:
            # Functions share no memory on AWS: each has to read the key itself.
            bootstrap.reset()
            self.warm = folder
        self.recorded = []
        try:
            # Step Functions and Lambda pass JSON, so nothing else may come in or go out.
            answer: dict[str, Any] = json.loads(
                json.dumps(handler(json.loads(json.dumps(event)), self.context))
            )
        finally:
            self.calls, self.recorded = self.recorded, None
        self._check_permissions(self.stack.role(f"{FUNCTIONS[folder]}Role"))
        return answer

    def _check_permissions(self, role: Role) -> None:
        for call in self.calls:
            for action, resource, context in call.permissions():
                named = resource.replace("<Bucket.Arn>", self.bucket_arn)
                assert role.allows(action, named, **context), (action, named, context)

    @property
    def bucket_arn(self) -> str:
        """The ARN of the bucket, as the stack's policies name it."""
        given = self.stack.parameters["ExistingBucketName"]
        return f"arn:aws:s3:::{given}" if given else "<Bucket.Arn>"

    def count(self, *operations: str) -> int:
        """Return how often the last invocation called some operations."""
        return sum(call.operation in operations for call in self.calls)

    # -- bucket ----------------------------------------------------------------------------------

    def upload(self, key: str, data: bytes, **options: str) -> str:
        """Upload a file and return its version."""
        metadata = {name.replace("_", "-"): value for name, value in options.items()}
        answer = self.s3.put_object(Bucket=BUCKET, Key=key, Body=data, Metadata=metadata)
        return str(answer.get("VersionId"))

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below a prefix."""
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", [])]

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""
        return bytes(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def json(self, key: str) -> dict[str, Any]:
        """Return a JSON object."""
        value: dict[str, Any] = json.loads(self.read(key))
        return value

    def age(self, key: str, seconds: float) -> None:
        """Make an object older than it is, which S3 has no call for."""
        stored_key = s3_backends[ACCOUNT]["aws"].get_object(BUCKET, key)
        assert stored_key is not None
        stored_key.last_modified -= timedelta(seconds=seconds)

    # -- executions ------------------------------------------------------------------------------

    def executions(self) -> dict[str, dict[str, Any]]:
        """Return the input of every execution by name."""
        found = self.states.list_executions(stateMachineArn=MACHINE)["executions"]
        return {
            one["name"]: json.loads(
                self.states.describe_execution(executionArn=one["executionArn"])["input"]
            )
            for one in found
        }

    def end_execution(self, name: str, status: str, error: str | None = None) -> None:
        """Let an execution end, which moto can do by itself only for a stop."""
        backend = stepfunctions_backends[ACCOUNT][REGION]
        execution = backend.describe_execution(self.execution_arn(name))
        execution.status, execution.error = status, error

    @staticmethod
    def execution_arn(name: str) -> str:
        """Return the ARN of one of the machine's executions."""
        return f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}"

    # -- events ----------------------------------------------------------------------------------

    def published(self) -> list[dict[str, Any]]:
        """Return what was published on the event bus."""
        streams = self.logs.describe_log_streams(logGroupName=BUS_LOG)["logStreams"]
        return [
            json.loads(entry["message"])
            for stream in streams
            for entry in self.logs.get_log_events(
                logGroupName=BUS_LOG, logStreamName=stream["logStreamName"]
            )["events"]
        ]


_CLIENTS = {"s3": "s3", "states": "stepfunctions", "events": "events", "logs": "logs"}


@contextmanager
def account(
    patch: pytest.MonkeyPatch, context: LambdaContext, **parameters: str
) -> Iterator[Account]:
    """Make the account with what the stack with these parameters makes of it."""
    stack = Stack.deploy(**parameters)
    with mock_aws():
        made = Account(
            context=context,
            stack=stack,
            **{name: shared_session().client(service) for name, service in _CLIENTS.items()},
        )
        _set_up_bucket(made.s3)
        machine = made.states.create_state_machine(
            name=MACHINE.rsplit(":", 1)[-1],
            definition="{}",
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/machine",
        )
        assert machine["stateMachineArn"] == MACHINE
        shared_session().client("secretsmanager").create_secret(
            Name=stack.parameters["GroqApiKeySecretName"], SecretString=DEFAULT_KEY
        )
        made.logs.create_log_group(logGroupName=BUS_LOG)
        made.events.put_rule(Name="ended", EventPattern='{"source": ["groq-batch"]}')
        log_arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{BUS_LOG}"
        made.events.put_targets(Rule="ended", Targets=[{"Id": "log", "Arn": log_arn}])
        _record_calls(patch, made)
        patch.setattr(boto3.session, "Session", shared_session)
        for name, value in stack.environment("StartJobFunction").items():
            filled_in = value.replace("<Bucket>", BUCKET).replace("<BatchJob>", MACHINE)
            patch.setenv(name, filled_in)
        bootstrap.reset()
        try:
            yield made
        finally:
            bootstrap.reset()


def _set_up_bucket(s3: Any) -> None:
    """Make the bucket as the template does, also where the stack takes over one like it."""
    settings = Stack.deploy().properties("Bucket")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration=settings["VersioningConfiguration"]
    )
    assert settings["NotificationConfiguration"]["EventBridgeConfiguration"] == {
        "EventBridgeEnabled": True
    }
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )


def _record_calls(patch: pytest.MonkeyPatch, made: Account) -> None:
    make_call = BaseClient._make_api_call

    def recording(client: Any, operation: str, parameters: Any) -> Any:
        if made.recorded is not None:
            # boto3 puts the text of a header in the place of a copy's source.
            made.recorded.append(AwsCall(operation, dict(parameters)))
        answer = make_call(client, operation, parameters)
        if operation == "GetBucketNotificationConfiguration":
            # moto keeps this setting, and leaves it out of the answer.
            bucket = s3_backends[ACCOUNT]["aws"].buckets[parameters["Bucket"]]
            kept = bucket.notification_configuration
            if kept is not None and kept.event_bridge is not None:
                answer["EventBridgeConfiguration"] = {}
        return answer

    patch.setattr(BaseClient, "_make_api_call", recording)
