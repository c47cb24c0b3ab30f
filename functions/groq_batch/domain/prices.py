"""Prices of models: those of the table in ``prices.json``, and those that Groq's own list names.

A job's prices are put together once, when it is prepared, and stand in its record: whatever is
deployed or listed later, its estimate and its cost are counted with the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

FROM_TABLE = "table"
FROM_GROQ = "groq"
_TOKENS_PER_PRICE = 1_000_000
_MAX_KEPT = 1000


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """What one token costs, in USD."""

    input: float
    output: float


@dataclass(frozen=True, slots=True)
class HourPrice:
    """What an hour of audio costs, in USD."""

    hour: float


ModelPrice = TokenPrice | HourPrice


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """What Groq's list says that a model costs on demand, in USD for a token.

    Attributes:
        prompt: A token of a prompt; None where the list has no usable price.
        completion: A token of an answer; likewise.
    """

    prompt: float | None
    completion: float | None

    def in_batch(self, known: TokenPrice | None) -> TokenPrice | None:
        """Return the price in a batch, half of it; None where the list has too little for one.

        Args:
            known: The table's price in a batch, which fills in what the list lacks.
        """
        if self.prompt is None and self.completion is None:
            return None
        share = _batch_share()
        prompt, completion = (known.input, known.output) if known is not None else (None, None)
        prompt = prompt if self.prompt is None else self.prompt * share
        completion = completion if self.completion is None else self.completion * share
        return None if prompt is None or completion is None else TokenPrice(prompt, completion)


@dataclass(frozen=True, slots=True)
class Prices:
    """Batch prices, and where they are from.

    Attributes:
        source: ``groq`` when a price of Groq's list is used for a model of the job, else ``table``.
        date: The day of the list, or of the table, such as ``2026-11-29``.
        models: The price of each model that has a known one.
    """

    source: str
    date: str
    models: Mapping[str, ModelPrice]

    def of(self, model: str) -> ModelPrice | None:
        """Return the batch price of a model; None when it is not known."""
        return self.models.get(model)

    def about(self) -> dict[str, str]:
        """Return where the prices are from, as it stands in reports."""
        return {"source": self.source, "date": self.date}

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        models = {
            name: [price.hour] if isinstance(price, HourPrice) else [price.input, price.output]
            for name, price in self.models.items()
        }
        return {**self.about(), "models": models}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data."""
        models: dict[str, ModelPrice] = {
            name: HourPrice(*amounts) if len(amounts) == 1 else TokenPrice(*amounts)
            for name, amounts in data["models"].items()
        }
        return cls(data["source"], data["date"], models)


def job_prices(
    models: Iterable[str], listed: Mapping[str, ListedPrice] | None, listed_on: str
) -> Prices:
    """Return the prices of a job.

    Args:
        models: The models that its requests name.
        listed: Prices of Groq's list by model; None when there is no list.
        listed_on: The day of that list.
    """
    table = table_prices()
    asked, listed = set(models), listed or {}
    # An answer may name another model than its request did, such as the one behind an alias.
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
        {**table.models, **chosen},
    )


@lru_cache(maxsize=1)
def table_prices() -> Prices:
    """Return the batch prices of the table."""
    table = price_table()
    models: dict[str, ModelPrice] = {}
    for name, price in table["models"].items():
        if "hour" in price:
            models[name] = HourPrice(price["hour"] * _batch_share())
        else:
            share = _batch_share() / _TOKENS_PER_PRICE
            models[name] = TokenPrice(price["input"] * share, price["output"] * share)
    return Prices(FROM_TABLE, str(table["date"]), models)


def on_demand_usd(batch_usd: float) -> float:
    """Return what the same requests cost on demand."""
    return batch_usd / _batch_share()


@lru_cache(maxsize=1)
def price_table() -> dict[str, Any]:
    """Return the table as it is written, with prices on demand; not to be changed."""
    text = Path(__file__).with_name("prices.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def _batch_share() -> float:
    """Return what a batch costs of the price on demand, whatever is cached.

    https://console.groq.com/docs/batch, https://console.groq.com/docs/prompt-caching.
    """
    return 1 - float(price_table()["batch_discount"])
