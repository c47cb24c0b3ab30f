"""What may be asked by ordinary calls after a deadline, and what it is estimated to cost.

Which requests are asked is decided before the first call: in the order of the file, up to the first
whose estimate would pass the budget. The estimates use nothing that changes meanwhile, so whoever
goes on with a job comes to the same decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from groq_batch.domain.cost import LEAST_BILLED_SECONDS, ModelUsage, ModelUsages, estimate_tokens
from groq_batch.domain.prices import HourPrice, Prices, on_demand_usd

ASKING_SECONDS = 3600
"""No call is begun later than so long after the deadline."""
DEFAULT_OUTPUT_TOKENS = 1024.0
"""Tokens of an answer without a limit, of a model of which the job has no answer."""
DEFAULT_AUDIO_SECONDS = 3600.0
"""Length of audio while the job has no answer that tells one."""
RETRYABLE_STATUSES = frozenset({408, 409, 424, 429, 498})
"""Statuses below 500 with which a request is asked once more."""
_FIRST_SERVER_ERROR = 500
_SECONDS_PER_HOUR = 3600
_ROUNDING = 1e-9


def may_be_asked_again(status: int) -> bool:
    """Tell whether a call with this status may be repeated."""
    return status in RETRYABLE_STATUSES or status >= _FIRST_SERVER_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanUsage:
    """What answers of a job have used in the mean, when its ordinary calls were decided.

    Attributes:
        output_tokens: Tokens of an answer, by model.
        audio_seconds: Billed length of audio; None without an answer that tells it.
    """

    output_tokens: Mapping[str, float] = field(default_factory=dict)
    audio_seconds: float | None = None

    @classmethod
    def of(cls, usage: Mapping[str, ModelUsage]) -> Self:
        """Return the means of what answers have used, by model."""
        output_tokens = {
            model: used.completion_tokens / (used.answers - used.without_tokens)
            for model, used in usage.items()
            if used.answers > used.without_tokens
        }
        timed = sum(used.answers - used.without_seconds for used in usage.values())
        seconds = sum(used.billed_seconds for used in usage.values())
        return cls(output_tokens=output_tokens, audio_seconds=seconds / timed if timed else None)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {"output_tokens": dict(self.output_tokens), "audio_seconds": self.audio_seconds}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What of a request counts for its estimate.

    Attributes:
        model: The model that it asks.
        body_bytes: Size of its body, as it counts for the estimate.
        output_tokens: The limit that it sets for its answer; None without one.
    """

    model: str
    body_bytes: int
    output_tokens: int | None

    def tokens(self, means: MeanUsage) -> float:
        """Return how many tokens the request and its answer are estimated to have."""
        output = self.output_tokens
        if output is None:
            output_mean = means.output_tokens.get(self.model, DEFAULT_OUTPUT_TOKENS)
            return estimate_tokens(self.body_bytes) + output_mean
        return estimate_tokens(self.body_bytes) + output

    def estimate_usd(self, prices: Prices, means: MeanUsage) -> float | None:
        """Return the estimated price of an ordinary call; None where the price is not known."""
        price = prices.of(self.model)
        if price is None:
            return None
        if isinstance(price, HourPrice):
            seconds = means.audio_seconds
            seconds = DEFAULT_AUDIO_SECONDS if seconds is None else seconds
            billed = max(seconds, LEAST_BILLED_SECONDS)
            return on_demand_usd(billed / _SECONDS_PER_HOUR * price.hour)
        prompt = estimate_tokens(self.body_bytes)
        output = self.tokens(means) - prompt
        return on_demand_usd(prompt * price.input + output * price.output)


def cost_usd(used: ModelUsage, model: str, prices: Prices) -> float | None:
    """Return what answers of a model cost by ordinary calls.

    None when they do not say what they used, or the price is not known.
    """
    price = prices.of(model)
    if price is None:
        return None
    if isinstance(price, HourPrice):
        if used.without_seconds:
            return None
        return on_demand_usd(used.billed_seconds / _SECONDS_PER_HOUR * price.hour)
    if used.without_tokens:
        return None
    batch_usd = used.prompt_tokens * price.input + used.completion_tokens * price.output
    return on_demand_usd(batch_usd)


def spent_usd(usage: ModelUsages, prices: Prices) -> float:
    """Return what the answers of a job's batches have cost, for what is left of its cap.

    An answer that does not say what it used counts as others of its model in the mean. What has no
    known price counts nothing; a job with a cap holds none of it.
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
            total += seconds / _SECONDS_PER_HOUR * price.hour
            continue
        told = used.answers - used.without_tokens
        prompt = used.prompt_tokens / told if told else DEFAULT_OUTPUT_TOKENS
        output = means.output_tokens.get(model, DEFAULT_OUTPUT_TOKENS)
        unknown = used.without_tokens
        total += (used.prompt_tokens + unknown * prompt) * price.input
        total += (used.completion_tokens + unknown * output) * price.output
    return total


def budget_usd(*, deadline_max_usd: float, cap_usd: float, spent: float) -> float:
    """Return what the ordinary calls of a job may cost.

    Args:
        deadline_max_usd: What the job allows for them.
        cap_usd: The cap in force for the whole job; 0 means none.
        spent: What its batches have cost.
    """
    if not cap_usd:
        return deadline_max_usd
    return max(min(deadline_max_usd, cap_usd - spent), 0.0)


def fits(estimate: float, *, promised: float, budget: float) -> bool:
    """Tell whether a request is asked, as far as the budget decides.

    Args:
        estimate: Its estimate.
        promised: The estimates of the requests before it that are asked.
        budget: What all of them may cost.
    """
    return promised + estimate <= budget * (1 + _ROUNDING)


def is_spent(charged: float, budget: float) -> bool:
    """Tell whether the budget is reached, so that no further call is begun.

    Args:
        charged: The real cost of answers, and the estimates of calls without a known outcome.
        budget: What all calls may cost.
    """
    return charged >= budget
