"""Remove the copies of requests and answers that a job no longer needs."""

from __future__ import annotations

from groq_batch.bucket.s3_errors import UnwritableObjectError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.telemetry.log import logger


def remove_copies(storage: Storage, keys: object_keys.WorkKeys) -> None:
    """Delete the copies of requests and answers of a job that ended by itself.

    They would cost more than everything else that the job uses at AWS, and keep prompts longer than
    needed. Copies that cannot be deleted expire with the job's other working files.
    """
    # One listing of everything is faster than one per kind, most of which have no objects.
    everything = [found.key for found in storage.objects(keys.prefix)]
    for prefix in keys.bulk:
        try:
            storage.delete(key for key in everything if key.startswith(prefix))
        except UnwritableObjectError as error:
            logger.warning("Working files could not be removed", reason=str(error))
