"""Tell whether the Groq API takes the stack's key, and what only a real account can show.

It belongs to no job and writes nothing. The answer has codes and facts alone: neither the key, nor
ids, names and metadata of what the account holds, nor texts of the API, which may quote any of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from groq_batch import __version__
from groq_batch.domain.models import read_models
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import GroqApiError, log_fields
from groq_batch.telemetry.log import logger

ASK_SECONDS = 30.0
"""How long both calls may take in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What the calls of the API have shown.

    Attributes:
        version: Version of the code that runs.
        models: ``yes`` when the list of models was given, ``no`` when it cannot be read or names
            none, otherwise the code of the failure.
        batches: ``yes`` when the list of batches was given, otherwise the code of the failure.
        batches_listed: How many batches the first page has; None without a page.
        has_next_page: Whether that page names the cursor of a next one; None without a page.
        order: In which order the batches came: ``newest_first``, ``oldest_first``, ``mixed``, or
            None when there are too few of them to tell.
    """

    version: str = __version__
    models: str
    batches: str
    batches_listed: int | None = None
    has_next_page: bool | None = None
    order: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return asdict(self)


def examine(client: GroqClient) -> Examination:
    """Make one call of the list of models and one of the list of batches.

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


def order_of(dates: Sequence[int | None]) -> str | None:
    """Return the order in which entries of these dates came; None when none can be told.

    Args:
        dates: In seconds since 1970; None where an entry has no date.
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
    """Return the code of a failure; texts of the API are left out."""
    fields = log_fields(error)
    logger.warning("The Groq API was asked in vain", what=what, **fields)
    code = fields["code"] or error.reason
    if code:
        return str(code)
    return f"status_{error.status}" if error.status else "no_answer"
