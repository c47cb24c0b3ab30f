"""What starts and closes jobs: event patterns, schedules, and where undelivered events go."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.events.models import EventPattern

from groq_batch.records.job import JobRequest
from groq_batch.reports.report import event_detail, running_report
from groq_batch.steps.finish_job.end_event import EVENT_DETAIL_TYPE, EVENT_SOURCE
from tests.infrastructure.stack import PROJECT, Stack

EVENTS = PROJECT / "events"
BUCKET = "<Bucket>"
MACHINE = "<BatchJob>"


def event(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text("utf-8"))
    return loaded


def matches(stack: Stack, rule: str, message: dict[str, Any]) -> bool:
    """Tell whether a rule's pattern lets an event pass, as EventBridge does."""
    pattern = stack.properties(rule)["EventPattern"]
    return bool(EventPattern.load(json.dumps(pattern)).matches_event(message))


# -- uploads -------------------------------------------------------------------------------------


def upload(key: str, *, bucket: str = BUCKET, **changes: Any) -> dict[str, Any]:
    message = event("start_job/s3_object_created")
    message["detail"]["bucket"]["name"] = bucket
    message["detail"]["object"]["key"] = key
    return message | changes


@pytest.mark.parametrize(
    "key",
    [
        "input/a.jsonl",
        "input/team/a b+c'\"ü.jsonl.gz",
        "input/recurring/a.jsonl",
        # Misnamed files start a job as well: its report says what is wrong.
        "input/a.csv",
        "input/a",
        "recurring/a.txt",
    ],
)
def test_uploads_reach_the_start_function(stack: Stack, key: str):
    assert matches(stack, "StartJobFunctionUpload", upload(key))


@pytest.mark.parametrize(
    "key",
    [
        "output/a.jsonl",
        "failed/a.jsonl",
        "invalid/a.jsonl",
        "reports/a.jsonl.json",
        "jobs/a-0123",
        "work/a-0123/shards/attempt-1/00001.jsonl",
        "inputs/a.jsonl",
        "my/input/a.jsonl",
        "a.jsonl",
    ],
)
def test_what_the_pipeline_writes_starts_nothing(stack: Stack, key: str):
    assert not matches(stack, "StartJobFunctionUpload", upload(key))


@pytest.mark.parametrize("reason", ["PutObject", "POST Object", "CopyObject"])
def test_every_way_to_upload_counts(stack: Stack, reason: str):
    message = upload("input/a.jsonl")
    message["detail"]["reason"] = reason
    assert matches(stack, "StartJobFunctionUpload", message)


def test_other_buckets_and_other_events_start_nothing(stack: Stack):
    assert not matches(stack, "StartJobFunctionUpload", upload("input/a.jsonl", bucket="other"))
    for changes in ({"detail-type": "Object Deleted"}, {"source": "someone"}):
        assert not matches(stack, "StartJobFunctionUpload", upload("input/a.jsonl", **changes))


@pytest.mark.parametrize(
    ("mode", "on_upload", "on_schedule"),
    [
        ("upload", "ENABLED", "DISABLED"),
        ("schedule", "DISABLED", "ENABLED"),
        ("both", "ENABLED", "ENABLED"),
    ],
)
def test_trigger_modes(mode: str, on_upload: str, on_schedule: str):
    stack = Stack.deploy(TriggerMode=mode)
    assert stack.properties("StartJobFunctionUpload")["State"] == on_upload
    assert stack.properties("StartJobFunctionSweep")["State"] == on_schedule
    # Jobs are closed in every mode.
    assert stack.properties("CancelJobFunctionReconcile").get("State", "ENABLED") == "ENABLED"
    assert stack.properties("CancelJobFunctionExecutionEnded").get("State", "ENABLED") == "ENABLED"


# -- ends of executions --------------------------------------------------------------------------


def ended(status: str, *, machine: str = MACHINE) -> dict[str, Any]:
    message = event("cancel_job/execution_aborted")
    message["detail"]["status"] = status
    message["detail"]["stateMachineArn"] = machine
    return message


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_ended_executions_reach_the_cancel_function(stack: Stack, status: str):
    assert matches(stack, "CancelJobFunctionExecutionEnded", ended(status))


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "PENDING_REDRIVE"])
def test_running_and_succeeded_executions_do_not(stack: Stack, status: str):
    assert not matches(stack, "CancelJobFunctionExecutionEnded", ended(status))


@pytest.mark.parametrize("machine", [f"{MACHINE}/Submit", f"{MACHINE}/Download", "<Other>"])
def test_children_of_the_maps_and_other_machines_do_not(stack: Stack, machine: str):
    message = ended("FAILED", machine=machine)
    assert not matches(stack, "CancelJobFunctionExecutionEnded", message)


@pytest.mark.parametrize(
    "name", sorted(f"cancel_job/{path.stem}" for path in EVENTS.glob("cancel_job/execution_*.json"))
)
def test_stored_events_of_ends_match(stack: Stack, name: str):
    message = event(name)
    message["detail"]["stateMachineArn"] = MACHINE
    assert matches(stack, "CancelJobFunctionExecutionEnded", message)


# -- schedules -----------------------------------------------------------------------------------


def test_schedules_pass_on_what_the_functions_take(stack: Stack):
    sweep = stack.properties("StartJobFunctionSweep")
    assert sweep["ScheduleExpression"] == "rate(1 hour)"
    assert sweep["ScheduleExpressionTimezone"] == "UTC"
    assert json.loads(sweep["Target"]["Input"]) == event("start_job/schedule_placeholder")
    assert set(event("start_job/schedule")) == set(event("start_job/schedule_placeholder"))
    reconcile = stack.properties("CancelJobFunctionReconcile")
    assert json.loads(reconcile["Target"]["Input"]) == {
        **event("cancel_job/reconcile"),
        "state_machine_arn": MACHINE,
    }


def test_schedule_is_the_users(stack: Stack):
    sweep = Stack.deploy(
        ScheduleExpression="cron(0 6 * * ? *)", ScheduleTimezone="Europe/Berlin"
    ).properties("StartJobFunctionSweep")
    assert sweep["ScheduleExpression"] == "cron(0 6 * * ? *)"
    assert sweep["ScheduleExpressionTimezone"] == "Europe/Berlin"


def test_a_firing_is_given_up_before_the_next_reconciling(stack: Stack):
    retry = stack.properties("CancelJobFunctionReconcile")["Target"]["RetryPolicy"]
    assert retry["MaximumEventAgeInSeconds"] < 15 * 60


# -- what could not be delivered -----------------------------------------------------------------


def test_every_target_has_the_dead_letter_queue(notified: Stack):
    targets = {
        name: target
        for name, rule in notified.of_type("AWS::Events::Rule").items()
        for target in rule["Targets"]
    }
    targets |= {
        name: schedule["Target"]
        for name, schedule in notified.of_type("AWS::Scheduler::Schedule").items()
    }
    assert set(targets) == {
        "StartJobFunctionUpload",
        "StartJobFunctionSweep",
        "CancelJobFunctionExecutionEnded",
        "CancelJobFunctionReconcile",
        "JobNeedsAttentionRule",
    }
    for name, target in targets.items():
        assert target["DeadLetterConfig"] == {"Arn": "<DeadLetterQueue.Arn>"}, name


def test_uploads_and_ends_are_tried_for_a_day(stack: Stack):
    for name in ("StartJobFunctionUpload", "CancelJobFunctionExecutionEnded"):
        (target,) = stack.properties(name)["Targets"]
        assert target["RetryPolicy"] == {
            "MaximumEventAgeInSeconds": 86_400,
            "MaximumRetryAttempts": 185,
        }


def test_rules_may_write_to_the_queue(stack: Stack, notified: Stack):
    for deployed in (stack, notified):
        policy = deployed.properties("DeadLetterQueuePolicy")
        assert policy["Queues"] == ["<DeadLetterQueue>"]
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Action"] == "sqs:SendMessage"
        assert statement["Resource"] == "<DeadLetterQueue.Arn>"
        # Named one by one: the beginning of a generated name is cut where a stack's name is long.
        rules = {f"<{name}.Arn>" for name in deployed.of_type("AWS::Events::Rule")}
        assert set(statement["Condition"]["ArnEquals"]["aws:SourceArn"]) == rules


def test_schedules_may_invoke_and_write_to_the_queue(stack: Stack):
    for name, function in (
        ("StartJobFunctionSweep", "StartJobFunction"),
        ("CancelJobFunctionReconcile", "CancelJobFunction"),
    ):
        target = stack.properties(name)["Target"]
        assert target["Arn"] == f"<{function}.Arn>"
        assert target["RoleArn"] == f"<{name}Role.Arn>"
        assert set(stack.role(f"{name}Role").grants()) == {
            ("lambda:InvokeFunction", f"<{function}.Arn>"),
            ("sqs:SendMessage", "<DeadLetterQueue.Arn>"),
        }


def test_rules_may_invoke_their_functions(stack: Stack):
    permissions = {
        (one["FunctionName"], one["Principal"], one["SourceArn"])
        for one in stack.of_type("AWS::Lambda::Permission").values()
    }
    assert permissions == {
        ("<StartJobFunction>", "events.amazonaws.com", "<StartJobFunctionUpload.Arn>"),
        ("<CancelJobFunction>", "events.amazonaws.com", "<CancelJobFunctionExecutionEnded.Arn>"),
    }


def test_queue_keeps_and_encrypts_what_it_gets(stack: Stack):
    assert stack.properties("DeadLetterQueue") == {
        "MessageRetentionPeriod": 14 * 86_400,
        "SqsManagedSseEnabled": True,
    }


# -- who is told ---------------------------------------------------------------------------------


def test_nobody_is_told_unless_somebody_is_named(stack: Stack, notified: Stack):
    added = set(notified.resources) - set(stack.resources)
    assert added == {"NotificationTopic", "NotificationTopicPolicy", "JobNeedsAttentionRule"}
    assert "AlarmActions" not in stack.properties("DeadLetterAlarm")
    (subscription,) = notified.properties("NotificationTopic")["Subscription"]
    assert subscription == {"Protocol": "email", "Endpoint": "team@example.com"}
    # A topic encrypted with the key of AWS would let neither alarms nor rules publish.
    assert "KmsMasterKeyId" not in notified.properties("NotificationTopic")


def test_a_queue_that_is_not_empty_is_an_alarm(notified: Stack):
    alarm = notified.properties("DeadLetterAlarm")
    assert alarm["Namespace"] == "AWS/SQS"
    assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": "<DeadLetterQueue.QueueName>"}]
    assert alarm["Statistic"] == "Maximum"
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert alarm["Threshold"] == 0
    assert alarm["TreatMissingData"] == "notBreaching"
    assert alarm["AlarmActions"] == ["<NotificationTopic>"]


def test_rules_and_alarms_may_publish(notified: Stack):
    policy = notified.properties("NotificationTopicPolicy")
    assert policy["Topics"] == ["<NotificationTopic>"]
    by_service = {
        statement["Principal"]["Service"]: statement
        for statement in policy["PolicyDocument"]["Statement"]
    }
    assert set(by_service) == {"events.amazonaws.com", "cloudwatch.amazonaws.com"}
    for statement in by_service.values():
        assert statement["Effect"] == "Allow"
        assert statement["Action"] == "sns:Publish"
        assert statement["Resource"] == "<NotificationTopic>"
    # With a condition EventBridge's messages would be dropped in silence.
    assert "Condition" not in by_service["events.amazonaws.com"]


def job_ended(status: str, *, bucket: str = BUCKET) -> dict[str, Any]:
    return {
        "source": EVENT_SOURCE,
        "detail-type": EVENT_DETAIL_TYPE,
        "detail": {"status": status, "input": {"bucket": bucket, "key": "input/a.jsonl"}},
    }


@pytest.mark.parametrize("status", ["partial", "rejected", "failed", "cancelled"])
def test_mail_for_every_end_but_success(notified: Stack, status: str):
    assert matches(notified, "JobNeedsAttentionRule", job_ended(status))
    assert not matches(notified, "JobNeedsAttentionRule", job_ended("succeeded"))
    assert not matches(notified, "JobNeedsAttentionRule", job_ended(status, bucket="other"))


def test_mail_says_what_the_event_holds(notified: Stack):
    request = JobRequest(
        job_id="a-0123",
        bucket="bucket",
        key="input/a.jsonl",
        version_id="v",
        path="a.jsonl",
        started_at="2026-03-01T06:00:00.000Z",
        claimed_by="",
    )
    published = event_detail(running_report(request, None))
    (target,) = notified.properties("JobNeedsAttentionRule")["Targets"]
    assert target["Arn"] == "<NotificationTopic>"
    transformer = target["InputTransformer"]
    lines = transformer["InputTemplate"].splitlines()
    assert all(line.startswith('"') and line.endswith('"') for line in lines)
    for name, path in transformer["InputPathsMap"].items():
        assert f"<{name}>" in transformer["InputTemplate"]
        # Every value is one of the report's fields, as they are published.
        value: Any = {"detail": published}
        for part in path.removeprefix("$.").split("."):
            value = value[part]
        assert value is not None
