"""Rows of result files: deterministic answers made from the prompts, and every kind of failure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.groq_simulator.input_checks import CHAT_URL
from local.groq_simulator.messages import error_body
from local.groq_simulator.outcomes import MISFIT_KINDS, SUCCEEDING_KINDS, Outcome

MAX_ECHO_CHARACTERS = 2000
BYTES_PER_TOKEN = 4
PROMPT_TOKENS_PER_SECOND = 10_000
COMPLETION_TOKENS_PER_SECOND = 500
MAX_SCHEMA_DEPTH = 8
AUDIO_SECONDS = 12.5
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
SEPARATORS = "first\u2028second\u2029third\u0085fourth"

ROW_ERRORS: dict[str, tuple[str, str]] = {
    "capacity_exhausted": (
        "capacity_exhausted",
        "No capacity was available for this request within the batch.",
    ),
    "batch_expired": ("batch_expired", "This request could not be executed before the expiry."),
    "batch_cancelled": (
        "batch_cancelled",
        "This request was not executed: the batch was cancelled.",
    ),
    "request_timeout": ("request_timeout", "This request timed out."),
}
STATUS_CODES: dict[int, str] = {
    401: "invalid_api_key",
    404: "model_not_found",
    429: "rate_limit_exceeded",
    498: "capacity_exceeded",
    500: "internal_server_error",
    503: "service_unavailable",
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """The result of one request.

    Attributes:
        output: Bytes for the output file.
        error: Bytes for the error file.
        completed: Whether `request_counts` calls it completed (else failed).
    """

    output: bytes = b""
    error: bytes = b""
    completed: bool = True


def render(
    outcome: Outcome,
    custom_id: str,
    body: Mapping[str, Any],
    *,
    url: object = CHAT_URL,
    batch_id: str,
    now: int,
) -> Rendered:
    """Renders the rows of one request, with their line ends."""
    row_id = _token(batch_id, custom_id)
    if outcome.kind in SUCCEEDING_KINDS or outcome.kind == "invalid_json":
        make = success_row if url == CHAT_URL else transcription_row
        return _render_success(outcome, custom_id, body, row_id, now, make)
    if outcome.kind in ("missing", "not_an_object"):
        return Rendered(output=b"" if outcome.kind == "missing" else _line([custom_id]))
    if outcome.kind in ROW_ERRORS:
        return Rendered(error=_line(row_error(outcome, custom_id, row_id)), completed=False)
    return _render_error_response(outcome, custom_id, row_id)


def _render_error_response(outcome: Outcome, custom_id: str, row_id: str) -> Rendered:
    if outcome.kind == "status_zero":
        # The counts of the recorded case called such rows completed.
        empty: dict[str, Any] = {"status_code": 0, "request_id": "", "body": {}}
        return Rendered(error=_line(_row(row_id, custom_id, empty)))
    status = 200 if outcome.kind == "error_with_200" else outcome.status
    response = {
        "status_code": status,
        "request_id": f"req_01{row_id}",
        "body": _http_error(outcome, status),
    }
    line = _line(_row(row_id, custom_id, response))
    if outcome.kind == "http_error":
        return Rendered(error=line, completed=False)
    return Rendered(output=line, completed=outcome.kind == "error_with_200")


def _render_success(
    outcome: Outcome,
    custom_id: str,
    body: Mapping[str, Any],
    row_id: str,
    now: int,
    make: Callable[..., dict[str, Any]],
) -> Rendered:
    text = _text_of(outcome, body)
    row = make(custom_id, body, text, row_id=row_id, now=now)
    if outcome.kind == "cut_short" and not fits_form(outcome, body):
        row["response"]["body"]["choices"][0]["finish_reason"] = "length"
    if outcome.kind == "body_not_object":
        row["response"]["body"] = text
    line = _line(row)
    if outcome.kind == "duplicated":
        line += line
    elif outcome.kind == "foreign":
        line += _line(make(f"foreign-{row_id}", body, text, row_id=row_id[::-1], now=now))
    elif outcome.kind == "crlf":
        line = line[:-1] + b"\r\n"
    elif outcome.kind == "blank_line":
        line += b"\n"
    elif outcome.kind == "invalid_json":
        line = line[: len(line) // 2] + b"\n"
    return Rendered(output=line)


def fits_form(outcome: Outcome, body: Mapping[str, Any]) -> bool:
    """Tells whether an answer has the form that its request demands, if any."""
    return asked_form(body) is None or outcome.kind not in (
        *MISFIT_KINDS,
        "unicode_separators",  # These add text to what is JSON.
        "padding",
    )


def _text_of(outcome: Outcome, body: Mapping[str, Any]) -> str:
    text = answer_text(body)
    if outcome.kind in MISFIT_KINDS and asked_form(body) is None:
        return text
    if outcome.kind == "unicode_separators":
        return text + SEPARATORS
    if outcome.kind == "padding":
        return text + "x" * outcome.bytes
    if outcome.kind == "not_json":
        return f"Sure! Here is the JSON you asked for: {text}"
    if outcome.kind == "not_as_schema":
        return json.dumps({"something": "else"})
    if outcome.kind == "cut_short":
        return text[: len(text) // 2]
    return text


def row_error(outcome: Outcome, custom_id: str, row_id: str) -> dict[str, Any]:
    """Returns a row without a response."""
    code, message = ROW_ERRORS[outcome.kind]
    row: dict[str, Any] = {"id": f"batch_req_out_01{row_id}", "custom_id": custom_id}
    if outcome.response == "null":
        row["response"] = None
    row["error"] = {"code": outcome.code or code, "message": outcome.message or message}
    return row


def success_row(
    custom_id: str, body: Mapping[str, Any], text: str, *, row_id: str, now: int
) -> dict[str, Any]:
    """Returns the row of an answered request."""
    prompt_tokens = max(1, len(json.dumps(body.get("messages"))) // BYTES_PER_TOKEN)
    completion_tokens = max(1, len(text) // BYTES_PER_TOKEN)
    prompt_time = round(prompt_tokens / PROMPT_TOKENS_PER_SECOND, 6)
    completion_time = round(completion_tokens / COMPLETION_TOKENS_PER_SECOND, 6)
    request_id = f"req_01{row_id}"
    answer = {
        "id": f"chatcmpl-{row_id}",
        "object": "chat.completion",
        "created": now,
        "model": body.get("model"),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "queue_time": 0.1,
            "prompt_tokens": prompt_tokens,
            "prompt_time": prompt_time,
            "completion_tokens": completion_tokens,
            "completion_time": completion_time,
            "total_tokens": prompt_tokens + completion_tokens,
            "total_time": round(prompt_time + completion_time, 6),
        },
        "usage_breakdown": None,
        "system_fingerprint": "fp_simulator",
        "x_groq": {"id": request_id, "seed": 1},
        "service_tier": "batch",
    }
    return _row(row_id, custom_id, {"status_code": 200, "request_id": request_id, "body": answer})


def transcription_row(
    custom_id: str, body: Mapping[str, Any], text: str, *, row_id: str, now: int
) -> dict[str, Any]:
    """Returns the row of transcribed audio, in the requested form."""
    del now  # Transcriptions bear no time.
    request_id = f"req_01{row_id}"
    answer: Any = {"text": text, "x_groq": {"id": request_id}}
    form = body.get("response_format")
    if form == "text":
        answer = text
    elif form == "verbose_json":
        segment = {"id": 0, "start": 0.0, "end": AUDIO_SECONDS, "text": text}
        facts = {"task": "transcribe", "language": "English", "duration": AUDIO_SECONDS}
        answer = {**facts, **answer, "segments": [segment]}
    return _row(row_id, custom_id, {"status_code": 200, "request_id": request_id, "body": answer})


def answer_text(body: Mapping[str, Any]) -> str:
    """Returns the answer to a request: an echo of the last message, as JSON where that is asked.

    The echo of audio is its address.
    """
    echo = _prompt(body)[:MAX_ECHO_CHARACTERS]
    wanted = body.get("response_format")
    kind = asked_form(body)
    if kind == "json_object":
        return json.dumps({"answer": f"Echo: {echo}"}, ensure_ascii=False)
    if kind == "json_schema" and isinstance(wanted, dict):
        holder = wanted.get("json_schema")
        schema = holder.get("schema") if isinstance(holder, dict) else None
        return json.dumps(_instance(schema, f"Echo: {echo}", 0), ensure_ascii=False)
    return f"Echo: {echo}"


def asked_form(body: Mapping[str, Any]) -> str | None:
    """Returns the type of JSON that a request demands, if any."""
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    return kind if kind in ("json_object", "json_schema") else None


def _prompt(body: Mapping[str, Any]) -> str:
    messages = body.get("messages")
    if messages is None and isinstance(body.get("url"), str):
        return str(body["url"])
    last = messages[-1] if isinstance(messages, list) and messages else None
    content = last.get("content") if isinstance(last, dict) else None
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return " ".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _instance(schema: object, echo: str, depth: int) -> Any:
    """Returns a small value that fits the common part of JSON Schema."""
    if not isinstance(schema, dict) or depth > MAX_SCHEMA_DEPTH:
        return {}
    if schema.get("enum"):
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties")
        named = properties.items() if isinstance(properties, dict) else ()
        return {name: _instance(inner, echo, depth + 1) for name, inner in named}
    if kind == "array":
        least = schema.get("minItems")
        count = least if isinstance(least, int) else 0
        return [_instance(schema.get("items"), echo, depth + 1) for _ in range(count)]
    simple: dict[object, Any] = {"string": echo, "integer": 0, "number": 0, "boolean": True}
    return simple.get(kind)


def _http_error(outcome: Outcome, status: int) -> dict[str, Any]:
    code = outcome.code or STATUS_CODES.get(status, "invalid_request_error")
    body = error_body(status, outcome.message or f"Simulated error {code}.", code)
    if code == "json_validate_failed":
        body["error"]["failed_generation"] = '{"answer": '
    return body


def _row(row_id: str, custom_id: str, response: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"batch_req_out_01{row_id}",
        "custom_id": custom_id,
        "response": response,
        "error": None,
    }


def _line(value: object) -> bytes:
    try:
        return _encoder.encode(value).encode() + b"\n"
    except UnicodeEncodeError:
        # A lone surrogate, which only an escape can express.
        return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _token(batch_id: str, custom_id: str) -> str:
    data = f"{batch_id}:{custom_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=12).hexdigest()
