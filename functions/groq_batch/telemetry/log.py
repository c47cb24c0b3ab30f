"""Provide the functions' logger. Prompts, answers and the API key are never logged."""

from __future__ import annotations

from aws_lambda_powertools import Logger

logger = Logger(service="groq-batch", use_rfc3339=True)
"""Structured log. Handlers append ``job_id``, ``shard`` and ``attempt`` to every line.

Times must be in RFC 3339 format: Lambda treats other lines as level INFO, and drops them in a stack
that logs warnings only:
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
"""
