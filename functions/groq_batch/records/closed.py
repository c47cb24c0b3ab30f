"""Mark a job as closed, and make later invocations do nothing.

Step Functions gives up an invocation that takes too long and starts another. The first one may
continue minutes later, when the job has ended and the copies that it works on are deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from groq_batch.bucket.pending_upload import LostUploadError
from groq_batch.bucket.s3_errors import ConflictError, MissingObjectError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records.stored import MissingRecordError
from groq_batch.telemetry.plain_log import logger


def close(storage: Storage, job_id: str) -> bool:
    """Mark a job as ended, for its own later steps and for the reconciler.

    Returns:
        Whether it was not marked before.

    Raises:
        ConflictError: S3 refused the mark, and there is none.
    """
    is_first = True
    mark = object_keys.WorkKeys(job_id).closed
    try:
        storage.put_bytes(mark, b"", over=None)
    except ConflictError:
        if not storage.exists(mark):
            raise
        logger.info("The job was already closed")
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
    """Run some work on a job, and tolerate that the job has been closed meanwhile.

    Args:
        storage: The bucket.
        keys: Keys of the job's working files.
        work: The work.
        ended: Called instead if the work misses an object because the job has been closed.

    Returns:
        The result of either function.
    """
    try:
        return work()
    except (MissingObjectError, LostUploadError, MissingRecordError) as error:
        if not is_closed(storage, keys):
            raise
        logger.info("The job ended in the meantime", extra={"missing": type(error).__name__})
        return ended()
