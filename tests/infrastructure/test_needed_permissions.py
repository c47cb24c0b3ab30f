"""What AWS itself does with the stack's roles, derived from the template and the state machine.

What the functions' code calls is held against their roles where the code runs
(tests/integration/account.py). The rest no handler shows: the calls that Step Functions, Lambda and
EventBridge Scheduler make in a role's name. Here they follow from what the template and the state
machine ask for, so that a role that lacks one of them is found before AWS finds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from local.asl import states_of
from tests.infrastructure.stack import ACCOUNT, Stack, machine
from tests.infrastructure.test_functions import HANDLERS

KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
EXECUTIONS = f"arn:aws:states:us-east-1:{ACCOUNT}:execution:<BatchJob.Name>"
SCHEDULE = "AWS::Scheduler::Schedule"

VARIANTS: dict[str, dict[str, str]] = {
    "defaults": {},
    "own-key": {"KmsKeyArn": KEY, "NotificationEmail": "team@example.com"},
}


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Stack:
    """Return the stack as most have it, and with a key of one's own."""
    return Stack.deploy(**VARIANTS[request.param])


def states() -> list[Mapping[str, Any]]:
    """Return every state, those inside of maps included."""
    return [one.fields for one in states_of(machine())]


def maps() -> dict[str, Mapping[str, Any]]:
    """Return the Distributed Maps by label."""
    return {one["Label"]: one for one in states() if one["Type"] == "Map"}


def role_of(arn: str) -> str:
    """Return the role that ``<Role.Arn>`` stands for."""
    return arn.removeprefix("<").removesuffix(".Arn>")


# -- the state machine ---------------------------------------------------------------------------


def test_machine_may_invoke_every_function_that_its_states_name(variant: Stack):
    substitutions = variant.properties("BatchJob")["DefinitionSubstitutions"]
    tasks = [state for state in states() if state["Type"] == "Task"]
    assert tasks
    role = variant.role("BatchJobRole")
    for task in tasks:
        assert task["Resource"].endswith(":states:::lambda:invoke")
        placeholder = task["Arguments"]["FunctionName"].removeprefix("${").removesuffix("}")
        assert role.allows("lambda:InvokeFunction", substitutions[placeholder]), placeholder


def test_machine_may_start_watch_and_redrive_the_children_of_its_maps(variant: Stack):
    """https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html."""
    role = variant.role("BatchJobRole")
    assert maps()
    assert role.allows("states:StartExecution", "<BatchJob>")
    for label in maps():
        child = f"{EXECUTIONS}/{label}:0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
        for action in ("DescribeExecution", "StopExecution", "RedriveExecution"):
            assert role.allows(f"states:{action}", child), (action, label)


def test_machine_may_read_what_its_maps_run_over(variant: Stack):
    role = variant.role("BatchJobRole")
    for one in maps().values():
        assert one["ItemReader"]["Resource"].endswith(":states:::s3:listObjectsV2")
        # The prefix is a step's answer, always below the job's own folder.
        prefix = "work/job/shards/attempt-1/"
        assert role.allows("s3:ListBucket", "<Bucket.Arn>", s3_prefix=prefix)


def test_machine_may_write_what_came_of_its_maps(variant: Stack):
    role = variant.role("BatchJobRole")
    for one in maps().values():
        assert one["ResultWriter"]["Resource"].endswith(":states:::s3:putObject")
        written = one["ResultWriter"]["Parameters"]["Prefix.$"]
        found = re.match(r"States\.Format\('([^']+)'", written)
        assert found is not None, written
        key = found[1].replace("{}", "1") + "/0f1e2d3c/SUCCEEDED_0.json"
        for action in (
            "PutObject",
            "GetObject",
            "ListMultipartUploadParts",
            "AbortMultipartUpload",
        ):
            assert role.allows(f"s3:{action}", f"<Bucket.Arn>/{key}"), (action, key)


def test_machine_may_encrypt_what_came_of_its_maps():
    """https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html."""
    role = Stack.deploy(**VARIANTS["own-key"]).role("BatchJobRole")
    for action in ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"):
        assert role.allows(action, KEY, kms_ViaService="s3.us-east-1.amazonaws.com"), action


def test_machine_may_write_its_traces(variant: Stack):
    """https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html."""
    assert variant.properties("BatchJob")["TracingConfiguration"] == {"Enabled": True}
    role = variant.role("BatchJobRole")
    for action in (
        "PutTraceSegments",
        "PutTelemetryRecords",
        "GetSamplingRules",
        "GetSamplingTargets",
    ):
        assert role.allows(f"xray:{action}", "*"), action


# -- the functions -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HANDLERS)
def test_function_may_write_its_log_and_its_traces(variant: Stack, name: str):
    properties = variant.functions[name]
    role = variant.role(role_of(properties["Role"]))
    assert properties["LoggingConfig"]["LogGroup"] == "<LogGroup>"
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        assert role.allows(action, "<LogGroup.Arn>"), action
    assert properties["TracingConfig"] == {"Mode": "Active"}
    for action in ("xray:PutTraceSegments", "xray:PutTelemetryRecords"):
        assert role.allows(action, "*"), action


def test_function_may_put_failed_events_aside(variant: Stack):
    """Lambda sends them in the name of the function's role."""
    configured = variant.of_type("AWS::Lambda::EventInvokeConfig").values()
    assert configured
    for one in configured:
        function = one["FunctionName"].strip("<>")
        destination = one["DestinationConfig"]["OnFailure"]["Destination"]
        role = variant.role(role_of(variant.functions[function]["Role"]))
        assert role.allows("sqs:SendMessage", destination), function


# -- the schedules -------------------------------------------------------------------------------


def test_schedule_may_invoke_its_target_and_put_failed_firings_aside(variant: Stack):
    schedules = variant.of_type(SCHEDULE)
    assert schedules
    for name, schedule in schedules.items():
        target = schedule["Target"]
        role = variant.role(role_of(target["RoleArn"]))
        assert role.allows("lambda:InvokeFunction", target["Arn"]), name
        assert role.allows("sqs:SendMessage", target["DeadLetterConfig"]["Arn"]), name


# -- a key of one's own --------------------------------------------------------------------------


VIA = {"s3": "Bucket", "sqs": "DeadLetterQueue"}
"""The services that call KMS in the name of whoever calls them, and what they encrypt."""


def test_whoever_touches_what_the_key_encrypts_may_use_it():
    """Each role gets what is encrypted by way of the service that encrypts it.

    The log needs nothing of the roles: CloudWatch Logs uses the key in its own name.
    """
    stack = Stack.deploy(**VARIANTS["own-key"])
    for encrypted in (*VIA.values(), "LogGroup", "BatchJob"):
        assert KEY in str(stack.properties(encrypted)), encrypted
    for name, role in stack.roles.items():
        touched = {action.split(":")[0] for action, _ in role.grants()} & set(VIA)
        assert touched, name
        for service in touched:
            via = f"{service}.us-east-1.amazonaws.com"
            for action in ("kms:Decrypt", "kms:GenerateDataKey"):
                assert role.allows(action, KEY, kms_ViaService=via), (name, action, service)


def test_machine_may_encrypt_its_executions():
    """https://docs.aws.amazon.com/step-functions/latest/dg/encryption-at-rest.html."""
    role = Stack.deploy(**VARIANTS["own-key"]).role("BatchJobRole")
    machine = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:BatchJob-0a1b2c"
    context = {"kms:EncryptionContext:aws:states:stateMachineArn": machine}
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert role.allows(action, KEY, **context), action


def test_whoever_describes_executions_may_decrypt_them():
    role = Stack.deploy(**VARIANTS["own-key"]).role("CancelJobFunctionRole")
    assert role.allows("states:DescribeExecution", f"{EXECUTIONS}:job")
    assert role.allows("kms:Decrypt", KEY, kms_ViaService="states.us-east-1.amazonaws.com")


@pytest.mark.parametrize("name", HANDLERS)
def test_function_may_read_what_the_bucket_holds_from_an_earlier_key(variant: Stack, name: str):
    """An object stays encrypted with the key that the bucket had when it was written."""
    role = variant.role(f"{name}Role")
    assert any(action == "s3:GetObject" for action, _ in role.grants())
    context = {"kms:EncryptionContext:aws:s3:arn": "<Bucket.Arn>"}
    via = "s3.us-east-1.amazonaws.com"
    assert role.allows("kms:Decrypt", f"{KEY}-of-before", kms_ViaService=via, **context)
