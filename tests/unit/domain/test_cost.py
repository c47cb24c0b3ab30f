"""Estimates and real costs."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from groq_batch.domain.cost import (
    OTHER_MODELS,
    JobUsage,
    ModelEstimates,
    ModelUsage,
    ModelUsages,
    actual_cost_usd,
    estimate_cost_usd,
    models_billed_by_hour,
    unknown_models,
)
from groq_batch.domain.json_data import from_json_data
from groq_batch.domain.prices import ModelPrices, Prices, TokenPrice

SMALL = "openai/gpt-oss-20b"
LARGE = "openai/gpt-oss-120b"
AUDIO = "whisper-large-v3"


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
        models = estimates((SMALL, 100, None), ("other", 100, None))
        assert estimate_cost_usd(models) is None
        assert unknown_models(models) == ["other"]

    def test_audio_leaves_the_cost_unknown_for_its_length_is(self) -> None:
        models = estimates((SMALL, 100, None), (AUDIO, 100, None))
        assert estimate_cost_usd(models) is None
        assert unknown_models(models) == []
        assert models_billed_by_hour(models) == [AUDIO]

    def test_prices_of_the_job_hold(self) -> None:
        prices = Prices("groq", "2026-12-24", {"new": TokenPrice(1e-6, 2e-6)})
        assert estimate_cost_usd(estimates(("new", 4_000_000, 1_000_000)), prices) == 3.0
        assert estimate_cost_usd(estimates((SMALL, 1, None)), prices) is None

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


def used(*answers: tuple[tuple[int, int] | None, float | None]) -> ModelUsage:
    """Usage of answers: tokens of prompt and answer, seconds of audio."""
    usage = ModelUsage()
    for tokens, seconds in answers:
        usage.add(tokens, seconds)
    return usage


class TestActualCost:
    def test_tokens_at_the_batch_price(self) -> None:
        usage = {
            SMALL: used(((1_000_000, 0), None), ((0, 1_000_000), None)),
            LARGE: used(((2_000_000, 0), None)),
        }
        assert actual_cost_usd(usage) == pytest.approx(0.0375 + 0.15 + 0.15)

    def test_audio_at_the_batch_price_of_an_hour(self) -> None:
        usage = {AUDIO: used((None, 3600.0), (None, 1800.0))}
        assert actual_cost_usd(usage) == pytest.approx(1.5 * 0.0555)

    def test_short_audio_is_billed_as_ten_seconds(self) -> None:
        usage = {AUDIO: used((None, 0.0), (None, 9.9), (None, 10.1))}
        assert actual_cost_usd(usage) == pytest.approx(30.1 / 3600 * 0.0555)

    @pytest.mark.parametrize(
        "usage",
        [
            {AUDIO: used((None, 60.0), (None, None))},
            {AUDIO: used((None, 60.0), ((5, 5), None))},
            {SMALL: used(((5, 5), None), (None, None))},
            {SMALL: used(((5, 5), None), (None, 60.0))},
            {SMALL: used(((5, 5), None)), AUDIO: used((None, None))},
        ],
    )
    def test_an_answer_that_does_not_say_what_it_used_leaves_the_cost_unknown(
        self, usage: dict[str, ModelUsage]
    ) -> None:
        assert actual_cost_usd(usage) is None

    def test_what_a_price_does_not_count_changes_nothing(self) -> None:
        usage = {SMALL: used(((1_000_000, 0), 60.0)), AUDIO: used(((5, 5), 3600.0))}
        assert actual_cost_usd(usage) == pytest.approx(0.0375 + 0.0555)

    def test_prices_of_the_job_hold(self) -> None:
        prices = Prices("groq", "2026-12-24", {"new": TokenPrice(1e-6, 2e-6)})
        assert actual_cost_usd({"new": used(((1_000_000, 1_000_000), None))}, prices) == 3.0
        assert actual_cost_usd({SMALL: used(((1, 1), None))}, prices) is None

    def test_nothing_was_used(self) -> None:
        assert actual_cost_usd({}) == 0.0

    def test_a_model_without_a_price(self) -> None:
        tokens = used(((1, 1), None))
        assert actual_cost_usd({SMALL: tokens, "m": tokens}) is None


class TestModelUsages:
    def test_usage_of_parts_adds_up(self) -> None:
        one, other = ModelUsages(), ModelUsages()
        one["a"].add((1, 2), None)
        other["a"].add((10, 20), 5.0)
        other["b"].add(None, 60.0)
        one.merge(other)
        assert one == {
            "a": ModelUsage(2, 11, 22, 0, 10.0, 1),
            "b": ModelUsage(1, 0, 0, 1, 60.0, 0),
        }

    def test_made_up_models_count_as_one(self) -> None:
        usages = ModelUsages()
        for number in range(1500):
            usages[f"m-{number}"].add((1, 1), None)
        assert len(usages) == 1001
        assert usages[OTHER_MODELS].answers == 500
        assert actual_cost_usd(usages) is None

    def test_in_a_summary(self) -> None:
        usage = ModelUsage(2, 11, 22, 0, 10.0, 1)
        assert from_json_data({**asdict(usage), "of_a_later_version": 1}, ModelUsage) == usage
        assert from_json_data({"answers": 3}, ModelUsage) == ModelUsage(3)


class TestJobUsage:
    PRICES = Prices("table", "2026-11-30", ModelPrices({"a": TokenPrice(1e-6, 2e-6)}))
    USAGE = JobUsage(
        batches=ModelUsages({"a": ModelUsage(2, 100, 200), "m": ModelUsage(1, 5, 6)}),
        calls=ModelUsages({"a": ModelUsage(1, 10, 20)}),
    )

    def test_total_leaves_the_parts_as_they_are(self) -> None:
        assert self.USAGE.total["a"] == ModelUsage(3, 110, 220)
        assert self.USAGE.batches["a"] == ModelUsage(2, 100, 200)

    def test_cost_counts_calls_at_the_on_demand_price(self) -> None:
        of_a = self.USAGE.of(["a", "not used"])
        assert of_a.total == {"a": ModelUsage(3, 110, 220)}
        assert of_a.calls_usd(self.PRICES) == pytest.approx(2 * 50e-6)
        assert of_a.cost_usd(self.PRICES) == pytest.approx(500e-6 + 2 * 50e-6)

    def test_cost_is_unknown_if_that_of_a_part_is(self) -> None:
        assert self.USAGE.cost_usd(self.PRICES) is None
        assert JobUsage(calls=self.USAGE.batches).cost_usd(self.PRICES) is None
        assert JobUsage().cost_usd(self.PRICES) == 0.0
