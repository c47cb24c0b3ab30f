"""The models that a job's account may use, as Groq lists them, and what they cost.

The list is asked for once, before the input is read, by a function that may read the API key. What
came of it stands in one object: the list, that there is none, or a fault of the account that ends
the job. The first outcome that is written holds for all parts and repetitions of the preparation,
so that each of them finds the same lines good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.models import ListedModel
from groq_batch.domain.prices import ListedPrice
from groq_batch.records import stored
from groq_batch.request_file.model_checks import ModelChecker


def model_checker(listing: ModelListing | None, options: JobOptions) -> ModelChecker | None:
    """Return what checks a job's models; None where there is no list or the job asks for none."""
    if listing is None or listing.models is None or not options.check_models:
        return None
    return ModelChecker(listing.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelListing:
    """What came of asking for the account's models.

    Attributes:
        at: When they were asked for.
        models: The models by name; None when there is no list.
        refusal: Code and sentence of the fault of the account that ends the job, if there is one.
    """

    at: str
    models: Mapping[str, ListedModel] | None = None
    refusal: Mapping[str, str] | None = None

    @property
    def prices(self) -> dict[str, ListedPrice]:
        """What the listed models cost on demand."""
        return {name: model.price for name, model in (self.models or {}).items()}

    @property
    def day(self) -> str:
        """The day of the list, such as ``2026-11-29``."""
        return self.at[:10]

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self | None:
        """Read what came of it for a job; None when nobody has written that down."""
        found = stored.load(storage, keys.models, cls)
        return found[0] if found else None

    def propose(self, storage: Storage, keys: object_keys.WorkKeys) -> ModelListing:
        """Write this down unless something stands; returns what stands."""
        return stored.put_once(storage, keys.models, self)
