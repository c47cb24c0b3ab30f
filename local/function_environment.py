"""The functions' environment variables as the template sets them by default.

For programs that run the functions without a deployed stack: tests in virtual time and benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping

PARAMETER_DEFAULTS: Mapping[str, str] = {
    "COMPLETION_WINDOW": "24h",
    "ON_INVALID_LINE": "reject",
    "MAX_REQUESTS_PER_BATCH": "50000",
    "MAX_BYTES_PER_BATCH": "100000000",
    "MAX_BYTES_PER_RANGE": "1073741824",
    "MAX_ATTEMPTS": "3",
    "MAX_JOB_COST_USD": "0",
    "CHECK_MODELS": "true",
    "CANARY_REQUESTS": "0",
    "CANARY_MAX_FAILED_PERCENT": "50",
    "BATCH_DEADLINE": "",
    "DEADLINE_MAX_USD": "0",
    "RETRY_INVALID_OUTPUT": "false",
    "POLL_MIN_SECONDS": "5",
    "POLL_MAX_SECONDS": "900",
    "DELETE_GROQ_FILES": "true",
    "WORK_RETENTION_DAYS": "30",
}
"""Variables that come from parameters. A test compares them with the template."""
