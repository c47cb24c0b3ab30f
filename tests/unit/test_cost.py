"""Estimates and real costs."""

from __future__ import annotations

import pytest

from groq_batch.cost import (
    OTHER_MODELS,
    ModelEstimates,
    actual_cost_usd,
    estimate_cost_usd,
    unknown_models,
)

SMALL = "openai/gpt-oss-20b"
LARGE = "openai/gpt-oss-120b"


def estimates(*requests: tuple[str, int, int | None]) -> ModelEstimates:
    """Estimates of requests: model, bytes of the body, limit of the answer."""
    models = ModelEstimates()
    for model, body_bytes, limit in requests:
        models[model].add(body_bytes, limit)
    return models


class TestEstimate:
    @pytest.mark.parametrize(
        ("requests", "expected"),
        [
            pytest.param([], 0.0, id="nothing"),
            # Four bytes a token, 0.075 USD a million on demand, half of it in a batch.
            pytest.param([(SMALL, 4_000_000, None)], 0.0375, id="input alone"),
            pytest.param([(SMALL, 0, 1_000_000)], 0.15, id="output alone"),
            pytest.param([(LARGE, 4_000_000, 1_000_000)], 0.075 + 0.30, id="larger model"),
            pytest.param(
                [(SMALL, 4_000_000, None), (LARGE, 0, 1_000_000)], 0.3375, id="two models"
            ),
            pytest.param([(SMALL, 100, 10)], 25 * 0.0375e-6 + 10 * 0.15e-6, id="tiny"),
            pytest.param([(SMALL, 3, None)] * 3, 2.25 * 0.0375e-6, id="parts of tokens add up"),
        ],
    )
    def test_cost(self, requests: list[tuple[str, int, int | None]], expected: float) -> None:
        assert estimate_cost_usd(estimates(*requests)) == pytest.approx(expected, rel=1e-6)

    def test_no_noise_of_binary_fractions(self) -> None:
        models = estimates(*[(SMALL, 101, 7)] * 3)
        assert str(estimate_cost_usd(models)) == "5.990625e-06"

    def test_one_model_without_a_price_leaves_the_cost_unknown(self) -> None:
        models = estimates((SMALL, 100, None), ("whisper-large-v3", 100, None))
        assert estimate_cost_usd(models) is None
        assert unknown_models(models) == ["whisper-large-v3"]

    def test_models_without_a_price_are_named_in_order(self) -> None:
        assert unknown_models(estimates(("b", 1, None), (SMALL, 1, None), ("a", 1, None))) == [
            "a",
            "b",
        ]
        assert unknown_models(estimates((SMALL, 1, None))) == []


class TestModelEstimates:
    def test_requests_of_a_model_add_up(self) -> None:
        found = estimates((SMALL, 100, 5), (SMALL, 50, None), (LARGE, 7, 1))
        assert (found[SMALL].requests, found[SMALL].body_bytes, found[SMALL].output_tokens) == (
            2,
            150,
            5,
        )
        assert (found[LARGE].requests, found[LARGE].body_bytes, found[LARGE].output_tokens) == (
            1,
            7,
            1,
        )

    def test_made_up_models_count_as_one(self) -> None:
        found = estimates(*[(f"m-{number}", 1, None) for number in range(1500)], ("m-0", 1, None))
        assert len(found) == 1001
        assert found["m-0"].requests == 2
        assert found[OTHER_MODELS].requests == 500
        assert estimate_cost_usd(found) is None

    def test_long_names_count_as_one(self) -> None:
        found = estimates(("m" * 512, 1, None), ("m" * 513, 1, None), ("n" * 9999, 1, None))
        assert {name: item.requests for name, item in found.items()} == {
            "m" * 512: 1,
            OTHER_MODELS: 2,
        }


class TestActualCost:
    def test_tokens_at_the_batch_price(self) -> None:
        usage = {SMALL: (1_000_000, 1_000_000), LARGE: (2_000_000, 0)}
        assert actual_cost_usd(usage) == pytest.approx(0.0375 + 0.15 + 0.15)

    def test_nothing_was_used(self) -> None:
        assert actual_cost_usd({}) == 0.0

    def test_a_model_without_a_price(self) -> None:
        assert actual_cost_usd({SMALL: (1, 1), "m": (1, 1)}) is None
