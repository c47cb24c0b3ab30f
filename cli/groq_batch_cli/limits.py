"""The limits of a stack that was deployed with the template's defaults, for offline checks."""

from __future__ import annotations

from groq_batch.domain.shard import SplitLimits
from groq_batch.settings import HARD_LINE_LIMIT_BYTES

DEFAULT_MAX_REQUESTS = 50_000
"""The template's default of ``MaxRequestsPerBatch``."""

DEFAULT_MAX_BYTES = 100_000_000
"""The template's default of ``MaxBytesPerBatch``."""


def split_limits(max_requests: int, max_bytes: int) -> SplitLimits:
    """Return the limits of batches of so many requests and bytes."""
    return SplitLimits(
        max_requests=max_requests,
        max_bytes=max_bytes,
        max_line_bytes=min(max_bytes, HARD_LINE_LIMIT_BYTES),
    )
