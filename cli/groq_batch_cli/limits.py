"""Batch limits of a stack with the template's default parameters, for offline checks."""

from __future__ import annotations

from groq_batch.domain.shard import SplitLimits
from groq_batch.settings import HARD_LINE_LIMIT_BYTES

DEFAULT_MAX_REQUESTS = 50_000
"""Default of the template parameter ``MaxRequestsPerBatch``."""

DEFAULT_MAX_BYTES = 100_000_000
"""Default of the template parameter ``MaxBytesPerBatch``."""


def split_limits(max_requests: int, max_bytes: int) -> SplitLimits:
    """Return the split limits for a number of requests and bytes per batch."""
    return SplitLimits(
        max_requests=max_requests,
        max_bytes=max_bytes,
        max_line_bytes=min(max_bytes, HARD_LINE_LIMIT_BYTES),
    )
