"""Estimate the cost of a file in a batch and on demand, from the pipeline's price list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from groq_batch.domain.cost import ModelEstimate, estimate_cost_usd
from groq_batch.domain.prices import on_demand_usd


@dataclass(frozen=True, slots=True)
class Price:
    """An estimate in USD; None if the price of a model is not known."""

    batch: float | None
    on_demand: float | None


def price(models: Mapping[str, ModelEstimate]) -> Price:
    """Return the estimated cost of requests."""
    batch = estimate_cost_usd(models)
    return Price(batch, None if batch is None else on_demand_usd(batch))
