"""Check the deployment: its status, versions, schedules and dead letters."""

from __future__ import annotations

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
_DEPLOY_AGAIN = (
    "Deploy the stack again, and read in its output why the last deployment did not do it."
)


def look_at_stack(stack: Stack) -> Finding:
    """Check that the last deployment is complete."""
    found = stack.client("cloudformation").describe_stacks(StackName=stack.name)["Stacks"][0]
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
    status = str(found["StackStatus"])
    text = f"{stack.name} is {status}"
    if status.endswith("_IN_PROGRESS"):
        return to_do(STACK, text, "Wait until the deployment is complete, then run doctor again.")
    if status.endswith("_FAILED"):
        return to_do(
            STACK,
            text,
            f"aws cloudformation describe-stack-events --stack-name {stack.name} shows what "
            f"failed.",
        )
    return well(STACK, text)


def look_at_version(stack: Stack) -> Finding:
    """Check that the stack and this command line have the same version."""
    difference = version_difference(stack.outputs, stack.name)
    if difference is not None:
        return to_do(VERSION, "different", difference)
    return well(VERSION, f"{__version__} on both sides")


def look_at_schedule(stack: Stack) -> Finding:
    """Check that the schedule matches the parameters of the stack."""
    schedule, parameters = _schedule(stack, SWEEP_RESOURCE), stack.parameters
    if schedule is None:
        return to_do(SCHEDULE, "no longer exists", _DEPLOY_AGAIN)
    is_paused = parameters.get("Paused") == "true"
    is_wanted = parameters.get("TriggerMode") != "upload" and not is_paused
    if (schedule.get("State") == "ENABLED") != is_wanted:
        return to_do(
            SCHEDULE,
            f"is {schedule.get('State')}, and the parameters say otherwise",
            "It was changed after the deployment. Switch it back, or deploy again with "
            "another ScheduleExpression and then with yours.",
        )
    expected = parameters.get("ScheduleExpression")
    if expected and schedule.get("ScheduleExpression") != expected:
        return to_do(
            SCHEDULE,
            f"runs at {schedule.get('ScheduleExpression')} instead of {expected}",
            "It was changed after the deployment. Change it back.",
        )
    if is_paused:
        return well(SCHEDULE, "Paused=true: neither uploads nor the schedule start jobs")
    if not is_wanted:
        return well(SCHEDULE, "off, as TriggerMode=upload says")
    return well(SCHEDULE, f"on, {schedule.get('ScheduleExpression')}")


def look_at_reconciler(stack: Stack) -> Finding:
    """Check that the reconciler runs, in every trigger mode, to close jobs that ended unnoticed."""
    schedule = _schedule(stack, RECONCILE_RESOURCE)
    if schedule is None:
        return to_do(RECONCILER, "its schedule no longer exists", _DEPLOY_AGAIN)
    state, expression = schedule.get("State"), schedule.get("ScheduleExpression")
    if state != "ENABLED" or expression != _RECONCILE_EXPRESSION:
        return to_do(
            RECONCILER,
            f"its schedule is {state}, {expression}",
            f"Set it to ENABLED and {_RECONCILE_EXPRESSION} again: without it, jobs may stay open.",
        )
    return well(RECONCILER, f"on, {expression}")


def _schedule(stack: Stack, resource: str) -> dict[str, Any] | None:
    """Return a schedule by its logical id; None if it was removed."""
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
    """Check how many events and invocations could not be delivered."""
    url = stack.outputs.get("DeadLetterQueueUrl")
    if url is None:
        return to_do(
            DEAD_LETTERS,
            "the stack has no output DeadLetterQueueUrl",
            "Deploy the stack again: it has an older version.",
        )
    attributes = stack.client("sqs").get_queue_attributes(
        QueueUrl=url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    number = sum(map(int, attributes.values()))
    if number:
        return to_do(
            DEAD_LETTERS,
            f"{counted(number, 'event')} could not be delivered",
            "See docs/operations.md, Alarm: dead letters.",
        )
    return well(DEAD_LETTERS, "none")
