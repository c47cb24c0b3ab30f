"""Ordinary calls: one request each, answered at once, within the limits of the account."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from local.groq_simulator.answers import answer_text, success_row, transcription_row
from local.groq_simulator.input_checks import CHAT_URL
from local.groq_simulator.messages import ApiError, Request, Response, error_body, parse_json_body
from local.groq_simulator.multipart import MultipartError, MultipartReader, boundary_of
from local.groq_simulator.outcomes import SUCCEEDING_KINDS
from local.groq_simulator.settings import Settings

ROUTES_OF_CALLS = {
    "chat": "/v1/chat/completions",
    "transcriptions": "/v1/audio/transcriptions",
    "translations": "/v1/audio/translations",
}
"""The routes of ordinary calls, and the URL that a line of a batch has for the same."""
MAX_BODY_BYTES = 40_000_000
JOB_HEADER = "x-simulator-job"
"""Names the job of a call, for tests that have several; the API knows no such field."""
WINDOW_SECONDS = 60.0
BYTES_PER_TOKEN = 4
UNAVAILABLE = 503


def fingerprint(url: str, body: Mapping[str, Any]) -> str:
    """Returns a fingerprint that is the same for equal requests in batches and in calls.

    Of audio the fields are texts in a call, in which a list is a field for each of its entries.
    """
    given = body if url == CHAT_URL else _as_form(body)
    data = json.dumps([url, given], sort_keys=True)
    return hashlib.blake2b(data.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def prompt_of(url: str, body: Mapping[str, Any]) -> str:
    """Returns the prompt of a request: the text of its last message, or the URL of its audio."""
    if url != CHAT_URL:
        return str(body.get("url", ""))
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    content = last.get("content") if isinstance(last, dict) else None
    return content if isinstance(content, str) else ""


@dataclass(slots=True)
class OrdinaryCall:
    """One ordinary call that was answered.

    Attributes:
        time: When, in Unix seconds.
        url: The URL of its request, as in a batch.
        prompt: What it asked.
        body: What was sent: of audio the fields, each with its texts.
        fingerprint: Tells equal requests.
        status: The status that it was answered with, before any fault.
        billed: Whether it was answered, thus is paid for.
        job: The job that it was made for, where a test names it in a header field.
    """

    time: float
    url: str
    prompt: str
    body: Any
    fingerprint: str
    status: int
    billed: bool
    job: str = ""

    def view(self) -> dict[str, Any]:
        """Returns the call as JSON."""
        shown = asdict(self)
        del shown["fingerprint"]
        return shown


@dataclass(slots=True)
class RateLimits:
    """The limits of ordinary calls: a window of a minute, and a count for the day."""

    settings: Settings
    _taken: deque[tuple[float, int]] = field(default_factory=deque)
    _of_day: int = 0

    def take(self, tokens: int, now: float) -> dict[str, str]:
        """Counts a call; returns the header fields with the remaining limits.

        Raises:
            ApiError: 429; its header fields say when to come back.
        """
        while self._taken and self._taken[0][0] <= now - WINDOW_SECONDS:
            self._taken.popleft()
        settings = self.settings
        used = sum(count for _, count in self._taken)
        waits = []
        if settings.calls_per_minute is not None and len(self._taken) >= settings.calls_per_minute:
            waits.append(self._seconds_until(now, calls=settings.calls_per_minute))
        limit = settings.tokens_per_minute
        if limit is not None and used + tokens > limit:
            waits.append(self._seconds_until(now, tokens=limit - tokens))
        if settings.calls_per_day is not None and self._of_day >= settings.calls_per_day:
            waits.append(3600.0)
        if waits:
            error = ApiError(429, "Rate limit reached.", code="rate_limit_exceeded")
            error.headers = {
                "retry-after": str(math.ceil(max(waits))),
                **self._headers(used, now),
            }
            raise error
        self._taken.append((now, tokens))
        self._of_day += 1
        return self._headers(used + tokens, now)

    def _seconds_until(
        self, now: float, *, calls: int | None = None, tokens: int | None = None
    ) -> float:
        """Returns how long it takes until fewer calls, or so few tokens, are in the window."""
        left, used = len(self._taken), sum(count for _, count in self._taken)
        for moment, count in self._taken:
            left, used = left - 1, used - count
            if (calls is None or left < calls) and (tokens is None or used <= tokens):
                return moment + WINDOW_SECONDS - now
        return WINDOW_SECONDS

    def _headers(self, used: int, now: float) -> dict[str, str]:
        headers: dict[str, str] = {}
        settings = self.settings
        if settings.calls_per_day is not None:
            left = max(settings.calls_per_day - self._of_day, 0)
            headers["x-ratelimit-limit-requests"] = str(settings.calls_per_day)
            headers["x-ratelimit-remaining-requests"] = str(left)
            headers["x-ratelimit-reset-requests"] = "1h0m0s"
        if settings.tokens_per_minute is not None:
            reset = self._taken[-1][0] + WINDOW_SECONDS - now if self._taken else 0.0
            headers["x-ratelimit-limit-tokens"] = str(settings.tokens_per_minute)
            headers["x-ratelimit-remaining-tokens"] = str(max(settings.tokens_per_minute - used, 0))
            headers["x-ratelimit-reset-tokens"] = f"{reset:.2f}s"
        return headers


class OpenCalls:
    """Counts the calls that are open at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._open += 1
            self.most = max(self.most, self._open)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._open -= 1


def read_body(route: str, request: Request) -> Any:
    """Returns the body of a call: an object of chat, the fields of a form of audio.

    Raises:
        ApiError: 400 when it cannot be read.
    """
    if route == "chat":
        return parse_json_body(request, max_bytes=MAX_BODY_BYTES)
    fields: dict[str, list[str]] = {}
    try:
        boundary = boundary_of(request.headers.get("content-type", ""))
        for part in MultipartReader(request.read, boundary).parts():
            if part.filename is not None:
                raise ApiError(400, "This simulator takes audio by its url.", param="file")
            text = b"".join(part.chunks).decode("utf-8", "replace")
            fields.setdefault(part.name, []).append(text)
    except MultipartError as error:
        raise ApiError(400, f"Malformed form: {error}.", code="invalid_multipart") from error
    return fields


def check_body(route: str, body: Any) -> dict[str, Any]:
    """Returns a body as a line of a batch would have it.

    Raises:
        ApiError: 400 when the API would refuse it.
    """
    if not isinstance(body, dict):
        raise ApiError(400, "The body must be a JSON object.")
    if route == "chat":
        if not isinstance(body.get("model"), str):
            raise ApiError(400, "model is missing.", param="model")
        if not isinstance(body.get("messages"), list) or not body["messages"]:
            raise ApiError(400, "messages is missing.", param="messages")
        if body.get("service_tier") is not None or body.get("stream"):
            raise ApiError(400, "This simulator knows neither stream nor service_tier.")
        return body
    if "model" not in body or "url" not in body:
        raise ApiError(400, "model and url are needed.")
    return {
        name.removesuffix("[]"): values if name.endswith("[]") else values[-1]
        for name, values in body.items()
    }


def tokens_of(url: str, body: Mapping[str, Any]) -> int:
    """Returns the tokens that a call counts for the limit of a minute."""
    if url != CHAT_URL:
        return 0
    asked = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    prompt = len(json.dumps(body.get("messages"))) // BYTES_PER_TOKEN
    return max(1, prompt) + (asked if isinstance(asked, int) else 0)


def response_of(
    outcome: Any, url: str, body: Mapping[str, Any], *, call_id: str, now: int
) -> Response:
    """Returns the answer to a call, by the outcome that a rule gives its request."""
    if outcome.kind not in SUCCEEDING_KINDS:
        is_http = outcome.kind in ("http_error", "error_in_output")
        status = outcome.status if is_http else UNAVAILABLE
        code = outcome.code or (None if is_http else outcome.kind)
        text = outcome.message or f"Simulated status {status}."
        return _identified(Response.of_json(error_body(status, text, code), status), call_id)
    make = success_row if url == CHAT_URL else transcription_row
    answer = make(call_id, body, answer_text(body), row_id=call_id, now=now)["response"]["body"]
    if isinstance(answer, str):
        return _identified(Response.of_text(answer, 200), call_id)
    if "service_tier" in answer:
        answer["service_tier"] = "on_demand"
    return _identified(Response.of_json(answer), call_id)


def _identified(response: Response, call_id: str) -> Response:
    response.headers["x-request-id"] = f"req_{call_id}"
    return response


def _as_form(body: Mapping[str, Any]) -> dict[str, list[str]]:
    form: dict[str, list[str]] = {}
    for name, value in body.items():
        if value is not None:
            values = value if isinstance(value, list) else [value]
            form[name.removesuffix("[]")] = [
                one if isinstance(one, str) else json.dumps(one) for one in values
            ]
    return form
