"""What a file costs in a batch and on demand, by the pipeline's own price list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from groq_batch.domain.cost import ModelEstimate, estimate_cost_usd
from groq_batch.domain.prices import on_demand_usd


@dataclass(frozen=True, slots=True)
class Price:
    """An estimate in USD; None when the price of a model is not known."""

    batch: float | None
    on_demand: float | None


def price(models: Mapping[str, ModelEstimate]) -> Price:
    """Return what some requests cost."""
    batch = estimate_cost_usd(models)
    return Price(batch, None if batch is None else on_demand_usd(batch))
