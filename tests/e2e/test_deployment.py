"""What a deployment refuses, and what it hands out."""

from __future__ import annotations

import pytest

from groq_batch import __version__
from local.stack import LocalStack, LocalStackError
from tests.e2e.pipeline import Pipeline


def test_a_stack_that_would_reject_every_job_is_not_deployed(stack: LocalStack) -> None:
    parameters = {"CompletionWindow": "7d", "MaxAttempts": "5"}
    with pytest.raises(LocalStackError, match="exceed WorkRetentionDays; deploy with fewer"):
        stack.deploy("refused", {"GroqBaseUrl": stack.groq_base_url, **parameters})
    stacks = stack.client("cloudformation").describe_stacks()["Stacks"]
    assert not [one for one in stacks if one["StackName"] == "refused" and "Outputs" in one]


def test_outputs_lead_to_what_the_runbook_uses(pipeline: Pipeline) -> None:
    outputs = pipeline.stack.outputs(pipeline.stack_name)
    queue = pipeline.stack.client("sqs").get_queue_attributes(
        QueueUrl=outputs["DeadLetterQueueUrl"], AttributeNames=["MessageRetentionPeriod"]
    )
    assert queue["Attributes"] == {"MessageRetentionPeriod": "1209600"}
    functions = pipeline.stack.client("lambda")
    for name in ("StartJobFunction", "CheckStatusFunction", "CancelJobFunction"):
        found = functions.get_function_configuration(FunctionName=outputs[f"{name}Name"])
        assert found["FunctionName"] == pipeline.function(name)
    dashboard = outputs["DashboardUrl"].rsplit("/", 1)[-1]
    found = pipeline.stack.client("cloudwatch").get_dashboard(DashboardName=dashboard)
    assert pipeline.bucket in found["DashboardBody"]
    assert outputs["Version"] == __version__
