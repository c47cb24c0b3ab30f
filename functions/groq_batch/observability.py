"""The one logger of the functions. Prompts, answers and the API key never reach it."""

from __future__ import annotations

from aws_lambda_powertools import Logger

logger = Logger(service="groq-batch")
"""Structured log. Handlers append ``job_id``, ``shard`` and ``attempt`` to every line."""
