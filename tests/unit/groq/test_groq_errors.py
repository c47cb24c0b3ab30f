"""What answers of the API that are no success mean."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.problem import MAX_MESSAGE_LENGTH
from groq_batch.groq.error_mapping import LONGEST_RETRY_AFTER_SECONDS, error_from_response
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NotFoundError,
    RateLimitedError,
    RequestRefusedError,
    UnknownOutcomeError,
)

HTML = b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head></html>"
ODD_BODIES = (
    b"",
    b"  ",
    b"upstream connect error",
    HTML,
    b"\xff\xfe\x00",
    b"null",
    b"7",
    b"[]",
    b'["a"]',
    b'"text"',
    b"{}",
    b'{"error": null}',
    b'{"error": "text"}',
    b'{"error": []}',
    b'{"error": {}}',
    b'{"error": {"message": {}, "code": 7, "type": []}}',
    b'{"error": {"message"',
    b"[" * 100_000,
    b'{"error": ' + b"9" * 10_000 + b"}",
)


def error_body(code: str | None = None, message: str = "Why.", **more: Any) -> bytes:
    error = {"message": message, "type": "invalid_request_error", **more}
    return json.dumps({"error": error | ({"code": code} if code else {})}).encode()


def of(status: int, body: bytes = b"", **headers: str) -> GroqApiError:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    error = error_from_response(status, fields, body, now=1_790_000_000.0)
    assert error.status == status
    return error


# Classes


@pytest.mark.parametrize("body", ODD_BODIES, ids=range(len(ODD_BODIES)))
@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (RequestRefusedError, [400, 402, 405, 413, 415, 422, 424, 431, 451, 499]),
        (NotFoundError, [404]),
        (RateLimitedError, [429, 498]),
        (UnknownOutcomeError, [101, 103, 408, 409, 500, 502, 503, 504, 520, 522, 529, 530, 599]),
        (AccountError, [301, 302, 303, 307, 308, 401, 403]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_the_status_decides_whatever_the_body_is(
    kind: type[GroqApiError], statuses: list[int], body: bytes
) -> None:
    for status in statuses:
        error = of(status, body)
        assert type(error) is kind, status
        assert str(error).endswith(".")
        assert len(str(error)) < 400


def test_a_byte_order_mark_before_an_error_hides_nothing() -> None:
    error = of(403, b"\xef\xbb\xbf" + error_body("not_available_for_plan"))
    assert error.code == "plan_required"


@pytest.mark.parametrize("code", [403, None, "", {}, []])
def test_a_code_that_is_no_text_leaves_the_type(code: Any) -> None:
    body = {"error": {"code": code, "type": "not_available_for_plan"}}
    error = of(403, json.dumps(body).encode())
    assert error.code == "plan_required"


@given(st.integers(100, 999), st.binary(max_size=200), st.dictionaries(st.text(), st.text()))
def test_every_answer_is_an_error(status: int, body: bytes, headers: dict[str, str]) -> None:
    error = error_from_response(status, headers, body)
    assert isinstance(error, GroqApiError)
    assert error.status == status


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "type", "message"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.sampled_from([400, 401, 403, 404, 413, 429, 500]), json_values)
def test_every_json_is_read(status: int, value: Any) -> None:
    error = error_from_response(status, {}, json.dumps(value).encode())
    assert error.code is None or error.code
    if isinstance(error, RequestRefusedError):
        assert error.api_message is None or 0 < len(error.api_message) <= MAX_MESSAGE_LENGTH


# Refusals


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (400, error_body("invalid_request"), "invalid_request", "Why."),
        (400, error_body(), "invalid_request_error", "Why."),
        (400, b'{"message": "Why.", "code": "bare"}', "bare", "Why."),
        (400, b'{"error": "Why."}', "http_400", "Why."),
        (422, b"text", "http_422", "text"),
        (413, b"", "file_too_large", None),
        (413, HTML, "file_too_large", HTML.decode()),
        (413, error_body("request_too_large"), "request_too_large", "Why."),
        (404, error_body("model_not_found"), "model_not_found", "Why."),
        (404, b"", "http_404", None),
        (400, error_body("c" * 999, "m" * 9999), "c" * 100, "m" * MAX_MESSAGE_LENGTH),
    ],
)
def test_refusals_say_why(status: int, body: bytes, code: str, message: str | None) -> None:
    error = of(status, body)
    assert isinstance(error, RequestRefusedError)
    assert (error.code, error.api_message) == (code, message)
    assert code in str(error) or str(error).startswith(f"Groq refused the request ({status} ")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, error_body("x", param="endpoint"), True),
        (400, error_body("invalid_endpoint"), True),
        (400, error_body("x", "'Endpoint' must be the url of the requests."), True),
        (400, b"bad endpoint", True),
        (400, error_body("x", param="input_file_id"), False),
        (400, error_body("x", param=["endpoint"]), False),
        (400, b"", False),
        (404, error_body("x", param="endpoint"), False),
        (422, error_body("x", param="endpoint"), False),
    ],
)
def test_refusal_of_an_endpoint_names_it(status: int, body: bytes, expected: bool) -> None:
    error = of(status, body)
    assert isinstance(error, RequestRefusedError)
    assert error.names_endpoint is expected


# The account


@pytest.mark.parametrize(
    ("status", "body", "code", "says"),
    [
        (401, error_body("invalid_api_key"), "invalid_api_key", "GroqApiKeySecretName"),
        (401, b"", "invalid_api_key", "GroqApiKeySecretName"),
        (401, HTML, "invalid_api_key", "GroqApiKeySecretName"),
        (400, error_body("invalid_api_key"), "invalid_api_key", "GroqApiKeySecretName"),
        (403, error_body("not_available_for_plan"), "plan_required", "Developer tier"),
        (400, error_body("blocked_api_access"), "spend_limit", "Raise it"),
        (403, error_body("blocked_api_access"), "spend_limit", "Raise it"),
        (400, error_body("spend_limit_reached"), "spend_limit", "Raise it"),
        (402, error_body("spend_alert"), "spend_limit", "Raise it"),
        (400, error_body("organization_restricted"), "permission_denied", "support"),
        (404, error_body("unknown_url"), "permission_denied", "GroqBaseUrl"),
        (308, b"", "permission_denied", "GroqBaseUrl"),
        (
            403,
            error_body("model_permission_blocked_org"),
            "permission_denied",
            "A model is blocked",
        ),
        (
            403,
            error_body("model_permission_blocked_project"),
            "permission_denied",
            "A model is blocked",
        ),
        (403, b"error code: 1010", "permission_denied", "1010"),
        (403, error_body("other"), "permission_denied", "rights of the API key"),
        (403, error_body(message="Request 01010 denied."), "permission_denied", "rights"),
        (403, b"", "permission_denied", "rights of the API key"),
    ],
)
def test_account_errors_say_what_to_do(status: int, body: bytes, code: str, says: str) -> None:
    error = of(status, body)
    assert isinstance(error, AccountError)
    assert error.code == code
    assert says in str(error)
    assert not error.may_pass


@pytest.mark.parametrize(
    "body",
    [
        error_body(message="Access denied. Please check your network settings."),
        b"Access denied: NETWORK policy",
        HTML,
        b"\n  <html>Attention Required!</html>",
        b"error code: 1006",
        b"Error Code 1020",
    ],
)
def test_a_blocked_address_may_pass(body: bytes) -> None:
    error = of(403, body)
    assert isinstance(error, AccountError)
    assert error.code == "permission_denied"
    assert error.may_pass
    assert "region" in str(error)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("code", ["invalid_api_key", "blocked_api_access", "unknown_url"])
def test_codes_do_not_make_an_outage_an_account_error(status: int, code: str) -> None:
    assert not isinstance(of(status, error_body(code)), AccountError)


# When to come back


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": " 7.5 "}, 7.5),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"retry_after_ms": "1500", "retry_after": "7"}, 1.5),
        ({"retry_after_ms": "soon", "retry_after": "7"}, 7.0),
        ({"retry_after": formatdate(1_790_000_090, usegmt=True)}, 90.0),
        ({"retry_after": formatdate(1_790_000_090)}, 90.0),
        ({"retry_after": formatdate(1_789_999_000, usegmt=True)}, 0.0),
        ({"retry_after": "999999999"}, LONGEST_RETRY_AFTER_SECONDS),
        ({"retry_after_ms": "999999999"}, LONGEST_RETRY_AFTER_SECONDS),
        ({"retry_after": "Wed, 21 Oct 2099 07:28:00 GMT"}, LONGEST_RETRY_AFTER_SECONDS),
        ({"retry_after": "9" * 400}, None),
        ({"retry_after": "-5"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "1e3"}, None),
        ({"retry_after": "\u0667"}, None),
        ({"retry_after": "Wed, 99 Oct 2026 07:28:00 +99999999"}, None),
        ({"retry_after": "Mon, 21 Sep 2026 14:14:50 -0000"}, 90.0),
        ({"retry_after": ""}, None),
        ({"x_ratelimit_reset_requests": "2m59.56s"}, 179.56),
        ({"x_ratelimit_reset_tokens": "7.66s"}, 7.66),
        ({"x_ratelimit_reset_tokens": "1h2m3s"}, LONGEST_RETRY_AFTER_SECONDS),
        ({"x_ratelimit_reset_tokens": "350ms"}, 0.35),
        ({"x_ratelimit_reset_tokens": "2m"}, 120.0),
        ({"x_ratelimit_reset_tokens": ""}, None),
        ({"x_ratelimit_reset_tokens": "tomorrow"}, None),
        ({"x_ratelimit_reset_tokens": "1.2.3s"}, None),
        ({"retry_after": "3", "x_ratelimit_reset_tokens": "7.66s"}, 3.0),
        (
            {"x_ratelimit_reset_requests": "2m", "x_ratelimit_reset_tokens": "7s"},
            120.0,
        ),
        # The requests of the day are not used up: it is the tokens that are waited for.
        (
            {
                "x_ratelimit_reset_requests": "40m",
                "x_ratelimit_remaining_requests": "14370",
                "x_ratelimit_reset_tokens": "7s",
                "x_ratelimit_remaining_tokens": "0",
            },
            7.0,
        ),
    ],
)
def test_retry_after(headers: dict[str, str], expected: float | None) -> None:
    error = of(429, error_body("rate_limit_exceeded"), **headers)
    assert isinstance(error, RateLimitedError)
    assert error.code == "rate_limit_exceeded"
    assert error.retry_after_seconds == (
        None if expected is None else pytest.approx(expected, abs=1e-6)
    )


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "retry-after",
                "retry-after-ms",
                "x-ratelimit-reset-requests",
                "x-ratelimit-reset-tokens",
                "x-ratelimit-remaining-tokens",
            ]
        ),
        st.text(max_size=40)
        | st.from_regex(r"[0-9.]{0,12}(h|m|s|ms)?[0-9.]{0,12}(s|ms)?", fullmatch=True)
        | st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S -0000")),
    )
)
def test_times_to_wait_are_bounded(headers: dict[str, str]) -> None:
    error = error_from_response(429, headers, b"")
    assert isinstance(error, RateLimitedError)
    seconds = error.retry_after_seconds
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER_SECONDS
