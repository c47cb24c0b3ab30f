"""The errors of the Groq API, sorted by what the caller must do.

No message holds the API key, a prompt or an answer; texts of the API are cut.
"""

from __future__ import annotations

import re
from enum import StrEnum
from http import HTTPStatus
from typing import Any, ClassVar


class GroqBatchError(Exception):
    """Base of the errors of this package that a caller is meant to handle."""


class NoAnswer(StrEnum):
    """Why a call has no (whole) answer."""

    NAME_NOT_FOUND = "name_not_found"
    UNREACHABLE = "unreachable"
    UNTRUSTED_CERTIFICATE = "untrusted_certificate"
    TIMED_OUT = "timed_out"
    BROKEN_OFF = "broken_off"


class GroqApiError(GroqBatchError):
    """A call to the API did not succeed.

    Attributes:
        category: What an operator would do about it; names a metric.
        status: The HTTP status, or None when there was no answer.
        code: The API's code, or this package's where it has one of its own.
        reason: Why there was no answer, or None when there was one.
    """

    category: ClassVar[str] = "other"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        reason: NoAnswer | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.reason = reason


class NotSentError(GroqApiError):
    """The API provably did not get the request, or not all of it; it may be sent again later."""


class UnknownOutcomeError(GroqApiError):
    """The API may or may not have acted; whoever repeats the call must first look what is there.

    Attributes:
        retry_after_seconds: How long the API asks to wait, in seconds; None when it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        reason: NoAnswer | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, reason=reason)
        self.retry_after_seconds = retry_after_seconds


class RateLimitedError(GroqApiError):
    """The API asks to come back later; it did not act.

    Attributes:
        retry_after_seconds: How long the API asks to wait, in seconds; None when it does not say.
    """

    category: ClassVar[str] = "rate_limit"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.retry_after_seconds = retry_after_seconds


class AccountError(GroqApiError):
    """The account or the configuration is at fault; the message says what to do.

    ``code`` is one of the first group of ``ErrorCode``.

    Attributes:
        may_pass: Whether the same request may succeed a moment later, as with a network front that
            took it for an attack.
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
    """The API refuses this request; it must not be repeated unchanged.

    Attributes:
        api_code: The API's code, where it gives one.
        api_message: The API's text, cut.
        api_param: The parameter that it names, where it names one.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        api_code: str | None = None,
        api_message: str | None = None,
        api_param: str | None = None,
    ) -> None:
        super().__init__(message, status=status, code=api_code)
        self.api_code = api_code
        self.api_message = api_message
        self.api_param = api_param

    @property
    def names_endpoint(self) -> bool:
        """Whether it is a create's endpoint that the API refuses: status 400, and it says so."""
        said = (self.api_param, self.api_code, self.api_message)
        return self.status == HTTPStatus.BAD_REQUEST and any(
            "endpoint" in text.lower() for text in said if text
        )


class NotFoundError(RequestRefusedError):
    """What the request names does not exist (404)."""


_IDENTIFIER = re.compile("[A-Za-z0-9_.-]{1,64}")


def log_fields(error: GroqApiError) -> dict[str, Any]:
    """Return what a log line may tell of a failed call.

    The API's own text is left out: it may quote what was sent, and so may a code that is no
    identifier. Reports and records have both.
    """
    code = error.code if error.code and _IDENTIFIER.fullmatch(error.code) else None
    return {"kind": type(error).__name__, "status": error.status, "code": code}


def error_json(error: GroqApiError) -> dict[str, Any]:
    """Return an error of the API as it stands in records: its code and its sentence."""
    code = getattr(error, "api_code", None) or error.code
    message = getattr(error, "api_message", None) or str(error)
    return {"code": code, "message": message}
