"""Send requests left open by a deadline as ordinary calls. Called by the state AnswerRequests."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import bootstrap
from groq_batch.steps.answer_requests.answer import answer_requests
from groq_batch.telemetry.log import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Send requests of ``attempt`` of ``job_id`` for a few minutes; return an outcome."""
    logger.append_keys(job_id=event["job_id"], attempt=event["attempt"])
    return answer_requests(
        storage=bootstrap.storage(),
        client=bootstrap.groq(context),
        job_id=event["job_id"],
        attempt=int(event["attempt"]),
        owner=context.aws_request_id,
    ).to_json()
