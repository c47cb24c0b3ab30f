"""One ordinary call: how its request is written, and what its answer says of the limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from urllib3.filepost import encode_multipart_formdata

from groq_batch.domain.pacing import LimitsLeft
from groq_batch.groq.error_mapping import _duration, _number

JSON_CONTENT = "application/json"


def form_of(fields: Sequence[tuple[str, str]]) -> tuple[bytes, str]:
    """Return a form of text fields as ``multipart/form-data``: its bytes and its content type."""
    return encode_multipart_formdata(fields)


def limits_left(headers: Mapping[str, str]) -> LimitsLeft:
    """Return what an answer says is left of the account's limits.

    See https://console.groq.com/docs/rate-limits.

    Args:
        headers: The answer's header fields, looked up without regard to case.
    """
    return LimitsLeft(
        requests=_number(headers.get("x-ratelimit-remaining-requests")),
        requests_reset_in=_duration(headers.get("x-ratelimit-reset-requests")),
        tokens=_number(headers.get("x-ratelimit-remaining-tokens")),
        tokens_reset_in=_duration(headers.get("x-ratelimit-reset-tokens")),
    )
