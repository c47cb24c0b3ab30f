"""The one logger of the functions. Prompts, answers and the API key never reach it."""

from __future__ import annotations

import re
from typing import Any

from aws_lambda_powertools import Logger

from groq_batch.errors import GroqApiError

logger = Logger(service="groq-batch", use_rfc3339=True)
"""Structured log. Handlers append ``job_id``, ``shard`` and ``attempt`` to every line.

Lambda takes a line whose time is not written as RFC 3339 says for one of level INFO, and drops
those of a stack that logs warnings only:
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
"""


_IDENTIFIER = re.compile("[A-Za-z0-9_.-]{1,64}")


def facts(error: GroqApiError) -> dict[str, Any]:
    """Return what a log line may tell of a failed call.

    The API's own text is left out: it may quote what was sent, and so may a code that is no
    identifier. Reports and records have both.
    """
    code = error.code if error.code and _IDENTIFIER.fullmatch(error.code) else None
    return {"kind": type(error).__name__, "status": error.status, "code": code}
