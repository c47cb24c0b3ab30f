"""Starts jobs. Called by S3's events, by the schedule, and by hand."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import bootstrap
from groq_batch.observability import logger
from groq_batch.start import JobStarter


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Start what the event asks for; answers with the jobs, or with the one asked for by hand."""
    starter = JobStarter(
        storage=bootstrap.storage(),
        states=bootstrap.states(),
        state_machine_arn=bootstrap.settings().state_machine_arn or "",
        invocation=context.aws_request_id,
    )
    started = [job.to_json() for job in starter.handle(event)]
    return started[0] if "key" in event else {"jobs": started}
