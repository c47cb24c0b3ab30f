"""What each role may do: what its function calls, under the prefixes that it works on."""

from __future__ import annotations

import re

import pytest

from groq_batch.domain import object_keys
from tests.infrastructure.stack import ACCOUNT, Stack, as_list, transformed
from tests.infrastructure.test_functions import HANDLERS

SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:groq/api-key"
EXECUTIONS = f"arn:aws:states:us-east-1:{ACCOUNT}:execution:<BatchJob.Name>"
BUS = f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"

INPUTS = {object_keys.INPUT_PREFIX, object_keys.RECURRING_PREFIX}
OUTPUTS = {object_keys.OUTPUT_PREFIX, object_keys.FAILED_PREFIX, object_keys.INVALID_PREFIX}
JOBS, WORK, REPORTS = (
    {object_keys.JOBS_PREFIX},
    {object_keys.WORK_PREFIX},
    {object_keys.REPORTS_PREFIX},
)
USAGE = {object_keys.USAGE_PREFIX}
OPEN_JOBS = {object_keys.OPEN_JOBS_PREFIX}
SWEEP = {object_keys.SWEEP_KEY}
HALT = {"work/*/halt.json"}
BULK = set(object_keys.WorkKeys("*").bulk)

S3_GRANTS: dict[str, dict[str, set[str]]] = {
    "StartJobFunction": {
        "ListBucketVersions": INPUTS,
        "ListBucket": JOBS | OPEN_JOBS | SWEEP,
        "GetObject": JOBS | OPEN_JOBS | SWEEP,
        "PutObject": JOBS | OPEN_JOBS | SWEEP,
    },
    "PrepareInputFunction": {
        "ListBucketVersions": INPUTS,
        "ListBucket": INPUTS | JOBS | WORK | REPORTS | OUTPUTS,
        "GetObject": INPUTS | JOBS | WORK | REPORTS | OUTPUTS,
        "GetObjectVersion": INPUTS,
        "PutObject": WORK | REPORTS,
        "AbortMultipartUpload": WORK,
        "DeleteObject": OUTPUTS,
    },
    "SubmitBatchFunction": {
        "ListBucket": WORK,
        "GetObject": WORK,
        "PutObject": WORK,
    },
    "CheckStatusFunction": {
        "ListBucket": JOBS | WORK | REPORTS,
        "GetObject": JOBS | WORK | REPORTS,
        "PutObject": WORK | REPORTS,
        "AbortMultipartUpload": WORK,
        "DeleteObject": HALT,
    },
    "DownloadResultsFunction": {
        "ListBucket": JOBS | WORK,
        "GetObject": JOBS | WORK,
        "PutObject": WORK,
        "AbortMultipartUpload": WORK,
    },
    "AnswerRequestsFunction": {
        "ListBucket": WORK,
        "GetObject": WORK,
        "PutObject": WORK,
    },
    "FinishJobFunction": {
        "ListBucketVersions": INPUTS,
        "ListBucket": JOBS | WORK | REPORTS | OUTPUTS | USAGE,
        "GetObject": JOBS | WORK | REPORTS | OUTPUTS | USAGE,
        "PutObject": WORK | REPORTS | OUTPUTS | USAGE,
        "AbortMultipartUpload": WORK | OUTPUTS,
        "DeleteObject": REPORTS | OUTPUTS | OPEN_JOBS | BULK,
    },
    "CancelJobFunction": {
        "ListBucketVersions": INPUTS,
        "ListBucket": JOBS | WORK | REPORTS | OUTPUTS | USAGE,
        "GetObject": JOBS | WORK | REPORTS | OUTPUTS | USAGE,
        "PutObject": JOBS | WORK | REPORTS | OUTPUTS | USAGE,
        "AbortMultipartUpload": WORK | OUTPUTS,
        "DeleteObject": REPORTS | OUTPUTS | OPEN_JOBS,
    },
    "BatchJob": {
        "ListBucket": WORK,
        "GetObject": {"work/*/maps/"},
        "PutObject": {"work/*/maps/"},
        "AbortMultipartUpload": {"work/*/maps/"},
        "ListMultipartUploadParts": {"work/*/maps/"},
    },
}

BASICS = {
    ("logs:CreateLogStream", "<LogGroup.Arn>"),
    ("logs:PutLogEvents", "<LogGroup.Arn>"),
    ("xray:PutTraceSegments", "*"),
    ("xray:PutTelemetryRecords", "*"),
    ("kms:Decrypt", "*"),
}
"""What every function does."""

# The bare name is what is asked for when there is no such secret: the answer then says so.
SECRET_GRANTS = {
    ("secretsmanager:GetSecretValue", f"{SECRET}-??????"),
    ("secretsmanager:GetSecretValue", SECRET),
}

OTHER_GRANTS: dict[str, set[tuple[str, str]]] = {
    "StartJobFunction": {
        *BASICS,
        ("states:StartExecution", "<BatchJob>"),
        ("sqs:SendMessage", "<DeadLetterQueue.Arn>"),
    },
    "PrepareInputFunction": BASICS,
    "SubmitBatchFunction": BASICS | SECRET_GRANTS,
    "CheckStatusFunction": BASICS | SECRET_GRANTS,
    "DownloadResultsFunction": BASICS | SECRET_GRANTS,
    "AnswerRequestsFunction": BASICS | SECRET_GRANTS,
    "FinishJobFunction": {
        *BASICS,
        *SECRET_GRANTS,
        ("events:PutEvents", BUS),
    },
    "CancelJobFunction": {
        *BASICS,
        *SECRET_GRANTS,
        ("events:PutEvents", BUS),
        ("states:StartExecution", "<BatchJob>"),
        ("states:DescribeExecution", f"{EXECUTIONS}:*"),
        ("states:ListExecutions", "<BatchJob>"),
        ("sqs:SendMessage", "<DeadLetterQueue.Arn>"),
    },
    "BatchJob": {
        ("xray:PutTraceSegments", "*"),
        ("xray:PutTelemetryRecords", "*"),
        ("xray:GetSamplingRules", "*"),
        ("xray:GetSamplingTargets", "*"),
        *(
            ("lambda:InvokeFunction", f"<{name}.Arn>")
            for name in HANDLERS
            if name != "StartJobFunction"
        ),
        ("states:StartExecution", "<BatchJob>"),
        ("states:DescribeExecution", f"{EXECUTIONS}:*"),
        ("states:DescribeExecution", f"{EXECUTIONS}/*:*"),
        ("states:StopExecution", f"{EXECUTIONS}:*"),
        ("states:StopExecution", f"{EXECUTIONS}/*:*"),
        ("states:RedriveExecution", f"{EXECUTIONS}/*:*"),
    },
}


@pytest.mark.parametrize("name", S3_GRANTS)
def test_grants_on_the_bucket(stack: Stack, name: str):
    expected = {
        (f"s3:{action}", f"<Bucket.Arn>/{prefix}" + ("" if prefix in HALT | SWEEP else "*"))
        for action, prefixes in S3_GRANTS[name].items()
        for prefix in prefixes
    }
    granted = {one for one in stack.role(f"{name}Role").grants() if one[0].startswith("s3:")}
    assert granted == expected


@pytest.mark.parametrize("name", OTHER_GRANTS)
def test_grants_beyond_the_bucket(stack: Stack, name: str):
    granted = {one for one in stack.role(f"{name}Role").grants() if not one[0].startswith("s3:")}
    assert granted == OTHER_GRANTS[name]


def test_one_role_for_each_that_acts(stack: Stack):
    assert set(stack.of_type("AWS::IAM::Role")) == set(TRUSTED)
    used = [properties["Role"] for properties in stack.functions.values()]
    assert sorted(used) == sorted(f"<{name}Role.Arn>" for name in HANDLERS)


TRUSTED = {
    **dict.fromkeys((f"{name}Role" for name in HANDLERS), "lambda.amazonaws.com"),
    "BatchJobRole": "states.amazonaws.com",
    "StartJobFunctionSweepRole": "scheduler.amazonaws.com",
    "CancelJobFunctionReconcileRole": "scheduler.amazonaws.com",
}


def test_roles_can_be_taken_by_one_service_of_this_account(stack: Stack):
    for name, properties in stack.of_type("AWS::IAM::Role").items():
        (statement,) = properties["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Action"] == "sts:AssumeRole"
        assert statement["Principal"] == {"Service": TRUSTED[name]}
        if TRUSTED[name] == "lambda.amazonaws.com":
            # Lambda takes a role for the functions of its own account only, and names no source.
            assert "Condition" not in statement
        else:
            # Against a service that is made to act for somebody else:
            # https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
            assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_no_policy_is_of_somebody_else(stack: Stack):
    for name, properties in stack.of_type("AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in properties, name
        assert "PermissionsBoundary" not in properties
    assert not stack.of_type("AWS::IAM::ManagedPolicy")


def test_boundary_is_around_every_role():
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
    stack = Stack.deploy(PermissionsBoundaryArn=boundary)
    roles = stack.of_type("AWS::IAM::Role")
    assert len(roles) == len(TRUSTED)
    assert {properties["PermissionsBoundary"] for properties in roles.values()} == {boundary}


def test_statements_have_names_of_their_own(stack: Stack):
    for name, role in stack.roles.items():
        sids = [statement.sid for statement in role.statements]
        assert len(sids) == len(set(sids)), name


def test_no_wildcard_where_a_name_is_known(stack: Stack):
    for name in stack.of_type("AWS::IAM::Role"):
        for action, resource in stack.role(name).grants():
            assert "*" not in action
            if resource == "*":
                # Traces are no resources that could be named, and nobody knows the keys that the
                # bucket had before.
                assert action.startswith("xray:") or action == "kms:Decrypt", name
                continue
            # What comes before the first star names the bucket or the machine.
            fixed = re.split(r"[*?]", resource)[0]
            known = ("<Bucket.Arn>/", "<", EXECUTIONS, BUS)
            assert fixed.startswith(known) or fixed in (SECRET, f"{SECRET}-"), (name, resource)


def test_lists_are_confined_to_prefixes(stack: Stack):
    for name in S3_GRANTS:
        for statement in stack.role(f"{name}Role").statements:
            if "<Bucket.Arn>" in statement.resources:
                assert set(statement.actions) <= {"s3:ListBucket", "s3:ListBucketVersions"}
                (condition,) = (one for one in statement.conditions if one[0] == "StringLike")
                assert condition[1] == "s3:prefix"
                assert "*" not in condition[2]


@pytest.mark.parametrize("parameters", [{}, {"ExistingBucketName": "bucket-of-before"}])
def test_bucket_has_to_be_of_the_stacks_account(parameters: dict[str, str]):
    """A bucket's name that is free again, or is mistyped, may be a stranger's."""
    stack, seen = Stack.deploy(**parameters), 0
    for name, role in stack.roles.items():
        for statement in role.statements:
            if any(action.startswith("s3:") for action in statement.actions):
                own = ("StringEquals", "aws:ResourceAccount", (ACCOUNT,))
                assert own in statement.conditions, (name, statement.sid)
                seen += 1
    assert seen > 30
    role = stack.role("PrepareInputFunctionRole")
    bucket = "arn:aws:s3:::bucket-of-before" if parameters else "<Bucket.Arn>"
    for account in (ACCOUNT, "210987654321"):
        assert role.allows("s3:PutObject", f"{bucket}/work/a", aws_ResourceAccount=account) == (
            account == ACCOUNT
        )


@pytest.mark.parametrize("name", HANDLERS)
def test_a_missing_object_is_answered_with_404(stack: Stack, name: str):
    """S3 answers 403 for a key that is not there to those who may not list its prefix."""
    role = stack.role(f"{name}Role")
    readable = {
        resource.removeprefix("<Bucket.Arn>/").replace("*", "x")
        for action, resource in role.grants()
        if action == "s3:GetObject"
    }
    assert readable
    for key in readable:
        assert role.allows("s3:ListBucket", "<Bucket.Arn>", s3_prefix=key), key


def test_conditional_writes_may_read(stack: Stack):
    """``If-Match`` needs the permission to read as well."""
    for name in HANDLERS:
        role = stack.role(f"{name}Role")
        written = {resource for action, resource in role.grants() if action == "s3:PutObject"}
        read = {resource for action, resource in role.grants() if action == "s3:GetObject"}
        assert written <= read, name


def test_only_events_of_this_application_can_be_published(stack: Stack):
    for name in ("FinishJobFunction", "CancelJobFunction"):
        role = stack.role(f"{name}Role")
        assert role.allows("events:PutEvents", BUS, events_source="groq-batch")
        assert not role.allows("events:PutEvents", BUS, events_source="other")
        assert not role.allows("events:PutEvents", f"{BUS}2", events_source="groq-batch")


def test_secret_is_the_one_named(stack: Stack):
    role = stack.role("SubmitBatchFunctionRole")
    assert role.allows("secretsmanager:GetSecretValue", f"{SECRET}-a1B2c3")
    assert not role.allows("secretsmanager:GetSecretValue", f"{SECRET}-other-a1B2c3")
    assert not role.allows("secretsmanager:GetSecretValue", f"{SECRET}2-a1B2c3")
    other = Stack.deploy(GroqApiKeySecretName="mine").role("SubmitBatchFunctionRole")
    assert not other.allows("secretsmanager:GetSecretValue", f"{SECRET}-a1B2c3")


def test_children_of_the_maps_are_the_machines_own(stack: Stack):
    role = stack.role("BatchJobRole")
    child = f"{EXECUTIONS}/Submit:0f1e2d3c-0000-0000-0000-000000000000"
    assert role.allows("states:StartExecution", "<BatchJob>")
    for action in ("DescribeExecution", "StopExecution", "RedriveExecution"):
        assert role.allows(f"states:{action}", child)
    # Redriving the job itself stays the user's.
    assert not role.allows("states:RedriveExecution", f"{EXECUTIONS}:job")


def test_nothing_starts_before_its_permissions_stand(stack: Stack):
    """The policies that would make a circle stand apart, and could come later than a first job."""
    assert set(as_list(transformed()["Resources"]["StartJobFunction"]["DependsOn"])) == set(
        stack.of_type("AWS::IAM::Policy")
    )
