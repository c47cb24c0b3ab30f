"""Result rows: what a row of the API means, and the rows that the pipeline writes itself."""

from __future__ import annotations

import json
import re
from enum import Enum, auto
from typing import Annotated, Any

import msgspec

from groq_batch.domain.json_nesting import without_depths
from groq_batch.domain.problem import MAX_MESSAGE_LENGTH

NOT_SENT = "not_sent"
MISSING = "missing"
BATCH_FAILED = "batch_failed"
CANCELLED = "cancelled"
DEADLINE_PASSED = "deadline_passed"
OUTCOME_UNKNOWN = "outcome_unknown"
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
        # What a model wrote is not the JSON that was asked for; the next time it may be.
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
"""Statuses below 500 that another attempt may turn into a success; 0 means that there was none."""
_MAX_CODE_LENGTH = 100
_MOST_TOKENS = 10**12
_MOST_SECONDS = 10**9
_MOST_DIGITS = 18
_DEEPEST = 100
"""Brackets open at once down to where a row is read, if it is too deep to be read whole."""
_CODE = re.compile(r"[a-z0-9_.]{1,100}")
_STATUS_NAME = re.compile(r"[1-9][0-9]{2}")


class RowOutcome(Enum):
    """What a row says of its request."""

    SUCCESS = auto()
    RETRYABLE = auto()
    FINAL = auto()


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of an answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Row(msgspec.Struct, frozen=True, gc=False):
    """A result row: whose it is, what it says, and what it used.

    Attributes:
        custom_id: Whose it is.
        outcome: What it says.
        code: The code of its error.
        message: The text of its error, cut.
        usage: Tokens of the answer.
        model: The model that answered.
        seconds: How long the API says that it worked on the answer; None when it does not say.
        finish_reason: Why the model stopped, in the API's word.
        audio_seconds: How long the audio is that was transcribed; None when it does not say.
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
    prompt_tokens: Annotated[int, msgspec.Meta(ge=0, le=_MOST_TOKENS)]
    completion_tokens: Annotated[int, msgspec.Meta(ge=0, le=_MOST_TOKENS)]
    total_tokens: Annotated[int, msgspec.Meta(ge=0, le=_MOST_TOKENS)]
    total_time: Annotated[float, msgspec.Meta(ge=0, le=_MOST_SECONDS)] | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Body(msgspec.Struct):
    usage: _Usage
    choices: list[_Choice] | None = None
    error: None = None
    model: str | None = None


class _Response(msgspec.Struct):
    status_code: int
    body: _Body


class _QuickRow(msgspec.Struct):
    """The shape of nearly every row; decoding it skips the answers' text."""

    custom_id: str
    response: _Response
    error: None = None


def _number(text: str) -> int | float:
    """Read an integer of JSON; one of thousands of digits is no reason to fail."""
    return int(text) if len(text) <= _MOST_DIGITS else float(text)


_quick = msgspec.json.Decoder(_QuickRow)
# Python's own reader takes what models and the programs around them really write, and what strict
# readers refuse: NaN and Infinity, half of a surrogate pair, control characters in a text.
_careful = json.JSONDecoder(strict=False, parse_int=_number)


class _CustomId(msgspec.Struct):
    """What every line has, be it a request or a row; decoding it skips the rest."""

    custom_id: str


_custom_id = msgspec.json.Decoder(_CustomId)


def custom_id_of(line: bytes) -> str:
    """Return the id of a request line, or of a row in the usual form.

    Raises:
        msgspec.MsgspecError: The line has none, or cannot be read.
        UnicodeDecodeError: The same.
        RecursionError: The same.
    """
    return _custom_id.decode(line).custom_id


class _ModelName(msgspec.Struct):
    model: str


class _Asked(msgspec.Struct):
    """What a request line says of its model; decoding it skips the rest."""

    body: _ModelName


_asked = msgspec.json.Decoder(_Asked)


def model_of(line: bytes) -> str:
    """Return the model that a request line asks; empty where that cannot be read."""
    try:
        return _asked.decode(line).body.model
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def classify_row(line: bytes) -> Row | None:
    """Read a result row.

    The content decides, not the file that the row was in: an error that says something, no usable
    response, a status of 200 to 299 with a body of any kind and without an error in it, anything
    else, in this order. A row that can be read at all is read, because an answer that is taken for
    missing would be asked for, and paid for, once more.

    Args:
        line: The row, with or without its line end.

    Returns:
        The row, or None when it is not a JSON object with a ``custom_id`` that is a string.
    """
    try:
        quick = _quick.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
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


def _classify_carefully(line: bytes) -> Row | None:
    row = read_row(line)
    custom_id = row.get("custom_id") if isinstance(row, dict) else None
    if not isinstance(custom_id, str):
        return None
    response = row.get("response")
    status = _status(response.get("status_code")) if isinstance(response, dict) else None
    if _says_something(row.get("error")):
        # A status of 0 beside it is an empty field, and says nothing.
        return _failed(custom_id, row["error"], status or None)
    if not isinstance(response, dict) or not response:
        return Row(custom_id, RowOutcome.RETRYABLE, "no_response", "The row has no response.")
    body = response.get("body")
    is_success = 200 <= (status or 0) < 300
    error = _error_of_body(body, may_be_one=not is_success)
    if not is_success or error is not None:
        return _failed(custom_id, error, status or 0)
    if body is None:
        return Row(custom_id, RowOutcome.RETRYABLE, "no_body", "The response has no answer in it.")
    if not isinstance(body, dict):
        # Audio with response_format "text" is answered with a text, and may be an empty one.
        return Row(custom_id, RowOutcome.SUCCESS)
    model = body.get("model")
    return Row(
        custom_id,
        RowOutcome.SUCCESS,
        usage=_usage(body.get("usage")),
        model=model if isinstance(model, str) else None,
        seconds=_total_time(body.get("usage")),
        finish_reason=_finish_reason(body.get("choices")),
        audio_seconds=_seconds(body.get("duration")),
    )


def read_row(line: bytes) -> Any:
    """Return what a line says as JSON, as it is read for its meaning; None when it cannot be read.

    Depths that no parser follows are null in it.
    """
    try:
        return _careful.decode(line.decode("utf-8-sig", "replace"))
    except ValueError:
        return None
    except RecursionError:
        pass
    # An answer may be nested more deeply than any parser follows; what a row means stands above.
    try:
        return _careful.decode(without_depths(line, _DEEPEST).decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return None


def is_json(data: bytes) -> bool:
    """Tell whether an answer is JSON as rows are read, however deeply nested."""
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
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
    """Return the error in a response's body, or None.

    Args:
        body: The body.
        may_be_one: Whether the body itself can be the error, as some servers write it. With a
            status of success it is an answer, and was paid for.
    """
    if not isinstance(body, dict):
        return None
    if _says_something(body.get("error")):
        return body["error"]
    return body if may_be_one and body.get("object") == "error" else None


def _failed(custom_id: str, error: object, status: int | None) -> Row:
    names, message = _error_parts(error)
    if not status:
        # Some servers give the HTTP status as the error's code.
        status = next((int(name) for name in names if _STATUS_NAME.fullmatch(name)), status)
    code = next((name for name in names if not name.isdecimal()), None)
    if code is None:
        code = "unknown_error" if status is None else f"http_{status}"
    retry = status != 413 and any(name.lower() in RETRYABLE_CODES for name in names)
    retry = retry or (status is not None and (status in RETRYABLE_STATUSES or status >= 500))
    return Row(
        custom_id,
        RowOutcome.RETRYABLE if retry else RowOutcome.FINAL,
        code[:_MAX_CODE_LENGTH],
        message,
    )


def _error_parts(error: object) -> tuple[list[str], str | None]:
    """Return what an error calls itself (its code, its type) and its text."""
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
    """Return an HTTP status given as a number or as digits, 0 for anything else."""
    if isinstance(value, str) and _STATUS_NAME.fullmatch(value.strip()):
        return int(value)
    return _whole(value, most=999) or 0


def _usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    prompt, completion, total = (
        _whole(value.get(name), most=_MOST_TOKENS)
        for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    )
    if prompt is completion is total is None:
        return None
    known = (prompt or 0) + (completion or 0)
    return Usage(prompt or 0, completion or 0, known if total is None else total)


def _total_time(usage: object) -> float | None:
    """Return how long the API says that it worked on an answer."""
    return _seconds(usage.get("total_time")) if isinstance(usage, dict) else None


def _seconds(value: object) -> float | None:
    """Return a number of seconds, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _MOST_SECONDS else None


def _finish_reason(choices: object) -> str | None:
    """Return why the model stopped writing the first of its answers."""
    first = choices[0] if isinstance(choices, list) and choices else None
    reason = first.get("finish_reason") if isinstance(first, dict) else None
    return reason if isinstance(reason, str) else None


def _whole(value: object, *, most: int) -> int | None:
    """Return a whole number from 0 to ``most``, also one written as ``80.0``, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return int(value) if value == int(value) else None


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
    try:
        return msgspec.json.encode(row) + b"\n"
    except UnicodeEncodeError:
        # Half of a surrogate pair has no form in UTF-8, only its escape.
        return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"
