"""Builds what the handlers need, once for each execution environment."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config

from groq_batch.config import Settings
from groq_batch.groq_api import GroqClient
from groq_batch.secrets import SecretApiKey
from groq_batch.storage import Storage

_AWS_CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=5,
    # Completing a large multipart upload can take minutes.
    read_timeout=180,
    max_pool_connections=32,
)


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the stack's settings."""
    return Settings.from_env(os.environ)


@lru_cache(maxsize=1)
def storage() -> Storage:
    """Return the bucket."""
    return Storage(s3=_client("s3"), bucket=settings().bucket)


@lru_cache(maxsize=1)
def groq() -> GroqClient:
    """Return the client of the Groq API."""
    return GroqClient(
        base_url=settings().groq_base_url,
        api_key=SecretApiKey(secret_name=settings().groq_api_key_secret_name),
    )


@lru_cache(maxsize=1)
def states() -> Any:
    """Return the client of Step Functions."""
    return _client("stepfunctions")


@lru_cache(maxsize=1)
def events() -> Any:
    """Return the client of EventBridge."""
    return _client("events")


def reset() -> None:
    """Forget everything built; for tests that change the environment."""
    for build in (settings, storage, groq, states, events):
        build.cache_clear()


def _client(service: str) -> Any:
    return boto3.session.Session().client(service, config=_AWS_CONFIG)  # type: ignore[call-overload]
