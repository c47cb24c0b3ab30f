"""Values that many tests need and none is about: request lines, and what a job is made of."""

from __future__ import annotations

import json
from typing import Any

from groq_batch.domain import object_keys
from groq_batch.domain.job_options import JobOptions
from groq_batch.records.job import JobRequest
from groq_batch.settings import Settings

OPTIONS = JobOptions(
    completion_window="24h", skip_invalid_lines=False, max_attempts=3, max_job_cost_usd=0
)

SETTINGS = Settings(
    bucket="bucket",
    groq_base_url="https://api.groq.com/openai/v1",
    groq_api_key_secret_name="groq/api-key",
    default_options=OPTIONS,
    max_requests_per_batch=50_000,
    max_bytes_per_batch=100_000_000,
    max_bytes_per_range=2**30,
    poll_min_seconds=5,
    poll_max_seconds=900,
    delete_groq_files=True,
    work_retention_days=30,
)

MODEL = "openai/gpt-oss-20b"


def chat_request(
    custom_id: str, content: str = "Say hello.", *, model: str = MODEL, **body: Any
) -> dict[str, Any]:
    """Return a good request; ``body`` adds fields to its body, or replaces them."""
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": model, "messages": [{"role": "user", "content": content}], **body},
    }


def chat_line(custom_id: str, content: str = "Say hello.", **body: Any) -> bytes:
    """Return the line of a good request without its end; see ``chat_request``."""
    return json.dumps(chat_request(custom_id, content, **body), ensure_ascii=False).encode()


def job_request(job_id: str = "a-0123456789abcdef0123", **fields: Any) -> JobRequest:
    """Return the request of the job of an upload; ``path`` tells its key unless it is given."""
    key = fields.get("key", object_keys.INPUT_PREFIX + fields.get("path", "a.jsonl"))
    usual = {
        "bucket": "bucket",
        "key": key,
        "version_id": "v",
        "path": key.removeprefix(object_keys.INPUT_PREFIX),
        "started_at": "2026-03-01T00:00:00.000Z",
        "claimed_by": "test",
    }
    return JobRequest(job_id=job_id, **{**usual, **fields})
