"""Request lines, settings and failing calls for the tests of preparation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from groq_batch.domain.job_options import JobOptions
from groq_batch.settings import Settings
from tests.fakes.calls import Call

MODEL = "openai/gpt-oss-20b"


def request(custom_id: str, content: str = "Say hello.", **body: Any) -> bytes:
    """Return a good request line without its end."""
    fields = {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": MODEL, "messages": [{"role": "user", "content": content}], **body},
    }
    return json.dumps(fields).encode()


def bad(custom_id: str) -> bytes:
    """Return a line with a method that no batch takes."""
    return request(custom_id).replace(b"POST", b"GET")


def file_of(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in lines)


GOOD = [request(f"id-{number}") for number in range(5)]
BODY_BYTES = len(json.dumps(json.loads(GOOD[0])["body"]))
SETTINGS = Settings(
    bucket="bucket",
    groq_base_url="https://api.groq.com/openai/v1",
    groq_api_key_secret_name="groq/api-key",
    default_options=JobOptions(
        completion_window="24h", skip_invalid_lines=True, max_attempts=3, max_job_cost_usd=0.0
    ),
    max_requests_per_batch=1,
    max_bytes_per_batch=1_000_000,
    max_bytes_per_range=2**30,
    poll_min_seconds=5,
    poll_max_seconds=900,
    delete_groq_files=True,
    work_retention_days=30,
)


class Death(BaseException):
    """The end of an invocation: from then on none of its calls reaches S3."""


class Calls:
    """Counts the calls of an invocation, and lets something happen in place of one of them."""

    def __init__(self, at: int | None, happens: Callable[[Calls, Callable[[], Any]], Any]) -> None:
        self.count = 0
        self.is_dead = False
        self._at = at
        self._happens = happens

    def __call__(self, call: Call, act: Callable[[], Any]) -> Any:
        if self.is_dead:
            raise Death
        self.count += 1
        return self._happens(self, act) if self.count == self._at else act()

    def die(self) -> None:
        self.is_dead = True
        raise Death
