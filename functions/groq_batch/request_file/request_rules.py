r"""Check one request line key by key, and say what is wrong with it.

The prompts are skipped without building objects for them, so that a line needs no more memory than
its bytes.

Half of a surrogate pair, such as the escape ``\ud800`` alone, counts as invalid JSON anywhere in a
line: RFC 8259 calls its meaning unpredictable (https://www.rfc-editor.org/rfc/rfc8259#section-8.2),
and neither a custom_id nor a result row can be written with it. If a key occurs twice, its last
value counts, as in most parsers; only the estimate of the size may include both values.
"""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import msgspec

from groq_batch.domain.batch import CHAT_URL
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.problem import Problem
from groq_batch.request_file.body_sizes import estimated_bytes
from groq_batch.request_file.line_bytes import MAX_NESTING, nests_too_deeply, utf8_error
from groq_batch.request_file.seen_ids import DuplicateFinder
from groq_batch.request_file.syntax_messages import encoding_message, json_message

RequestUrl = Literal["/v1/chat/completions", "/v1/audio/transcriptions", "/v1/audio/translations"]
ALLOWED_URLS: tuple[str, ...] = get_args(RequestUrl)
"""Endpoints that Groq's batch guide names for request lines."""
FIRST_CHECKS = 1
"""The checks without ``invalid_messages`` and ``missing_audio``, which came later."""
CHECKS = 2
"""All checks. A large file is checked to its end with the checks that it was started with."""
MAX_OUTPUT_TOKENS = 2**53
"""Larger integers are not exact in all JSON parsers."""
_TOO_DEEP = (
    f"The line is nested too deeply: more than {MAX_NESTING} brackets are open at once. Write a "
    f"flatter request."
)

_decode_syntax = msgspec.json.Decoder(msgspec.Raw).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_number = msgspec.json.Decoder(float | int).decode


class CheckedRequest(msgspec.Struct, frozen=True, gc=False):
    """Facts of a valid line.

    Attributes:
        custom_id: The request's id.
        model: The model.
        body_bytes: Size of its ``body`` for the cost estimate (see ``body_sizes``).
        max_output_tokens: Its limit of output tokens, if it has one.
    """

    custom_id: str
    model: str
    body_bytes: int
    max_output_tokens: int | None


class ModelCheck(Protocol):
    """Checks the models that requests name."""

    def problem(self, model: str, url: str) -> tuple[str, str] | None:
        """Return code and message if the model cannot be used with the URL, else None."""


class RequestRules:
    """Checks one line at a time."""

    def __init__(
        self, duplicates: DuplicateFinder, *, models: ModelCheck | None, checks: int
    ) -> None:
        """Check lines.

        Args:
            duplicates: Finds ids that were used before.
            models: Checks the models that requests name; None accepts any.
            checks: Which checks lines must pass: ``CHECKS``, or ``FIRST_CHECKS``.
        """
        self._duplicates = duplicates
        self._models = models
        self._checks = checks

    def check(self, number: int, data: bytes) -> CheckedRequest | Problem:
        """Check a line.

        Args:
            number: Its number in the file, from 1.
            data: Its bytes, without line end.

        Returns:
            The facts of the request, or the problem of the first check that it fails.
        """
        position = utf8_error(data)
        if position is not None:
            return Problem(
                number, None, ErrorCode.INVALID_ENCODING, encoding_message(position, data)
            )
        fields = _read_object(number, data)
        if isinstance(fields, Problem):
            return fields
        if "custom_id" not in fields:
            return Problem(
                number,
                None,
                ErrorCode.MISSING_CUSTOM_ID,
                "The request has no custom_id. Give every request a custom_id of its own.",
            )
        custom_id = _text(fields["custom_id"])
        if not custom_id:
            found = "empty" if custom_id == "" else _kind(fields["custom_id"])
            return Problem(
                number,
                None,
                ErrorCode.INVALID_CUSTOM_ID,
                f"The custom_id must be a text that is not empty, but it is {found}. Give every "
                f"request a custom_id of its own.",
            )
        for _, first_line in self._duplicates.add((custom_id,), number):
            return duplicate_problem(number, custom_id, first_line)
        result = self._check_fields(custom_id, fields)
        if isinstance(result, CheckedRequest):
            return result
        code, message = result
        return Problem(number, custom_id, code, message)

    def _check_fields(
        self, custom_id: str, fields: dict[str, msgspec.Raw]
    ) -> CheckedRequest | tuple[str, str]:
        """Check all fields but the id; return the request, or code and message."""
        if _text(fields.get("method")) != "POST":
            found = _found(fields.get("method"))
            return (
                ErrorCode.INVALID_METHOD,
                f'The method must be "POST", but it is {found}. Set it to "POST".',
            )
        url = _text(fields.get("url"))
        if url not in ALLOWED_URLS:
            found = _found(fields.get("url"))
            message = (
                f"The url must be one of {', '.join(ALLOWED_URLS)}, but it is {found}. Write it "
                f"without host and without /openai."
            )
            return ErrorCode.INVALID_URL, message
        body = fields.get("body")
        if body is None or _kind(body) != "an object":
            message = (
                f"The body must be an object, but it is {_kind(body)}. Put the request's "
                f"parameters into it."
            )
            return ErrorCode.INVALID_BODY, message
        return self._check_body(custom_id, url, body)

    def _check_body(
        self, custom_id: str, url: str, body: msgspec.Raw
    ) -> CheckedRequest | tuple[str, str]:
        """Check the body; return the request, or code and message."""
        fields = _decode_object(body)
        model = _text(fields.get("model"))
        if not model:
            found = "empty" if model == "" else _kind(fields.get("model"))
            message = (
                f"The body's model must be the name of a model, but it is {found}. Name one that "
                f"Groq runs in batches, such as openai/gpt-oss-20b."
            )
            return ErrorCode.MISSING_MODEL, message
        wrong = self._check_parameters(url, fields)
        if wrong is None and self._models is not None:
            wrong = self._models.problem(model, url)
        if wrong is not None:
            return wrong
        return CheckedRequest(
            custom_id,
            model,
            estimated_bytes(bytes(body)),
            output_limit(fields.get("max_completion_tokens"), fields.get("max_tokens")),
        )

    def _check_parameters(self, url: str, fields: dict[str, msgspec.Raw]) -> tuple[str, str] | None:
        """Return code and message if a parameter of the body is wrong."""
        if self._checks > FIRST_CHECKS:
            wrong = _check_messages(fields) if url == CHAT_URL else _check_audio(fields)
            if wrong is not None:
                return wrong
        if bytes(fields.get("stream", b"")) == b"true":
            return (
                ErrorCode.UNSUPPORTED_PARAMETER,
                "stream is true, but a batch cannot stream. Remove stream from the body.",
            )
        if _is_given(fields.get("service_tier")):
            return (
                ErrorCode.UNSUPPORTED_PARAMETER,
                "service_tier is set, but a batch takes none. Remove service_tier from the body.",
            )
        return None


def duplicate_problem(number: int, custom_id: str, first_line: int) -> Problem:
    """Return the problem of line ``number``, whose id was first used on line ``first_line``."""
    return Problem(
        number,
        custom_id,
        ErrorCode.DUPLICATE_CUSTOM_ID,
        f"This custom_id was already used on line {first_line}. Give every request a custom_id of "
        f"its own.",
    )


def output_limit(
    max_completion_tokens: msgspec.Raw | None, max_tokens: msgspec.Raw | None
) -> int | None:
    """Return the limit of output tokens: the first of two fields that is a positive integer.

    A number above ``MAX_OUTPUT_TOKENS`` counts as that maximum, not as no limit.

    Args:
        max_completion_tokens: The field of the body with this name; None if it is missing.
        max_tokens: Its older name.
    """
    for value in (_number(max_completion_tokens), _number(max_tokens)):
        if value is None or value <= 0:
            continue
        if value > MAX_OUTPUT_TOKENS:
            return MAX_OUTPUT_TOKENS
        if value == int(value):
            return int(value)
    return None


def _read_object(number: int, data: bytes) -> dict[str, msgspec.Raw] | Problem:
    """Return the undecoded values of a line by key, or the problem if it is not an object."""
    try:
        value = _decode_syntax(data)
    except msgspec.DecodeError as error:
        return Problem(number, None, ErrorCode.INVALID_JSON, json_message(data, str(error)))
    except RecursionError:
        return Problem(number, None, ErrorCode.INVALID_JSON, _TOO_DEEP)
    if nests_too_deeply(data):
        return Problem(number, None, ErrorCode.INVALID_JSON, _TOO_DEEP)
    if _kind(value) != "an object":
        message = (
            f"The line must be a JSON object, but it is {_kind(value)}. Write each request as one "
            f"JSON object on one line."
        )
        return Problem(number, None, ErrorCode.NOT_AN_OBJECT, message)
    fields: dict[str, msgspec.Raw] = _decode_object(value)
    return fields


def _check_messages(fields: dict[str, msgspec.Raw]) -> tuple[str, str] | None:
    """Return code and message if the messages of a chat request are wrong."""
    messages = fields.get("messages")
    if messages is not None and _kind(messages) == "a list" and len(_decode_list(messages)):
        return None
    found = "empty" if _kind(messages) == "a list" else _kind(messages)
    message = (
        f"The body's messages must be a list of at least one message, but it is {found}. Write the "
        f'conversation as "messages": [{{"role": "user", "content": "..."}}].'
    )
    return ErrorCode.INVALID_MESSAGES, message


def _check_audio(fields: dict[str, msgspec.Raw]) -> tuple[str, str] | None:
    """Return code and message if an audio request does not give the audio by its URL."""
    advice = "Put the audio where Groq can fetch it, and its address into the body's url."
    if _is_given(fields.get("file")):
        return ErrorCode.MISSING_AUDIO, f"file is set, but a batch takes none. {advice}"
    url = _text(fields.get("url"))
    if url:
        return None
    found = "empty" if url == "" else _kind(fields.get("url"))
    return ErrorCode.MISSING_AUDIO, f"The body's url must be a text, but it is {found}. {advice}"


def _is_given(value: msgspec.Raw | None) -> bool:
    """Tell whether a field has a value other than null."""
    return _kind(value) not in {"missing", "null"}


def _found(value: msgspec.Raw | None) -> str:
    """Describe a value that should be a certain text."""
    kind = _kind(value)
    return "another text" if kind == "a text" else kind


def _kind(value: msgspec.Raw | None) -> str:
    """Name the JSON type of a value, which its first byte shows."""
    if value is None:
        return "missing"
    kinds = {b'"': "a text", b"{": "an object", b"[": "a list", b"n": "null"}
    first = bytes(memoryview(value)[:1])
    return kinds.get(first, "true or false" if first in b"tf" else "a number")


def _text(value: msgspec.Raw | None) -> str | None:
    """Return a value if it is a text."""
    return _decode_text(value) if value is not None and _kind(value) == "a text" else None


def _number(value: msgspec.Raw | None) -> float | int | None:
    """Return a value if it is a number that Python can represent."""
    if value is None or _kind(value) != "a number":
        return None
    try:
        number: float | int = _decode_number(value)
    except msgspec.ValidationError:
        return None
    return number
