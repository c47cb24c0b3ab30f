"""Say what a write may replace, and express it for S3.

S3 compares when the write completes, so of two writers with the same condition one succeeds
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class Unconditional(Enum):
    """The condition of a write that replaces whatever is there, or nothing."""

    ANYTHING = auto()


ANYTHING: Final = Unconditional.ANYTHING
Over = str | Unconditional | None
"""What a write replaces: the object with this ETag; None if there must be none; ``ANYTHING``."""


def write_condition(over: Over) -> dict[str, str]:
    """Return the parameters with which S3 replaces nothing but ``over``."""
    if over is ANYTHING:
        return {}
    return {"IfNoneMatch": "*"} if over is None else {"IfMatch": over}
