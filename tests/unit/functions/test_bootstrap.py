"""What is built while Lambda starts an environment."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from groq_batch import bootstrap
from groq_batch.settings import SettingsError


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    bootstrap.reset()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("BUCKET_NAME", "bucket")
    yield
    bootstrap.reset()
    gc.unfreeze()


def test_preload_in_lambda_builds_what_the_first_event_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    built: list[str] = []
    bootstrap.preload(lambda: built.append("storage"), lambda: built.append("groq"))
    assert built == ["storage", "groq"]


def test_preload_in_lambda_keeps_the_collector_from_what_it_builds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    collects: list[bool] = []

    def build() -> None:
        collects.append(gc.isenabled())
        raise OSError

    bootstrap.preload(build)
    assert collects == [False]
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_preload_elsewhere_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_LAMBDA_INITIALIZATION_TYPE", raising=False)
    built: list[str] = []
    bootstrap.preload(lambda: built.append("storage"))
    assert built == []


def test_preload_that_fails_leaves_the_error_to_the_handler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    monkeypatch.delenv("BUCKET_NAME")
    bootstrap.preload(bootstrap.settings)
    with pytest.raises(SettingsError, match="BUCKET_NAME is missing"):
        bootstrap.settings()


@pytest.mark.parametrize("function", ["start_job", "finish_job"])
def test_handler_starts_without_what_only_boto3_adds(function: str) -> None:
    """boto3's transfers and resources take longer to import than all of the project's modules."""
    code = f"import {function}.app, sys; print({{'boto3', 's3transfer', 'svg'}} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(bootstrap.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "set()"
