"""Check the stack's API key and bucket, and collect facts that only real accounts can show.

It belongs to no job. The answers contain only codes and facts: no key, no ids, names or metadata of
the account's objects, and no texts of the APIs, which may quote them.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from groq_batch import __version__
from groq_batch.bucket.storage import Storage
from groq_batch.bucket.write_checks import check_writes
from groq_batch.domain import object_keys
from groq_batch.domain.models import read_models
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import GroqApiError, log_fields
from groq_batch.steps.outcomes import Output
from groq_batch.telemetry.log import logger

ASK_SECONDS = 30.0
"""Time limit for both calls together, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination(Output):
    """Findings of the calls to the API.

    Attributes:
        version: Version of the running code.
        models: ``yes`` if the list of models was returned, ``no`` if it cannot be read or names
            no model, otherwise the code of the failure.
        batches: ``yes`` if the list of batches was returned, otherwise the code of the failure.
        batches_listed: Number of batches on the first page; None without a page.
        has_next_page: Whether that page has a cursor for a next page; None without a page.
        order: Order of the batches: ``newest_first``, ``oldest_first``, ``mixed``, or None if there
            are too few to tell.
    """

    version: str = __version__
    models: str
    batches: str
    batches_listed: int | None = None
    has_next_page: bool | None = None
    order: str | None = None


def examine(client: GroqClient) -> Examination:
    """Request the list of models and the list of batches, once each.

    Args:
        client: The Groq API.
    """
    limited = client.within(ASK_SECONDS)
    models = _models(limited)
    try:
        page = limited.first_page_of_batches()
    except GroqApiError as error:
        return Examination(models=models, batches=_code(error, "batches"))
    return Examination(
        models=models,
        batches="yes",
        batches_listed=len(page.created_at),
        has_next_page=page.has_next,
        order=order_of(page.created_at),
    )


def examine_bucket(storage: Storage) -> dict[str, Any]:
    """Try out the writes that jobs rely on, with an object of its own, and return the results.

    The object has the name of one that the role of the function may delete, in the folder of a job
    that does not exist: names of jobs end in a hash.

    Args:
        storage: The bucket.
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
