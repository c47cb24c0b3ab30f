"""Map unsuccessful HTTP responses to exceptions."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.problem import MAX_MESSAGE_LENGTH
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NotFoundError,
    RateLimitedError,
    RequestRefusedError,
    UnknownOutcomeError,
)

LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""Longest Retry-After, in seconds, that is taken seriously; after it the API is called again."""
_CAPACITY_EXCEEDED = 498
"""Groq's own status for a lack of capacity (https://console.groq.com/docs/errors)."""
_COME_BACK_LATER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, _CAPACITY_EXCEEDED})
_UNDECIDED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT})
_REDIRECTS = range(HTTPStatus.MULTIPLE_CHOICES, HTTPStatus.BAD_REQUEST)
_SPEND_LIMIT_CODES = frozenset({"blocked_api_access"})
"""See https://console.groq.com/docs/spend-limits."""


def error_from_response(
    status: int, headers: Mapping[str, str], body: bytes, *, now: float | None = None
) -> GroqApiError:
    """Return the exception for an unsuccessful response.

    Args:
        status: The HTTP status, not 2xx.
        headers: The response's header fields, in lower case or with case-insensitive lookup.
        body: The response's body: usually JSON, but HTML or text from a proxy.
        now: Seconds since 1970, for a Retry-After that is a date.

    Returns:
        The exception; its message says what to do, if anything can be done.
    """
    code, text, param = _error_fields(body)
    retry_after = _retry_after(headers, time.time() if now is None else now)
    if status in _COME_BACK_LATER:
        return RateLimitedError(
            "Groq asks to try again later.",
            status=status,
            code=code,
            retry_after_seconds=retry_after,
        )
    account = _account_error(status, code, text)
    if account is not None:
        return account
    if status < HTTPStatus.BAD_REQUEST or status in _UNDECIDED or status >= 500:  # noqa: PLR2004
        return UnknownOutcomeError(
            f"Groq answered {status}.",
            status=status,
            code=code,
            retry_after_seconds=retry_after,
        )
    kind = NotFoundError if status == HTTPStatus.NOT_FOUND else RequestRefusedError
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        code = code or "file_too_large"
    return kind(
        f"Groq refused the request ({status} {code or 'without a code'}).",
        status=status,
        code=code or f"http_{status}",
        api_message=text or None,
        api_param=param,
    )


def _account_error(status: int, code: str | None, text: str) -> AccountError | None:
    """Return the exception for a response that reports an account error; otherwise None."""
    if status in _REDIRECTS:
        return AccountError(
            f"The URL of the Groq API redirects to another one (status {status}). Deploy the stack "
            f"with the final URL as GroqBaseUrl.",
            status=status,
            code=ErrorCode.PERMISSION_DENIED,
        )
    if not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    if code == "unknown_url":
        return AccountError(
            "The Groq API does not know the URL that was called. Deploy the stack with the URL of "
            "the API as GroqBaseUrl, such as https://api.groq.com/openai/v1.",
            status=status,
            code=ErrorCode.PERMISSION_DENIED,
        )
    if status == HTTPStatus.UNAUTHORIZED or code == ErrorCode.INVALID_API_KEY:
        return AccountError(
            "Groq refuses the API key. Put a valid key into the secret named by "
            "GroqApiKeySecretName.",
            status=status,
            code=ErrorCode.INVALID_API_KEY,
        )
    if code and (code in _SPEND_LIMIT_CODES or code.startswith("spend_")):
        return AccountError(
            "The Groq organisation has reached its spend limit. Raise it in the Groq console, or "
            "wait until it resets on the first of the month.",
            status=status,
            code=ErrorCode.SPEND_LIMIT,
        )
    if code == "not_available_for_plan":
        return AccountError(
            "The plan of this Groq account has no Batch API. Upgrade it to the Developer tier.",
            status=status,
            code=ErrorCode.PLAN_REQUIRED,
        )
    if code == "organization_restricted":
        return AccountError(
            "The Groq organisation has been restricted. Ask Groq's support for the reason.",
            status=status,
            code=ErrorCode.PERMISSION_DENIED,
        )
    return _forbidden(code, text) if status == HTTPStatus.FORBIDDEN else None


_FRONT_ERROR = re.compile(r"error code:?\s*(10[0-9]{2})\b", re.IGNORECASE)


def _forbidden(code: str | None, text: str) -> AccountError:
    front = _FRONT_ERROR.search(text)
    may_pass = False
    if code and code.startswith("model_permission_blocked"):
        sentence = (
            "A model is blocked for this Groq organisation or project. Allow it in the Groq "
            "console, or use another model."
        )
    elif front and front[1] == "1010":
        sentence = "Groq's network front refuses this client (error 1010). Report this as a bug."
    elif front or "network" in text.lower() or text.lstrip().startswith("<"):
        may_pass = True
        sentence = (
            "Groq's network front refuses requests from this IP address. Deploy the stack in "
            "another region, or route its traffic through another address."
        )
    else:
        sentence = (
            "Groq denies permission for this call. Check the rights of the API key and its project "
            "in the Groq console."
        )
    return AccountError(
        sentence, status=HTTPStatus.FORBIDDEN, code=ErrorCode.PERMISSION_DENIED, may_pass=may_pass
    )


def _error_fields(body: bytes) -> tuple[str | None, str, str | None]:
    """Return code, text and parameter of an error response, whatever its format."""
    plain = body.decode("utf-8-sig", "replace")
    try:
        data = json.loads(plain)
    except (ValueError, RecursionError):
        return None, plain[:MAX_MESSAGE_LENGTH], None
    error = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(error, str):
        return None, error[:MAX_MESSAGE_LENGTH], None
    if not isinstance(error, dict):
        return None, "", None
    # Some servers write the HTTP status as the code.
    names = (name for name in (error.get("code"), error.get("type")) if isinstance(name, str))
    code, text, param = next(filter(None, names), None), error.get("message"), error.get("param")
    return (
        code[:100] if code else None,
        text[:MAX_MESSAGE_LENGTH] if isinstance(text, str) else "",
        param[:100] if isinstance(param, str) and param else None,
    )


_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_DURATION = re.compile(
    r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m(?!s))?"
    r"(?:([0-9]{1,9}(?:\.[0-9]*)?)s)?(?:([0-9]{1,9}(?:\.[0-9]*)?)ms)?"
)


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return how many seconds a response asks to wait; None if it does not say."""
    seconds = parse_number(headers.get("retry-after-ms"))
    if seconds is not None:
        seconds /= 1000
    else:
        text = (headers.get("retry-after") or "").strip()
        seconds = parse_number(text)
        if seconds is None:
            seconds = _seconds_until(text, now)
        if seconds is None:
            seconds = _seconds_to_reset(headers)
    return seconds if seconds is None else min(seconds, LONGEST_RETRY_AFTER_SECONDS)


def parse_number(text: str | None) -> float | None:
    """Parse a decimal number; None for any other text."""
    return float(text) if text and _NUMBER.fullmatch(text.strip()) else None


def _seconds_until(date: str, now: float) -> float | None:
    """Return the seconds until a date such as ``Wed, 21 Oct 2026 07:28:00 GMT``, at least 0."""
    try:
        moment = parsedate_to_datetime(date)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(moment.timestamp() - now, 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _seconds_to_reset(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until the exhausted limits are reset, from Groq's header fields."""
    resets = [
        parse_duration(headers.get(f"x-ratelimit-reset-{what}"))
        for what in ("requests", "tokens")
        if (headers.get(f"x-ratelimit-remaining-{what}") or "0").strip() == "0"
    ]
    return max((reset for reset in resets if reset is not None), default=None)


def parse_duration(text: str | None) -> float | None:
    """Parse a duration such as ``2m59.56s`` or ``7.66s`` into seconds."""
    match = _DURATION.fullmatch(text.strip()) if text else None
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
