"""Checks the address of the AWS APIs, which botocore takes only as a whole URL."""

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
    """Return where the endpoint of a service comes from, and what it is.

    Args:
        service: What boto3 calls the service.
        option: The option ``--endpoint-url``.
        environ: The environment.

    Returns:
        None when neither the option nor a variable names one; then the AWS settings may.
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
        GroqBatchError: It has not.
    """
    if not _is_whole(url):
        raise _kind(source)(
            f"{_found(source, url)}, but it has to be a whole address that begins with http:// or "
            f"https://, such as http://127.0.0.1:4566."
        )


def refused_endpoint(error: ValueError, named: tuple[str, str] | None) -> GroqBatchError | None:
    """Return the sentence for botocore's refusal of an endpoint; None for any other error.

    Args:
        error: What botocore raised.
        named: Where the endpoint comes from, and what it is; None for the AWS settings.
    """
    if not str(error).startswith(_REFUSED):
        return None
    source, url = named or (_SETTINGS, str(error).removeprefix(_REFUSED))
    try:
        check_endpoint(source, url)
    except GroqBatchError as refusal:
        return refusal
    return _kind(source)(
        f"{_found(source, url)}, but the name of its host may have letters, digits, hyphens and "
        f"dots only, for AWS clients take no other."
    )


def _kind(source: str) -> type[GroqBatchError]:
    """Return the error of a source: an option is a command's usage, a variable holds for many."""
    return WrongArgumentError if source == _OPTION else AwsError


def _is_whole(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _found(source: str, url: str) -> str:
    return f"{source} is {shorten(one_line(url), _LONGEST_SHOWN)!r}"
