"""Encode the form of an ordinary call, and read the rate limits from its response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from requests import Request

from groq_batch.domain.pacing import LimitsLeft
from groq_batch.groq.error_mapping import parse_duration, parse_number

JSON_CONTENT = "application/json"


def form_of(fields: Sequence[tuple[str, str]]) -> tuple[bytes, str]:
    """Encode text fields as ``multipart/form-data``; return the bytes and the content type."""
    files = [(name, (None, value.encode())) for name, value in fields]
    # The URL is not part of the form.
    prepared = Request("POST", "https://localhost", files=files).prepare()
    body, content_type = prepared.body, prepared.headers["Content-Type"]
    # True for fields held in memory; the types of requests are wider.
    assert isinstance(body, bytes)  # noqa: S101
    assert isinstance(content_type, str)  # noqa: S101
    return body, content_type


def limits_left(headers: Mapping[str, str]) -> LimitsLeft:
    """Return the account's remaining rate limits as reported by a response.

    See https://console.groq.com/docs/rate-limits.

    Args:
        headers: The response's header fields, with case-insensitive lookup.
    """
    return LimitsLeft(
        requests=parse_number(headers.get("x-ratelimit-remaining-requests")),
        requests_reset_in=parse_duration(headers.get("x-ratelimit-reset-requests")),
        tokens=parse_number(headers.get("x-ratelimit-remaining-tokens")),
        tokens_reset_in=parse_duration(headers.get("x-ratelimit-reset-tokens")),
    )
