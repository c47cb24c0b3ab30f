"""Classify the API's result rows, and build the rows that the pipeline writes itself."""

from __future__ import annotations

import json
import re
from enum import Enum, auto
from typing import Annotated, Any

import msgspec

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.json_data import DECODE_ERRORS
from groq_batch.domain.json_nesting import without_depths
from groq_batch.domain.problem import MAX_MESSAGE_LENGTH

RETRYABLE_CODES = frozenset(
    {
        "batch_cancelled",
        "batch_expired",
        "capacity_exceeded",
        "capacity_exhausted",
        "engine_overloaded",
        "gateway_timeout",
        "internal_error",
        "internal_server_error",
        # The model's output was not the requested JSON; the next one may be.
        "json_validate_failed",
        "over_capacity",
        "overloaded",
        "overloaded_error",
        "rate_limit_error",
        "rate_limit_exceeded",
        "request_timeout",
        "server_error",
        "service_unavailable",
        "timeout",
    }
)
"""Codes (or types) of errors that another attempt may turn into a success."""
RETRYABLE_STATUSES = frozenset({0, 408, 409, 424, 429, 498})
"""Statuses below 500 that another attempt may turn into a success; 0 means no status. 498 is Groq's
own for a lack of capacity (https://console.groq.com/docs/errors)."""
_MAX_CODE_LENGTH = 100
_MAX_TOKENS = 10**12
_MAX_SECONDS = 10**9
_MAX_DIGITS = 18
_DEEPEST = 100
"""Nesting depth down to which a row is read if it is too deep for a parser."""
_CODE = re.compile(r"[a-z0-9_.]{1,100}")
_STATUS_NAME = re.compile(r"[1-9][0-9]{2}")
_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{0,20})?")


def is_retryable_status(status: int) -> bool:
    """Tell whether another attempt may turn a response of this status into a success."""
    return status in RETRYABLE_STATUSES or status >= 500


class RowOutcome(Enum):
    """The outcome of a row's request."""

    SUCCESS = auto()
    RETRYABLE = auto()
    FINAL = auto()


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of an answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Row(msgspec.Struct, frozen=True, gc=False):
    """A result row: its request, its outcome and its usage.

    Attributes:
        custom_id: The request's id.
        outcome: The request's outcome.
        code: The code of its error.
        message: The text of its error, truncated.
        usage: Tokens of the answer.
        model: The model that answered.
        seconds: Processing time reported by the API; None if not reported.
        finish_reason: The API's finish reason.
        audio_seconds: Length of the transcribed audio; None if not reported.
    """

    custom_id: str
    outcome: RowOutcome
    code: str | None = None
    message: str | None = None
    usage: Usage | None = None
    model: str | None = None
    seconds: float | None = None
    finish_reason: str | None = None
    audio_seconds: float | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Annotated[int, msgspec.Meta(ge=0, le=_MAX_TOKENS)]
    completion_tokens: Annotated[int, msgspec.Meta(ge=0, le=_MAX_TOKENS)]
    total_tokens: Annotated[int, msgspec.Meta(ge=0, le=_MAX_TOKENS)]
    total_time: Annotated[float, msgspec.Meta(ge=0, le=_MAX_SECONDS)] | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Body(msgspec.Struct):
    usage: _Usage
    choices: list[_Choice] | None = None
    error: None = None
    model: str | None = None
    duration: None = None


class _Response(msgspec.Struct):
    status_code: int
    body: _Body


class _QuickRow(msgspec.Struct):
    """The structure of nearly every row; decoding it skips the answers' text."""

    custom_id: str
    response: _Response
    error: None = None


def _number(text: str) -> int | float:
    """Parse an integer of JSON; one with thousands of digits must not raise an error."""
    return int(text) if len(text) <= _MAX_DIGITS else float(text)


_quick = msgspec.json.Decoder(_QuickRow)
# Python's own parser accepts what models and servers really write, and what strict parsers reject:
# NaN and Infinity, lone surrogates, control characters in strings.
_careful = json.JSONDecoder(strict=False, parse_int=_number)


class _CustomId(msgspec.Struct):
    """The id that every request line and row has; decoding it skips the rest."""

    custom_id: str


_custom_id = msgspec.json.Decoder(_CustomId)


def custom_id_of(line: bytes) -> str:
    """Return the id of a request line, or of a row in the usual format.

    Raises:
        msgspec.MsgspecError: The line has none, or is not valid JSON.
        UnicodeDecodeError: The line is not valid UTF-8.
        RecursionError: The line is nested too deeply.
    """
    return _custom_id.decode(line).custom_id


class _ModelName(msgspec.Struct):
    model: str


class _Asked(msgspec.Struct):
    """The model of a request line; decoding it skips the rest."""

    body: _ModelName


_asked = msgspec.json.Decoder(_Asked)


def model_of(line: bytes) -> str:
    """Return the model that a request line names; empty if it cannot be read."""
    try:
        return _asked.decode(line).body.model
    except DECODE_ERRORS:
        return ""


def classify_row(line: bytes) -> Row | None:
    """Parse and classify a result row.

    The content decides, not the file that contained the row. In this order: a non-empty error, no
    usable response, a status of 200 to 299 with any body that contains no error, anything else.
    Every row that can be parsed at all is accepted, because an answer that is taken for missing
    would be requested, and paid for, once more.

    Args:
        line: The row, with or without its line end.

    Returns:
        The row; None if it is not a JSON object with a ``custom_id`` that is a string.
    """
    try:
        quick = _quick.decode(line)
    except DECODE_ERRORS:
        return _classify_carefully(line)
    response, body = quick.response, quick.response.body
    if not 200 <= response.status_code < 300:
        return _classify_carefully(line)
    usage = Usage(body.usage.prompt_tokens, body.usage.completion_tokens, body.usage.total_tokens)
    return Row(
        quick.custom_id,
        RowOutcome.SUCCESS,
        usage=usage,
        model=body.model,
        seconds=body.usage.total_time,
        finish_reason=body.choices[0].finish_reason if body.choices else None,
    )


def is_success(line: bytes) -> bool:
    """Tell whether a line is a result row with a success."""
    row = classify_row(line)
    return row is not None and row.outcome is RowOutcome.SUCCESS


def _classify_carefully(line: bytes) -> Row | None:
    row = read_row(line)
    custom_id = row.get("custom_id") if isinstance(row, dict) else None
    if not isinstance(custom_id, str):
        return None
    response = row.get("response")
    status = _status(response.get("status_code")) if isinstance(response, dict) else None
    if _says_something(row.get("error")):
        # A status of 0 next to an error is an empty field and has no meaning.
        return _failed(custom_id, row["error"], status or None)
    if not isinstance(response, dict) or not response:
        return Row(
            custom_id, RowOutcome.RETRYABLE, ErrorCode.NO_RESPONSE, "The row has no response."
        )
    body = response.get("body")
    is_success = 200 <= (status or 0) < 300
    error = _error_of_body(body, may_be_one=not is_success)
    if not is_success or error is not None:
        return _failed(custom_id, error, status or 0)
    if body is None:
        return Row(
            custom_id, RowOutcome.RETRYABLE, ErrorCode.NO_BODY, "The response has no answer in it."
        )
    if not isinstance(body, dict):
        # With response_format "text", the answer for audio is a string, which may be empty.
        return Row(custom_id, RowOutcome.SUCCESS)
    model = body.get("model")
    return Row(
        custom_id,
        RowOutcome.SUCCESS,
        usage=_usage(body.get("usage")),
        model=model if isinstance(model, str) else None,
        seconds=_total_time(body.get("usage")),
        finish_reason=_finish_reason(body.get("choices")),
        audio_seconds=_audio_seconds(body.get("duration")),
    )


def read_row(line: bytes) -> Any:
    """Parse a line as JSON in the tolerant way of ``classify_row``; None if that is impossible.

    Values nested too deeply for a parser are replaced by null.
    """
    try:
        return _careful.decode(line.decode("utf-8-sig", "replace"))
    except ValueError:
        return None
    except RecursionError:
        pass
    # An answer may be nested too deeply for a parser; the fields needed here are further up.
    try:
        return _careful.decode(without_depths(line, _DEEPEST).decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return None


def is_readable_json(data: bytes) -> bool:
    """Tell whether an answer is JSON in the tolerant way of ``classify_row``, however nested."""
    try:
        msgspec.json.decode(data)
    except DECODE_ERRORS:
        pass
    else:
        return True
    try:
        _careful.decode(data.decode("utf-8", "replace"))
    except ValueError:
        return False
    except RecursionError:
        return True
    return True


def _says_something(error: object) -> bool:
    """Tell an error from an empty field: null, ``""``, ``{}``, or an object of such fields only."""
    return any(error.values()) if isinstance(error, dict) else bool(error)


def _error_of_body(body: object, *, may_be_one: bool) -> object:
    """Return the error in a response's body; None without one.

    Args:
        body: The body.
        may_be_one: Whether the body itself can be the error, as some servers write it. With a
            success status it is an answer, and was paid for.
    """
    if not isinstance(body, dict):
        return None
    if _says_something(body.get("error")):
        return body["error"]
    return body if may_be_one and body.get("object") == "error" else None


def _failed(custom_id: str, error: object, status: int | None) -> Row:
    names, message = _error_parts(error)
    if not status:
        # Some servers use the HTTP status as the error's code.
        status = next((int(name) for name in names if _STATUS_NAME.fullmatch(name)), status)
    code = next((name for name in names if not name.isdecimal()), None)
    if code is None:
        code = ErrorCode.UNKNOWN_ERROR if status is None else f"http_{status}"
    retry = status != 413 and any(name.lower() in RETRYABLE_CODES for name in names)
    retry = retry or (status is not None and is_retryable_status(status))
    return Row(
        custom_id,
        RowOutcome.RETRYABLE if retry else RowOutcome.FINAL,
        code[:_MAX_CODE_LENGTH],
        message,
    )


def _error_parts(error: object) -> tuple[list[str], str | None]:
    """Return an error's names (its code, its type) and its text."""
    if isinstance(error, str):
        if _CODE.fullmatch(error):
            return [error], None
        return [], error[:MAX_MESSAGE_LENGTH]
    if not isinstance(error, dict):
        return [], None
    names = (_name(error.get(field)) for field in ("code", "type"))
    message = error.get("message")
    return (
        [name for name in names if name],
        message[:MAX_MESSAGE_LENGTH] if isinstance(message, str) and message else None,
    )


def _name(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _status(value: object) -> int:
    """Return an HTTP status given as a number or as digits; otherwise 0."""
    if isinstance(value, str) and _STATUS_NAME.fullmatch(value.strip()):
        return int(value)
    return _whole(value, most=999) or 0


def _usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    prompt, completion, total = (
        _whole(value.get(name), most=_MAX_TOKENS)
        for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    )
    if prompt is completion is total is None:
        return None
    known = (prompt or 0) + (completion or 0)
    return Usage(prompt or 0, completion or 0, known if total is None else total)


def _total_time(usage: object) -> float | None:
    """Return the processing time of an answer in seconds, as reported by the API."""
    return _seconds(usage.get("total_time")) if isinstance(usage, dict) else None


def _audio_seconds(value: object) -> float | None:
    """Return the length of audio in seconds, given as a number or as a text; otherwise None.

    OpenAI's API description first had ``duration`` as a text, then as a number.
    """
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = float(value)
    return _seconds(value)


def _seconds(value: object) -> float | None:
    """Return a number of seconds; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _MAX_SECONDS else None


def _finish_reason(choices: object) -> str | None:
    """Return the finish reason of the first choice."""
    first = choices[0] if isinstance(choices, list) and choices else None
    reason = first.get("finish_reason") if isinstance(first, dict) else None
    return reason if isinstance(reason, str) else None


def _whole(value: object, *, most: int) -> int | None:
    """Return a whole number from 0 to ``most``, also one written as ``80.0``; otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return int(value) if value == int(value) else None


def pipeline_row(custom_id: str | None, *, code: str, message: str) -> bytes:
    """Return a row for a request without an answer, in the API's format and with its line end.

    Its ``id`` is null, because no request to the API belongs to it.
    """
    row = {
        "id": None,
        "custom_id": custom_id,
        "response": None,
        "error": {"code": code, "message": message},
    }
    try:
        return msgspec.json.encode(row) + b"\n"
    except UnicodeEncodeError:
        # A lone surrogate cannot be encoded as UTF-8, only as a JSON escape.
        return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"
