"""Result rows: what a row of the API means, and the rows that the pipeline writes itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import msgspec

from groq_batch.errors import MAX_MESSAGE_LENGTH

NOT_SENT = "not_sent"
MISSING = "missing"
BATCH_FAILED = "batch_failed"
CANCELLED = "cancelled"

RETRYABLE_CODES = frozenset(
    {
        "batch_cancelled",
        "batch_expired",
        "capacity_exceeded",
        "capacity_exhausted",
        "json_validate_failed",
        "request_timeout",
    }
)
"""Codes of rows that another attempt may turn into a success."""

RETRYABLE_STATUSES = frozenset({0, 408, 409, 429, 498})


class RowOutcome(Enum):
    """What a row says of its request."""

    SUCCESS = auto()
    RETRYABLE = auto()
    FINAL = auto()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of an answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class Row:
    """A result row: whose it is, what it says, and what it used."""

    custom_id: str
    outcome: RowOutcome
    code: str | None = None
    message: str | None = None
    usage: Usage | None = None
    model: str | None = None


class _RawRow(msgspec.Struct):
    custom_id: str
    response: Any = None
    error: Any = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class _Body(msgspec.Struct):
    error: msgspec.Raw | None = None
    usage: _Usage | None = None
    model: str | None = None


class _Response(msgspec.Struct):
    status_code: int
    body: _Body


class _QuickRow(msgspec.Struct):
    """The shape of nearly every row; decoding it skips the answers' text."""

    custom_id: str
    response: _Response
    error: None = None


_quick = msgspec.json.Decoder(_QuickRow)
_careful = msgspec.json.Decoder(_RawRow)


def classify_row(line: bytes) -> Row | None:
    """Read a result row.

    The content decides, not the file that the row was in: an error with a code, no usable response,
    a status of 200 to 299 without an error in the body, anything else, in this order.

    Args:
        line: The row.

    Returns:
        The row, or None when it is not a JSON object with a ``custom_id`` that is a string.
    """
    try:
        quick = _quick.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _classify_carefully(line)
    body = quick.response.body
    if 200 <= quick.response.status_code < 300 and body.error is None:
        used = body.usage
        return Row(
            custom_id=quick.custom_id,
            outcome=RowOutcome.SUCCESS,
            usage=Usage(used.prompt_tokens, used.completion_tokens, used.total_tokens)
            if used
            else None,
            model=body.model,
        )
    return _classify_carefully(line)


def _classify_carefully(line: bytes) -> Row | None:
    try:
        row = _careful.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if row.error:
        code, message = _error_parts(row.error)
        return _failed(row.custom_id, code or "unknown_error", message, status=None)
    response = row.response
    if not isinstance(response, dict):
        return Row(row.custom_id, RowOutcome.RETRYABLE, "no_response", "The row has no response.")
    status = response.get("status_code")
    status = status if isinstance(status, int) and not isinstance(status, bool) else 0
    body = response.get("body")
    error = body.get("error") if isinstance(body, dict) else None
    if 200 <= status < 300 and not error:
        return _answered(row.custom_id, body)
    code, message = _error_parts(error)
    return _failed(row.custom_id, code or f"http_{status}", message, status=status)


def _answered(custom_id: str, body: Any) -> Row:
    usage, model = None, None
    if isinstance(body, dict):
        model = body.get("model") if isinstance(body.get("model"), str) else None
        used = body.get("usage")
        if isinstance(used, dict):
            usage = Usage(
                *(
                    _tokens(used.get(name))
                    for name in ("prompt_tokens", "completion_tokens", "total_tokens")
                )
            )
    return Row(custom_id, RowOutcome.SUCCESS, usage=usage, model=model)


def _failed(custom_id: str, code: str, message: str | None, *, status: int | None) -> Row:
    retry = code in RETRYABLE_CODES or (
        status is not None and (status in RETRYABLE_STATUSES or status >= 500)
    )
    outcome = RowOutcome.RETRYABLE if retry else RowOutcome.FINAL
    return Row(custom_id, outcome, code[:100], message)


def _error_parts(error: Any) -> tuple[str | None, str | None]:
    """Return code and text of an error, which may be an object, a text or something else."""
    if isinstance(error, dict):
        code = error.get("code") or error.get("type")
        message = error.get("message")
        return (
            str(code) if code is not None else None,
            str(message)[:MAX_MESSAGE_LENGTH] if message is not None else None,
        )
    return None, error[:MAX_MESSAGE_LENGTH] if isinstance(error, str) else None


def _tokens(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def pipeline_row(custom_id: str | None, *, code: str, message: str) -> bytes:
    """Return a row for a request that has no answer, in the API's form and with its line end.

    Its ``id`` is null: no request of the API stands behind it.
    """
    row = {
        "id": None,
        "custom_id": custom_id,
        "response": None,
        "error": {"code": code, "message": message},
    }
    return msgspec.json.encode(row) + b"\n"
