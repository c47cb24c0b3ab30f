"""What a file costs in a batch and on demand, by the pipeline's own price list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from groq_batch import cost
from groq_batch.cost import ModelEstimate, estimate_cost_usd


@dataclass(frozen=True, slots=True)
class Price:
    """An estimate in USD; None when the price of a model is not known."""

    batch: float | None
    on_demand: float | None


def price(models: Mapping[str, ModelEstimate]) -> Price:
    """Return what some requests cost."""
    batch = estimate_cost_usd(models)
    return Price(batch, None if batch is None else batch / (1 - batch_discount()))


@lru_cache(maxsize=1)
def batch_discount() -> float:
    """Return the share by which a batch is cheaper, from the pipeline's price list."""
    text = Path(cost.__file__).with_name("prices.json").read_text(encoding="utf-8")
    return float(json.loads(text)["batch_discount"])
