"""Store the models that a job's account may use, as listed by Groq, and their prices.

The list is requested once, before the input is read, by a function that may read the API key. The
outcome is stored in one object: the list, its absence, or an account error that ends the job. The
first stored outcome is used by all parts and repetitions of the preparation, so that each of them
accepts the same lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import msgspec

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.models import ListedModel
from groq_batch.domain.prices import ListedPrice
from groq_batch.domain.reason import Reason
from groq_batch.records import stored
from groq_batch.request_file.model_checks import ModelChecker


def model_checker(listing: ModelListing | None, options: JobOptions) -> ModelChecker | None:
    """Return the checker for a job's models; None without a list or if the job does not want it."""
    if listing is None or listing.models is None or not options.check_models:
        return None
    return ModelChecker(listing.models)


class ModelListing(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of requesting the account's models.

    Attributes:
        at: When they were requested.
        models: The models by name; None if there is no list.
        refusal: Code and message of the account error that ends the job; None without one.
    """

    at: str
    models: Mapping[str, ListedModel] | None = None
    refusal: Reason | None = None

    @property
    def prices(self) -> dict[str, ListedPrice]:
        """On-demand prices of the listed models."""
        return {name: model.price for name, model in (self.models or {}).items()}

    @property
    def day(self) -> str:
        """The date of the list, such as ``2026-11-29``."""
        return self.at[:10]

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self | None:
        """Read the outcome for a job; None if it has not been recorded yet."""
        return stored.load(storage, keys.models, cls)

    def propose(self, storage: Storage, keys: object_keys.WorkKeys) -> ModelListing:
        """Write this outcome unless one is stored; return the stored one."""
        return stored.put_once(storage, keys.models, self)
