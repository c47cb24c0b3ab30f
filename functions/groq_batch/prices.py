"""Prices of models, from ``prices.json``; a model that is not in it has no known price."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_TOKENS_PER_PRICE = 1_000_000


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """What one token costs in a batch, in USD."""

    input: float
    output: float


def price_of(model: str) -> ModelPrice | None:
    """Return the batch price of a model; None when it is not known, as for audio models."""
    return _batch_prices().get(model)


def on_demand_usd(batch_usd: float) -> float:
    """Return what the same tokens cost on demand."""
    return batch_usd / (1 - float(_price_list()["batch_discount"]))


def price_list_date() -> str:
    """Return the day on which the prices were read, such as ``2026-08-18``."""
    return str(_price_list()["date"])


@lru_cache(maxsize=1)
def _batch_prices() -> dict[str, ModelPrice]:
    """Return the batch prices; the list holds prices on demand, which a batch has at a discount."""
    price_list = _price_list()
    factor = (1 - price_list["batch_discount"]) / _TOKENS_PER_PRICE
    return {
        model: ModelPrice(price["input"] * factor, price["output"] * factor)
        for model, price in price_list["models"].items()
    }


@lru_cache(maxsize=1)
def _price_list() -> dict[str, Any]:
    text = Path(__file__).with_name("prices.json").read_text(encoding="utf-8")
    price_list: dict[str, Any] = json.loads(text)
    return price_list
