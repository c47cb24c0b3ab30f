"""The price list."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest

from groq_batch import prices
from groq_batch.prices import ModelPrice, on_demand_usd, price_list_date, price_of

LIST = json.loads(Path(prices.__file__).with_name("prices.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("model", "input_usd", "output_usd"),
    [("openai/gpt-oss-20b", 0.075, 0.30), ("openai/gpt-oss-120b", 0.15, 0.60)],
)
def test_a_batch_costs_half(model: str, input_usd: float, output_usd: float) -> None:
    price = price_of(model)
    assert price is not None
    assert price.input == pytest.approx(input_usd / 2 / 1_000_000)
    assert price.output == pytest.approx(output_usd / 2 / 1_000_000)


@pytest.mark.parametrize("model", ["whisper-large-v3", "gpt-oss-20b", "OPENAI/GPT-OSS-20B", ""])
def test_no_price_is_guessed(model: str) -> None:
    assert price_of(model) is None


def test_on_demand_costs_twice_as_much() -> None:
    assert on_demand_usd(1.25) == 2.5
    assert price_list_date() == LIST["date"]


def test_the_list_says_where_it_is_from() -> None:
    assert re.fullmatch(r"https://.*groq\.com/.*", LIST["source"])
    assert date.fromisoformat(LIST["date"]) >= date(2026, 8, 18)
    assert LIST["unit"] == "USD per 1,000,000 tokens, on demand"
    assert LIST["batch_discount"] == 0.5


@pytest.mark.parametrize("model", sorted(LIST["models"]))
def test_every_price_is_one(model: str) -> None:
    entry = LIST["models"][model]
    assert set(entry) == {"input", "output"}
    assert 0 < entry["input"] <= entry["output"]
    assert price_of(model) == ModelPrice(entry["input"] * 5e-7, entry["output"] * 5e-7)
