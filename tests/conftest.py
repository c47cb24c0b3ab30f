"""What every test suite shares: a sealed-off environment and a Lambda context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.loaders import Loader

from tests.scheduling import SuiteScheduling, place_of, suite_of
from tests.signals import signals_reach_children

if TYPE_CHECKING:
    from collections.abc import Iterator

# No machine is too slow, and none is too busy. In CI Hypothesis draws the same every time.
hypothesis.settings.register_profile(
    "patient",
    parent=hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")

FAKE_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_SESSION_TOKEN": "",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "POWERTOOLS_SERVICE_NAME": "groq-batch",
    "POWERTOOLS_METRICS_NAMESPACE": "GroqBatch",
    "POWERTOOLS_TRACE_DISABLED": "1",
    "SAM_CLI_TELEMETRY": "0",
}
"""No test can reach a real account: nobody's own profile, keys or region are left."""

REMOVED_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "GROQ_API_KEY")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SuiteScheduling:
    """Return what hands out the tests to several processes."""
    return SuiteScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test by its suite, which also says what it may connect to.

    Unit tests open no sockets but unix ones; all the others stay on this machine.
    """
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place_of(item.path))
    for item in items:
        suite = suite_of(item.path)
        if suite == "unit":
            item.add_marker(pytest.mark.disable_socket)
        else:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1"]))
        if suite in {"e2e", "workflow"}:
            item.add_marker(getattr(pytest.mark, suite))


@pytest.fixture(scope="session", autouse=True)
def _fake_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in REMOVED_VARIABLES:
            patch.delenv(name, raising=False)
        for name, value in FAKE_ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def _aws_models_are_read_once() -> Iterator[None]:
    """Let all of boto's sessions share what they read: moto makes a new session for each test."""
    read: dict[Any, Any] = {}
    initialize = Loader.__init__

    def initialize_with_what_was_read(loader: Loader, *arguments: Any, **named: Any) -> None:
        initialize(loader, *arguments, **named)
        loader._cache = read

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "__init__", initialize_with_what_was_read)
        yield


@pytest.fixture(scope="session", autouse=True)
def _signals_reach_children() -> Iterator[None]:
    with signals_reach_children():
        yield


class _FakeLambdaContext(LambdaContext):
    """A call with five minutes left."""

    _function_name = "groq-batch-test"
    _function_version = "$LATEST"
    _invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:groq-batch-test"
    _memory_limit_in_mb = 512
    _aws_request_id = "11111111-2222-3333-4444-555555555555"
    _log_group_name = "/aws/lambda/groq-batch-test"
    _log_stream_name = "test"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 300_000


@pytest.fixture
def lambda_context() -> LambdaContext:
    """Return the context that Lambda passes to a handler, as Powertools reads it."""
    return _FakeLambdaContext()
