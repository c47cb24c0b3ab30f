"""Close jobs whose execution has ended.

Called by events from Step Functions, by the reconciler's schedule, and by the state StopJob of a
job that met a failure.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import bootstrap
from groq_batch.bucket import existing_bucket
from groq_batch.domain.job_id import job_id_of_execution
from groq_batch.steps.cancel_job.close import JobCloser
from groq_batch.steps.cancel_job.reconcile import Reconciler
from groq_batch.telemetry.log import logger


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Close the jobs that the event is about; return what was done."""
    storage, settings = bootstrap.storage(), bootstrap.settings()
    closer = JobCloser(
        storage=storage,
        client=bootstrap.groq(context),
        states=bootstrap.states(),
        events=bootstrap.events(),
        settings=settings,
    )
    if event.get("trigger") == "reconcile":
        reconciler = Reconciler(
            storage=storage,
            states=bootstrap.states(),
            closer=closer,
            settings=settings,
            time_left=lambda: context.get_remaining_time_in_millis() / 1000,
        )
        jobs = reconciler.run(event["state_machine_arn"])
        if settings.uses_existing_bucket:
            # After the jobs, because a missing setting must not keep them from being closed.
            existing_bucket.check_settings(storage.s3, storage.bucket)
        return {"jobs": jobs}
    if "job_id" in event:
        logger.append_keys(job_id=event["job_id"])
        return closer.stop(event["job_id"], str(event.get("error", ""))).to_json()
    detail = event["detail"]
    logger.append_keys(job_id=job_id_of_execution(str(detail["name"])))
    return {"done": closer.on_status_change(detail)}
