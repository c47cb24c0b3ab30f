"""A file's estimate against its cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.cost import ModelEstimate, estimate_cost_usd
from groq_batch.domain.cost_cap import check_cap
from groq_batch.domain.prices import Prices, TokenPrice

SMALL, AUDIO = "openai/gpt-oss-20b", "whisper-large-v3"
MILLION = ModelEstimate(1, 4_000_000, 0)
"""Costs 0.0375 USD with the small model."""


def sentence(models: dict[str, ModelEstimate], cap: float, stack_cap: float = 0.0) -> str:
    found = check_cap(models, cap_usd=cap, stack_cap_usd=stack_cap)
    assert found is not None
    assert (found.line, found.custom_id, found.code) == (None, None, "too_expensive")
    return found.message


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 1000))
def test_an_estimate_above_the_cap_is_too_expensive(size: int, tokens: int, cap: float) -> None:
    models = {SMALL: ModelEstimate(1, size, tokens)}
    estimate = estimate_cost_usd(models)
    assert estimate is not None
    found = check_cap(models, cap_usd=cap, stack_cap_usd=0)
    assert (found is not None) is (0 < cap < estimate)


def test_without_a_cap_no_price_needs_to_be_known() -> None:
    assert check_cap({"other": MILLION}, cap_usd=0, stack_cap_usd=0) is None
    assert check_cap({}, cap_usd=1, stack_cap_usd=1) is None


def test_both_amounts_are_told_in_full() -> None:
    text = sentence({SMALL: MILLION}, 0.0374999999)
    assert "The estimated cost of 0.0375 USD is above the cap of 0.0374999999 USD." in text


class TestAdvice:
    def test_a_cap_of_the_upload_can_be_raised(self) -> None:
        for stack_cap in (0.0, 5.0):
            text = sentence({SMALL: MILLION}, 0.01, stack_cap)
            assert text.endswith("Raise max-job-cost-usd or split the file.")

    def test_a_cap_of_the_stack_cannot_be_raised_by_an_upload(self) -> None:
        text = sentence({SMALL: MILLION}, 0.01, 0.01)
        assert text.endswith("Split the file, or deploy the stack with a larger MaxJobCostUsd.")
        assert "max-job-cost-usd" not in text

    @pytest.mark.parametrize(
        ("model", "reason"),
        [
            ("other", "the price of other is not known"),
            (AUDIO, "whisper-large-v3 is billed by the length of the audio, which is not known"),
        ],
    )
    def test_where_the_cost_is_not_known(self, model: str, reason: str) -> None:
        text = sentence({SMALL: MILLION, model: MILLION}, 2.5, 5.0)
        assert f"A cost cap of 2.5 USD is set, but {reason}" in text
        assert text.endswith("Name another model, or use a stack without MaxJobCostUsd.")
        assert "max-job-cost-usd" not in text
        text = sentence({model: MILLION}, 2.5)
        assert text.endswith(
            "Name another model, or leave out max-job-cost-usd: the stack has no MaxJobCostUsd."
        )

    def test_some_models_are_named(self) -> None:
        text = sentence({f"m-{number}{'x' * 1000}": MILLION for number in range(9)}, 1)
        assert "m-4" in text
        assert "m-5" not in text
        assert "and 4 more" in text
        assert len(text) < 1000


def test_prices_of_the_job_hold() -> None:
    prices = Prices("groq", "2026-12-24", {"new": TokenPrice(1e-6, 1e-6)})
    models = {"new": MILLION}
    assert check_cap(models, cap_usd=1, stack_cap_usd=0, prices=prices) is None
    assert check_cap(models, cap_usd=0.99, stack_cap_usd=0, prices=prices) is not None
