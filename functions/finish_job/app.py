"""Deliver results, write the report, clean up at Groq. Called by the state FinishJob."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import bootstrap
from groq_batch.reports.page.writer import preload
from groq_batch.steps.finish_job.finish import finish_job
from groq_batch.telemetry.log import logger

preload()
bootstrap.preload(bootstrap.storage, bootstrap.groq, bootstrap.events)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Finish ``job_id``; return an outcome and a time to wait."""
    logger.append_keys(job_id=event["job_id"])
    return finish_job(
        storage=bootstrap.storage(),
        client=bootstrap.groq(context),
        events=bootstrap.events(),
        settings=bootstrap.settings(),
        job_id=event["job_id"],
        tries=int(event.get("tries", 0)),
    ).to_json()
