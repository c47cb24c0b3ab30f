"""What the stack's function finds at Groq when ``groq-batch doctor`` invokes it."""

from __future__ import annotations

import msgspec


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """Findings of calls to the API.

    Attributes:
        version: Version of the function's code; None if it does not say.
        models: ``yes`` if the list of models was returned, ``no`` if it cannot be read or names
            no model, otherwise the code of the failure.
        batches: ``yes`` if the list of batches was returned, otherwise the code of the failure.
        batches_listed: Number of batches on the first page; None without a page.
        has_next_page: Whether that page has a cursor for a next page; None without a page.
        order: Order of the batches: ``newest_first``, ``oldest_first``, ``mixed``, or None if there
            are too few to tell.
    """

    version: str | None = None
    models: str
    batches: str
    batches_listed: int | None = None
    has_next_page: bool | None = None
    order: str | None = None
