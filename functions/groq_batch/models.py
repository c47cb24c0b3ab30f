"""The models that a job's account may use, as Groq lists them, and what they cost.

The list is asked for once, before the input is read, by a function that may read the API key. What
came of it stands in one object: the list, that there is none, or a fault of the account that ends
the job. The first outcome that is written holds for all parts and repetitions of the preparation,
so that each of them finds the same lines good.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Self

from groq_batch import layout
from groq_batch.prices import ListedPrice
from groq_batch.storage import ConflictError, Storage

_DECIMAL = re.compile(r"[0-9]{0,20}\.?[0-9]{1,60}(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class ListedModel:
    """What the list says of a model.

    Attributes:
        is_active: Whether it can be used.
        takes: What it can be given, such as ``text`` or ``audio``; None when the list does not say.
        gives: What it can answer with; likewise.
        price: What it costs on demand.
    """

    is_active: bool
    takes: tuple[str, ...] | None
    gives: tuple[str, ...] | None
    price: ListedPrice

    @classmethod
    def from_api(cls, entry: Mapping[str, Any]) -> Self:
        """Read an entry of the list; whatever is not in the usual form counts as not said."""
        pricing = entry.get("pricing")
        prices = pricing if isinstance(pricing, Mapping) else {}
        return cls(
            is_active=entry.get("active") is not False,
            takes=_modalities(entry.get("input_modalities")),
            gives=_modalities(entry.get("output_modalities")),
            price=ListedPrice(_amount(prices.get("prompt")), _amount(prices.get("completion"))),
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data."""
        takes, gives = data["takes"], data["gives"]
        return cls(
            is_active=data["is_active"],
            takes=None if takes is None else tuple(takes),
            gives=None if gives is None else tuple(gives),
            price=ListedPrice(data["price"]["prompt"], data["price"]["completion"]),
        )


def read_models(answer: object) -> dict[str, ListedModel] | None:
    """Read the answer of ``GET /models``; None when it names no model.

    Entries without a name are passed over.
    """
    entries = answer.get("data") if isinstance(answer, Mapping) else None
    models: dict[str, ListedModel] = {}
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("id") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and name:
            models.setdefault(name, ListedModel.from_api(entry))
    return models or None


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

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        models = self.models
        return {
            "schema_version": 1,
            "at": self.at,
            "models": None if models is None else {name: asdict(models[name]) for name in models},
            "refusal": self.refusal,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data."""
        models = data["models"]
        return cls(
            at=data["at"],
            models=models
            and {name: ListedModel.from_json(model) for name, model in models.items()},
            refusal=data["refusal"],
        )

    @classmethod
    def load(cls, storage: Storage, keys: layout.WorkKeys) -> Self | None:
        """Read what came of it for a job; None when nobody has written that down."""
        found = storage.get_json(keys.models)
        return cls.from_json(found[0]) if found else None

    def propose(self, storage: Storage, keys: layout.WorkKeys) -> ModelListing:
        """Write this down unless something stands; returns what stands."""
        try:
            storage.put_json(keys.models, self.to_json(), if_none_match=True)
        except ConflictError:
            # Perhaps this very outcome, when the answer to the first of two tries was lost.
            return ModelListing.load(storage, keys) or self
        return self


def _modalities(value: object) -> tuple[str, ...] | None:
    """Return the texts of a list in small letters; None where there is none of them."""
    entries = value if isinstance(value, list) else []
    return tuple(entry.lower() for entry in entries if isinstance(entry, str)) or None


def _amount(value: object) -> float | None:
    """Return a price above 0, in USD, that is written as a decimal text or as a number."""
    if isinstance(value, str):
        value = float(value) if _DECIMAL.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        amount = float(value)
    except OverflowError:
        return None
    return amount if isfinite(amount) and amount > 0 else None
