"""Invocations that go on after the end of their job.

Step Functions gives up an invocation that takes too long, and starts it again; the first one may
come back minutes later, when the job has ended and the copies that it works on are removed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from groq_batch import layout
from groq_batch.held_uploads import LostUploadError
from groq_batch.jobs import is_closed
from groq_batch.observability import logger
from groq_batch.storage import MissingObjectError, Storage

Outcome = TypeVar("Outcome")


def unless_ended(
    storage: Storage,
    keys: layout.WorkKeys,
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
