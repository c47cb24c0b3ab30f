"""Check a job's input and make its plan.

Called by the state PrepareInput for a job, and by PrepareRange for a task of a large input.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import bootstrap
from groq_batch.domain.machine_version import machine_of
from groq_batch.reports.page.writer import preload
from groq_batch.steps.prepare_input.prepare import prepare_input
from groq_batch.steps.prepare_input.range_tasks import prepare_range
from groq_batch.telemetry.log import logger

preload()
bootstrap.preload(bootstrap.storage)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Prepare ``job_id``, or run one task of its preparation.

    For a job it returns the prefix of the shards and whether there are any, or the prefix of the
    tasks that must run first. With ``task_key`` it runs that task and stores the outcome in the
    bucket.
    """
    job_id = event["job_id"]
    logger.append_keys(job_id=job_id)
    storage = bootstrap.storage()
    if "task_key" in event:
        prepare_range(storage=storage, job_id=job_id, task_key=event["task_key"])
        return {}
    return prepare_input(
        storage=storage,
        settings=bootstrap.settings(),
        job_id=job_id,
        machine=machine_of(event),
    ).to_json()
