"""One ordinary call: how its request is written, and what its answer says of the limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from requests import Request

from groq_batch.domain.pacing import LimitsLeft
from groq_batch.groq.error_mapping import parse_duration, parse_number

JSON_CONTENT = "application/json"


def form_of(fields: Sequence[tuple[str, str]]) -> tuple[bytes, str]:
    """Return a form of text fields as ``multipart/form-data``: its bytes and its content type."""
    files = [(name, (None, value.encode())) for name, value in fields]
    # The address is no part of a form.
    prepared = Request("POST", "https://localhost", files=files).prepare()
    body, content_type = prepared.body, prepared.headers["Content-Type"]
    # So they are of fields held in memory; the types of requests allow more.
    assert isinstance(body, bytes)  # noqa: S101
    assert isinstance(content_type, str)  # noqa: S101
    return body, content_type


def limits_left(headers: Mapping[str, str]) -> LimitsLeft:
    """Return what an answer says is left of the account's limits.

    See https://console.groq.com/docs/rate-limits.

    Args:
        headers: The answer's header fields, looked up without regard to case.
    """
    return LimitsLeft(
        requests=parse_number(headers.get("x-ratelimit-remaining-requests")),
        requests_reset_in=parse_duration(headers.get("x-ratelimit-reset-requests")),
        tokens=parse_number(headers.get("x-ratelimit-remaining-tokens")),
        tokens_reset_in=parse_duration(headers.get("x-ratelimit-reset-tokens")),
    )
