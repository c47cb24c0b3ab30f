"""What AWS checks when a resource is made or updated must exist by then.

CloudFormation begins a resource as soon as all that it names is complete. Where AWS looks at a
role at that moment, the role alone does not do: a policy that stands apart from it
(``AWS::IAM::Policy``) comes some time after, and a check that comes first ends the deployment.
Neither a linter nor an emulator sees that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.infrastructure.stack import (
    ACCOUNT,
    Role,
    Stack,
    Statement,
    as_list,
    made_before,
    references,
    source,
    transformed,
)
from tests.infrastructure.test_functions import HANDLERS

KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"

VARIANTS: dict[str, dict[str, str]] = {
    "defaults": {},
    "all-options": {
        "KmsKeyArn": KEY,
        "NotificationEmail": "team@example.com",
        "PermissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
    },
    "given-bucket": {"ExistingBucketName": "bucket-of-before"},
}


@dataclass(frozen=True)
class Need:
    """What a role must be able to do when a resource is made.

    Attributes:
        resource: The resource whose creation AWS refuses otherwise.
        role: The role that is looked at.
        service: The service that takes the role.
        action: What it must be allowed, or nothing where AWS looks at the trust alone.
        target: On what.
    """

    resource: str
    role: str
    service: str
    action: str = ""
    target: str = "*"


def named(reference: str) -> str:
    """Return the resource that ``<Name>`` or ``<Name.Arn>`` stands for."""
    return reference.strip("<>").split(".")[0]


def needs(stack: Stack) -> Iterator[Need]:
    """Yield what AWS checks when the stack is made, or relies on at once."""
    for name, properties in stack.functions.items():
        yield from _needs_of_function(name, properties)
    for name, properties in stack.of_type("AWS::Lambda::EventInvokeConfig").items():
        function = named(properties["FunctionName"])
        role = named(stack.functions[function]["Role"])
        # "The function's execution role does not have permissions to call SendMessage on SQS".
        for destination in properties["DestinationConfig"].values():
            yield Need(
                name, role, "lambda.amazonaws.com", "sqs:SendMessage", destination["Destination"]
            )
    for name, properties in stack.of_type("AWS::StepFunctions::StateMachine").items():
        role = named(properties["RoleArn"])
        assert "LoggingConfiguration" not in properties, "its role is checked for nine actions"
        yield Need(name, role, "states.amazonaws.com")
        if properties["TracingConfiguration"]["Enabled"]:
            yield Need(name, role, "states.amazonaws.com", "xray:PutTraceSegments")
    for name, properties in stack.of_type("AWS::Scheduler::Schedule").items():
        target = properties["Target"]
        role = named(target["RoleArn"])
        yield Need(name, role, "scheduler.amazonaws.com")
        # A rate without a start fires as soon as it is made.
        yield Need(name, role, "scheduler.amazonaws.com", "lambda:InvokeFunction", target["Arn"])
        dead_letters = target["DeadLetterConfig"]["Arn"]
        yield Need(name, role, "scheduler.amazonaws.com", "sqs:SendMessage", dead_letters)


def _needs_of_function(name: str, properties: Mapping[str, Any]) -> Iterator[Need]:
    role = named(properties["Role"])
    yield Need(name, role, "lambda.amazonaws.com")
    # "The provided execution role does not have permissions to call PutTraceSegments on XRAY"
    # (https://github.com/aws/serverless-application-model/issues/217).
    if properties.get("TracingConfig", {}).get("Mode") == "Active":
        yield Need(name, role, "lambda.amazonaws.com", "xray:PutTraceSegments")
    if "DeadLetterConfig" in properties:
        target = properties["DeadLetterConfig"]["TargetArn"]
        yield Need(name, role, "lambda.amazonaws.com", "sqs:SendMessage", target)
    # Each of these is checked as well; whoever adds one says here what for.
    assert not {"VpcConfig", "FileSystemConfigs", "KmsKeyArn"} & set(properties), name


def role_by_then(template: Mapping[str, Any], stack: Stack, need: Need) -> Role | None:
    """Return what a role may do when a resource is made; None where the role may come later."""
    before = made_before(template, need.resource)
    if need.role not in before:
        return None
    documents = [one["PolicyDocument"] for one in stack.properties(need.role).get("Policies", [])]
    documents += [
        properties["PolicyDocument"]
        for name, properties in stack.of_type("AWS::IAM::Policy").items()
        if name in before and f"<{need.role}>" in properties["Roles"]
    ]
    written = [one for document in documents for one in as_list(document["Statement"])]
    return Role(tuple(map(Statement.read, written)))


def is_met(template: Mapping[str, Any], stack: Stack, need: Need) -> bool:
    """Tell whether AWS would find what it looks for."""
    role = role_by_then(template, stack, need)
    if role is None:
        return False
    (trust,) = stack.properties(need.role)["AssumeRolePolicyDocument"]["Statement"]
    if trust["Principal"] != {"Service": need.service}:
        return False
    return not need.action or role.allows(need.action, need.target)


def refused(template: Mapping[str, Any], **parameters: str) -> set[str]:
    """Return the resources that AWS would refuse to make."""
    stack = Stack.of(template, **parameters)
    return {need.resource for need in needs(stack) if not is_met(template, stack, need)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_everything_that_aws_checks_exists_by_then(variant: str):
    assert refused(transformed(), **VARIANTS[variant]) == set()


def test_the_walk_looks_at_every_kind_of_check():
    found = list(needs(Stack.deploy(**VARIANTS["all-options"])))
    assert {need.resource for need in found if need.action == "xray:PutTraceSegments"} == {
        *HANDLERS,
        "BatchJob",
    }
    assert {need.resource for need in found if need.action == "sqs:SendMessage"} == {
        "StartJobFunctionEventInvokeConfig",
        "CancelJobFunctionEventInvokeConfig",
        "StartJobFunctionSweep",
        "CancelJobFunctionReconcile",
    }
    assert {need.service for need in found} == {
        "lambda.amazonaws.com",
        "states.amazonaws.com",
        "scheduler.amazonaws.com",
    }


# -- keys ----------------------------------------------------------------------------------------


def _keys(value: Any) -> Iterator[Any]:
    """Yield what stands wherever a KMS key is named."""
    if isinstance(value, list):
        for one in value:
            yield from _keys(one)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name.lower() in ("kmskeyid", "kmsmasterkeyid"):
                yield part
            yield from _keys(part)


def test_a_key_exists_beforehand():
    """Logs makes no group, and Step Functions no machine, with a key that is not there."""
    found = list(_keys(source()["Resources"]))
    assert len(found) == 5
    for one in found:
        assert set(references(one)) <= {"KmsKeyArn", "AWS::NoValue"}
    assert "AWS::KMS::Key" not in str(source()["Resources"])
