"""The models of a Groq account, as ``GET /models`` lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Self

from groq_batch.domain.prices import ListedPrice

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
