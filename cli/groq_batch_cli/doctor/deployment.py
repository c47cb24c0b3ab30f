"""Looks at the stack as CloudFormation has made it: versions, schedules, dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from groq_batch import __version__
from groq_batch.bucket.s3_errors import error_code
from groq_batch_cli.aws import Stack
from groq_batch_cli.doctor.findings import Finding, to_do, well
from groq_batch_cli.stack_version import version_difference
from groq_batch_client.text import counted

STACK = "stack"
VERSION = "versions"
SCHEDULE = "schedule"
RECONCILER = "reconciler"
DEAD_LETTERS = "dead letters"

SWEEP_RESOURCE = "StartJobFunctionSweep"
RECONCILE_RESOURCE = "CancelJobFunctionReconcile"
_RECONCILE_EXPRESSION = "rate(15 minutes)"
_DEPLOY_AGAIN = "Deploy the stack again; see there why the last deployment did not do it."


def look_at_stack(stack: Stack) -> Finding:
    """Tell whether the last deployment has come to its end."""
    found = stack.client("cloudformation").describe_stacks(StackName=stack.name)["Stacks"][0]
    return judge_status(stack.name, str(found["StackStatus"]))


def judge_status(name: str, status: str) -> Finding:
    """Judge the status of a stack: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html."""
    text = f"{name} is {status}"
    if status.endswith("_IN_PROGRESS"):
        return to_do(STACK, text, "Wait until the deployment has come to its end; look again.")
    if status.endswith("_FAILED"):
        return to_do(
            STACK,
            text,
            f"aws cloudformation describe-stack-events --stack-name {name} says what has failed.",
        )
    return well(STACK, text)


def look_at_version(stack: Stack) -> Finding:
    """Tell whether the stack's code and this command line are of one version."""
    difference = version_difference(stack.outputs, stack.name)
    if difference is not None:
        return to_do(VERSION, "two different ones", difference)
    return well(VERSION, f"{__version__} on both sides")


def look_at_schedule(stack: Stack) -> Finding:
    """Tell whether the schedule starts jobs as the stack's parameters say."""
    return judge_schedule(_schedule(stack, SWEEP_RESOURCE), stack.parameters)


def judge_schedule(schedule: Mapping[str, Any] | None, parameters: Mapping[str, str]) -> Finding:
    """Judge the schedule that starts jobs.

    Args:
        schedule: As EventBridge Scheduler gives it; None when it does not exist.
        parameters: The stack's.
    """
    if schedule is None:
        return to_do(SCHEDULE, "does not exist any more", _DEPLOY_AGAIN)
    is_paused = parameters.get("Paused") == "true"
    is_wanted = parameters.get("TriggerMode") != "upload" and not is_paused
    if (schedule.get("State") == "ENABLED") != is_wanted:
        return to_do(
            SCHEDULE,
            f"is {schedule.get('State')}, and the parameters say otherwise",
            "Somebody has changed it since the deployment. Switch it back, or deploy again with "
            "another ScheduleExpression and then with yours.",
        )
    expected = parameters.get("ScheduleExpression")
    if expected and schedule.get("ScheduleExpression") != expected:
        return to_do(
            SCHEDULE,
            f"fires at {schedule.get('ScheduleExpression')} instead of {expected}",
            "Somebody has changed it since the deployment. Change it back.",
        )
    if is_paused:
        return well(SCHEDULE, "Paused=true: neither uploads nor the schedule start jobs")
    if not is_wanted:
        return well(SCHEDULE, "off, as TriggerMode=upload says")
    return well(SCHEDULE, f"on, {schedule.get('ScheduleExpression')}")


def look_at_reconciler(stack: Stack) -> Finding:
    """Tell whether jobs whose execution has ended unnoticed are closed."""
    return judge_reconciler(_schedule(stack, RECONCILE_RESOURCE))


def judge_reconciler(schedule: Mapping[str, Any] | None) -> Finding:
    """Judge the schedule of the reconciler, which is on in every trigger mode."""
    if schedule is None:
        return to_do(RECONCILER, "its schedule does not exist any more", _DEPLOY_AGAIN)
    state, expression = schedule.get("State"), schedule.get("ScheduleExpression")
    if state != "ENABLED" or expression != _RECONCILE_EXPRESSION:
        return to_do(
            RECONCILER,
            f"its schedule is {state}, {expression}",
            f"Make it ENABLED and {_RECONCILE_EXPRESSION} again: without it, jobs may stay open.",
        )
    return well(RECONCILER, f"on, {expression}")


def _schedule(stack: Stack, resource: str) -> dict[str, Any] | None:
    """Return a schedule by its logical id; None when it was removed."""
    found = stack.client("cloudformation").describe_stack_resources(
        StackName=stack.name, LogicalResourceId=resource
    )["StackResources"]
    if not found:
        return None
    scheduler = stack.client("scheduler")
    try:
        schedule: dict[str, Any] = scheduler.get_schedule(Name=found[0]["PhysicalResourceId"])
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
        return None
    return schedule


def look_at_dead_letters(stack: Stack) -> Finding:
    """Tell how many events and invocations could not be delivered."""
    url = stack.outputs.get("DeadLetterQueueUrl")
    if url is None:
        return to_do(
            DEAD_LETTERS,
            "the stack has no output DeadLetterQueueUrl",
            "Deploy the stack again: it is of an older version.",
        )
    attributes = stack.client("sqs").get_queue_attributes(
        QueueUrl=url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return judge_dead_letters(sum(int(number) for number in attributes.values()))


def judge_dead_letters(number: int) -> Finding:
    """Judge how many messages the dead-letter queue holds."""
    if number:
        return to_do(
            DEAD_LETTERS,
            f"{counted(number, 'event')} could not be delivered",
            "docs/operations.md, Alarm: dead letters, says what they are and what to do.",
        )
    return well(DEAD_LETTERS, "none")
