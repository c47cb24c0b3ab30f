"""Mark a job as closed, and let invocations that come later do nothing.

Step Functions gives up an invocation that takes too long, and starts it again; the first one may
come back minutes later, when the job has ended and the copies that it works on are removed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from groq_batch.bucket.pending_upload import LostUploadError
from groq_batch.bucket.s3_errors import ConflictError, MissingObjectError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.telemetry.log import logger


def close(storage: Storage, job_id: str) -> bool:
    """Mark a job as ended, for its own later steps and for the reconciler.

    Returns:
        Whether it had not been marked before.
    """
    is_first = True
    try:
        storage.put_bytes(object_keys.WorkKeys(job_id).closed, b"", if_none_match=True)
    except ConflictError:
        logger.info("The job had been closed before")
        is_first = False
    storage.delete([object_keys.open_job_key(job_id)])
    return is_first


def is_closed(storage: Storage, keys: object_keys.WorkKeys) -> bool:
    """Tell whether a job's final report has been written."""
    return storage.exists(keys.closed)


Outcome = TypeVar("Outcome")


def unless_closed(
    storage: Storage,
    keys: object_keys.WorkKeys,
    work: Callable[[], Outcome],
    ended: Callable[[], Outcome],
) -> Outcome:
    """Do some work on a job.

    Args:
        storage: The bucket.
        keys: The job's working files.
        work: The work.
        ended: What to do when the work misses something because the job has ended meanwhile.

    Returns:
        What either returns.
    """
    try:
        return work()
    except (MissingObjectError, LostUploadError, ValueError) as error:
        if not is_closed(storage, keys):
            raise
        logger.info("The job has ended meanwhile", missing=type(error).__name__)
        return ended()
