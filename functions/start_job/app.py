"""Start jobs. Called by S3's events, by the schedule, and manually."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import bootstrap
from groq_batch.bucket import existing_bucket
from groq_batch.steps.start_job.start import JobStarter
from groq_batch.telemetry.log import logger

bootstrap.preload(bootstrap.storage, bootstrap.states)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Start the jobs that the event requests.

    Returns the one job that was requested manually, otherwise the number of jobs and the first of
    them.
    """
    storage, settings = bootstrap.storage(), bootstrap.settings()
    if settings.uses_existing_bucket:
        existing_bucket.check_versioning(storage.s3, storage.bucket)
    starter = JobStarter(
        storage=storage,
        states=bootstrap.states(),
        state_machine_arn=settings.state_machine_arn or "",
        invocation=context.aws_request_id,
        time_left=lambda: context.get_remaining_time_in_millis() / 1000,
    )
    started = starter.handle(event)
    if "key" in event:
        return started.jobs[0].to_json()
    return {"total": started.total, "jobs": [job.to_json() for job in started.jobs]}
