"""Prices of models, from ``prices.json``; a model that is not in it has no known price."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_TOKENS_PER_PRICE = 1_000_000


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """What one token costs in a batch, in USD."""

    input: float
    output: float


def price_of(model: str) -> ModelPrice | None:
    """Return the batch price of a model; None when it is not known, as for audio models."""
    return _batch_prices().get(model)


@lru_cache(maxsize=1)
def _batch_prices() -> dict[str, ModelPrice]:
    """Read the price list; it holds prices on demand, which a batch has at a discount."""
    text = Path(__file__).with_name("prices.json").read_text(encoding="utf-8")
    price_list = json.loads(text)
    factor = (1 - price_list["batch_discount"]) / _TOKENS_PER_PRICE
    return {
        model: ModelPrice(price["input"] * factor, price["output"] * factor)
        for model, price in price_list["models"].items()
    }
