"""What ordinary calls may ask, what they are estimated to cost, and how far they are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from groq_batch.domain.cost import ModelUsage, ModelUsages
from groq_batch.domain.on_demand import (
    MeanUsage,
    Size,
    budget_usd,
    cost_usd,
    fits,
    is_spent,
    spent_usd,
)
from groq_batch.domain.prices import HourPrice, Prices, TokenPrice
from groq_batch.domain.result_row import classify_row, pipeline_row
from groq_batch.records.on_demand import CallsEnd, ClaimedRequest, LinePosition, OnDemandProgress
from groq_batch.records.stored import from_record, to_record
from groq_batch.request_file.ordinary_request import read_request
from groq_batch.steps.download_results.unanswered import SEND_AGAIN, UnansweredReason

PRICES = Prices("table", "2026-11-30", {"m": TokenPrice(1e-6, 2e-6), "w": HourPrice(0.05)})
"""In a batch; on demand everything costs twice as much."""


def size(output: int | None = None, model: str = "m", body_bytes: int = 4000) -> Size:
    return Size(model=model, body_bytes=body_bytes, output_tokens=output)


# -- estimates -------------------------------------------------------------------------------------


def test_a_limit_is_estimated_as_if_it_were_used() -> None:
    assert size(500).estimate_usd(PRICES, MeanUsage()) == pytest.approx(2 * (1000e-6 + 500 * 2e-6))


def test_without_a_limit_the_mean_of_the_models_answers_counts() -> None:
    means = MeanUsage.of({"m": ModelUsage(answers=5, completion_tokens=400, without_tokens=1)})
    assert means.output_tokens == {"m": 100.0}
    assert size().estimate_usd(PRICES, means) == pytest.approx(2 * (1000e-6 + 100 * 2e-6))


def test_without_an_answer_of_the_model_1024_tokens_count() -> None:
    means = MeanUsage.of({"other": ModelUsage(answers=1, completion_tokens=7)})
    assert size().estimate_usd(PRICES, means) == pytest.approx(2 * (1000e-6 + 1024 * 2e-6))


@pytest.mark.parametrize(
    ("usage", "seconds"),
    [
        ({}, 3600.0),
        ({"w": ModelUsage(answers=2, without_seconds=2)}, 3600.0),
        ({"w": ModelUsage(answers=3, billed_seconds=90.0, without_seconds=1)}, 45.0),
        ({"w": ModelUsage(answers=1, billed_seconds=10.0)}, 10.0),
    ],
)
def test_audio_is_estimated_with_the_mean_length(
    usage: dict[str, ModelUsage], seconds: float
) -> None:
    estimate = size(model="w").estimate_usd(PRICES, MeanUsage.of(usage))
    assert estimate == pytest.approx(2 * seconds / 3600 * 0.05)


def test_a_model_without_a_price_has_no_estimate() -> None:
    assert size(model="unknown").estimate_usd(PRICES, MeanUsage()) is None


def test_the_cost_of_answers_is_that_on_demand() -> None:
    used = ModelUsage(answers=1, prompt_tokens=100, completion_tokens=50)
    assert cost_usd(used, "m", PRICES) == pytest.approx(2 * (100e-6 + 50 * 2e-6))
    assert cost_usd(ModelUsage(answers=1, without_tokens=1), "m", PRICES) is None
    assert cost_usd(ModelUsage(answers=1, billed_seconds=36.0), "w", PRICES) == pytest.approx(0.001)
    assert cost_usd(used, "unknown", PRICES) is None


# -- the budget ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "cap", "spent", "budget"),
    [(5, 0, 99, 5), (5, 10, 2, 5), (5, 10, 8, 2), (5, 10, 12, 0), (0, 10, 0, 0)],
)
def test_the_budget_is_the_smaller_of_both(
    allowed: float, cap: float, spent: float, budget: float
) -> None:
    assert budget_usd(deadline_max_usd=allowed, cap_usd=cap, spent=spent) == budget


def test_an_answer_that_does_not_say_what_it_used_counts_as_the_others_do() -> None:
    usage = ModelUsages(
        {"m": ModelUsage(answers=3, prompt_tokens=200, completion_tokens=20, without_tokens=1)}
    )
    assert spent_usd(usage, PRICES) == pytest.approx(300e-6 + 30 * 2e-6)


@given(st.integers(1, 2000), st.floats(1e-9, 1e-2))
def test_a_budget_for_so_many_requests_is_enough_for_them(count: int, estimate: float) -> None:
    budget = json.loads(json.dumps(count * estimate))
    promised = charged = 0.0
    asked = 0
    while fits(estimate, promised=promised, budget=budget) and not is_spent(charged, budget):
        promised, charged, asked = promised + estimate, charged + estimate, asked + 1
        if asked > count + 1:
            break
    assert asked in (count, count - 1, count + 1)
    assert asked >= count or is_spent(charged, budget)


# -- requests --------------------------------------------------------------------------------------


def line(body: str, url: str = "/v1/chat/completions") -> bytes:
    return f'{{"custom_id": "a", "method": "POST", "url": "{url}", "body": {body}}}'.encode()


def test_a_body_is_taken_byte_by_byte() -> None:
    body = '{ "model" : "m", "messages":[{"role":"user","content":"\\u00e9 é"}],"seed": 1.0 }'
    request = read_request(line(body))
    assert request.body == body.encode()
    assert (request.custom_id, request.path, request.is_chat) == ("a", "/chat/completions", True)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ('"max_tokens": 7', 7),
        ('"max_completion_tokens": 5, "max_tokens": 7', 5),
        ('"max_tokens": null', None),
        ('"max_tokens": "7"', None),
        ('"n": 1', None),
    ],
)
def test_a_limit_is_read_as_for_the_estimate_of_the_file(fields: str, tokens: int | None) -> None:
    assert read_request(line(f'{{"model": "m", {fields}}}')).size.output_tokens == tokens


def test_audio_becomes_the_fields_of_a_form() -> None:
    body = (
        '{"model": "w", "url": "https://x/a.mp3", "temperature": 0.5, "flag": true, '
        '"timestamp_granularities": ["word", "segment"], "language": null, "prompt": "\\u00e9"}'
    )
    request = read_request(line(body, "/v1/audio/translations"))
    assert request.path == "/audio/translations"
    assert not request.is_chat
    assert request.form_fields() == [
        ("model", "w"),
        ("url", "https://x/a.mp3"),
        ("temperature", "0.5"),
        ("flag", "true"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("prompt", "é"),
    ]


def test_what_is_no_text_is_a_field_as_it_is_written() -> None:
    """Also a number that Python refuses to read: no other request must wait for this one."""
    digits = "1" * 5000
    body = (
        f'{{"model": "w", "url": "https://x/a.mp3", "seed": {digits} , "temperature": 1.50, '
        f'"x" : [ null , 1E2 , {{"a": 0.10}} ] , "prompt" : null , "empty": []}}'
    )
    assert read_request(line(body, "/v1/audio/transcriptions")).form_fields()[2:] == [
        ("seed", digits),
        ("temperature", "1.50"),
        ("x[]", "null"),
        ("x[]", "1E2"),
        ("x[]", '{"a": 0.10}'),
    ]


# -- the record ------------------------------------------------------------------------------------


def place(number: int, shard: int = 1) -> LinePosition:
    return LinePosition(shard=shard, line=number, offset=100 * number, size=99)


RECORD = OnDemandProgress(
    attempt=3,
    budget_usd=1.0,
    ask_until=5000.0,
    max_tries=3,
    means=MeanUsage(output_tokens={"m": 12.5}, audio_seconds=9.0),
    shard=1,
    line=5,
    open=(
        ClaimedRequest(place=place(3), estimate=0.1),
        ClaimedRequest(place=place(4), estimate=0.1),
    ),
    again=(
        ClaimedRequest(
            place=place(2), estimate=0.1, tries=1, was_begun=True, code="c", message="m"
        ),
    ),
    ended=CallsEnd.TIME,
)


def test_a_record_is_read_as_it_was_written() -> None:
    assert from_record(json.loads(json.dumps(to_record(RECORD))), OnDemandProgress) == RECORD


def test_a_record_of_a_later_version_is_read() -> None:
    assert from_record({**to_record(RECORD), "news": 1}, OnDemandProgress) == RECORD


def test_whoever_goes_on_asks_nothing_that_was_open() -> None:
    claimed = replace(RECORD, ended=None).claimed("second", now=1000.0)
    assert claimed.open == ()
    assert claimed.again == RECORD.again
    assert claimed.lost_calls(1299.0) == 2
    assert claimed.lost_calls(1300.0) == 0
    third = replace(claimed, open=RECORD.open[:1]).claimed("third", now=1100.0)
    assert third.lost_calls(1399.0) == 3


def left(
    record: OnDemandProgress, number: int, *, before: bytes | None = None, priced: bool = True
) -> UnansweredReason:
    known = classify_row(before) if before is not None else None
    return UnansweredReason.of(record, 1, number, before=known, has_price=lambda: priced)


EXPIRED = (
    b'{"custom_id":"a","response":null,"error":{"code":"batch_expired","message":"Too late."}}'
)


@pytest.mark.parametrize(
    ("number", "code", "was_begun"),
    [(1, "outcome_unknown", True), (2, "deadline_passed", True), (5, "deadline_passed", False)],
)
def test_a_request_without_a_row_is_told_by_how_far_the_calls_were(
    number: int, code: str, was_begun: bool
) -> None:
    found = left(RECORD, number)
    assert (found.code, found.was_begun) == (code, was_begun)


def test_the_last_error_is_named() -> None:
    assert "c: m" in left(RECORD, 2, before=EXPIRED).message
    assert "batch_expired: Too late." in left(RECORD, 9, before=EXPIRED).message


def test_what_to_do_is_said_once() -> None:
    before = pipeline_row("a", code="missing", message=f"It ended without a row. {SEND_AGAIN}")
    message = left(RECORD, 9, before=before).message
    assert "missing: It ended without a row. Send" in message
    assert message.count("failed/") == 1


def test_a_model_without_a_price_is_told_so() -> None:
    found = left(RECORD, 1, priced=False)
    assert found.code == "deadline_passed"
    assert "price" in found.message
