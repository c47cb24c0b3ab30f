"""Upload a shard and create its batch. Called by the state SubmitBatch of SubmitShards."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import bootstrap
from groq_batch.domain import object_keys
from groq_batch.steps.submit_batch.submit import submit_shard
from groq_batch.telemetry.log import logger

bootstrap.preload(bootstrap.storage, bootstrap.groq)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Submit ``shard_key`` of ``job_id``; return an outcome and a time to wait."""
    attempt, shard = object_keys.shard_of_key(event["shard_key"])
    logger.append_keys(job_id=event["job_id"], shard=shard, attempt=attempt)
    return submit_shard(
        storage=bootstrap.storage(),
        client=bootstrap.groq(context),
        job_id=event["job_id"],
        shard_key=event["shard_key"],
        owner=context.aws_request_id,
        tries=int(event.get("tries", 0)),
        first_check_seconds=bootstrap.settings().poll_min_seconds,
    ).to_json()
