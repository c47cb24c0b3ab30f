"""Define the errors of the Groq API, sorted by what the caller must do.

No message contains the API key, a prompt or an answer; texts of the API are truncated.
"""

from __future__ import annotations

import re
from enum import StrEnum
from http import HTTPStatus
from typing import Any, ClassVar

from groq_batch.domain.reason import Reason


class NoAnswer(StrEnum):
    """Why a call has no (complete) response."""

    NAME_NOT_FOUND = "name_not_found"
    UNREACHABLE = "unreachable"
    UNTRUSTED_CERTIFICATE = "untrusted_certificate"
    TIMED_OUT = "timed_out"
    BROKEN_OFF = "broken_off"


class GroqApiError(Exception):
    """A call to the API did not succeed.

    Attributes:
        category: The operator's kind of action; used as the name of a metric.
        status: The HTTP status; None if there was no response.
        code: The API's code, or this package's own code where it defines one.
        reason: Why there was no response; None if there was one.
        retry_after_seconds: How many seconds the API asks to wait; None if it does not say.
    """

    category: ClassVar[str] = "other"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        reason: NoAnswer | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class NotSentError(GroqApiError):
    """The API provably did not get the whole request; it may be sent again later."""


class UnknownOutcomeError(GroqApiError):
    """The API may or may not have acted; before repeating the call, check what exists."""


class RateLimitedError(GroqApiError):
    """The API did not act and asks to retry later."""

    category: ClassVar[str] = "rate_limit"


class AccountError(GroqApiError):
    """The account or the configuration is at fault; the message says what to do.

    ``code`` is one of the first group of ``ErrorCode``.

    Attributes:
        may_pass: Whether the same request may succeed a moment later, for example after a network
            proxy took it for an attack.
    """

    category: ClassVar[str] = "account"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        may_pass: bool = False,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.may_pass = may_pass


class RequestRefusedError(GroqApiError):
    """The API rejects this request; it must not be repeated unchanged.

    Attributes:
        api_message: The API's text, truncated.
        api_param: The parameter that it names, if any.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        api_message: str | None = None,
        api_param: str | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.api_message = api_message
        self.api_param = api_param

    @property
    def names_endpoint(self) -> bool:
        """Whether the API rejects the endpoint of a create: status 400, and the error says so."""
        said = (self.api_param, self.code, self.api_message)
        return self.status == HTTPStatus.BAD_REQUEST and any(
            "endpoint" in text.lower() for text in said if text
        )


class NotFoundError(RequestRefusedError):
    """The object that the request names does not exist (404)."""


_IDENTIFIER = re.compile("[A-Za-z0-9_.-]{1,64}")


def log_fields(error: GroqApiError) -> dict[str, Any]:
    """Return the fields of a failed call that may be logged.

    The API's own text is left out, because it may quote the request; so is a code that is not an
    identifier. Reports and records contain both.
    """
    code = error.code if error.code and _IDENTIFIER.fullmatch(error.code) else None
    return {"kind": type(error).__name__, "status": error.status, "code": code}


def reason_of(error: GroqApiError) -> Reason:
    """Return the code and the message of an error, those of the API if it gave any."""
    said = error.api_message if isinstance(error, RequestRefusedError) else None
    return Reason(error.code, said or str(error))
