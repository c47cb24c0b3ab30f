"""The list of models as the API gives it, and what is written down of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from groq_batch.domain import object_keys
from groq_batch.domain.models import ListedModel, read_models
from groq_batch.domain.prices import ListedPrice
from groq_batch.domain.reason import Reason
from groq_batch.records.model_listing import ModelListing
from groq_batch.records.stored import from_record, to_record
from tests.fakes.s3 import FakeS3

KEYS = object_keys.WorkKeys("job-1")
AT = "2026-11-30T08:00:00.000Z"
NO_PRICE = ListedPrice(None, None)

# As answered from July to September 2026, cut (https://github.com/anomalyco/models.dev/pull/3761).
CHAT = {
    "id": "openai/gpt-oss-20b",
    "active": True,
    "input_modalities": ["text"],
    "output_modalities": ["text"],
    "pricing": {"prompt": "0.000000075", "completion": "0.0000003", "image": "0"},
}
AUDIO = {
    "id": "whisper-large-v3",
    "input_modalities": ["audio"],
    "output_modalities": ["transcription"],
    "pricing": None,
}


@pytest.mark.parametrize(
    "more", [{"has_more": True}, {"paging": {"next_cursor": "c-1"}}, {"next_cursor": "c-1"}]
)
def test_a_page_of_a_list_is_no_list(more: dict[str, Any]) -> None:
    assert read_models({"data": [CHAT], **more}) is None


@pytest.mark.parametrize(
    "more",
    [{"has_more": False}, {"paging": {"next_cursor": None}}, {"paging": None}, {"paging": []}],
)
def test_a_list_that_says_it_is_whole_is_read(more: dict[str, Any]) -> None:
    assert read_models({"data": [CHAT], **more}) is not None


def test_an_answer_is_read() -> None:
    assert read_models({"object": "list", "data": [CHAT, AUDIO]}) == {
        "openai/gpt-oss-20b": ListedModel(
            is_active=True, takes=("text",), gives=("text",), price=ListedPrice(7.5e-08, 3e-07)
        ),
        "whisper-large-v3": ListedModel(
            is_active=True, takes=("audio",), gives=("transcription",), price=NO_PRICE
        ),
    }


@pytest.mark.parametrize(
    "answer",
    [
        *(None, [], {}, "x", 7, [CHAT], {"data": None}, {"data": {}}, {"data": "x"}),
        {"data": []},
        {"data": [None, "x", 7, [], {}, {"id": None}, {"id": 7}, {"id": ""}, {"name": "x"}]},
        {"error": {"message": "no"}, "models": [CHAT]},
    ],
)
def test_what_names_no_model_is_no_list(answer: Any) -> None:
    assert read_models(answer) is None


def test_entries_without_a_name_are_passed_over() -> None:
    found = read_models(
        {"data": [None, {"id": 7}, {"id": "m"}, {"id": ""}, {"id": "m", "active": 0}]}
    )
    assert found == {"m": ListedModel(is_active=True, takes=None, gives=None, price=NO_PRICE)}


@pytest.mark.parametrize(
    ("active", "expected"), [(False, False), (True, True), (None, True), (0, True), ("no", True)]
)
def test_only_false_is_inactive(active: Any, expected: bool) -> None:
    assert ListedModel.from_api({"active": active}).is_active is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["text", "image"], ("text", "image")),
        (["Audio"], ("audio",)),
        (["text", 7, None], ("text",)),
        *((value, None) for value in (None, [], {}, "text", 7, [None, 7])),
    ],
)
def test_modalities(value: Any, expected: tuple[str, ...] | None) -> None:
    assert ListedModel.from_api({"input_modalities": value}).takes == expected
    assert ListedModel.from_api({"output_modalities": value}).gives == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.000000075", 7.5e-08),
        ("7.5E-8", 7.5e-08),
        (" .5 ", 0.5),
        ("1", 1.0),
        (7.5e-08, 7.5e-08),
        (1, 1.0),
        *((value, None) for value in ("0", "0.0", 0, 0.0, "-1", -1, "-0.5", "1e400", 10**400)),
        *((value, None) for value in ("nan", "inf", "1_000", "1,5", "$1", "free", "", "1e", "٢")),
        *((value, None) for value in (None, True, [], {}, ["1"], float("nan"), float("inf"))),
    ],
)
def test_prices(value: Any, expected: float | None) -> None:
    found = ListedModel.from_api({"pricing": {"prompt": value, "completion": "1"}})
    assert found.price == ListedPrice(expected, 1.0)
    found = ListedModel.from_api({"pricing": {"prompt": "1", "completion": value}})
    assert found.price == ListedPrice(1.0, expected)


@pytest.mark.parametrize("pricing", [None, [], "x", 7, {}])
def test_no_pricing(pricing: Any) -> None:
    assert ListedModel.from_api({"pricing": pricing}).price == NO_PRICE


class TestListing:
    @pytest.mark.parametrize(
        "listing",
        [
            ModelListing(at=AT),
            ModelListing(at=AT, refusal=Reason("invalid_api_key", "Do this.")),
            ModelListing(at=AT, models=read_models({"data": [CHAT, AUDIO, {"id": "m"}]})),
        ],
    )
    def test_it_is_read_as_it_was_written(self, listing: ModelListing) -> None:
        assert from_record(json.loads(json.dumps(to_record(listing))), ModelListing) == listing

    def test_the_first_one_stands(self) -> None:
        bucket = FakeS3().storage()
        assert ModelListing.load(bucket, KEYS) is None
        first, second = ModelListing(at=AT), ModelListing(at="2026-12-01T00:00:00.000Z")
        assert first.propose(bucket, KEYS) == first
        assert second.propose(bucket, KEYS) == first
        assert ModelListing.load(bucket, KEYS) == first

    def test_its_day_and_prices(self) -> None:
        listing = ModelListing(at=AT, models=read_models({"data": [CHAT]}))
        assert listing.day == "2026-11-30"
        assert listing.prices == {"openai/gpt-oss-20b": ListedPrice(7.5e-08, 3e-07)}
        assert ModelListing(at=AT).prices == {}
