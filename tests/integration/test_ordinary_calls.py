"""Ordinary calls of the client, over loopback: what is sent, and what each kind of answer means."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from groq_batch.domain.prices import table_prices
from groq_batch.domain.reason import Reason
from groq_batch.domain.result_row import classify_row
from groq_batch.groq.calls import USER_AGENT
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import AccountError, GroqApiError, NotSentError, UnknownOutcomeError
from groq_batch.groq.ordinary_calls import JSON_CONTENT, form_of, limits_left
from groq_batch.request_file.ordinary_request import OrdinaryRequest, read_request
from groq_batch.steps.answer_requests.call_outcomes import (
    CallOutcome,
    Kind,
    outcome_of_failure,
    outcome_of_response,
)
from local.groq_simulator import DEFAULT_KEY, GroqSimulator
from tests.integration.groq_calls import HASTY, PATIENT, Keys, make_client
from tests.integration.raw_server import HOST, Peer, RawServer, Script, free_port, http

BODY = b'{ "model" : "openai/gpt-oss-20b","messages":[{"role":"user","content":"\\u00e9 h"}]}'
CHAT = "/chat/completions"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
ANSWER = {"model": "openai/gpt-oss-20b", "choices": [], "usage": USAGE}


@pytest.fixture(autouse=True)
def calls_may_be_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls be begun that have less than the seconds which an answer usually takes."""
    monkeypatch.setattr("groq_batch.groq.calls._MIN_SECONDS_TO_ACT", 0.0)


def request(body: bytes = BODY, url: str = "/v1/chat/completions") -> OrdinaryRequest:
    line = b'{"custom_id": "a", "method": "POST", "url": "%b", "body": %b}'
    return read_request(line % (url.encode(), body))


AUDIO = request(
    b'{"model": "whisper-large-v3", "url": "https://example.com/a.mp3", "response_format": "text"}',
    "/v1/audio/transcriptions",
)


def asked(client: GroqClient, one: OrdinaryRequest) -> CallOutcome:
    """Make a call as the step does."""
    content = (one.body, JSON_CONTENT) if one.is_chat else form_of(one.form_fields())
    try:
        answer = client.ask(one.path, *content)
    except GroqApiError as error:
        return outcome_of_failure(one, error)
    return outcome_of_response(one, answer, table_prices(), now=0.0)


def row_of(outcome: CallOutcome) -> Any:
    assert outcome.row is not None
    assert outcome.row.endswith(b"\n")
    assert outcome.row.count(b"\n") == 1
    assert classify_row(outcome.row) is not None
    return json.loads(outcome.row)


def told_by(script: Script, one: OrdinaryRequest | None = None) -> CallOutcome:
    """Return what comes of a call to a server that keeps to a script."""
    with RawServer(script) as server:
        return asked(make_client(server.url, timeouts=replace(HASTY, ask=0.3)), one or request())


# -- what is sent ----------------------------------------------------------------------------------


def test_chat_is_sent_byte_by_byte() -> None:
    bodies: list[bytes] = []

    def serve(peer: Peer) -> None:
        bodies.append(peer.read_request())
        peer.send(http(200, ANSWER, Content_Type="application/json"))

    with RawServer(serve) as server:
        assert asked(make_client(server.url), request()).is_success
        head = server.heads[0].decode()
    assert bodies == [BODY]
    assert head.startswith("POST /openai/v1/chat/completions HTTP/1.1\r\n")
    fields = {
        name.lower(): value
        for name, value in (one.split(": ", 1) for one in head.split("\r\n")[1:-2])
    }
    assert fields["content-type"] == "application/json"
    assert fields["content-length"] == str(len(BODY))
    assert fields["authorization"] == f"Bearer {DEFAULT_KEY}"
    assert fields["user-agent"] == USER_AGENT


def test_audio_is_sent_as_a_form_of_texts() -> None:
    with GroqSimulator() as simulator:
        outcome = asked(make_client(simulator.url), AUDIO)
        (call,) = simulator.control.ordinary_calls()
    assert call["body"] == {
        "model": ["whisper-large-v3"],
        "url": ["https://example.com/a.mp3"],
        "response_format": ["text"],
    }
    row = row_of(outcome)
    assert row["response"]["body"] == "Echo: https://example.com/a.mp3"
    assert row["id"] is row["error"] is None


def test_a_list_is_a_field_for_each_of_its_entries() -> None:
    body, content_type = form_of([("g[]", "word"), ("g[]", "segment"), ("prompt", "é")])
    assert content_type.startswith("multipart/form-data; boundary=")
    assert body.count(b'name="g[]"') == 2
    assert "é".encode() in body
    assert b"filename" not in body


def test_a_key_that_was_replaced_is_used_once_more() -> None:
    with GroqSimulator() as simulator:
        keys = Keys("gsk_old", DEFAULT_KEY)
        assert asked(make_client(simulator.url, keys), request()).is_success
        assert keys.refreshes == 1
        assert len(simulator.control.calls("chat")) == 2
        assert len(simulator.control.ordinary_calls()) == 1


# -- what comes back -------------------------------------------------------------------------------


def test_an_answer_has_a_row_a_cost_and_what_is_left() -> None:
    with GroqSimulator(tokens_per_minute=1000, calls_per_day=10) as simulator:
        outcome = asked(make_client(simulator.url), request())
    row = row_of(outcome)
    assert outcome.kind is Kind.ENDED
    assert row["custom_id"] == "a"
    assert row["response"]["request_id"].startswith("req_")
    assert outcome.cost_usd is not None
    assert outcome.cost_usd > 0
    assert outcome.left.requests == 9
    assert outcome.left.tokens is not None
    assert outcome.left.tokens_reset_in == 60


def test_durations_of_the_limits_are_read() -> None:
    left = limits_left(
        {
            "x-ratelimit-remaining-requests": "14370",
            "x-ratelimit-reset-requests": "2m59.56s",
            "x-ratelimit-remaining-tokens": "17997",
            "x-ratelimit-reset-tokens": "7.66s",
        }
    )
    assert (left.requests, left.tokens) == (14370, 17997)
    assert left.requests_reset_in == pytest.approx(179.56)
    assert left.tokens_reset_in == pytest.approx(7.66)
    assert limits_left({}).tokens is None


def test_an_answer_over_several_lines_becomes_one() -> None:
    text = json.dumps(ANSWER, indent=2).replace("\n", "\r\n").encode()
    outcome = told_by(http(200, text, Content_Type="application/json"))
    assert row_of(outcome)["response"] == {"status_code": 200, "request_id": None, "body": ANSWER}


@pytest.mark.parametrize("status", [200, 400])
def test_a_byte_order_mark_is_not_part_of_an_answer(status: int) -> None:
    body = ANSWER if status == 200 else {"error": {"code": "odd", "message": "No."}}
    outcome = told_by(http(status, b"\xef\xbb\xbf" + json.dumps(body).encode()))
    assert outcome.kind is Kind.ENDED
    assert row_of(outcome)["response"]["body"] == body


def test_an_answer_that_is_not_utf8_makes_a_row_that_is() -> None:
    text = json.dumps(ANSWER | {"model": "m?"}).encode().replace(b"m?", b"m\xff")
    outcome = told_by(http(200, text))
    assert outcome.is_success
    assert outcome.row is not None
    assert "m\ufffd" in outcome.row.decode()


@pytest.mark.parametrize("text", [b"42", b"", "“é”".encode(), b'{"not": "json'])
def test_a_text_of_audio_stays_a_text(text: bytes) -> None:
    outcome = told_by(http(200, text, Content_Type="text/plain; charset=utf-8"), AUDIO)
    assert outcome.is_success
    assert row_of(outcome)["response"]["body"] == text.decode()


def test_json_that_audio_asks_for_is_json_under_any_content_type() -> None:
    body = b'{"model": "whisper-large-v3", "url": "https://example.com/a.mp3"}'
    one = request(body, "/v1/audio/transcriptions")
    text = b'{"text": "hello",\n "duration": 12.5}'
    for name in ("text/html", "application/octet-stream"):
        outcome = told_by(http(200, text, Content_Type=name), one)
        assert row_of(outcome)["response"]["body"] == {"text": "hello", "duration": 12.5}
        assert outcome.cost_usd


def test_text_that_audio_asks_for_is_an_answer_under_the_content_type_of_json() -> None:
    outcome = told_by(http(200, b"Hello there.", Content_Type="application/json"), AUDIO)
    assert outcome.is_success
    assert row_of(outcome)["response"]["body"] == "Hello there."
    outcome = told_by(http(200, b'"Hello."', Content_Type="application/json"), AUDIO)
    assert row_of(outcome)["response"]["body"] == "Hello."


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((value, Kind.ENDED) for value in (400, 404, 413, 422)),
        *((value, Kind.AGAIN) for value in (408, 409, 424, 429, 498, 500, 503)),
        (301, Kind.ACCOUNT),
        (401, Kind.ACCOUNT),
        (403, Kind.ACCOUNT),
    ],
)
@pytest.mark.parametrize(
    "body", [{"error": {"message": "No.", "code": "code"}}, b"<html>no</html>"]
)
def test_what_a_status_means(status: int, kind: Kind, body: Any) -> None:
    outcome = told_by(http(status, body))
    assert outcome.kind is kind
    if kind is not Kind.ACCOUNT:
        response = row_of(outcome)["response"]
        assert response["status_code"] == status
        assert response["body"] == (body if isinstance(body, dict) else body.decode())
    if kind is not Kind.ENDED:
        assert outcome.error is not None
        assert outcome.error.message


def test_a_model_that_is_blocked_is_the_requests_affair() -> None:
    error = {"error": {"message": "Blocked.", "code": "model_permission_blocked_project"}}
    assert told_by(http(403, error)).kind is Kind.ENDED


@pytest.mark.parametrize("code", ["blocked_api_access", "not_available_for_plan"])
def test_a_spend_limit_and_a_plan_are_the_accounts(code: str) -> None:
    assert told_by(http(400, {"error": {"message": "No.", "code": code}})).kind is Kind.ACCOUNT


def test_a_limit_says_how_long_to_wait() -> None:
    outcome = told_by(http(429, {}, Retry_After="400"))
    assert (outcome.wait_seconds, outcome.is_limit) == (400, True)


def test_outcome_retry_after_of_zero_asks_for_no_certain_pause() -> None:
    assert told_by(http(429, {}, Retry_After="0")).wait_seconds is None


def _resets(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def _closes(peer: Peer) -> None:
    peer.read_request()


def _is_silent(peer: Peer) -> None:
    peer.read_request()
    peer.socket.recv(1)


CUT = http(200, ANSWER)[:-7]


@pytest.mark.parametrize(
    "script",
    [
        _resets,
        _closes,
        _is_silent,
        CUT,
        http(200, b'{"id": "garb'),
        http(200, b""),
        http(200, b"null"),
        http(200, b"<html>welcome</html>", Content_Type="text/html"),
    ],
    ids=["reset", "closed", "silent", "cut", "garbage", "empty", "null", "html"],
)
def test_what_does_not_come_whole_is_never_known(script: Script) -> None:
    outcome = told_by(script)
    assert outcome.kind is Kind.UNKNOWN
    assert row_of(outcome)["error"]["code"] == "outcome_unknown"


def test_no_connection_is_known_to_have_done_nothing() -> None:
    client = make_client(f"http://{HOST}:{free_port()}/openai/v1", timeouts=PATIENT)
    with pytest.raises(NotSentError):
        client.ask(CHAT, BODY, JSON_CONTENT)
    outcome = asked(client, request())
    assert (outcome.kind, outcome.row) == (Kind.AGAIN, None)


def test_a_call_that_takes_too_long_as_a_whole_is_cut() -> None:
    with RawServer(_is_silent) as server:
        client = make_client(server.url, timeouts=replace(PATIENT, ask=0.3))
        with pytest.raises(UnknownOutcomeError):
            client.ask(CHAT, BODY, JSON_CONTENT)


def test_no_key_is_the_accounts() -> None:
    def no_key(*, refresh: bool = False) -> str:
        raise AccountError("The secret is missing.", code="secret_missing")

    client = GroqClient(base_url=f"http://{HOST}:9/openai/v1", api_key=no_key)
    outcome = asked(client, request())
    assert (outcome.kind, outcome.error) == (
        Kind.ACCOUNT,
        Reason("secret_missing", "The secret is missing."),
    )


def test_a_refusal_that_quotes_the_key_does_not_show_it() -> None:
    quoted = {"error": {"message": f"Bad key {DEFAULT_KEY}.", "code": "bad"}}
    outcome = told_by(http(422, quoted))
    assert DEFAULT_KEY.encode() not in (outcome.row or b"")
    assert "(the API key)" in row_of(outcome)["response"]["body"]["error"]["message"]
