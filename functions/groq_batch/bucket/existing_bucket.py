"""Check an existing bucket that the stack uses (``ExistingBucketName``).

The template configures the stack's own bucket. An existing one keeps its settings, and two of them
are required: versioning, so that a job reads exactly what was uploaded, and events to EventBridge,
which start jobs.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from groq_batch.bucket.s3_errors import error_code
from groq_batch.telemetry.plain_log import logger

_VERSIONING = (
    "versioning is not enabled (aws s3api put-bucket-versioning --bucket {bucket} "
    "--versioning-configuration Status=Enabled)"
)
_EVENTS = (
    "events to EventBridge are not switched on (in the S3 console: Properties, Amazon EventBridge, "
    "On; with the AWS CLI put-bucket-notification-configuration replaces what else is set there, "
    "so add EventBridgeConfiguration to what get-bucket-notification-configuration shows)"
)


class BucketSettingsError(Exception):
    """The existing bucket lacks a setting; the message names it and how to enable it."""


def check_versioning(s3: Any, bucket: str) -> None:
    """Check that versioning is enabled.

    Raises:
        BucketSettingsError: It is not.
    """
    _raise_for([*_versioning_problems(s3, bucket)], bucket)


def check_settings(s3: Any, bucket: str) -> None:
    """Check that versioning and events to EventBridge are enabled.

    Raises:
        BucketSettingsError: A setting is not enabled; the message names all of them.
    """
    _raise_for([*_versioning_problems(s3, bucket), *_event_problems(s3, bucket)], bucket)


def _versioning_problems(s3: Any, bucket: str) -> list[str]:
    try:
        answer = s3.get_bucket_versioning(Bucket=bucket)
    except ClientError as error:
        return _unreadable("versioning", error)
    return [] if answer.get("Status") == "Enabled" else [_VERSIONING]


def _event_problems(s3: Any, bucket: str) -> list[str]:
    try:
        answer = s3.get_bucket_notification_configuration(Bucket=bucket)
    except ClientError as error:
        return _unreadable("notification", error)
    return [] if "EventBridgeConfiguration" in answer else [_EVENTS]


def _unreadable(what: str, error: ClientError) -> list[str]:
    """Return the problems if a setting cannot be read: none, unless the bucket does not exist.

    An organization's policy may deny reading it; that must not stop a working bucket.
    """
    code = error_code(error)
    if code == "NoSuchBucket":
        return ["there is no such bucket in this account and region"]
    logger.warning(
        "A setting of the bucket could not be read", extra={"setting": what, "code": code}
    )
    return []


def _raise_for(problems: list[str], bucket: str) -> None:
    if not problems:
        return
    text = "; ".join(dict.fromkeys(problems)).format(bucket=bucket)
    raise BucketSettingsError(
        f"The bucket {bucket} (ExistingBucketName of the stack) cannot be used as it is: {text}. "
        f"The next sweep starts the uploads that arrived in the meantime; you can also start them "
        f"yourself."
    )
