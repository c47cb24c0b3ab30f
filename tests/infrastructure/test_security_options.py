"""What a security team may ask for: a key of its own, and a bucket that is there already."""

from __future__ import annotations

import pytest

from groq_batch.config import Settings
from tests.infrastructure.stack import ACCOUNT, Stack, source

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
    assert "EncryptionConfiguration" not in notified.properties("BatchJob")
    queue = notified.properties("DeadLetterQueue")
    assert queue["SqsManagedSseEnabled"] is True
    assert "KmsMasterKeyId" not in queue
    for role in notified.roles.values():
        assert not any(action.startswith("kms:") for action, _ in role.grants())


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
        granted = {one for one in role.grants() if one[0].startswith("kms:")}
        assert granted == {("kms:Decrypt", KEY), ("kms:GenerateDataKey", KEY)}, name


# -- a bucket that is there already --------------------------------------------------------------


def test_given_bucket_takes_the_place_of_the_stacks_own(takeover: Stack):
    assert not {"Bucket", "BucketPolicy"} & set(takeover.resources)
    for function in takeover.functions:
        settings = Settings.from_env(takeover.environment(function))
        assert settings.bucket == GIVEN
        assert settings.bucket_is_given
    pattern = takeover.properties("StartJobFunctionUpload")["EventPattern"]
    assert pattern["detail"]["bucket"]["name"] == [GIVEN]


def test_own_bucket_needs_no_check(stack: Stack):
    for function in stack.functions:
        assert not Settings.from_env(stack.environment(function)).bucket_is_given
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
