"""Turn boto3 errors into messages that say what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from botocore import exceptions

from groq_batch.bucket.s3_errors import (
    MissingObjectError,
    UnreadableObjectError,
    UnwritableObjectError,
)
from groq_batch_client.errors import AwsError, GroqBatchError
from groq_batch_client.setting_names import OPTIONS, Words
from groq_batch_client.text import one_line, shorten

_LONGEST_MESSAGE = 400

_SERVER_ERROR = 500

_NO_ANSWERS = (
    exceptions.EndpointConnectionError,
    exceptions.ConnectTimeoutError,
    exceptions.ReadTimeoutError,
    exceptions.ConnectionClosedError,
    exceptions.ProxyConnectionError,
    exceptions.SSLError,
)
_EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_UNKNOWN_KEY_CODES = frozenset(
    {
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "AuthFailure",
    }
)
_DENIED_CODES = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "403",
        "KmsAccessDeniedException",
        "UnauthorizedOperation",
    }
)
_BUSY_CODES = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)


def explain(error: BaseException, words: Words = OPTIONS) -> str | None:
    """Return the message for an AWS or botocore error; None for any other error.

    Args:
        error: The error.
        words: Names of the stack settings in the message.
    """
    for kind, sentence in _SENTENCES:
        if isinstance(error, kind):
            return sentence(error, words)
    return None


@contextlib.contextmanager
def explained(words: Words) -> Iterator[None]:
    """Turn AWS and botocore errors within a ``with`` block into ``AwsError``.

    Raises:
        AwsError: The block raised one, which becomes its cause.
    """
    try:
        yield
    except GroqBatchError:
        raise
    except Exception as error:
        sentence = explain(error, words)
        if sentence is None:
            raise
        raise AwsError(sentence) from error


def is_denied(error: BaseException) -> bool:
    """Tell whether an error means that a permission is missing."""
    return (
        isinstance(error, exceptions.ClientError)
        and error.response.get("Error", {}).get("Code") in _DENIED_CODES
    )


def is_passing(error: BaseException) -> bool:
    """Tell whether an error is transient: the network failed or the service is busy."""
    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= _SERVER_ERROR or error.response["Error"].get("Code") in _BUSY_CODES
    return isinstance(error, _NO_ANSWERS)


def _client_error(error: Any, words: Words) -> str:
    details = error.response.get("Error", {})
    code = str(details.get("Code", ""))
    message = shorten(one_line(str(details.get("Message", ""))), _LONGEST_MESSAGE)
    operation = error.operation_name
    if code in _EXPIRED_CODES:
        return f"The AWS credentials have expired. {words.sign_in}"
    if code in _UNKNOWN_KEY_CODES:
        return f"AWS does not accept these credentials. {words.sign_in}"
    if code in _DENIED_CODES:
        # Responses to HEAD have no body.
        said = f" ({message})" if message and message not in ("Forbidden", "Access Denied") else ""
        return (
            f"AWS denies {operation}{said}. Ask for this permission, or name a profile that has it "
            f"with {words.profile}."
        )
    if code == "NoSuchBucket":
        bucket = details.get("BucketName")
        named = f"The bucket {bucket}" if bucket else "The bucket"
        return f"{named} does not exist. If it was deleted, deploy its stack again."
    if code in _BUSY_CODES:
        return f"AWS throttles {operation}. Try again in a moment."
    return f"AWS returns {code} for {operation}: {message or 'no details'}"


def _no_answer(error: Any, _words: Words) -> str:
    url = error.kwargs.get("endpoint_url", "AWS")
    return (
        f"{url} does not answer. Check the network and the name of the region. For an emulator, "
        f"check that it runs at this address."
    )


_SENTENCES: tuple[
    tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[[Any, Words], str]], ...
] = (
    (
        (exceptions.NoCredentialsError, exceptions.PartialCredentialsError),
        lambda _, words: words.no_credentials,
    ),
    (
        exceptions.ProfileNotFound,
        lambda error, _: (
            f"There is no AWS profile {error.kwargs['profile']}. `aws configure list-profiles` "
            f"lists yours."
        ),
    ),
    (
        exceptions.NoRegionError,
        lambda _, words: f"No AWS region is set. Set one with {words.region} or AWS_REGION.",
    ),
    (
        exceptions.InvalidRegionError,
        lambda error, _: f"{error.kwargs['region_name']!r} is not the name of a region.",
    ),
    (
        (
            exceptions.TokenRetrievalError,
            exceptions.SSOError,
            exceptions.CredentialRetrievalError,
        ),
        lambda error, words: (
            f"The AWS credentials cannot be loaded: {one_line(str(error))} {words.sign_in}"
        ),
    ),
    (_NO_ANSWERS, _no_answer),
    (exceptions.ClientError, _client_error),
    (
        UnreadableObjectError,
        lambda error, _: (
            f"S3 denies reading {error}. Ask for the permission s3:GetObject on it (and "
            f"kms:Decrypt if the bucket has its own key)."
        ),
    ),
    (
        UnwritableObjectError,
        lambda error, _: f"S3 denies writing {error}. Ask for the permission s3:PutObject on it.",
    ),
    (MissingObjectError, lambda error, _: f"The object {error} no longer exists."),
    (
        exceptions.BotoCoreError,
        lambda error, _: f"The AWS client failed: {one_line(str(error))}",
    ),
)
