"""Looks at the bucket's settings, and tries the one condition that S3 documents least."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch_cli.aws import Stack
from groq_batch_cli.doctor.findings import Finding, to_do, well

VERSIONING = "bucket's versioning"
EVENTS = "bucket's events"
CONDITIONAL_DELETE = "conditional deletes"

PROBE_PREFIX = f"{object_keys.WORK_PREFIX}doctor-"
"""No job is named so, since a job's name ends in a hash."""
_ANOTHER_ETAG = f'"{"0" * 32}"'


def look_at_versioning(stack: Stack) -> Finding:
    """Tell whether the bucket keeps versions, by which uploads are known."""
    answer = stack.client("s3").get_bucket_versioning(Bucket=stack.bucket)
    return judge_versioning(answer.get("Status"), stack.bucket)


def judge_versioning(status: str | None, bucket: str) -> Finding:
    """Judge the state of versioning; None when it was never switched on."""
    if status == "Enabled":
        return well(VERSIONING, "on")
    return to_do(
        VERSIONING,
        f"is {status or 'off'}, so an upload over another one takes its place unseen",
        f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration "
        f"Status=Enabled",
    )


def look_at_events(stack: Stack) -> Finding:
    """Tell whether the bucket tells EventBridge of uploads."""
    answer = stack.client("s3").get_bucket_notification_configuration(Bucket=stack.bucket)
    return judge_events(answer, stack.bucket)


def judge_events(configuration: Mapping[str, Any], bucket: str) -> Finding:
    """Judge the configuration of a bucket's notifications."""
    if "EventBridgeConfiguration" in configuration:
        return well(EVENTS, "go to EventBridge")
    return to_do(
        EVENTS,
        "do not go to EventBridge, so uploads start no jobs",
        f"Switch them on in the console (bucket {bucket}, Properties, Amazon EventBridge), which "
        f"keeps its other notifications, or deploy again.",
    )


def look_at_conditional_deletes(storage: Storage) -> Finding:
    """Write an object of a few bytes, and remove it by its ETag.

    The stack removes an object only if nobody has written it in between. That S3 takes an ETag
    with its quotation marks there is not documented, so it is tried.
    """
    key = f"{PROBE_PREFIX}{uuid.uuid4().hex}"
    etag = storage.put_bytes(key, b"groq-batch doctor\n", content_type="text/plain")
    kept = not storage.delete_unchanged(key, _ANOTHER_ETAG)
    removed = storage.delete_unchanged(key, etag) if kept else True
    return judge_conditional_deletes(kept=kept, removed=removed, url=storage.url(key))


def judge_conditional_deletes(*, kept: bool, removed: bool, url: str) -> Finding:
    """Judge what has become of an object.

    Args:
        kept: Whether it stayed when another ETag was given.
        removed: Whether it went with its own.
        url: Its address.
    """
    if kept and removed:
        return well(CONDITIONAL_DELETE, "S3 takes ETags")
    if not kept:
        text = "S3 removes an object although another ETag was given"
    else:
        text = f"S3 does not remove {url} by its own ETag"
    return to_do(
        CONDITIONAL_DELETE,
        text,
        "Report it as a fault of Groq Batch on AWS, with the region: a job that waits for the "
        "account may go on later than it could.",
    )
