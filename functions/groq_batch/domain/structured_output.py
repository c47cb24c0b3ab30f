"""Whether an answer has the form that its request asked for: JSON, and not cut short.

A request may ask for a form by ``response_format`` (https://console.groq.com/docs/structured-outputs).
Whether JSON fits a schema is not decided here: that takes a validator, which is a library.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import msgspec

from groq_batch.domain.json_nesting import nests_deeper_than, without_depths
from groq_batch.domain.result_row import read_row

JSON_OBJECT = "json_object"
JSON_SCHEMA = "json_schema"
DEEPEST = 100
"""Brackets open at once that are followed; what stands within more is taken as it is."""
_CUT_SHORT = "length"


@dataclass(frozen=True, slots=True)
class AskedForm:
    """The form that a request asks its answer to have, which is JSON.

    Attributes:
        schema: The JSON schema of the answer, as it is written in the request; None without one.
    """

    schema: bytes | None = None


@dataclass(frozen=True, slots=True)
class GivenForm:
    """What an answer shows of its form.

    Attributes:
        is_broken: Whether it is cut short, or a text of it is not JSON.
        texts: The texts that are JSON, and may be held against a schema.
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
    """What a request line says of the form; decoding it skips the rest."""

    body: _Asking


_request = msgspec.json.Decoder(_Request)
_form = msgspec.json.Decoder(_Form)
_schema = msgspec.json.Decoder(_Schema)
_any = msgspec.json.Decoder()
_READ_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def asked_form(line: bytes) -> AskedForm | None:
    """Return the form that a request line asks for; None when it asks for no JSON."""
    try:
        form = _form.decode(_request.decode(line).body.response_format)
    except _READ_ERRORS:
        return None  # There is none, or it is a name, as in requests for audio.
    if form.type == JSON_OBJECT:
        return AskedForm()
    if form.type != JSON_SCHEMA:
        return None
    try:
        schema = bytes(_schema.decode(form.json_schema).schema)
    except _READ_ERRORS:
        return AskedForm()
    return AskedForm(None if schema == b"null" else schema)


def given_form(row: bytes) -> GivenForm:
    """Return what the answer in a result row shows of its form.

    Of an answer with several choices each has to be right. What the model did not mean as the
    answer is not held against its form: a call of a tool, and a refusal in the field of its own
    that the API has for it.

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
        if not text or not is_json(text):
            return GivenForm(is_broken=True)
        texts.append(text)
    return GivenForm(texts=tuple(texts))


def is_json(text: str) -> bool:
    """Tell whether a text is one JSON value, by the grammar of RFC 8259.

    ``NaN`` is none, nor is JSON between other words or within a fence.
    """
    data = text.encode("utf-8", "replace")
    if data.count(b"[") + data.count(b"{") > DEEPEST and nests_deeper_than(data, DEEPEST):
        data = without_depths(data, DEEPEST)
    try:
        _any.decode(data)
    except _READ_ERRORS:
        # It knows no number beyond its own, and no half of a surrogate pair.
        return _is_json_with_care(data.decode())
    return True


def parse_json(text: str) -> Any:
    """Return the value of a text that is JSON, in a form for a validator.

    Numbers beyond all bounds are infinite, and halves of surrogate pairs, which have no form in
    UTF-8, are question marks.

    Raises:
        ValueError: It is not JSON, or nests too deeply to be followed.
    """
    if text.count("[") + text.count("{") > DEEPEST and nests_deeper_than(
        text.encode("utf-8", "replace"), DEEPEST
    ):
        raise ValueError(f"It nests more than {DEEPEST} levels deep.")
    value = _strict.decode(text)
    return _encodable(value) if "\\u" in text or not text.isascii() else value


def _is_json_with_care(text: str) -> bool:
    try:
        _strict.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON.")


def _integer(digits: str) -> int | float:
    """Read an integer; Python reads none of thousands of digits."""
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
    """Return the choices of an answer; one without content where there are none."""
    try:
        data = _any.decode(row)
    except _READ_ERRORS:
        data = read_row(row)
    body = data["response"]["body"]
    if isinstance(body, str):
        # As the audio of some servers: the text itself.
        return [{"text": body}]
    choices = body.get("choices") if isinstance(body, dict) else None
    found = choices if isinstance(choices, list) and choices else [{}]
    return [one if isinstance(one, dict) else {} for one in found]


def _joined(content: object, kind: str) -> str | None:
    """Return a text, or the texts of one kind in an answer that comes in parts."""
    if isinstance(content, list):
        texts = [part.get(kind) for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) and kind == "text" else None


def _refusal(message: dict[str, Any]) -> object:
    return message.get("refusal") or _joined(message.get("content"), "refusal")
