"""Check the endpoint of the AWS APIs, which botocore accepts only as a full URL."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from groq_batch_client.errors import AwsError, GroqBatchError, WrongArgumentError
from groq_batch_client.text import one_line, shorten

_OPTION = "--endpoint-url"
_VARIABLE = "AWS_ENDPOINT_URL"
_IGNORE_VARIABLE = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
_SERVICE_VARIABLES = {
    "cloudformation": f"{_VARIABLE}_CLOUDFORMATION",
    "lambda": f"{_VARIABLE}_LAMBDA",
    "logs": f"{_VARIABLE}_CLOUDWATCH_LOGS",
    "s3": f"{_VARIABLE}_S3",
    "scheduler": f"{_VARIABLE}_SCHEDULER",
    "secretsmanager": f"{_VARIABLE}_SECRETS_MANAGER",
    "sqs": f"{_VARIABLE}_SQS",
    "stepfunctions": f"{_VARIABLE}_SFN",
    "sts": f"{_VARIABLE}_STS",
}
"""https://docs.aws.amazon.com/sdkref/latest/guide/ss-endpoints-table.html"""

_SETTINGS = "endpoint_url in the AWS settings"
_REFUSED = "Invalid endpoint: "
_LONGEST_SHOWN = 100


def named_endpoint(
    service: str, option: str | None, environ: Mapping[str, str]
) -> tuple[str, str] | None:
    """Return the source and the URL of the endpoint of a service.

    Args:
        service: Name of the service in boto3.
        option: The option ``--endpoint-url``.
        environ: The environment.

    Returns:
        None if neither the option nor a variable sets one; the AWS settings may still do.
    """
    if option is not None:
        return _OPTION, option
    if environ.get(_IGNORE_VARIABLE, "").lower() == "true":
        return None
    for name in (_SERVICE_VARIABLES[service], _VARIABLE):
        if environ.get(name):
            return name, environ[name]
    return None


def check_endpoint(source: str, url: str) -> None:
    """Check that an endpoint has a scheme and a host.

    Raises:
        GroqBatchError: It lacks one.
    """
    if not _is_whole(url):
        raise _kind(source)(
            f"{_found(source, url)}, but it must be a full URL that begins with http:// or "
            f"https://, such as http://127.0.0.1:4566."
        )


def refused_endpoint(error: ValueError, named: tuple[str, str] | None) -> GroqBatchError | None:
    """Return the message if botocore rejects an endpoint; None for any other error.

    Args:
        error: What botocore raised.
        named: Source and URL of the endpoint; None for the AWS settings.
    """
    if not str(error).startswith(_REFUSED):
        return None
    source, url = named or (_SETTINGS, str(error).removeprefix(_REFUSED))
    try:
        check_endpoint(source, url)
    except GroqBatchError as refusal:
        return refusal
    return _kind(source)(
        f"{_found(source, url)}, but AWS clients accept only letters, digits, hyphens and dots "
        f"in the host name."
    )


def _kind(source: str) -> type[GroqBatchError]:
    """Return the error class for a source: an option is a usage error, a variable is not."""
    return WrongArgumentError if source == _OPTION else AwsError


def _is_whole(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _found(source: str, url: str) -> str:
    return f"{source} is {shorten(one_line(url), _LONGEST_SHOWN)!r}"
