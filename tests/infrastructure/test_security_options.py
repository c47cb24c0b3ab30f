"""What a security team may ask for: a key of its own, and a bucket that is there already."""

from __future__ import annotations

import pytest

from groq_batch.settings import Settings
from tests.infrastructure.stack import ACCOUNT, Role, Stack, source
from tests.infrastructure.test_functions import HANDLERS

KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
GIVEN = "bucket-of-before"


@pytest.fixture(scope="module")
def encrypted() -> Stack:
    return Stack.deploy(KmsKeyArn=KEY, NotificationEmail="team@example.com")


@pytest.fixture(scope="module")
def takeover() -> Stack:
    return Stack.deploy(ExistingBucketName=GIVEN)


# -- a key of one's own --------------------------------------------------------------------------


def test_without_a_key_of_ones_own_the_services_have_theirs(notified: Stack):
    assert "KmsKeyId" not in notified.properties("LogGroup")
    assert "KmsMasterKeyId" not in notified.properties("NotificationTopic")
    # Said, since an update that leaves it out would keep a key that the machine had.
    encryption = notified.properties("BatchJob")["EncryptionConfiguration"]
    assert encryption == {"Type": "AWS_OWNED_KEY"}
    queue = notified.properties("DeadLetterQueue")
    assert queue["SqsManagedSseEnabled"] is True
    assert "KmsMasterKeyId" not in queue
    for name, role in notified.roles.items():
        granted = {one.sid for one in role.statements if "kms:" in str(one.actions)}
        is_function = name.endswith("FunctionRole")
        assert granted == ({"ReadWhatEarlierKeysEncrypted"} if is_function else set()), name


def test_key_encrypts_bucket_logs_queue_topic_and_machine(encrypted: Stack):
    (rule,) = encrypted.properties("Bucket")["BucketEncryption"][
        "ServerSideEncryptionConfiguration"
    ]
    assert rule == {
        "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY},
        # One call of KMS for many objects, instead of one for each.
        "BucketKeyEnabled": True,
    }
    assert encrypted.properties("LogGroup")["KmsKeyId"] == KEY
    queue = encrypted.properties("DeadLetterQueue")
    assert queue["KmsMasterKeyId"] == KEY
    assert "SqsManagedSseEnabled" not in queue
    assert encrypted.properties("NotificationTopic")["KmsMasterKeyId"] == KEY
    assert encrypted.properties("BatchJob")["EncryptionConfiguration"] == {
        "Type": "CUSTOMER_MANAGED_KMS_KEY",
        "KmsKeyId": KEY,
        "KmsDataKeyReusePeriodSeconds": 300,
    }


def test_every_role_may_use_the_key_and_no_other(encrypted: Stack):
    for name, role in encrypted.roles.items():
        granted = {
            grant
            for one in role.statements
            if one.sid != "ReadWhatEarlierKeysEncrypted"
            for grant in Role((one,)).grants()
            if grant[0].startswith("kms:")
        }
        expected = {("kms:Decrypt", KEY), ("kms:GenerateDataKey", KEY)}
        if name == "BatchJobRole":
            expected |= {("kms:Encrypt", KEY)}
        assert granted == expected, name


SERVICES = {
    **{f"{name}Role": {"s3", "sqs", "states"} for name in HANDLERS},
    "StartJobFunctionSweepRole": {"sqs"},
    "CancelJobFunctionReconcileRole": {"sqs"},
    "BatchJobRole": {"s3"},
}
"""What encrypts with the key in a role's name: the bucket, the queue, and Step Functions, which
decrypts what DescribeExecution answers."""


def test_key_is_used_by_way_of_what_it_encrypts(encrypted: Stack):
    assert set(encrypted.roles) == set(SERVICES)
    for name, role in encrypted.roles.items():
        for service in ("s3", "sqs", "states", "secretsmanager", "ec2"):
            allowed = role.allows(
                "kms:GenerateDataKey", KEY, kms_ViaService=f"{service}.us-east-1.amazonaws.com"
            )
            assert allowed == (service in SERVICES[name]), (name, service)
        assert not role.allows(
            "kms:GenerateDataKey", KEY, kms_ViaService="s3.eu-west-1.amazonaws.com"
        ), name


def test_machine_uses_the_key_directly_for_its_executions_alone(encrypted: Stack):
    """With a ViaService executions would fail.

    https://docs.aws.amazon.com/step-functions/latest/dg/encryption-at-rest.html: "Adding
    kms:ViaService condition to an execution role can prevent a new execution from starting or
    cause a running execution to fail."
    """
    context = "kms:EncryptionContext:aws:states:stateMachineArn"
    machine = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:BatchJob-0a1b2c"
    for name, role in encrypted.roles.items():
        for action in ("kms:Decrypt", "kms:GenerateDataKey"):
            directly = role.allows(action, KEY, **{context: machine})
            assert directly == (name == "BatchJobRole"), name
            assert not role.allows(action, KEY), name


def test_what_earlier_keys_encrypted_stays_readable_in_the_bucket_alone(stack: Stack):
    earlier = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/key-of-before"
    context = "kms:EncryptionContext:aws:s3:arn"
    bucket = "<Bucket.Arn>"
    for name in HANDLERS:
        role = stack.role(f"{name}Role")
        via = {"kms_ViaService": "s3.us-east-1.amazonaws.com"}
        # With a bucket key S3 names the bucket, without one the object.
        for arn in (bucket, f"{bucket}/reports/a.jsonl.json"):
            assert role.allows("kms:Decrypt", earlier, **via, **{context: arn})
            assert not role.allows("kms:GenerateDataKey", earlier, **via, **{context: arn})
            assert not role.allows("kms:Decrypt", earlier, **{context: arn})
        assert not role.allows("kms:Decrypt", earlier, **via, **{context: f"{bucket}-2/a"})
        assert not role.allows("kms:Decrypt", earlier, **via)


# -- a bucket that is there already --------------------------------------------------------------


def test_given_bucket_takes_the_place_of_the_stacks_own(takeover: Stack):
    assert not {"Bucket", "BucketPolicy"} & set(takeover.resources)
    for function in takeover.functions:
        settings = Settings.from_env(takeover.environment(function))
        assert settings.bucket == GIVEN
        assert settings.uses_existing_bucket
    pattern = takeover.properties("StartJobFunctionUpload")["EventPattern"]
    assert pattern["detail"]["bucket"]["name"] == [GIVEN]


def test_own_bucket_needs_no_check(stack: Stack):
    for function in stack.functions:
        assert not Settings.from_env(stack.environment(function)).uses_existing_bucket
    for role in stack.roles.values():
        assert not any(action.startswith("s3:GetBucket") for action, _ in role.grants())


def test_roles_are_for_the_given_bucket(stack: Stack, takeover: Stack):
    for name, role in takeover.roles.items():
        grants = set(role.grants())
        checks = {one for one in grants if one[0].startswith("s3:GetBucket")}
        may_check = name in ("StartJobFunctionRole", "CancelJobFunctionRole")
        assert checks == (
            {
                ("s3:GetBucketVersioning", f"arn:aws:s3:::{GIVEN}"),
                ("s3:GetBucketNotification", f"arn:aws:s3:::{GIVEN}"),
            }
            if may_check
            else set()
        ), name
        # Otherwise the same, with another name in it.
        moved = {
            (action, resource.replace("<Bucket.Arn>", f"arn:aws:s3:::{GIVEN}"))
            for action, resource in stack.role(name).grants()
        }
        assert grants - checks == moved, name


def test_nothing_names_the_bucket_but_by_the_setting():
    """A reference of its own would be a hole where the bucket was given."""
    naming = {name for name, one in source()["Resources"].items() if "'Bucket'" in str(one)}
    naming |= {name for name, one in source()["Resources"].items() if "${Bucket." in str(one)}
    assert naming == {"BucketPolicy", "BucketSetting"}


# -- nothing new is started ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["upload", "schedule", "both"])
def test_a_paused_stack_starts_nothing_and_closes_jobs_as_ever(mode: str):
    paused = Stack.deploy(TriggerMode=mode, Paused="true")
    assert paused.properties("StartJobFunctionUpload")["State"] == "DISABLED"
    assert paused.properties("StartJobFunctionSweep")["State"] == "DISABLED"
    for name in ("CancelJobFunctionReconcile", "CancelJobFunctionExecutionEnded"):
        assert paused.properties(name).get("State", "ENABLED") == "ENABLED"
