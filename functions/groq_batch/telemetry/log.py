"""Provide the functions' logger. Prompts, answers and the API key are never logged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from groq_batch.telemetry.plain_log import SERVICE

_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
"""Lambda's names of levels that Python names differently."""


def _to_json(line: Mapping[str, Any]) -> str:
    """Return a line of the log as JSON, with its level as Lambda names it."""
    level = line["level"]
    return json.dumps(
        {**line, "level": _LEVELS.get(level, level)},
        default=str,
        separators=(",", ":"),
        ensure_ascii=False,
    )


logger = Logger(service=SERVICE, use_rfc3339=True, json_serializer=_to_json)
"""Structured log. Handlers append ``job_id``, ``shard`` and ``attempt`` to every line.

Times must be in RFC 3339 format, and levels must have Lambda's names: Lambda treats other lines as
level INFO, and drops them in a stack that logs warnings only:
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
"""
