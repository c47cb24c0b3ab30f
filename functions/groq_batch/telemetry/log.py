"""The one logger of the functions. Prompts, answers and the API key never reach it."""

from __future__ import annotations

from aws_lambda_powertools import Logger

logger = Logger(service="groq-batch", use_rfc3339=True)
"""Structured log. Handlers append ``job_id``, ``shard`` and ``attempt`` to every line.

Lambda takes a line whose time is not written as RFC 3339 says for one of level INFO, and drops
those of a stack that logs warnings only:
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
"""
