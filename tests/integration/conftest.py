"""Fixtures of the tests of the Groq API's client; other tests have a simulator of their own."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from groq_batch.groq.client import GroqClient
from local.groq_simulator import DEFAULT_KEY, GroqSimulator
from tests.integration.groq_calls import make_client


@pytest.fixture
def no_key_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert DEFAULT_KEY not in caplog.text


@pytest.fixture
def simulator() -> Iterator[GroqSimulator]:
    with GroqSimulator(batch_seconds=0.0, cancel_seconds=30.0) as running:
        yield running


@pytest.fixture
def client(simulator: GroqSimulator) -> GroqClient:
    return make_client(simulator.url)
