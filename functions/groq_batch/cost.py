"""What a job costs at Groq: an estimate before it is sent, the real cost from the token counts.

All at the batch price, in USD, rounded at the very end, only to hide the noise of binary fractions:
a small job costs less than a millionth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from groq_batch.prices import price_of

BYTES_PER_TOKEN = 4
"""Rule of thumb for the estimate: a request's body has a token for every four bytes."""

OTHER_MODELS = "(other models)"
"""Stands for the models beyond those that are told apart; its price is not known."""

_MAX_MODELS = 1000
_MAX_MODEL_CHARACTERS = 512
_DECIMALS = 12


@dataclass(slots=True)
class ModelEstimate:
    """What one model is asked to do.

    Attributes:
        requests: How many requests.
        body_bytes: Size of their bodies.
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
    """Estimates by model; asking for a model that is not there adds it.

    A file that names more than a thousand models, or names of more than 512 characters, has most
    of them made up; these count as one, so that memory does not grow with the file.
    """

    def __missing__(self, model: str) -> ModelEstimate:
        is_told_apart = len(self) < _MAX_MODELS and len(model) <= _MAX_MODEL_CHARACTERS
        return self.setdefault(model if is_told_apart else OTHER_MODELS, ModelEstimate())

    def merge(self, others: Mapping[str, ModelEstimate]) -> None:
        """Add the estimates of another part of a file."""
        for model, estimate in others.items():
            mine = self[model]
            mine.requests += estimate.requests
            mine.body_bytes += estimate.body_bytes
            mine.output_tokens += estimate.output_tokens


def estimate_tokens(body_bytes: int) -> float:
    """Return the estimated tokens of some bytes of request bodies."""
    return body_bytes / BYTES_PER_TOKEN


def estimate_cost_usd(models: Mapping[str, ModelEstimate]) -> float | None:
    """Return the estimated cost in USD; None when the price of a model is not known."""
    return _cost_usd(
        {name: (item.input_tokens, item.output_tokens) for name, item in models.items()}
    )


def actual_cost_usd(usage: Mapping[str, tuple[int, int]]) -> float | None:
    """Return the cost in USD of prompt and completion tokens by model; None as above."""
    return _cost_usd(usage)


def unknown_models(models: Mapping[str, object]) -> list[str]:
    """Return the models whose price is not known, sorted."""
    return sorted(model for model in models if price_of(model) is None)


def _cost_usd(tokens: Mapping[str, tuple[float, float]]) -> float | None:
    total = 0.0
    for model, (prompt, completion) in tokens.items():
        price = price_of(model)
        if price is None:
            return None
        total += prompt * price.input + completion * price.output
    return round(total, _DECIMALS)
