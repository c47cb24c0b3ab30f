"""Classify the errors of S3 that callers handle: missing, denied, failed condition."""

from __future__ import annotations

from botocore.exceptions import ClientError

MISSING_CODES = {"404", "NoSuchKey", "NotFound", "NoSuchVersion"}
RETRY_WRITE_CODES = {"409", "ConditionalRequestConflict", "OperationAborted"}
"""Another write or deletion of the key was in progress. This one did nothing, and the other one may
have failed (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html)."""
CONFLICT_CODES = {"412", "PreconditionFailed"} | RETRY_WRITE_CODES
NO_UPLOAD = "NoSuchUpload"
VERSION_GONE_CODES = {"405", "MethodNotAllowed"}
DENIED_CODES = {"403", "AccessDenied"}
BAD_REQUEST = 400
_KMS_CODES = "KMS."
"""Prefix of the codes for a KMS key that is disabled, being deleted or missing, which S3 passes on
with status 400, such as ``KMS.DisabledException`` (https://github.com/aws/aws-cli/issues/4507)."""
_PASSING_KMS_CODES = {"KMS.ThrottlingException", "KMS.KMSInternalException"}
_PASSING_CODES = _PASSING_KMS_CODES | {
    "ExpiredToken",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "ThrottlingException",
}


class ConflictError(Exception):
    """A conditional write failed: the object was written (or deleted) meanwhile."""


class MissingObjectError(Exception):
    """The object, or this version of it, does not exist (any more)."""


class UnreadableObjectError(Exception):
    """S3 denies reading the object, because of a permission, its KMS key, or an archive class."""


class UnwritableObjectError(Exception):
    """S3 denies writing or deleting the object, because of a policy, a lock, or its KMS key."""


def is_refused(error: ClientError) -> bool:
    """Tell whether S3 denies access for good: 403, or 400 for keys that were not provided."""
    return error_status(error) in (BAD_REQUEST, 403) and error_code(error) not in _PASSING_CODES


def is_denied(code: str) -> bool:
    """Tell whether a code denies a write for good: a policy, a lock, or the bucket's KMS key."""
    is_of_key = code.startswith(_KMS_CODES) and code not in _PASSING_KMS_CODES
    return is_of_key or code in DENIED_CODES


def error_status(error: ClientError) -> int | None:
    """Return the HTTP status of an error."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")


def error_code(error: ClientError) -> str:
    """Return the code of an error; empty if it has none."""
    return str(error.response.get("Error", {}).get("Code", ""))
