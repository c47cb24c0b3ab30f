"""The bucket: closed, versioned, kept; and what expires in it."""

from __future__ import annotations

from typing import Any

import pytest
from ministack.services.cloudformation.engine import _evaluate_conditions

from groq_batch.domain import object_keys
from groq_batch.domain.job_options import JobOptions, parse_options
from tests.infrastructure.stack import Stack, defaults, source


def rules(stack: Stack) -> dict[str, dict[str, Any]]:
    configured = stack.properties("Bucket")["LifecycleConfiguration"]["Rules"]
    assert all(one["Status"] == "Enabled" for one in configured)
    return {one.get("Prefix", ""): one for one in configured}


def test_bucket_survives_the_stack_with_its_policy_but_not_a_failed_first_deployment(stack: Stack):
    for name in ("Bucket", "BucketPolicy"):
        assert stack.resources[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert stack.resources[name]["UpdateReplacePolicy"] == "Retain"


def test_nothing_else_is_left_behind(notified: Stack):
    kept = {
        name
        for name, resource in notified.resources.items()
        if resource.get("DeletionPolicy", "Delete") != "Delete"
    }
    assert kept == {"Bucket", "BucketPolicy"}


def test_bucket_is_versioned_encrypted_closed_and_tells_of_uploads(stack: Stack):
    bucket = stack.properties("Bucket")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    assert bucket["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    (ownership,) = bucket["OwnershipControls"]["Rules"]
    assert ownership == {"ObjectOwnership": "BucketOwnerEnforced"}
    assert bucket["NotificationConfiguration"] == {
        "EventBridgeConfiguration": {"EventBridgeEnabled": True}
    }


def test_only_tls_is_let_in(stack: Stack):
    policy = stack.properties("BucketPolicy")
    assert policy["Bucket"] == "<Bucket>"
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Principal"] == "*"
    assert statement["Action"] == "s3:*"
    assert statement["Resource"] == ["<Bucket.Arn>", "<Bucket.Arn>/*"]
    # Nothing else: AWS Config (s3-bucket-ssl-requests-only) and Security Hub look for just this.
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


WITHOUT_TLS = ["http://127.0.0.1:8080/openai/v1", "http://localhost/v1", "http://[::1]:80/v1"]
WITH_TLS = [
    "https://api.groq.com/openai/v1",
    "https://proxy.example.com",
    "https://http.example.com/v1",
]


@pytest.mark.parametrize("address", WITHOUT_TLS)
def test_an_emulator_on_this_machine_is_reached_without_tls(address: str):
    (statement,) = Stack.deploy(GroqBaseUrl=address).properties("BucketPolicy")["PolicyDocument"][
        "Statement"
    ]
    # A negated condition holds where AWS knows no source address, so that nothing else slips
    # through.
    assert statement["Condition"] == {
        "Bool": {"aws:SecureTransport": "false"},
        "NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"},
    }


@pytest.mark.parametrize("address", WITH_TLS)
def test_a_groq_with_tls_leaves_no_exception(address: str):
    (statement,) = Stack.deploy(GroqBaseUrl=address).properties("BucketPolicy")["PolicyDocument"][
        "Statement"
    ]
    assert set(statement["Condition"]) == {"Bool"}


@pytest.mark.parametrize("address", [*WITHOUT_TLS, *WITH_TLS])
def test_the_emulator_makes_the_exception_wherever_groq_is(address: str):
    """It has no TLS for its own S3, also when the real Groq is asked.

    It leaves these functions in a condition as they are. Should a later one work them out, the
    launcher has to see to it that requests from this machine pass.
    """
    values = {"GroqBaseUrl": {"Value": address}}
    template = {"Conditions": {"ByTls": source()["Conditions"]["ReachesGroqByTls"]}}
    assert _evaluate_conditions(template, values) == {"ByTls": False}


def test_work_expires_for_good(stack: Stack):
    work = rules(stack)[object_keys.WORK_PREFIX]
    assert work["ExpirationInDays"] == defaults()["WorkRetentionDays"]
    assert work["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    longer = rules(Stack.deploy(WorkRetentionDays="90"))[object_keys.WORK_PREFIX]
    assert longer["ExpirationInDays"] == "90"


def test_earlier_reports_expire(stack: Stack):
    reports = rules(stack)[object_keys.REPORTS_PREFIX]
    assert reports["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert "ExpirationInDays" not in reports


def test_unfinished_uploads_expire_everywhere_but_not_under_a_running_step(stack: Stack):
    everywhere = rules(stack)[""]
    days = everywhere["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
    longest_step = max(properties["Timeout"] for properties in stack.functions.values())
    assert 1 <= days <= 7
    assert days * 86_400 > 24 * longest_step
    assert set(everywhere) == {"Id", "Status", "AbortIncompleteMultipartUpload"}


def test_nothing_of_the_users_and_no_record_of_a_job_ever_expires(stack: Stack):
    expiring = {
        prefix
        for prefix, rule in rules(stack).items()
        if {"ExpirationInDays", "NoncurrentVersionExpiration"} & set(rule)
    }
    assert expiring == {object_keys.WORK_PREFIX, object_keys.REPORTS_PREFIX}
    assert not object_keys.JOBS_PREFIX.startswith(tuple(expiring))


def test_shortest_retention_is_longer_than_a_redrive_is_possible():
    # https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html: 14 days.
    assert source()["Parameters"]["WorkRetentionDays"]["MinValue"] > 14


def test_jobs_of_the_default_options_fit_into_the_default_retention():
    values = defaults()
    options = JobOptions(
        completion_window=values["CompletionWindow"],
        skip_invalid_lines=False,
        max_attempts=int(values["MaxAttempts"]),
        max_job_cost_usd=0,
    )
    days = int(values["WorkRetentionDays"])
    assert parse_options({}, defaults=options, work_retention_days=days)[1] == []
    # Also with the longest window that an upload may ask for.
    longest = {"completion-window": "7d"}
    assert parse_options(longest, defaults=options, work_retention_days=days)[1] == []
