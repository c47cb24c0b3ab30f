"""Checks a job's input and makes its plan. Called by the state PrepareInput."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import bootstrap
from groq_batch.observability import logger
from groq_batch.prepare import prepare_input


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Prepare ``job_id``; answers with where the shards stand and whether there are any."""
    logger.append_keys(job_id=event["job_id"])
    return prepare_input(
        storage=bootstrap.storage(), settings=bootstrap.settings(), job_id=event["job_id"]
    ).to_json()
