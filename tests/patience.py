"""How long tests wait for what takes moments: long enough on a machine that has much else to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 300.0
"""What has not happened by then does not happen any more. No test takes this time and passes."""


def wait_until(look: Callable[[], Any], failure: Callable[[], str], pause: float = 0.01) -> Any:
    """Return what ``look`` returns as soon as it is true.

    Args:
        look: Looks once.
        failure: Says what has not happened.
        pause: Seconds between two looks.

    Raises:
        AssertionError: It has not become true in ``PATIENCE_SECONDS``.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < end, failure()
        time.sleep(pause)
    return found
