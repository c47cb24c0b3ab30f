"""Turn the response or failure of an ordinary call into the request's row or next action."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from enum import Enum, auto
from http import HTTPStatus

import msgspec
from msgspec import field

from groq_batch.domain.cost import ModelUsage
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.on_demand import cost_usd
from groq_batch.domain.pacing import LimitsLeft
from groq_batch.domain.prices import Prices
from groq_batch.domain.reason import Reason
from groq_batch.domain.result_row import (
    Row,
    RowOutcome,
    classify_row,
    is_readable_json,
    is_retryable_status,
    pipeline_row,
)
from groq_batch.groq.error_mapping import error_from_response
from groq_batch.groq.errors import AccountError, GroqApiError, NotSentError, reason_of
from groq_batch.groq.http import HttpResponse
from groq_batch.groq.ordinary_calls import limits_left
from groq_batch.request_file.ordinary_request import OrdinaryRequest

_BLOCKED_MODEL = "model_permission_blocked"
_JSON = "json"
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


class Kind(Enum):
    """How a call ended, and so what happens to its request."""

    NOT_BEGUN = auto()
    ENDED = auto()
    AGAIN = auto()
    ACCOUNT = auto()
    UNKNOWN = auto()


class CallOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an ordinary call.

    Attributes:
        kind: How it ended.
        row: The request's row with its line end; None if there was no response.
        is_success: Whether the row holds a successful answer.
        cost_usd: Cost of the answer in US dollars; None if it cannot be computed from the answer.
        error: Why there is no answer.
        wait_seconds: How long the API asks to wait.
        is_limit: Whether the API reported too many calls (status 429).
        left: The account's remaining rate limits, as reported by the API.
    """

    kind: Kind
    row: bytes | None = None
    is_success: bool = False
    cost_usd: float | None = None
    error: Reason | None = None
    wait_seconds: float | None = None
    is_limit: bool = False
    left: LimitsLeft = field(default_factory=LimitsLeft)

    @property
    def was_answered(self) -> bool:
        """Whether the API has answered for the request: nothing of the account kept it from it."""
        return self.kind is Kind.ENDED or (self.kind is Kind.AGAIN and self.row is not None)


NOT_BEGUN = CallOutcome(kind=Kind.NOT_BEGUN)


def outcome_of_response(
    request: OrdinaryRequest, answer: HttpResponse, prices: Prices, *, now: float
) -> CallOutcome:
    """Classify the response to an ordinary call.

    Args:
        request: The request.
        answer: The response, of any status.
        prices: The job's prices.
        now: Seconds since 1970, for a Retry-After that is a date.
    """
    left = limits_left(answer.headers)
    if answer.is_success:
        body = _success_body(request, answer)
        if body is None:
            text = "The API reported success but returned no answer. It may have been billed."
            return unknown_outcome(request, text)
        row = _row(request, answer, body)
        known = classify_row(row)
        if known is None or known.outcome is not RowOutcome.SUCCESS:
            return CallOutcome(kind=Kind.ENDED, row=row, left=left)
        return CallOutcome(
            kind=Kind.ENDED,
            row=row,
            is_success=True,
            cost_usd=_cost_usd(request, known, prices),
            left=left,
        )
    error = error_from_response(answer.status, answer.headers, answer.body, now=now)
    row = _row(request, answer, _error_body(answer))
    if is_retryable_status(answer.status):
        return CallOutcome(
            kind=Kind.AGAIN,
            row=row,
            error=_api_error(error, row),
            # A Retry-After of 0 asks for nothing; without one the pace slows down by itself.
            wait_seconds=error.retry_after_seconds or None,
            is_limit=answer.status == HTTPStatus.TOO_MANY_REQUESTS,
        )
    if isinstance(error, AccountError) and not _names_a_model(answer.body):
        return CallOutcome(kind=Kind.ACCOUNT, error=reason_of(error))
    return CallOutcome(kind=Kind.ENDED, row=row, cost_usd=0.0, left=left)


def outcome_of_failure(request: OrdinaryRequest, error: GroqApiError) -> CallOutcome:
    """Classify a call that got no response."""
    if isinstance(error, AccountError):
        return CallOutcome(kind=Kind.ACCOUNT, error=reason_of(error))
    if isinstance(error, NotSentError):
        code = str(error.reason) if error.reason else ErrorCode.NOT_SENT
        return CallOutcome(kind=Kind.AGAIN, error=Reason(code, str(error)))
    return unknown_outcome(request, f"{error} It may have been billed, so it is not sent again.")


def unknown_outcome(request: OrdinaryRequest, message: str) -> CallOutcome:
    """Return the outcome of a call that may or may not have been paid for."""
    row = pipeline_row(request.custom_id, code=ErrorCode.OUTCOME_UNKNOWN, message=message)
    return CallOutcome(kind=Kind.UNKNOWN, row=row, error=Reason(ErrorCode.OUTCOME_UNKNOWN, message))


def _success_body(request: OrdinaryRequest, answer: HttpResponse) -> bytes | None:
    """Return the body of a success as one line of JSON; None if it is empty, null or not JSON.

    Audio endpoints return plain text if the request asks for it, which may be empty. A server may
    label an answer wrongly, so that the request decides where the body leaves it open.
    """
    body = _one_line(answer)
    is_called_json = _JSON in answer.headers.get("content-type", "").lower()
    if request.is_chat or (is_called_json and not request.asks_for_text):
        is_text = False
    elif request.asks_for_text:
        is_text = not (is_called_json and body and is_readable_json(body))
    else:
        is_text = not (body.startswith(b"{") and is_readable_json(body))
    if is_text:
        return msgspec.json.encode(answer.body.decode("utf-8", "replace"))
    return body if body not in (b"", b"null") and is_readable_json(body) else None


def _error_body(answer: HttpResponse) -> bytes:
    body = _one_line(answer)
    if is_readable_json(body):
        return body
    return msgspec.json.encode(answer.body.decode("utf-8", "replace"))


def _one_line(answer: HttpResponse) -> bytes:
    """Return a body as one line of UTF-8, as a row needs it, without a byte order mark."""
    body = answer.body.removeprefix(BOM_UTF8).translate(_LINE_ENDS).strip()
    return body.decode("utf-8", "replace").encode()


def _row(request: OrdinaryRequest, answer: HttpResponse, body: bytes) -> bytes:
    """Return a row in the format of a batch result, with its line end."""
    return b'{"id":null,"custom_id":%b,"response":%b,"error":null}\n' % (
        _text(request.custom_id),
        b'{"status_code":%d,"request_id":%b,"body":%b}'
        % (answer.status, _text(answer.headers.get("x-request-id") or None), body),
    )


def _text(value: str | None) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        # A lone surrogate cannot be encoded as UTF-8, only as a JSON escape.
        return json.dumps(value).encode("ascii")


def _cost_usd(request: OrdinaryRequest, known: Row, prices: Prices) -> float | None:
    used = ModelUsage()
    tokens = (known.usage.prompt_tokens, known.usage.completion_tokens) if known.usage else None
    used.add(tokens, known.audio_seconds)
    for model in (known.model, request.size.model):
        cost = cost_usd(used, model, prices) if model else None
        if cost is not None:
            return cost
    return None


def _api_error(error: GroqApiError, row: bytes) -> Reason:
    """Return the API's own error code and message if the response has them."""
    known = classify_row(row)
    if known is None or known.code is None:
        return reason_of(error)
    return Reason(known.code, known.message or str(error))


def _names_a_model(body: bytes) -> bool:
    """Tell whether the error concerns only the request's model, not the account."""
    return _BLOCKED_MODEL.encode() in body
