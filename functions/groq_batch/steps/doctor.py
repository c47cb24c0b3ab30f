"""Check the stack's API key and bucket, and collect facts that only real accounts can show.

It belongs to no job. The answers contain only codes and facts: no key, no ids, names or metadata of
the account's objects, and no texts of the APIs, which may quote them.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from msgspec.structs import asdict

from groq_batch import __version__
from groq_batch.bucket.storage import Storage
from groq_batch.bucket.write_checks import check_writes
from groq_batch.domain import object_keys
from groq_batch.domain.examination import Examination
from groq_batch.domain.models import read_models
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import GroqApiError, log_fields
from groq_batch.telemetry.log import logger

ASK_SECONDS = 30.0
"""Time limit for both calls together, in seconds."""


def examine(client: GroqClient) -> dict[str, Any]:
    """Request the list of models and the list of batches, once each, and return an examination."""
    limited = client.within(ASK_SECONDS)
    models = _models(limited)
    try:
        page = limited.first_page_of_batches()
    except GroqApiError as error:
        failure = _code(error, "batches")
        return asdict(Examination(version=__version__, models=models, batches=failure))
    return asdict(
        Examination(
            version=__version__,
            models=models,
            batches="yes",
            batches_listed=len(page.created_at),
            has_next_page=page.has_next,
            order=order_of(page.created_at),
        )
    )


def examine_bucket(storage: Storage) -> dict[str, Any]:
    """Try out the writes that jobs rely on, with an object of its own, and return the results.

    The object has the name of one that the role of the function may delete, in the folder of a job
    that does not exist: names of jobs end in a hash.
    """
    key = object_keys.WorkKeys(f"doctor-{uuid.uuid4().hex}").account_hold
    return {"version": __version__, **asdict(check_writes(storage, key))}


def order_of(dates: Sequence[int | None]) -> str | None:
    """Return the order of entries with these dates; None if it cannot be determined.

    Args:
        dates: Seconds since 1970; None for an entry without a date.
    """
    known = [date for date in dates if date is not None]
    steps = {later > earlier for earlier, later in pairwise(known) if later != earlier}
    if not steps:
        return None
    if len(known) < len(dates) or len(steps) > 1:
        return "mixed"
    return "oldest_first" if steps == {True} else "newest_first"


def _models(client: GroqClient) -> str:
    try:
        return "yes" if read_models(client.list_models()) else "no"
    except GroqApiError as error:
        return _code(error, "models")


def _code(error: GroqApiError, what: str) -> str:
    """Return the code of a failure, without texts of the API."""
    fields = log_fields(error)
    logger.warning("A call of the Groq API failed", what=what, **fields)
    code = fields["code"] or error.reason
    if code:
        return str(code)
    return f"status_{error.status}" if error.status else "no_answer"
