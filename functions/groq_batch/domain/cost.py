"""What a job costs at Groq: an estimate before it is sent, the real cost from what answers used.

All at the batch price, in USD, rounded at the very end, only to hide the noise of binary fractions:
a small job costs less than a millionth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from groq_batch.domain.json_data import from_json_data
from groq_batch.domain.prices import HourPrice, Prices, table_prices

BYTES_PER_TOKEN = 4
"""Rule of thumb for the estimate: a request's body has a token for every four bytes."""
LEAST_BILLED_SECONDS = 10.0
"""Shorter audio is billed as so much: https://console.groq.com/docs/speech-to-text."""
OTHER_MODELS = "(other models)"
"""Stands for the models beyond those that are told apart; its price is not known."""
_MAX_MODELS = 1000
_MAX_MODEL_CHARACTERS = 512
_SECONDS_PER_HOUR = 3600
_DECIMALS = 12


def told_apart(model: str, known: Mapping[str, object]) -> str:
    """Return the name under which a model is counted beside those that are counted already.

    A file that names more than a thousand models, or names of more than 512 characters, has most
    of them made up; these count as one, so that memory does not grow with the file.
    """
    is_told_apart = len(known) < _MAX_MODELS and len(model) <= _MAX_MODEL_CHARACTERS
    return model if model in known or is_told_apart else OTHER_MODELS


@dataclass(slots=True)
class ModelEstimate:
    """What one model is asked to do.

    Attributes:
        requests: How many requests.
        body_bytes: Size of their bodies, as it counts for the estimate.
        output_tokens: Sum of the limits that they set for their answers.
    """

    requests: int = 0
    body_bytes: int = 0
    output_tokens: int = 0

    def add(self, body_bytes: int, max_output_tokens: int | None) -> None:
        """Add a request; one that sets no limit for its answer counts no output tokens."""
        self.requests += 1
        self.body_bytes += body_bytes
        self.output_tokens += max_output_tokens or 0

    @property
    def input_tokens(self) -> float:
        """Tokens of the requests, estimated."""
        return estimate_tokens(self.body_bytes)


class ModelEstimates(dict[str, ModelEstimate]):
    """Estimates by model; asking for a model that is not there adds it (see ``told_apart``)."""

    def __missing__(self, model: str) -> ModelEstimate:
        return self.setdefault(told_apart(model, self), ModelEstimate())

    def merge(self, others: Mapping[str, ModelEstimate]) -> None:
        """Add the estimates of another part of a file."""
        for model, estimate in others.items():
            mine = self[model]
            mine.requests += estimate.requests
            mine.body_bytes += estimate.body_bytes
            mine.output_tokens += estimate.output_tokens


@dataclass(slots=True)
class ModelUsage:
    """What the answers of one model used.

    Attributes:
        answers: How many answers there are.
        prompt_tokens: Tokens of their prompts.
        completion_tokens: Tokens of the answers.
        without_tokens: Answers that do not say how many tokens they took.
        billed_seconds: Seconds of audio, at least ten for each answer.
        without_seconds: Answers that do not say how long their audio is.
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
            tokens: Tokens of its prompt and of itself, if it says so.
            seconds: Duration of its audio, if it says so.
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
            self.billed_seconds += max(seconds, LEAST_BILLED_SECONDS)

    def merge(self, other: ModelUsage) -> None:
        """Add what other answers of the model used."""
        self.answers += other.answers
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.without_tokens += other.without_tokens
        self.billed_seconds += other.billed_seconds
        self.without_seconds += other.without_seconds


class ModelUsages(dict[str, ModelUsage]):
    """Usage by model; asking for a model that is not there adds it (see ``told_apart``)."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the usage from JSON data."""
        return cls(from_json_data(data, dict[str, ModelUsage]))

    def __missing__(self, model: str) -> ModelUsage:
        return self.setdefault(told_apart(model, self), ModelUsage())

    def merge(self, others: Mapping[str, ModelUsage]) -> None:
        """Add the usage of other answers."""
        for model, usage in others.items():
            self[model].merge(usage)


def estimate_tokens(body_bytes: int) -> float:
    """Return the estimated tokens of some bytes of request bodies."""
    return body_bytes / BYTES_PER_TOKEN


def estimate_cost_usd(
    models: Mapping[str, ModelEstimate], prices: Prices | None = None
) -> float | None:
    """Return the estimated cost in USD.

    Args:
        models: What each model is asked to do.
        prices: The prices; those of the table when None.

    Returns:
        The cost; None when the price of a model, or the length of the audio that it is billed by,
        is not known.
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
    """Return the cost in USD of what answers used, by model.

    Args:
        usage: What the answers of each model used.
        prices: The prices; those of the table when None.

    Returns:
        The cost; None when the price of a model is not known, or an answer does not say what it
        used.
    """
    prices = prices or table_prices()
    total = 0.0
    for model, used in usage.items():
        price = prices.of(model)
        if price is None:
            return None
        if isinstance(price, HourPrice):
            if used.without_seconds:
                return None
            total += used.billed_seconds / _SECONDS_PER_HOUR * price.hour
        elif used.without_tokens:
            return None
        else:
            total += used.prompt_tokens * price.input + used.completion_tokens * price.output
    return round(total, _DECIMALS)


def sum_usd(*costs: float | None) -> float | None:
    """Return the sum of some costs in USD; None when one of them is not known."""
    known = [cost for cost in costs if cost is not None]
    return round(sum(known), _DECIMALS) if len(known) == len(costs) else None


def unknown_models(models: Mapping[str, object], prices: Prices | None = None) -> list[str]:
    """Return the models whose price is not known, sorted; ``prices`` are as above."""
    prices = prices or table_prices()
    return sorted(model for model in models if prices.of(model) is None)


def models_billed_by_hour(models: Mapping[str, object], prices: Prices | None = None) -> list[str]:
    """Return the models that are billed by the length of the audio, sorted; likewise."""
    prices = prices or table_prices()
    return sorted(model for model in models if isinstance(prices.of(model), HourPrice))
