"""Calculate what a job costs at Groq: an estimate in advance, the real cost from reported usage.

All amounts are at the batch price, in USD, and rounded only at the end, to hide the noise of binary
fractions: a small job costs less than a millionth.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec
from msgspec import field

from groq_batch.domain.prices import HourPrice, ModelPrice, Prices, on_demand_usd, table_prices
from groq_batch.domain.totals import Totals

BYTES_PER_TOKEN = 4
"""Rule of thumb for the estimate: one token per four bytes of a request's body."""
MIN_BILLED_SECONDS = 10.0
"""Shorter audio is billed as this many seconds: https://console.groq.com/docs/speech-to-text."""
OTHER_MODELS = "(other models)"
"""Catch-all once the maximum number of models is tracked; its price is unknown."""
_MAX_MODELS = 1000
_MAX_MODEL_CHARACTERS = 512
SECONDS_PER_HOUR = 3600
_DECIMALS = 12


def counted_model_name(model: str, known: Mapping[str, object]) -> str:
    """Return the name under which to count a model, given the models counted so far.

    In a file that names more than a thousand models, or names of more than 512 characters, most
    are made up; these are counted as one, so that memory does not grow with the file.
    """
    is_told_apart = len(known) < _MAX_MODELS and len(model) <= _MAX_MODEL_CHARACTERS
    return model if model in known or is_told_apart else OTHER_MODELS


@dataclass(slots=True)
class ModelEstimate(Totals):
    """The requests to one model.

    Attributes:
        requests: Number of requests.
        body_bytes: Size of their bodies, as counted for the estimate.
        output_tokens: Sum of the output limits that they set.
    """

    requests: int = 0
    body_bytes: int = 0
    output_tokens: int = 0

    def add(self, body_bytes: int, max_output_tokens: int | None) -> None:
        """Add a request; without an output limit it counts no output tokens."""
        self.requests += 1
        self.body_bytes += body_bytes
        self.output_tokens += max_output_tokens or 0

    @property
    def input_tokens(self) -> float:
        """Estimated tokens of the requests."""
        return estimate_tokens(self.body_bytes)


class ModelEstimates(dict[str, ModelEstimate]):
    """Estimates by model; reading a missing model adds it (see ``counted_model_name``)."""

    def __missing__(self, model: str) -> ModelEstimate:
        return self.setdefault(counted_model_name(model, self), ModelEstimate())

    def merge(self, others: Mapping[str, ModelEstimate]) -> None:
        """Add the estimates of another part of a file."""
        for model, estimate in others.items():
            self[model].merge(estimate)


@dataclass(slots=True)
class ModelUsage(Totals):
    """Usage of one model's answers.

    Attributes:
        answers: Number of answers.
        prompt_tokens: Tokens of their prompts.
        completion_tokens: Tokens of the answers.
        without_tokens: Answers that do not report their tokens.
        billed_seconds: Seconds of audio, at least ten per answer.
        without_seconds: Answers that do not report the length of their audio.
    """

    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    without_tokens: int = 0
    billed_seconds: float = 0.0
    without_seconds: int = 0

    def add(self, tokens: tuple[int, int] | None, seconds: float | None) -> None:
        """Add an answer.

        Args:
            tokens: Tokens of its prompt and of itself, if reported.
            seconds: Duration of its audio, if reported.
        """
        self.answers += 1
        if tokens is None:
            self.without_tokens += 1
        else:
            self.prompt_tokens += tokens[0]
            self.completion_tokens += tokens[1]
        if seconds is None:
            self.without_seconds += 1
        else:
            self.billed_seconds += max(seconds, MIN_BILLED_SECONDS)


class ModelUsages(dict[str, ModelUsage]):
    """Usage by model; reading a missing model adds it (see ``counted_model_name``)."""

    def __missing__(self, model: str) -> ModelUsage:
        return self.setdefault(counted_model_name(model, self), ModelUsage())

    def merge(self, others: Mapping[str, ModelUsage]) -> None:
        """Add the usage of other answers."""
        for model, usage in others.items():
            self[model].merge(usage)


class JobUsage(msgspec.Struct, frozen=True):
    """Usage of a job's answers by model.

    Attributes:
        batches: Usage of the answers of batches.
        calls: Usage of the answers of ordinary calls, which cost the on-demand price.
    """

    batches: ModelUsages = field(default_factory=ModelUsages)
    calls: ModelUsages = field(default_factory=ModelUsages)

    @property
    def total(self) -> ModelUsages:
        """Usage of all answers."""
        total = ModelUsages()
        total.merge(self.batches)
        total.merge(self.calls)
        return total

    def of(self, models: Collection[str]) -> JobUsage:
        """Return the usage of some of the models."""
        batches, calls = (
            ModelUsages({model: usages[model] for model in models if model in usages})
            for usages in (self.batches, self.calls)
        )
        return JobUsage(batches, calls)

    def calls_usd(self, prices: Prices | None) -> float | None:
        """Return the cost of the ordinary calls in USD (see ``actual_cost_usd``)."""
        usd = actual_cost_usd(self.calls, prices)
        return None if usd is None else on_demand_usd(usd)

    def cost_usd(self, prices: Prices | None) -> float | None:
        """Return the cost of all answers in USD (see ``actual_cost_usd``)."""
        return sum_usd(actual_cost_usd(self.batches, prices), self.calls_usd(prices))


def estimate_tokens(body_bytes: int) -> float:
    """Return the estimated tokens of request bodies of this size."""
    return body_bytes / BYTES_PER_TOKEN


def estimate_cost_usd(
    models: Mapping[str, ModelEstimate], prices: Prices | None = None
) -> float | None:
    """Return the estimated cost in USD.

    Args:
        models: The requests by model.
        prices: The prices; None means those of the built-in table.

    Returns:
        The cost; None if the price of a model, or the audio length that it is billed by, is
        unknown.
    """
    prices = prices or table_prices()
    total = 0.0
    for name, item in models.items():
        price = prices.of(name)
        if price is None or isinstance(price, HourPrice):
            return None
        total += item.input_tokens * price.input + item.output_tokens * price.output
    return round(total, _DECIMALS)


def actual_cost_usd(usage: Mapping[str, ModelUsage], prices: Prices | None = None) -> float | None:
    """Return the cost of answers in USD.

    Args:
        usage: Usage of the answers, by model.
        prices: The prices; None means those of the built-in table.

    Returns:
        The cost; None if the price of a model is unknown, or an answer does not report its usage.
    """
    prices = prices or table_prices()
    total = 0.0
    for model, used in usage.items():
        usd = batch_cost_usd(used, prices.of(model))
        if usd is None:
            return None
        total += usd
    return round(total, _DECIMALS)


def batch_cost_usd(used: ModelUsage, price: ModelPrice | None) -> float | None:
    """Return the cost of one model's answers in USD, not rounded.

    Args:
        used: Usage of the answers.
        price: The model's price; None if unknown.

    Returns:
        The cost; None if the price is unknown, or an answer does not report its usage.
    """
    if price is None:
        return None
    if isinstance(price, HourPrice):
        return None if used.without_seconds else used.billed_seconds / SECONDS_PER_HOUR * price.hour
    if used.without_tokens:
        return None
    return used.prompt_tokens * price.input + used.completion_tokens * price.output


def sum_usd(*costs: float | None) -> float | None:
    """Return the sum of some costs in USD; None if one of them is unknown."""
    known = [cost for cost in costs if cost is not None]
    return round(sum(known), _DECIMALS) if len(known) == len(costs) else None


def unknown_models(models: Mapping[str, object], prices: Prices | None = None) -> list[str]:
    """Return the models with an unknown price, sorted; without ``prices`` the table is used."""
    prices = prices or table_prices()
    return sorted(model for model in models if prices.of(model) is None)


def models_billed_by_hour(models: Mapping[str, object], prices: Prices | None = None) -> list[str]:
    """Return the models that are billed by audio length, sorted; see ``unknown_models``."""
    prices = prices or table_prices()
    return sorted(model for model in models if isinstance(prices.of(model), HourPrice))
