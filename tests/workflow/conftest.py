"""The handlers of this folder's tests have doubles around them; see ``invocations.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.invocations import handlers_in_place


@pytest.fixture(autouse=True, scope="module")
def _handlers() -> Iterator[None]:
    with handlers_in_place():
        yield
