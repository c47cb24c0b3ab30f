"""Check the settings of the bucket, and let the stack try out how it writes."""

from __future__ import annotations

from collections.abc import Iterator

from groq_batch.domain import object_keys
from groq_batch_cli.aws import Stack
from groq_batch_cli.doctor.findings import Finding, to_do, well
from groq_batch_cli.doctor.function import TOO_OLD, invoke_doctor
from groq_batch_cli.errors import CommandError
from groq_batch_client.text import one_line, shorten

VERSIONING = "bucket's versioning"
EVENTS = "bucket's events"
WRITES = "writes to the bucket"
LEFT_OBJECT = "object of the checks"

PROBE_PREFIX = f"{object_keys.WORK_PREFIX}doctor-"
"""Prefix of the object that the function writes. Never clashes with a job, because job names end in
a hash."""
_WELL = {
    "conditional_writes": ("conditional writes", "S3 accepts If-None-Match and If-Match"),
    "conditional_deletes": ("conditional deletes", "S3 accepts ETags"),
    "multipart_uploads": ("multipart uploads", "sent and copied parts make one object"),
}
"""Field of the function's response: name of the check, and what to say if it is well."""
_DENIED = "AccessDenied"
_LONGEST_RESULT = 100
_REPORT = "Report this as a bug of Groq Batch on AWS, with the region: jobs may fail"


def look_at_versioning(stack: Stack) -> Finding:
    """Check that the bucket keeps versions, which identify uploads."""
    answer = stack.client("s3").get_bucket_versioning(Bucket=stack.bucket)
    # It has no status if it was never enabled.
    status = answer.get("Status")
    if status == "Enabled":
        return well(VERSIONING, "on")
    return to_do(
        VERSIONING,
        f"is {status or 'off'}, so an upload over another one replaces it unnoticed",
        f"aws s3api put-bucket-versioning --bucket {stack.bucket} --versioning-configuration "
        f"Status=Enabled",
    )


def look_at_events(stack: Stack) -> Finding:
    """Check that the bucket sends upload events to EventBridge."""
    answer = stack.client("s3").get_bucket_notification_configuration(Bucket=stack.bucket)
    if "EventBridgeConfiguration" in answer:
        return well(EVENTS, "go to EventBridge")
    return to_do(
        EVENTS,
        "do not go to EventBridge, so uploads start no jobs",
        f"Enable them in the console (bucket {stack.bucket}, Properties, Amazon EventBridge), "
        f"which keeps other notifications of the bucket, or deploy again.",
    )


def look_at_writes(stack: Stack) -> Iterator[Finding]:
    """Let the stack's function try out the writes that jobs rely on.

    The function has a role, an environment and a network path of its own, so what S3 answers to the
    caller says little about jobs.

    Raises:
        CommandError: The function has an older version, or it fails.
    """
    result = invoke_doctor(stack, "bucket")
    if not isinstance(result, dict) or not _WELL.keys() <= result.keys():
        raise CommandError(TOO_OLD)
    for field in _WELL:
        yield judge_write(field, str(result[field]))
    if result.get("is_removed") is False:
        yield to_do(
            LEFT_OBJECT,
            "the object of these checks could not be deleted",
            f"Delete what is in s3://{stack.bucket}/{PROBE_PREFIX}*; a policy of the bucket may "
            f"deny it.",
        )


def judge_write(field: str, result: str) -> Finding:
    """Evaluate one result of the function.

    Args:
        field: Its name in the response.
        result: ``yes``, ``no``, or a code and the operation that failed with it.
    """
    name, text = _WELL[field]
    if result == "yes":
        return well(name, text)
    if result == "no":
        return to_do(name, "S3 does not do what it documents", f"{_REPORT}.")
    shown = shorten(one_line(result), _LONGEST_RESULT)
    if result.startswith(_DENIED):
        advice = (
            "A policy denies it to the role CheckStatusFunctionRole, and so to jobs: see the "
            "policies of the bucket and of its KMS key, and those of the organization"
        )
    else:
        advice = f"The log of the function has the message of S3. {_REPORT}"
    return to_do(name, f"failed with {shown}", f"{advice}.")
