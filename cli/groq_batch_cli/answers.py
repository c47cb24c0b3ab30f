"""What a result row says: the answer's text or data, or why there is none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from groq_batch.domain.result_row import RowOutcome, classify_row

_decode = msgspec.json.Decoder().decode

NOT_JSON = "answer_not_json"
UNREADABLE = "unreadable_row"


@dataclass(frozen=True, slots=True)
class Answer:
    """A result row.

    Attributes:
        custom_id: Whose it is; None when the row names nobody.
        value: The text of the answer, or what its JSON stands for; None when there is none.
        finish_reason: Why the model stopped: ``stop``, ``length`` when it was cut short, and so on.
        error_code: Why there is no answer, for programs; None when there is one.
        error_message: The same for people.
    """

    custom_id: str | None
    value: Any = None
    finish_reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None


def read_answer(line: bytes, *, as_json: bool) -> Answer:
    """Read a result row.

    Args:
        line: The row.
        as_json: Whether the answer's text is JSON, to be read as such.
    """
    row = classify_row(line)
    if row is None:
        return _without_owner(line)
    if row.outcome is not RowOutcome.SUCCESS:
        return Answer(row.custom_id, error_code=row.code, error_message=row.message)
    text, finish_reason = _said(_load(line)["response"]["body"])
    if not as_json:
        return Answer(row.custom_id, text, finish_reason)
    try:
        return Answer(row.custom_id, json.loads(text or ""), finish_reason)
    except (ValueError, RecursionError) as error:
        why = "it was cut short" if finish_reason == "length" else str(error)
        return Answer(
            row.custom_id,
            None,
            finish_reason,
            NOT_JSON,
            f"The answer is not the JSON that was asked for: {why}.",
        )


def _load(line: bytes) -> Any:
    """Return a row as data, in every form in which ``classify_row`` takes one.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return json.loads(line.decode("utf-8-sig", "replace"))


def _without_owner(line: bytes) -> Answer:
    """Read a row without a custom_id, as a line has that could not be read itself."""
    try:
        row = _load(line)
    except (ValueError, RecursionError):
        row = None
    error = row.get("error") if isinstance(row, dict) else None
    if not isinstance(error, dict):
        return Answer(None, error_code=UNREADABLE, error_message="The row is not a result row.")
    return Answer(None, error_code=error.get("code"), error_message=error.get("message"))


def _said(body: Any) -> tuple[str | None, str | None]:
    """Return the text of a good answer and why it ended; a call of a tool as JSON.

    A transcription with ``response_format: "text"`` is a text and nothing else.
    """
    if not isinstance(body, dict):
        return (body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)), None
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        text = body.get("text")
        return (text if isinstance(text, str) else None), None
    reason = first.get("finish_reason")
    finish_reason = reason if isinstance(reason, str) else None
    message = first.get("message")
    if not isinstance(message, dict):
        return None, finish_reason
    content = message.get("content")
    if isinstance(content, str) and content:
        return content, finish_reason
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        return json.dumps(calls, ensure_ascii=False), finish_reason
    return (content if isinstance(content, str) else None), finish_reason
