"""Read result rows: the answer, or why there is no valid answer."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from groq_batch.domain.json_nesting import nests_deeper_than, without_depths
from groq_batch.domain.result_row import RowOutcome, classify_row, read_row
from groq_batch_client.schemas import AnswerSchema

NOT_JSON = "answer_not_json"
NOT_AS_SCHEMA = "answer_not_as_schema"
REFUSED = "refused"
NO_ANSWER = "no_answer"
UNREADABLE = "unreadable_row"

_FENCE = re.compile(
    r"\s*(?P<fence>`{3,}|~{3,})[ \t]*(?:[\w.+-]*[ \t]*\r?\n|[A-Za-z]*[ \t]*(?=[\[{]))"
    r"(?P<content>.*?)\r?\n?[ \t]*(?P=fence)\s*",
    re.DOTALL,
)
"""A code fence of Markdown around a whole text; models also write one on a single line."""

_DEEPEST = 100

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
# Accepts what models write in practice: NaN, half surrogate pairs, control characters in texts.
_lenient = json.JSONDecoder(strict=False).decode


@dataclass(slots=True)
class Answer:
    """The content of a result row.

    Attributes:
        custom_id: Id of the request; None if the row has none.
        value: The answer: its text or, with a schema, its JSON value. A text that is not JSON
            stays a text.
        tool_calls: The tool calls of the model, as JSON values; None if there are none.
        finish_reason: Why the model stopped: ``stop``, ``length`` (cut short), and so on.
        error_code: Why there is no valid answer; None if and only if there is one.
        error_message: The same as a sentence.
        is_value: Whether ``value`` is the JSON value of the text.
        text: The text, if a schema caused it to be parsed as JSON.
        is_kept_as_text: Whether to show the text because its value does not match the schema.
    """

    custom_id: str | None
    value: Any = None
    tool_calls: list[Any] | None = None
    finish_reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    is_value: bool = False
    text: str | None = None
    is_kept_as_text: bool = False


class _Message(msgspec.Struct, gc=False):
    content: Annotated[str, msgspec.Meta(min_length=1)]
    refusal: None = None
    tool_calls: None = None
    function_call: None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str | None = None


class _Body(msgspec.Struct, gc=False):
    choices: Annotated[tuple[_Choice, ...], msgspec.Meta(min_length=1)]
    error: None = None


class _Response(msgspec.Struct, gc=False):
    status_code: Literal[200]
    body: _Body


class _UsualRow(msgspec.Struct, gc=False):
    """The shape of nearly all rows."""

    custom_id: str
    response: _Response
    error: None = None


_usual = msgspec.json.Decoder(_UsualRow)


@dataclass(slots=True)
class Answers:
    """The content of several result rows, as columns; see ``Answer``."""

    custom_ids: list[str | None]
    values: list[Any]
    tool_calls: list[list[Any] | None]
    finish_reasons: list[str | None]
    error_codes: list[str | None]
    error_messages: list[str | None]
    rows: list[Answer] | None = None


def read_answers(lines: list[bytes], schema: AnswerSchema | None) -> Answers:
    """Read result rows, with or without line ends.

    Args:
        lines: The rows.
        schema: The requested schema of the answers; if given, their texts are parsed as JSON.
    """
    if schema is None:
        try:
            usual = _usual.decode_lines(b"\n".join(lines))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            usual = []
        if len(usual) == len(lines):
            nothing: list[Any] = [None] * len(usual)
            choices = [row.response.body.choices[0] for row in usual]
            return Answers(
                [row.custom_id for row in usual],
                [choice.message.content for choice in choices],
                nothing,
                [choice.finish_reason for choice in choices],
                nothing,
                nothing,
            )
    rows = [read_answer(line, schema) for line in lines]
    return Answers(
        [row.custom_id for row in rows],
        [row.value for row in rows],
        [row.tool_calls for row in rows],
        [row.finish_reason for row in rows],
        [row.error_code for row in rows],
        [row.error_message for row in rows],
        rows,
    )


def read_answer(line: bytes, schema: AnswerSchema | None = None) -> Answer:
    """Read a result row.

    Args:
        line: The row.
        schema: The requested schema of the answer; if given, its text is parsed as JSON.
    """
    try:
        row = _usual.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = _read_carefully(line)
    else:
        choice = row.response.body.choices[0]
        answer = Answer(row.custom_id, choice.message.content, None, choice.finish_reason)
    if schema is not None and answer.error_code is None and isinstance(answer.value, str):
        _read_value(answer, schema)
    return answer


def _read_carefully(line: bytes) -> Answer:
    row = classify_row(line)
    if row is None:
        return _without_owner(line)
    if row.outcome is not RowOutcome.SUCCESS:
        code, message = _clean(row.code), _clean(row.message)
        return Answer(row.custom_id, error_code=code, error_message=message)
    answer = Answer(row.custom_id)
    _read_body(answer, _load(line)["response"]["body"])
    return answer


def _load(line: bytes) -> Any:
    """Decode a row in any format that ``classify_row`` accepts; return None if it is not JSON.

    Its texts can be written as UTF-8: half surrogate pairs are replaced.
    """
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Cleaning recurses, so values that are nested too deeply become null first.
        return _cleaned(read_row(without_depths(line, _DEEPEST)))


def _without_owner(line: bytes) -> Answer:
    """Read a row without a custom_id, as for a request line that could not be read."""
    row = _load(line)
    error = row.get("error") if isinstance(row, dict) else None
    if not isinstance(error, dict):
        return Answer(None, error_code=UNREADABLE, error_message="The row is not a result row.")
    code, message = error.get("code"), error.get("message")
    return Answer(
        None,
        error_code=_clean(code) if isinstance(code, str) and code else UNREADABLE,
        error_message=_clean(message) if isinstance(message, str) else None,
    )


def _read_body(answer: Answer, body: Any) -> None:
    """Extract the answer from the body of a success, in any format that the APIs use."""
    if not isinstance(body, dict):
        answer.value = body if isinstance(body, str) else _json(body)
        return
    if "choices" not in body:
        text = body.get("text")
        if isinstance(text, str):
            answer.value = text
        elif body:
            answer.value = _json(body)
        else:
            _is_none(answer, "The answer is empty.")
        return
    choices = body["choices"]
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        _is_none(answer, "The answer has no choices.")
        return
    reason = first.get("finish_reason")
    answer.finish_reason = reason if isinstance(reason, str) else None
    message = first.get("message")
    if not isinstance(message, dict):
        message = {"content": first.get("text")}
    _read_message(answer, message)


def _read_message(answer: Answer, message: dict[str, Any]) -> None:
    content = message.get("content")
    text = _joined(content, "text") if isinstance(content, list) else content
    if text is not None and not isinstance(text, str):
        text = _json(text)
    answer.tool_calls = _calls(message)
    refusal = message.get("refusal") or _joined(content, "refusal")
    answer.value = text
    if isinstance(refusal, str) and refusal and not answer.value:
        answer.error_code, answer.error_message = REFUSED, _clean(refusal)
    elif answer.tool_calls is None and (
        answer.value is None or (not answer.value and answer.finish_reason == "length")
    ):
        _is_none(
            answer,
            "The answer reached its token limit before its first word; allow more tokens."
            if answer.finish_reason == "length"
            else "The model answered nothing.",
        )


def _calls(message: dict[str, Any]) -> list[Any] | None:
    """Return the tool calls of a message, also one in the older form ``function_call``."""
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        return calls
    call = message.get("function_call")
    return [{"type": "function", "function": call}] if isinstance(call, dict) and call else None


def _joined(parts: Any, kind: str) -> str | None:
    """Join the texts of one kind in a multi-part answer."""
    every = parts if isinstance(parts, list) else []
    texts = [part.get(kind) for part in every if isinstance(part, dict)]
    found = [text for text in texts if isinstance(text, str)]
    return "".join(found) if found else None


def _is_none(answer: Answer, message: str) -> None:
    answer.error_code, answer.error_message = NO_ANSWER, message


def _json(value: Any) -> str:
    try:
        return _encode(value).decode()
    except (msgspec.MsgspecError, UnicodeEncodeError, TypeError, RecursionError):
        return json.dumps(value, ensure_ascii=True)


def _clean(value: Any) -> Any:
    """Return a text without half surrogate pairs, which UTF-8 cannot represent."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    return value


# -- answers with a schema -----------------------------------------------------------------------


def _read_value(answer: Answer, schema: AnswerSchema) -> None:
    """Parse the text of an answer as the requested JSON."""
    text = answer.value
    answer.text = text
    try:
        value = _parsed(text)
    except (ValueError, RecursionError) as error:
        why = "it was cut short" if answer.finish_reason == "length" else _clean(str(error))
        answer.error_code = NOT_JSON
        answer.error_message = f"The answer is not the JSON that was asked for: {why}."
        return
    value, lost = _finite(_cleaned(value), "")
    misfit = f"{lost} is a number that JSON cannot represent" if lost else schema.misfit(value)
    answer.value, answer.is_value = value, True
    if misfit is not None:
        answer.error_code = NOT_AS_SCHEMA
        answer.error_message = f"The answer does not match the schema: {_clean(misfit)}."
    answer.is_kept_as_text = misfit is not None and lost is None


def _parsed(text: str) -> Any:
    """Return the JSON value of a text, which may be enclosed in one code fence.

    Raises:
        ValueError: It is not JSON, or nests too deeply to be validated and written.
    """
    brackets = text.count("[") + text.count("{")
    if brackets > _DEEPEST and nests_deeper_than(text.encode("utf-8", "replace"), _DEEPEST):
        raise ValueError(f"it nests more than {_DEEPEST} levels deep")
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        fence = _FENCE.fullmatch(text)
        return _lenient(fence["content"] if fence is not None else text)


def _finite(value: Any, place: str) -> tuple[Any, str | None]:
    """Replace NaN and infinities by null; also return the position of the first of them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None, place or "the answer"
    lost = None
    if isinstance(value, dict):
        for name, one in value.items():
            value[name], found = _finite(one, f"{place}.{name}" if place else str(name))
            lost = lost or found
    elif isinstance(value, list):
        for number, one in enumerate(value):
            value[number], found = _finite(one, f"{place}.{number}" if place else str(number))
            lost = lost or found
    return value, lost


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, dict):
        return {_clean(name): _cleaned(one) for name, one in value.items()}
    return [_cleaned(one) for one in value] if isinstance(value, list) else value
