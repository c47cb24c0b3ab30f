"""Decide which requests ordinary calls may send after a deadline, and estimate their cost.

The requests are chosen before the first call: in file order, up to the first whose estimate would
exceed the budget. The estimates use nothing that changes meanwhile, so every invocation that
continues a job makes the same choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import msgspec
from msgspec import field

from groq_batch.domain.cost import (
    MIN_BILLED_SECONDS,
    SECONDS_PER_HOUR,
    ModelUsage,
    ModelUsages,
    batch_cost_usd,
    estimate_tokens,
)
from groq_batch.domain.prices import HourPrice, Prices, on_demand_usd

ASKING_SECONDS = 3600
"""No call begins later than this many seconds after the deadline."""
DEFAULT_OUTPUT_TOKENS = 1024.0
"""Assumed output tokens of a request without a limit, if the job has no answer of its model."""
DEFAULT_AUDIO_SECONDS = 3600.0
"""Assumed length of audio, in seconds, while no answer of the job reports one."""
_ROUNDING = 1e-9


class MeanUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Average usage of a job's answers at the time when its ordinary calls were planned.

    Attributes:
        output_tokens: Tokens of an answer, by model.
        audio_seconds: Billed length of audio; None if no answer reports it.
    """

    output_tokens: Mapping[str, float] = field(default_factory=dict)
    audio_seconds: float | None = None

    @classmethod
    def of(cls, usage: Mapping[str, ModelUsage]) -> Self:
        """Return the averages of the given usage, by model."""
        output_tokens = {
            model: used.completion_tokens / (used.answers - used.without_tokens)
            for model, used in usage.items()
            if used.answers > used.without_tokens
        }
        timed = sum(used.answers - used.without_seconds for used in usage.values())
        seconds = sum(used.billed_seconds for used in usage.values())
        return cls(output_tokens=output_tokens, audio_seconds=seconds / timed if timed else None)


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a request that determine its estimate.

    Attributes:
        model: The requested model.
        body_bytes: Size of its body, as counted for the estimate.
        output_tokens: The output limit that it sets; None without one.
    """

    model: str
    body_bytes: int
    output_tokens: int | None

    def tokens(self, means: MeanUsage) -> float:
        """Return the estimated tokens of the request and its answer."""
        output = self.output_tokens
        if output is None:
            output_mean = means.output_tokens.get(self.model, DEFAULT_OUTPUT_TOKENS)
            return estimate_tokens(self.body_bytes) + output_mean
        return estimate_tokens(self.body_bytes) + output

    def estimate_usd(self, prices: Prices, means: MeanUsage) -> float | None:
        """Return the estimated price of an ordinary call in USD; None if the price is unknown."""
        price = prices.of(self.model)
        if price is None:
            return None
        if isinstance(price, HourPrice):
            seconds = means.audio_seconds
            seconds = DEFAULT_AUDIO_SECONDS if seconds is None else seconds
            billed = max(seconds, MIN_BILLED_SECONDS)
            return on_demand_usd(billed / SECONDS_PER_HOUR * price.hour)
        prompt = estimate_tokens(self.body_bytes)
        output = self.tokens(means) - prompt
        return on_demand_usd(prompt * price.input + output * price.output)


def cost_usd(used: ModelUsage, model: str, prices: Prices) -> float | None:
    """Return the cost of a model's answers from ordinary calls, in USD.

    None if they do not report their usage, or the price is unknown.
    """
    batch_usd = batch_cost_usd(used, prices.of(model))
    return None if batch_usd is None else on_demand_usd(batch_usd)


def spent_usd(usage: ModelUsages, prices: Prices) -> float:
    """Return the cost of a job's batch answers in USD, to calculate what is left of its cap.

    An answer without reported usage counts as the average of its model. Usage without a known price
    counts as 0; a job with a cap has none of it.
    """
    means = MeanUsage.of(usage)
    total = 0.0
    for model, used in usage.items():
        price = prices.of(model)
        if price is None:
            continue
        if isinstance(price, HourPrice):
            mean = DEFAULT_AUDIO_SECONDS if means.audio_seconds is None else means.audio_seconds
            seconds = used.billed_seconds + used.without_seconds * mean
            total += seconds / SECONDS_PER_HOUR * price.hour
            continue
        told = used.answers - used.without_tokens
        prompt = used.prompt_tokens / told if told else DEFAULT_OUTPUT_TOKENS
        output = means.output_tokens.get(model, DEFAULT_OUTPUT_TOKENS)
        unknown = used.without_tokens
        total += (used.prompt_tokens + unknown * prompt) * price.input
        total += (used.completion_tokens + unknown * output) * price.output
    return total


def budget_usd(*, deadline_max_usd: float, cap_usd: float, spent: float) -> float:
    """Return the budget in USD for the ordinary calls of a job.

    Args:
        deadline_max_usd: The job's own limit for them.
        cap_usd: The effective cap for the whole job; 0 means none.
        spent: Cost of its batches.
    """
    if not cap_usd:
        return deadline_max_usd
    return max(min(deadline_max_usd, cap_usd - spent), 0.0)


def fits(estimate: float, *, promised: float, budget: float) -> bool:
    """Tell whether the budget allows a request.

    Args:
        estimate: Its estimate.
        promised: Sum of the estimates of the requests accepted before it.
        budget: Budget for all of them.
    """
    return promised + estimate <= budget * (1 + _ROUNDING)


def is_spent(charged: float, budget: float) -> bool:
    """Tell whether the budget is used up, so that no further call begins.

    Args:
        charged: Real cost of answers, plus the estimates of calls without a known outcome.
        budget: Budget for all calls.
    """
    return charged >= budget
