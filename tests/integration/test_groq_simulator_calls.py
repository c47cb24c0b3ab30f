"""Ordinary calls of the Groq simulator over HTTP: answers, limits, faults, and what was paid."""

from __future__ import annotations

from typing import Any

import pytest

from local.groq_simulator import GroqSimulator
from tests.integration.simulator_api import Answer, Api, in_background, request_line

MODEL = "openai/gpt-oss-20b"
BOUNDARY = "----call"


def chat(api: Api, prompt: str = "Hello.", **body: Any) -> Answer:
    content = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **body}
    return api.call("POST", "/chat/completions", content)


def transcribe(api: Api, **fields: str | list[str]) -> Answer:
    parts = []
    for name, value in fields.items():
        label = name.replace("__", "[]")
        for text in value if isinstance(value, list) else [value]:
            head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{label}"'
            parts.append(f"{head}\r\n\r\n{text}\r\n")
    data = "".join([*parts, f"--{BOUNDARY}--\r\n"]).encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return api.call("POST", "/audio/transcriptions", data, headers)


def test_a_chat_call_answers_as_a_batch_would(simulator: GroqSimulator, api: Api) -> None:
    answer = chat(api, "Say hello.")
    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"] == "Echo: Say hello."
    assert answer.json["service_tier"] == "on_demand"
    assert answer.headers["x-request-id"].startswith("req_")
    (call,) = simulator.control.ordinary_calls()
    assert (call["prompt"], call["status"], call["billed"]) == ("Say hello.", 200, True)


@pytest.mark.parametrize(("form", "type_"), [("json", "application/json"), ("text", "text/plain")])
def test_audio_is_a_form_with_an_address(api: Api, form: str, type_: str) -> None:
    address = "https://example.com/a.mp3"
    answer = transcribe(api, model="whisper-large-v3", url=address, response_format=form)
    assert (answer.status, answer.headers["Content-Type"]) == (200, type_)
    text = answer.json["text"] if form == "json" else answer.data.decode()
    assert text == f"Echo: {address}"


def test_a_wrong_call_is_refused(api: Api) -> None:
    assert chat(api, stream=True).status == 400
    assert api.call("POST", "/chat/completions", {"model": MODEL}).status == 400
    assert transcribe(api, model="whisper-large-v3").status == 400
    assert api.call("POST", "/audio/translations", b"x", {"Content-Type": "text/plain"}).code == (
        "invalid_multipart"
    )


def test_a_free_plan_makes_ordinary_calls(simulator: GroqSimulator) -> None:
    simulator.control.set_keys({"gsk_free": "free"})
    assert chat(Api(simulator.url, "gsk_free")).status == 200
    assert chat(Api(simulator.url, "gsk_wrong")).code == "invalid_api_key"


def test_calls_above_the_limit_of_a_minute_are_refused(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(calls_per_minute=2)
    assert [chat(api).status for _ in range(3)] == [200, 200, 429]
    refused = chat(api)
    assert 55 <= int(refused.headers["retry-after"]) <= 60
    assert refused.code == "rate_limit_exceeded"
    simulator.control.advance_clock(61)
    assert chat(api).status == 200
    assert [one["billed"] for one in simulator.control.ordinary_calls()].count(True) == 3


def test_the_tokens_that_are_left_stand_in_the_header_fields(
    simulator: GroqSimulator, api: Api
) -> None:
    simulator.control.configure(tokens_per_minute=100, calls_per_day=3)
    answer = chat(api, max_completion_tokens=60)
    left = int(answer.headers["x-ratelimit-remaining-tokens"])
    assert 0 < left < 40
    assert answer.headers["x-ratelimit-reset-tokens"].endswith("s")
    assert answer.headers["x-ratelimit-remaining-requests"] == "2"
    refused = chat(api, max_completion_tokens=60)
    assert refused.status == 429
    assert refused.headers["x-ratelimit-remaining-tokens"] == str(left)
    simulator.control.advance_clock(61)
    assert [chat(api).status for _ in range(3)] == [200, 200, 429]
    assert chat(api).headers["retry-after"] == "3600"


def test_a_call_takes_the_faults_and_rules_of_its_prompt(
    simulator: GroqSimulator, api: Api
) -> None:
    control = simulator.control
    control.add_fault("chat", status=503, match={"prompt": "^b$"}, times=1)
    control.add_rule({"kind": "http_error", "status": 422}, match={"custom_id": "c"})
    assert [chat(api, prompt).status for prompt in "abc"] == [200, 503, 422]
    assert chat(api, "b").status == 200
    transcribed = {"model": "whisper-large-v3", "url": "https://example.com/x"}
    control.add_fault("transcriptions", status=500, match={"prompt": "example.com/x"})
    assert transcribe(api, **transcribed).status == 500


def test_open_calls_are_counted(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(call_seconds=0.2)
    with in_background(chat, api, "a"), in_background(chat, api, "b"):
        pass
    assert simulator.control.stats()["most_open_calls"] == 2


def test_what_a_batch_and_a_call_answer_is_paid_twice(simulator: GroqSimulator, api: Api) -> None:
    lines = request_line("r-1", "Say one.") + request_line("r-2", "Say two.")
    api.wait(api.submit(lines, {"job": "j"}))
    chat(api, "Say three.")
    assert simulator.control.stats()["paid_twice"] == []
    chat(api, "Say two.")
    assert simulator.control.stats()["paid_twice"] == ["r-2"]
    chat(api, "Say three.")
    assert simulator.control.stats()["paid_twice"] == ["Say three.", "r-2"]
    assert simulator.control.stats()["ordinary_answers"] == 3


def test_a_call_for_what_a_batch_left_open_is_paid_once(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_fate(end="expire", done=0.5)
    lines = request_line("r-1", "Same.") + request_line("r-2", "Same.")
    api.wait(api.submit(lines, {"job": "j"}), "expired")
    chat(api, "Same.")
    assert simulator.control.stats()["paid_twice"] == []
    chat(api, "Same.")
    assert simulator.control.stats()["paid_twice"] == ["r-1"]
