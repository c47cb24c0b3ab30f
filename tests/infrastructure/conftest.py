"""The transform runs once; every test asks the same result."""

from __future__ import annotations

import pytest

from tests.infrastructure.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Stack:
    """Return the stack as it is deployed with nothing but the defaults."""
    return Stack.deploy()


@pytest.fixture(scope="session")
def notified() -> Stack:
    """Return the stack with somebody to notify."""
    return Stack.deploy(NotificationEmail="team@example.com")
