"""One emulator with one deployed stack for the whole suite; every test uses keys of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.stack import LocalStack
from tests.e2e.command_line import CommandLine
from tests.e2e.pipeline import Pipeline, secret_of

SECRET = "groq/api-key"


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """Yield the emulated account with its Groq simulator."""
    with LocalStack(wait_scale=0.02) as running:
        yield running


@pytest.fixture(scope="session")
def deployed(stack: LocalStack) -> Pipeline:
    """Return the stack that most tests share."""
    return deploy(stack, "shared")


@pytest.fixture
def pipeline(deployed: Pipeline) -> Pipeline:
    """Return the shared stack with a simulator and a secret as good as new."""
    deployed.simulator.reset()
    deployed.simulator.configure(batch_seconds=0.5)
    deployed.stack.put_secret(secret_of(deployed.parameters), deployed.stack.groq_api_key)
    return deployed


@pytest.fixture
def cli(pipeline: Pipeline, tmp_path: Path) -> CommandLine:
    """Return the command line for the shared stack."""
    return CommandLine(
        tmp_path,
        AWS_ENDPOINT_URL=pipeline.stack.endpoint_url,
        GROQ_BATCH_STACK=pipeline.stack_name,
    )


@pytest.fixture(scope="session")
def nightly(stack: LocalStack) -> Pipeline:
    """Return a second stack, beside the first, on which uploads wait for the schedule."""
    return deploy(stack, "nightly", TriggerMode="schedule")


@pytest.fixture(scope="session")
def quiet(stack: LocalStack) -> Pipeline:
    """Return a stack that no other test sees, which logs all it can and tells somebody by mail."""
    return deploy(
        stack,
        "quiet",
        NotificationEmail="team@example.com",
        LogLevel="DEBUG",
        OnInvalidLine="skip",
    )


@pytest.fixture
def scheduled(nightly: Pipeline, pipeline: Pipeline) -> Pipeline:
    """Return the second stack; the simulator is as good as new."""
    return nightly


@pytest.fixture
def name() -> str:
    """Return a name that no other test uses."""
    return uuid.uuid4().hex[:12]


def deploy(stack: LocalStack, stack_name: str, **parameters: str) -> Pipeline:
    """Deploy the template once more, with a secret of its own."""
    chosen = {
        "GroqBaseUrl": stack.groq_base_url,
        "GroqApiKeySecretName": f"{stack_name}/groq",
        "MaxRequestsPerBatch": "100",
        # Files of more than 100,000 bytes are prepared range by range.
        "MaxBytesPerRange": "50000",
        "ScheduleExpression": "rate(365 days)",
        **parameters,
    }
    stack.put_secret(secret_of(chosen), stack.groq_api_key)
    return Pipeline(stack, stack_name, chosen, stack.deploy(stack_name, chosen))
