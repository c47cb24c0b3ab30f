"""Check the batches of an attempt and decide what is next. Called by the state CheckStatus.

The state ReadModels calls it as well, because it is the first function of a job that may read the
API key. ``groq-batch doctor`` calls it for a user who may not read the key.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import bootstrap
from groq_batch.domain.machine_version import machine_of
from groq_batch.domain.only_shard import StepAnswer
from groq_batch.steps.check_status.check import check_status
from groq_batch.steps.doctor import examine, examine_bucket
from groq_batch.steps.read_models import read_account_models
from groq_batch.telemetry.log import logger

bootstrap.preload(bootstrap.storage, bootstrap.groq)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Check ``attempt`` of ``job_id``; return what the state machine does next.

    With ``read_models`` it reads the account's models instead and stores them in the bucket. With
    ``doctor``, without a job, it reports whether the API accepts the stack's key, or with
    ``"bucket"`` as its value whether S3 does what jobs rely on.
    """
    if event.get("doctor") == "bucket":
        return examine_bucket(bootstrap.storage())
    if event.get("doctor"):
        return examine(bootstrap.groq(context))
    if event.get("read_models"):
        logger.append_keys(job_id=event["job_id"])
        return read_account_models(
            storage=bootstrap.storage(),
            client=bootstrap.groq(context),
            job_id=event["job_id"],
            asked=int(event.get("asked", 0)),
        ).to_json()
    logger.append_keys(job_id=event["job_id"], attempt=event["attempt"])
    return check_status(
        storage=bootstrap.storage(),
        client=bootstrap.groq(context),
        settings=bootstrap.settings(),
        job_id=event["job_id"],
        attempt=int(event["attempt"]),
        polls=int(event.get("polls", 0)),
        resume_in=int(event.get("resume_in", 0)),
        step=StepAnswer.of_event(event),
        machine=machine_of(event),
    ).to_json()
