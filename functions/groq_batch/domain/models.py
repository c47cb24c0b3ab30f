"""Models of a Groq account, as listed by ``GET /models``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Self

import msgspec

from groq_batch.domain.prices import ListedPrice

_DECIMAL = re.compile(r"[0-9]{0,20}\.?[0-9]{1,60}(?:[eE][+-]?[0-9]{1,3})?")


class ListedModel(msgspec.Struct, frozen=True):
    """A model's entry in the list.

    Attributes:
        is_active: Whether it can be used.
        takes: Input modalities, such as ``text`` or ``audio``; None if not listed.
        gives: Output modalities; None if not listed.
        price: On-demand price.
    """

    is_active: bool
    takes: tuple[str, ...] | None
    gives: tuple[str, ...] | None
    price: ListedPrice

    @classmethod
    def from_api(cls, entry: Mapping[str, Any]) -> Self:
        """Read an entry of the list; values in an unusual form count as not listed."""
        pricing = entry.get("pricing")
        prices = pricing if isinstance(pricing, Mapping) else {}
        return cls(
            is_active=entry.get("active") is not False,
            takes=_modalities(entry.get("input_modalities")),
            gives=_modalities(entry.get("output_modalities")),
            price=ListedPrice(_amount(prices.get("prompt")), _amount(prices.get("completion"))),
        )


def read_models(answer: object) -> dict[str, ListedModel] | None:
    """Read the response of ``GET /models``; None if it names no model, or not all of them.

    Entries without a name are ignored. The API documents no pages for this list; a response that
    announces more of them must not make the models there unknown.
    """
    if _announces_more(answer):
        return None
    entries = answer.get("data") if isinstance(answer, Mapping) else None
    models: dict[str, ListedModel] = {}
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("id") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and name:
            models.setdefault(name, ListedModel.from_api(entry))
    return models or None


def _announces_more(answer: object) -> bool:
    """Tell whether a response is only a page of a list."""
    if not isinstance(answer, Mapping):
        return False
    places = (answer, answer.get("paging"))
    return any(
        bool(place.get("next_cursor")) or place.get("has_more") is True
        for place in places
        if isinstance(place, Mapping)
    )


def _modalities(value: object) -> tuple[str, ...] | None:
    """Return the strings of a list in lower case; None if there are none."""
    entries = value if isinstance(value, list) else []
    return tuple(entry.lower() for entry in entries if isinstance(entry, str)) or None


def _amount(value: object) -> float | None:
    """Return a price above 0, in USD, given as a decimal string or a number; otherwise None."""
    if isinstance(value, str):
        value = float(value) if _DECIMAL.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        amount = float(value)
    except OverflowError:
        return None
    return amount if isfinite(amount) and amount > 0 else None
