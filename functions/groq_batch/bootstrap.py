"""Build the objects that the handlers need, once per execution environment."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from botocore.config import Config
from botocore.session import Session, get_session

from groq_batch.bucket.storage import Storage
from groq_batch.groq.api_key import SecretApiKey
from groq_batch.settings import Settings

if TYPE_CHECKING:
    from groq_batch.groq.client import GroqClient

_AWS_CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=5,
    # S3 may send nothing for a minute while it copies gigabytes or combines many parts.
    read_timeout=120,
    max_pool_connections=32,
)
# The quotas for starting and describing executions apply to the whole account and are refilled
# every second. Ten tries wait for about a minute.
_STATES_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 10},
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=32,
)
# Every call of Groq's API needs the key first, so reading it must succeed or fail quickly.
_SECRETS_CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 3}, connect_timeout=3, read_timeout=10
)

_STARTED_BY_LAMBDA = "AWS_LAMBDA_INITIALIZATION_TYPE"
"""Variable that Lambda sets in every environment
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)."""

_SHARE_FOR_GROQ = 0.8
"""Share of an invocation's remaining time that calls of Groq's API may take; the rest is for
storing their results."""

# At level DEBUG, which the stack permits and Lambda sets for every logger, these log the
# transferred data: the secret with the API key, and prompts and answers.
for _name in ("botocore", "urllib3"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class _Context(Protocol):
    """The part of Lambda's context object that is used here."""

    def get_remaining_time_in_millis(self) -> int: ...


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the stack's settings, read once."""
    return Settings.from_env(os.environ)


@lru_cache(maxsize=1)
def storage() -> Storage:
    """Return the access to the stack's bucket."""
    return Storage(s3=_client("s3"), bucket=settings().bucket)


def groq(context: _Context | None = None) -> GroqClient:
    """Return the client of the Groq API.

    Args:
        context: The invocation, if calls of Groq must end well before it does.
    """
    client = _groq()
    if context is None:
        return client
    return client.within(_SHARE_FOR_GROQ * context.get_remaining_time_in_millis() / 1000)


@lru_cache(maxsize=1)
def states() -> Any:
    """Return the client of Step Functions."""
    return _client("stepfunctions", _STATES_CONFIG)


@lru_cache(maxsize=1)
def events() -> Any:
    """Return the client of EventBridge."""
    return _client("events")


def preload(*builds: Callable[[], object]) -> None:
    """Build what a handler needs while Lambda initializes its environment.

    Initialization has a whole CPU core, whatever the function's memory; the first event would have
    only a share of one. Errors here are ignored, because they occur again in the handler, which
    reports them. Outside of Lambda nothing is built.

    Nearly all objects that exist afterwards stay for good. The garbage collector examines none of
    them, neither while they are created, which would take a tenth of the initialization, nor later.

    Args:
        builds: Functions of this module.
    """
    if _STARTED_BY_LAMBDA not in os.environ:
        return
    gc.disable()
    try:
        with suppress(Exception):
            for build in builds:
                build()
    finally:
        gc.freeze()
        gc.enable()


def reset() -> None:
    """Forget everything built; for tests that change the environment."""
    for build in (settings, storage, _groq, states, events, _session):
        build.cache_clear()


@lru_cache(maxsize=1)
def _groq() -> GroqClient:
    # Imported here, so that functions without calls of Groq start without requests. The use cases
    # of the other functions import the client during initialization, which has more CPU.
    from groq_batch.groq.client import GroqClient  # noqa: PLC0415

    key = SecretApiKey(
        secret_name=settings().groq_api_key_secret_name,
        secrets=_client("secretsmanager", _SECRETS_CONFIG),
    )
    return GroqClient(base_url=settings().groq_base_url, api_key=key)


@lru_cache(maxsize=1)
def _session() -> Session:
    # Shared by all clients, because reading botocore's data files takes a tenth of a second.
    # boto3's clients are botocore's with a transfer manager and resources, which nothing here uses
    # and which take longer to import than all modules of this package.
    return get_session()


def _client(service: str, config: Config = _AWS_CONFIG) -> Any:
    return _session().create_client(service, config=config)
