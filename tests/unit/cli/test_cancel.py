"""Stopping a job's execution, also without a permission for the stack's KMS key."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import Stubber

from groq_batch_client.cancel import stop_job
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.stack import Stack, StackAddress

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:BatchJob-0a1b2c"
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:BatchJob-0a1b2c:x-0123456789"
JOB = FoundJob(path="x.jsonl", job_id="x-0123456789")
NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def session() -> boto3.session.Session:
    return boto3.session.Session("key", "secret", region_name="us-east-1")


@pytest.fixture
def stack(session: boto3.session.Session) -> Stack:
    return Stack(StackAddress(stack_name="s"), {"StateMachineArn": MACHINE}, {}, session)


@pytest.fixture
def step_functions(stack: Stack) -> Iterator[Stubber]:
    with Stubber(stack.client("stepfunctions")) as stubber:
        described = {
            "executionArn": EXECUTION,
            "stateMachineArn": MACHINE,
            "status": "RUNNING",
            "startDate": NOW,
        }
        # All data of an execution may be encrypted, its status never is.
        asked = {"executionArn": EXECUTION, "includedData": "METADATA_ONLY"}
        stubber.add_response("describe_execution", described, asked)
        yield stubber
        stubber.assert_no_pending_responses()


def test_stop_says_who_stopped(stack: Stack, step_functions: Stubber):
    said = {"executionArn": EXECUTION, "error": "Cancelled", "cause": "Stopped by me"}
    step_functions.add_response("stop_execution", {"stopDate": NOW}, said)
    stop_job(stack, JOB, cause="Stopped by me")


def test_stop_without_permission_for_the_key_leaves_out_what_would_be_encrypted(
    stack: Stack, step_functions: Stubber
):
    step_functions.add_client_error("stop_execution", "KmsAccessDeniedException")
    step_functions.add_response("stop_execution", {"stopDate": NOW}, {"executionArn": EXECUTION})
    stop_job(stack, JOB, cause="Stopped by me")
