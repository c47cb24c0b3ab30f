"""Check whether an answer has the form that its request asked for: JSON, and not truncated.

A request may ask for a form by ``response_format``
(https://console.groq.com/docs/structured-outputs). Whether JSON fits a schema is not decided here,
because that takes a validator, which is a library.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from groq_batch.domain.json_data import DECODE_ERRORS
from groq_batch.domain.json_nesting import nests_deeper_than, without_depths
from groq_batch.domain.result_row import read_row

JSON_OBJECT = "json_object"
JSON_SCHEMA = "json_schema"
DEEPEST = 100
"""Maximum nesting depth that is examined; deeper values are accepted unchecked."""
_CUT_SHORT = "length"


class AskedForm(msgspec.Struct, frozen=True):
    """The JSON form that a request asks for.

    Attributes:
        schema: The JSON schema of the answer, as written in the request; None without one.
    """

    schema: bytes | None = None


class GivenForm(msgspec.Struct, frozen=True):
    """The form of an answer.

    Attributes:
        is_broken: Whether it is truncated, or one of its texts is not JSON.
        texts: The texts that are JSON, and may be validated against a schema.
    """

    is_broken: bool = False
    texts: tuple[str, ...] = ()


class _Schema(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw(b"null")


class _Form(msgspec.Struct):
    type: str
    json_schema: msgspec.Raw = msgspec.Raw(b"null")


class _Asking(msgspec.Struct):
    response_format: msgspec.Raw = msgspec.Raw(b"null")


class _Request(msgspec.Struct):
    """The requested form in a request line; decoding it skips the rest."""

    body: _Asking


_request = msgspec.json.Decoder(_Request)
_form = msgspec.json.Decoder(_Form)
_schema = msgspec.json.Decoder(_Schema)
_any = msgspec.json.Decoder()


def asked_form(line: bytes) -> AskedForm | None:
    """Return the form that a request line asks for; None if it does not ask for JSON."""
    try:
        form = _form.decode(_request.decode(line).body.response_format)
    except DECODE_ERRORS:
        return None  # There is none, or it is a name, as in requests for audio.
    if form.type == JSON_OBJECT:
        return AskedForm()
    if form.type != JSON_SCHEMA:
        return None
    try:
        schema = bytes(_schema.decode(form.json_schema).schema)
    except DECODE_ERRORS:
        return AskedForm()
    return AskedForm(None if schema == b"null" else schema)


def given_form(row: bytes) -> GivenForm:
    """Return the form of the answer in a result row.

    If an answer has several choices, each must be right. Parts that are not the model's answer are
    not checked: tool calls, and refusals in the API's own field for them.

    Args:
        row: A row with an answer.
    """
    texts: list[str] = []
    for choice in _choices(row):
        if choice.get("finish_reason") == _CUT_SHORT:
            return GivenForm(is_broken=True)
        message = choice.get("message")
        if not isinstance(message, dict):
            message = {"content": choice.get("text")}
        text = _joined(message.get("content"), "text")
        if message.get("tool_calls") or (not text and _refusal(message)):
            continue
        if not text or not is_strict_json(text):
            return GivenForm(is_broken=True)
        texts.append(text)
    return GivenForm(texts=tuple(texts))


def is_strict_json(text: str) -> bool:
    """Tell whether a text is exactly one JSON value, by the grammar of RFC 8259.

    ``NaN`` is not one, nor is JSON surrounded by text or a Markdown code fence.
    """
    data = text.encode("utf-8", "replace")
    if data.count(b"[") + data.count(b"{") > DEEPEST and nests_deeper_than(data, DEEPEST):
        data = without_depths(data, DEEPEST)
    try:
        _any.decode(data)
    except DECODE_ERRORS:
        # msgspec rejects numbers beyond its range, and lone surrogates.
        return _is_strict_json_with_care(data.decode())
    return True


def parse_json(text: str) -> Any:
    """Parse a JSON text into a value for a validator.

    Numbers out of range become infinite. Lone surrogates, which cannot be encoded as UTF-8, become
    question marks.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    if text.count("[") + text.count("{") > DEEPEST and nests_deeper_than(
        text.encode("utf-8", "replace"), DEEPEST
    ):
        raise ValueError(f"It nests more than {DEEPEST} levels deep.")
    value = _strict.decode(text)
    return _encodable(value) if "\\u" in text or not text.isascii() else value


def _is_strict_json_with_care(text: str) -> bool:
    try:
        _strict.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON.")


def _integer(digits: str) -> int | float:
    """Parse an integer; Python rejects thousands of digits."""
    try:
        return int(digits)
    except ValueError:
        return -math.inf if digits.startswith("-") else math.inf


_strict = json.JSONDecoder(parse_int=_integer, parse_constant=_no_number)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(name): _encodable(one) for name, one in value.items()}
    return [_encodable(one) for one in value] if isinstance(value, list) else value


def _choices(row: bytes) -> list[dict[str, Any]]:
    """Return the choices of an answer; one without content if there are none."""
    try:
        data = _any.decode(row)
    except DECODE_ERRORS:
        data = read_row(row)
    body = data["response"]["body"]
    if isinstance(body, str):
        # The audio endpoints of some servers return the bare text.
        return [{"text": body}]
    choices = body.get("choices") if isinstance(body, dict) else None
    found = choices if isinstance(choices, list) and choices else [{}]
    return [one if isinstance(one, dict) else {} for one in found]


def _joined(content: object, kind: str) -> str | None:
    """Return a text, or the joined texts of one kind if an answer comes in parts."""
    if isinstance(content, list):
        texts = [part.get(kind) for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) and kind == "text" else None


def _refusal(message: dict[str, Any]) -> object:
    return message.get("refusal") or _joined(message.get("content"), "refusal")
