"""Determine model prices, from the table in ``prices.json`` and from Groq's own list.

A job's prices are determined once, when it is prepared, and stored in its record. So its estimate
and its cost use the same prices, whatever is deployed or listed later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

FROM_TABLE = "table"
FROM_GROQ = "groq"
_TOKENS_PER_PRICE = 1_000_000
_MAX_KEPT = 1000


class TokenPrice(NamedTuple):
    """Price of one token, in USD."""

    input: float
    output: float


class HourPrice(NamedTuple):
    """Price of an hour of audio, in USD."""

    hour: float


ModelPrice = TokenPrice | HourPrice


class ModelPrices(dict[str, ModelPrice]):
    """Prices by model, stored as one or two numbers each."""

    @classmethod
    def from_json(cls, data: Mapping[str, Sequence[float]]) -> Self:
        """Read the prices from JSON data."""
        return cls(
            {
                name: HourPrice(*amounts) if len(amounts) == 1 else TokenPrice(*amounts)
                for name, amounts in data.items()
            }
        )


class ListedPrice(msgspec.Struct, frozen=True):
    """On-demand price of a model in Groq's list, in USD per token.

    Attributes:
        prompt: Price of a prompt token; None if the list has no usable price.
        completion: Price of an answer token; None if the list has no usable price.
    """

    prompt: float | None
    completion: float | None

    def in_batch(self, known: TokenPrice | None) -> TokenPrice | None:
        """Return the batch price, half of it; None if the list has too little data.

        Args:
            known: The table's batch price, which replaces missing values.
        """
        if self.prompt is None and self.completion is None:
            return None
        share = _batch_share()
        prompt, completion = (known.input, known.output) if known is not None else (None, None)
        prompt = prompt if self.prompt is None else self.prompt * share
        completion = completion if self.completion is None else self.completion * share
        return None if prompt is None or completion is None else TokenPrice(prompt, completion)


class Prices(msgspec.Struct, frozen=True):
    """Batch prices and their source.

    Attributes:
        source: ``groq`` if a listed price is used for a model of the job, otherwise ``table``.
        date: The date of the list, or of the table, such as ``2026-11-29``.
        models: The prices by model, where known.
    """

    source: str
    date: str
    models: ModelPrices

    def of(self, model: str) -> ModelPrice | None:
        """Return the batch price of a model; None if unknown."""
        return self.models.get(model)

    def about(self) -> dict[str, str]:
        """Return source and date of the prices, as shown in reports."""
        return {"source": self.source, "date": self.date}


def job_prices(
    models: Iterable[str], listed: Mapping[str, ListedPrice] | None, listed_on: str
) -> Prices:
    """Return the prices of a job.

    Args:
        models: The models that its requests name.
        listed: Prices of Groq's list by model; None if there is no list.
        listed_on: The date of that list.
    """
    table = table_prices()
    asked, listed = set(models), listed or {}
    # An answer may name another model than its request, such as the one that an alias refers to.
    others = [name for name in sorted(listed) if name not in asked][:_MAX_KEPT]
    chosen: dict[str, ModelPrice] = {}
    for name in (*sorted(asked & listed.keys()), *others):
        known = table.of(name)
        price = listed[name].in_batch(known if isinstance(known, TokenPrice) else None)
        if price is not None:
            chosen[name] = price
    is_from_list = not asked.isdisjoint(chosen)
    return Prices(
        FROM_GROQ if is_from_list else FROM_TABLE,
        listed_on if is_from_list else table.date,
        ModelPrices({**table.models, **chosen}),
    )


@lru_cache(maxsize=1)
def table_prices() -> Prices:
    """Return the batch prices of the built-in table."""
    table = price_table()
    models = ModelPrices()
    for name, price in table["models"].items():
        if "hour" in price:
            models[name] = HourPrice(price["hour"] * _batch_share())
        else:
            share = _batch_share() / _TOKENS_PER_PRICE
            models[name] = TokenPrice(price["input"] * share, price["output"] * share)
    return Prices(FROM_TABLE, str(table["date"]), models)


def on_demand_usd(batch_usd: float) -> float:
    """Return the on-demand price of requests, given their batch price in USD."""
    return batch_usd / _batch_share()


@lru_cache(maxsize=1)
def price_table() -> dict[str, Any]:
    """Return the table as stored, with on-demand prices; the result must not be changed."""
    text = Path(__file__).with_name("prices.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def _batch_share() -> float:
    """Return the batch price as a share of the on-demand price, regardless of cached prompts.

    https://console.groq.com/docs/batch, https://console.groq.com/docs/prompt-caching.
    """
    return 1 - float(price_table()["batch_discount"])
