"""Check the settings of the bucket, and test conditional deletes, which S3 documents least."""

from __future__ import annotations

import uuid

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch_cli.aws import Stack
from groq_batch_cli.doctor.findings import Finding, to_do, well

VERSIONING = "bucket's versioning"
EVENTS = "bucket's events"
CONDITIONAL_DELETE = "conditional deletes"

PROBE_PREFIX = f"{object_keys.WORK_PREFIX}doctor-"
"""Never clashes with a job, because job names end in a hash."""
_ANOTHER_ETAG = f'"{"0" * 32}"'


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


def look_at_conditional_deletes(storage: Storage) -> Finding:
    """Write an object of a few bytes, and delete it by its ETag.

    The stack deletes an object only if no other write came in between. S3 does not document whether
    it accepts the ETag with quotation marks there, so this check tries it.
    """
    key = f"{PROBE_PREFIX}{uuid.uuid4().hex}"
    etag = storage.put_bytes(key, b"groq-batch doctor\n", content_type="text/plain")
    kept = not storage.delete_unchanged(key, _ANOTHER_ETAG)
    removed = storage.delete_unchanged(key, etag) if kept else True
    if kept and removed:
        return well(CONDITIONAL_DELETE, "S3 accepts ETags")
    if not kept:
        text = "S3 deletes an object although the ETag does not match"
    else:
        text = f"S3 does not delete {storage.url(key)} by its own ETag"
    return to_do(
        CONDITIONAL_DELETE,
        text,
        "Report this as a bug of Groq Batch on AWS, with the region: a job that waits for the "
        "account may continue later than it could.",
    )
