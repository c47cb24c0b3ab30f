"""Closes jobs whose execution has ended.

Called by Step Functions' events, by the reconciler's schedule, and by the state StopJob of a job
that has met a failure.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import bootstrap, given_bucket, layout
from groq_batch.cancel import JobCloser
from groq_batch.observability import logger
from groq_batch.reconcile import Reconciler


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Close what the event is about; answers with what was done."""
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
        if settings.bucket_is_given:
            # Behind the jobs: a setting must not keep them from being closed.
            given_bucket.check_settings(storage.s3, storage.bucket)
        return {"jobs": jobs}
    if "job_id" in event:
        logger.append_keys(job_id=event["job_id"])
        return closer.stop(event["job_id"], str(event.get("error", ""))).to_json()
    detail = event["detail"]
    logger.append_keys(job_id=layout.job_id_of_execution(str(detail["name"])))
    return {"done": closer.on_status_change(detail)}
