"""Tell apart the errors of S3 that callers handle: missing, refused, a condition that fails."""

from __future__ import annotations

from botocore.exceptions import ClientError

MISSING_CODES = {"404", "NoSuchKey", "NotFound", "NoSuchVersion"}
CONFLICT_CODES = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}
VERSION_GONE_CODES = {"405", "MethodNotAllowed"}
DENIED_CODES = {"403", "AccessDenied"}
BAD_REQUEST = 400
_PASSING_CODES = {"ExpiredToken", "RequestTimeout", "RequestTimeTooSkewed", "ThrottlingException"}


class ConflictError(Exception):
    """A conditional write came second: somebody else wrote (or removed) the object meanwhile."""


class MissingObjectError(Exception):
    """The object, or the version of it, does not exist (any more)."""


class UnreadableObjectError(Exception):
    """S3 refuses to hand out the object: a permission, the key that encrypts it, an archive."""


class UnwritableObjectError(Exception):
    """S3 refuses to have the object written or removed (403: a policy, a lock, a key of KMS)."""


def write_condition(*, if_none_match: bool, if_match: str | None) -> dict[str, str]:
    """Return the parameters that make a write conditional."""
    if if_match is not None:
        return {"IfMatch": if_match}
    return {"IfNoneMatch": "*"} if if_none_match else {}


def is_refused(error: ClientError) -> bool:
    """Tell whether S3 refuses an object for good: 403, and 400 for keys that it was not given."""
    return error_status(error) in (BAD_REQUEST, 403) and error_code(error) not in _PASSING_CODES


def error_status(error: ClientError) -> int | None:
    """Return the HTTP status of an error."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")


def error_code(error: ClientError) -> str:
    """Return the code of an error; empty where it has none."""
    return str(error.response.get("Error", {}).get("Code", ""))
