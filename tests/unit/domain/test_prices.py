"""The price table, and a job's prices."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from groq_batch.domain import prices
from groq_batch.domain.json_data import from_json_data, to_json_data
from groq_batch.domain.prices import (
    HourPrice,
    ListedPrice,
    Prices,
    TokenPrice,
    job_prices,
    on_demand_usd,
    table_prices,
)

TABLE = json.loads(Path(prices.__file__).with_name("prices.json").read_text(encoding="utf-8"))
SMALL, LARGE, AUDIO = "openai/gpt-oss-20b", "openai/gpt-oss-120b", "whisper-large-v3"
DAY = "2026-12-24"


class TestTable:
    @pytest.mark.parametrize(
        ("model", "input_usd", "output_usd"), [(SMALL, 0.075, 0.30), (LARGE, 0.15, 0.60)]
    )
    def test_a_batch_costs_half(self, model: str, input_usd: float, output_usd: float) -> None:
        price = table_prices().of(model)
        assert isinstance(price, TokenPrice)
        assert price.input == pytest.approx(input_usd / 2 / 1_000_000)
        assert price.output == pytest.approx(output_usd / 2 / 1_000_000)

    @pytest.mark.parametrize(("model", "usd"), [(AUDIO, 0.111), (f"{AUDIO}-turbo", 0.04)])
    def test_an_hour_of_audio_costs_half(self, model: str, usd: float) -> None:
        assert table_prices().of(model) == HourPrice(pytest.approx(usd / 2))

    @pytest.mark.parametrize(
        "model",
        [
            *("whisper", "gpt-oss-20b", "OPENAI/GPT-OSS-20B", ""),
            # Sold by contract since August 2026 (https://console.groq.com/docs/deprecations).
            *("llama-3.1-8b-instant", "llama-3.3-70b-versatile"),
        ],
    )
    def test_no_price_is_guessed(self, model: str) -> None:
        assert table_prices().of(model) is None

    def test_on_demand_costs_twice_as_much(self) -> None:
        assert on_demand_usd(1.25) == 2.5

    def test_it_says_where_it_is_from(self) -> None:
        assert all("groq.com/" in source for source in TABLE["sources"])
        assert date.fromisoformat(TABLE["date"]) >= date(2026, 11, 29)
        assert table_prices().about() == {"source": "table", "date": TABLE["date"]}
        assert TABLE["batch_discount"] == 0.5

    @pytest.mark.parametrize("model", sorted(TABLE["models"]))
    def test_every_price_is_one(self, model: str) -> None:
        entry = dict(TABLE["models"][model])
        assert entry.pop("preview", True) is True
        if set(entry) == {"hour"}:
            assert 0 < entry["hour"] < 1
        else:
            assert set(entry) == {"input", "output"}
            assert 0 < entry["input"] <= entry["output"]
            expected = TokenPrice(entry["input"] * 5e-7, entry["output"] * 5e-7)
            assert table_prices().of(model) == expected


class TestOfAJob:
    def test_without_a_list_they_are_the_tables(self) -> None:
        for listed in (None, {}):
            assert job_prices([SMALL, "other"], listed, DAY) == table_prices()

    def test_a_listed_price_is_halved_and_replaces_the_tables(self) -> None:
        listed = {SMALL: ListedPrice(2e-6, 4e-6), "new": ListedPrice(6e-6, 8e-6)}
        found = job_prices([SMALL, "new", LARGE], listed, DAY)
        assert found.of(SMALL) == TokenPrice(1e-6, 2e-6)
        assert found.of("new") == TokenPrice(3e-6, 4e-6)
        assert found.of(LARGE) == table_prices().of(LARGE)
        assert found.about() == {"source": "groq", "date": DAY}

    def test_a_price_that_is_not_usable_leaves_the_tables(self) -> None:
        table = table_prices().of(SMALL)
        assert isinstance(table, TokenPrice)
        for listed, expected in (
            (ListedPrice(None, None), table),
            (ListedPrice(2e-6, None), TokenPrice(1e-6, table.output)),
            (ListedPrice(None, 2e-6), TokenPrice(table.input, 1e-6)),
        ):
            assert job_prices([SMALL], {SMALL: listed}, DAY).of(SMALL) == expected

    @pytest.mark.parametrize("listed", [ListedPrice(None, None), ListedPrice(1e-6, None)])
    def test_half_a_price_is_none_where_the_table_has_none(self, listed: ListedPrice) -> None:
        for model in ("new", AUDIO):
            found = job_prices([model], {model: listed}, DAY)
            assert found.of(model) == table_prices().of(model)
            assert found.source == "table"

    def test_the_source_is_the_list_only_if_a_model_of_the_job_is_priced_by_it(self) -> None:
        listed = {LARGE: ListedPrice(2e-6, 4e-6), SMALL: ListedPrice(None, None)}
        found = job_prices([SMALL], listed, DAY)
        assert found.about() == {"source": "table", "date": TABLE["date"]}
        # An answer may be by another model than was asked.
        assert found.of(LARGE) == TokenPrice(1e-6, 2e-6)

    def test_a_list_of_many_models_does_not_fill_the_record(self) -> None:
        listed = {f"m-{number:05d}": ListedPrice(1e-6, 1e-6) for number in range(50_000)}
        found = job_prices(["m-49999"], listed, DAY)
        assert found.of("m-49999") == TokenPrice(5e-7, 5e-7)
        assert len(found.models) < 2000

    def test_in_a_record(self) -> None:
        found = job_prices([SMALL, AUDIO], {SMALL: ListedPrice(2e-6, 4e-6)}, DAY)
        assert from_json_data(json.loads(json.dumps(to_json_data(found))), Prices) == found
