"""Cancel jobs; answers received so far are kept."""

from __future__ import annotations

import shlex
from typing import Any

from groq_batch_client.errors import JobError
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.job_view import is_final
from groq_batch_client.stack import Stack
from groq_batch_client.text import one_line


def stop_job(stack: Stack, job: FoundJob, *, cause: str, advice: str = "") -> None:
    """Stop a job's execution.

    Args:
        stack: The stack.
        job: The job.
        cause: Text for the history of the execution that says who stopped it.
        advice: What to do if the job is just ending.

    Raises:
        JobError: There is nothing to stop.
    """
    name = one_line(job.path)
    if job.job_id is None:
        raise JobError(
            f"The upload {name} has no job yet. To prevent one, remove the upload: "
            f"aws s3 rm {shlex.quote(stack.storage.url('input/' + job.path))}"
        )
    if job.report is not None and is_final(job.report):
        raise JobError(f"{name} has ended already: {job.report['status']}.")
    states = stack.client("stepfunctions")
    arn = stack.execution_arn(job.job_id)
    try:
        # Without the execution's data, which only those who may use the stack's KMS key can read.
        status = states.describe_execution(executionArn=arn, includedData="METADATA_ONLY")["status"]
        if status == "RUNNING":
            _stop_execution(states, arn, cause)
    except states.exceptions.ExecutionDoesNotExist:
        raise JobError(
            f"The job {job.job_id} has no running execution, so there is nothing to stop."
        ) from None
    if status != "RUNNING":
        raise JobError(
            f"The execution of {name} has ended already ({status}); its results are being "
            f"delivered. {advice}".rstrip()
        )


def _stop_execution(states: Any, arn: str, cause: str) -> None:
    """Stop an execution, and say who stopped it if the caller may encrypt that.

    Step Functions encrypts error and cause with the stack's KMS key, if it has one; without them a
    caller needs no permission for the key
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html).
    """
    try:
        states.stop_execution(executionArn=arn, error="Cancelled", cause=cause)
    except states.exceptions.KmsAccessDeniedException:
        states.stop_execution(executionArn=arn)
