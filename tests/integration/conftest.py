"""Fixtures of several files: a simulator of Groq with a client, and an account with stacks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws

from groq_batch.groq.client import GroqClient
from groq_batch_cli.aws import Target
from local.groq_simulator import DEFAULT_KEY, GroqSimulator
from tests.integration.aws_session import REGION, shared_session
from tests.integration.cli_world import Chapters, Hurried, World
from tests.integration.groq_calls import make_client
from tests.integration.simulator_api import Api


@pytest.fixture
def no_key_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert DEFAULT_KEY not in caplog.text


@pytest.fixture
def simulator() -> Iterator[GroqSimulator]:
    with GroqSimulator(batch_seconds=0.0, cancel_seconds=0.0) as running:
        yield running


@pytest.fixture
def client(simulator: GroqSimulator) -> GroqClient:
    return make_client(simulator.url)


@pytest.fixture
def api(simulator: GroqSimulator) -> Api:
    return Api(simulator.url)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Let the command line work in a folder of the test's own, on an account of its own."""
    new_session = Target.session

    def session(target: Target) -> object:
        is_usual = target.region == REGION and target.profile is None
        return shared_session() if is_usual else new_session(target)

    with mock_aws():
        made = World(tmp_path)
        made.patch(monkeypatch)
        monkeypatch.setattr(Target, "session", session)
        yield made


@pytest.fixture
def chapters(monkeypatch: pytest.MonkeyPatch) -> Chapters:
    """Return what happens, one thing after the other, while jobs are followed."""
    monkeypatch.setattr(Hurried, "chapters", [])
    monkeypatch.setattr("groq_batch_cli.file_run.Follower", Hurried)
    monkeypatch.setattr("groq_batch_cli.verbs.start.Follower", Hurried)
    return Hurried.chapters
