"""The client of the Groq API: calls, what statuses mean, keys, cancelling, limits of time."""

from __future__ import annotations

import io
import json
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from groq_batch import __version__
from groq_batch.groq.calls import USER_AGENT
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NoAnswer,
    NotFoundError,
    NotSentError,
    RateLimitedError,
    RequestRefusedError,
    UnknownOutcomeError,
)
from local.groq_simulator import DEFAULT_KEY, GroqSimulator
from tests.integration.groq_calls import (
    ACTING,
    CALLS,
    HASTY,
    HTML,
    METADATA,
    PATIENT,
    Keys,
    batch_json,
    calls_of,
    create,
    failure,
    make_client,
    request_lines,
    submit,
    upload,
    wait_for_end,
)
from tests.integration.raw_server import HOST, Peer, RawServer, free_port, http

pytestmark = pytest.mark.usefixtures("no_key_in_the_log")


# The whole way


def test_from_the_upload_to_the_rows(simulator: GroqSimulator, client: GroqClient) -> None:
    data = request_lines(3)
    file = upload(client, data)
    assert (file.filename, file.bytes, file.purpose) == ("part-1.jsonl", len(data), "batch")
    batch = create(client, file.id)
    assert batch.input_file_id == file.id
    assert batch.metadata == METADATA
    assert (batch.expires_at or 0) - (batch.created_at or 0) == 86_400
    batch = wait_for_end(client, batch)
    assert batch.status == "completed"
    assert batch.output_file_id is not None
    target = io.BytesIO(b"what was there before, which is longer than the content" * 100)
    size = client.download_file(batch.output_file_id, target)
    assert size == len(target.getvalue())
    rows = [json.loads(line) for line in target.getvalue().split(b"\n") if line]
    assert {row["custom_id"] for row in rows} == {"r-0", "r-1", "r-2"}
    assert [found.id for found in client.all_batches()] == [batch.id]
    assert {found.id for found in client.list_files()} == {file.id, batch.output_file_id}
    client.delete_file(file.id)
    client.delete_file(batch.output_file_id)
    client.delete_file(file.id)
    assert client.list_files() == []
    assert simulator.control.stats()["creates"] == 1


def test_what_every_request_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says of proxies and keys, and whatever cookies a server sets."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://{HOST}:{free_port()}")
    (tmp_path / "netrc").write_text(f"machine {HOST} login someone password else\n", "utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with RawServer(http(200, batch_json(), Set_Cookie="a=b; Path=/")) as server:
        client = make_client(server.url + "/")
        client.retrieve_batch("batch_1")
        create(client)
    for head in server.heads:
        fields = head.decode().lower().split("\r\n")
        assert f"user-agent: {USER_AGENT}".lower() in fields
        assert f"authorization: bearer {DEFAULT_KEY}" in fields
        names = {field.split(":")[0] for field in fields[1:] if field}
        assert names - {"content-length", "content-type"} == {
            "host",
            "user-agent",
            "authorization",
            "accept",
            "accept-encoding",
        }
    assert __version__ in USER_AGENT
    assert server.heads[0].startswith(b"GET /openai/v1/batches/batch_1 HTTP/1.1\r\n")
    assert server.heads[1].startswith(b"POST /openai/v1/batches HTTP/1.1\r\n")


def test_ids_cannot_leave_their_place_in_the_path() -> None:
    with RawServer(http(200, batch_json("a/../b?c#d"))) as server:
        client = make_client(server.url)
        client.retrieve_batch("a/../b?c#d")
        failure(lambda: client.batches_by_id(["x&y=z"]))
    assert server.heads[0].startswith(b"GET /openai/v1/batches/a%2F..%2Fb%3Fc%23d HTTP/1.1\r\n")
    assert server.heads[1].startswith(b"GET /openai/v1/batches?id=x%26y%3Dz HTTP/1.1\r\n")


# Statuses


@pytest.mark.parametrize("route", CALLS)
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, None, RequestRefusedError),
        (400, {"error": {"code": "blocked_api_access", "message": "m"}}, AccountError),
        (401, None, AccountError),
        (403, {"error": {"code": "not_available_for_plan", "message": "m"}}, AccountError),
        (403, "error code: 1010", AccountError),
        (413, "", RequestRefusedError),
        (422, [1], RequestRefusedError),
        (429, None, RateLimitedError),
        (498, "", RateLimitedError),
    ],
)
def test_what_was_refused_is_not_asked_again(
    simulator: GroqSimulator,
    client: GroqClient,
    route: str,
    status: int,
    body: Any,
    kind: type[GroqApiError],
) -> None:
    fault = {} if body is None else {"body": body}
    simulator.control.add_fault("*", times=None, status=status, **fault)
    error = failure(lambda: CALLS[route](client))
    assert type(error) is kind
    assert error.status == status
    assert calls_of(simulator, route) == 1
    # A list that is refused may be refused for one of its ids.
    expected = 2 if route == "list_by_ids" and kind is RequestRefusedError else 1
    assert sum(simulator.control.stats()["calls"].values()) == expected


@pytest.mark.parametrize("route", CALLS)
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 502, "body": HTML},
        {"status": 503, "body": ""},
        {"status": 504, "body": "upstream request timeout"},
        {"status": 408},
        {"status": 409},
        {"answer": "reset"},
        {"answer": "half_close", "seconds": 0.0},
        {"status": 200, "body": HTML},
        {"status": 200, "body": "no healthy upstream"},
        {"status": 200, "body": {"error": {"message": "m", "type": "server_error"}}},
        {"status": 302, "body": ""},
    ],
    ids=str,
)
def test_an_outcome_that_is_not_known_is_looked_at_again_only_where_nothing_acts(
    simulator: GroqSimulator, client: GroqClient, route: str, fault: dict[str, Any]
) -> None:
    simulator.control.add_fault("*", times=None, **fault)
    if route == "file_delete" and isinstance(fault.get("body"), dict):
        # Whatever a 200 says in JSON, the file is deleted.
        client.delete_file("file_1")
        return
    error = failure(lambda: CALLS[route](client))
    redirected = fault.get("status") == 302
    assert type(error) is (AccountError if redirected else UnknownOutcomeError)
    assert calls_of(simulator, route) == (1 if route in ACTING or redirected else 3)


@pytest.mark.parametrize("route", [route for route in CALLS if route not in ACTING])
@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"answer": "reset"}, {"answer": "garbage"}], ids=str
)
def test_short_outages_are_not_noticed(
    simulator: GroqSimulator, client: GroqClient, route: str, fault: dict[str, Any]
) -> None:
    batch = wait_for_end(client, submit(client))
    assert batch.output_file_id is not None
    simulator.control.add_fault(route, times=2, **fault)
    calls: dict[str, Callable[[], Any]] = {
        "files_list": client.list_files,
        "file_delete": lambda: client.delete_file(str(batch.output_file_id)),
        "content": lambda: client.download_file(str(batch.output_file_id), io.BytesIO()),
        "retrieve": lambda: client.retrieve_batch(batch.id),
        "list": lambda: list(client.all_batches()),
        "list_by_ids": lambda: client.batches_by_id([batch.id]),
    }
    before = calls_of(simulator, route)
    calls[route]()
    assert calls_of(simulator, route) == before + 3


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 504, "act": True},
        {"answer": "reset", "act": True},
        {"answer": "half_close", "act": True, "seconds": 0.0},
        {"answer": "garbage"},
        {"answer": "cut", "fraction": 0.5},
        {"answer": "cut", "fraction": 0.0},
    ],
    ids=str,
)
def test_a_batch_whose_creation_was_not_confirmed_is_there_once(
    simulator: GroqSimulator, client: GroqClient, fault: dict[str, Any]
) -> None:
    file = upload(client, request_lines(1))
    simulator.control.add_fault("create", **fault)
    assert type(failure(lambda: create(client, file.id))) is UnknownOutcomeError
    assert simulator.control.stats()["creates"] == 1
    assert [batch.metadata for batch in client.all_batches()] == [METADATA]


@pytest.mark.parametrize("route", ["create", "upload"])
def test_an_answer_that_is_waited_for_too_long(simulator: GroqSimulator, route: str) -> None:
    file = upload(make_client(simulator.url), request_lines(1))
    client = make_client(simulator.url, timeouts=HASTY)
    simulator.control.add_fault(route, hold_after="gate")
    if route == "create":
        error = failure(lambda: create(client, file.id))
    else:
        error = failure(lambda: upload(client, request_lines(2)))
    simulator.control.release("gate")
    assert type(error) is UnknownOutcomeError
    assert error.reason is NoAnswer.TIMED_OUT
    assert simulator.control.stats()["creates"] == (1 if route == "create" else 0)


def test_retry_after_reaches_the_caller(simulator: GroqSimulator, client: GroqClient) -> None:
    simulator.control.add_fault("create", status=429, headers={"Retry-After": "7"})
    error = failure(lambda: create(client))
    assert isinstance(error, RateLimitedError)
    assert error.retry_after_seconds == 7.0
    simulator.control.add_fault("create", status=503, headers={"Retry-After": "8"})
    error = failure(lambda: create(client))
    assert isinstance(error, UnknownOutcomeError)
    assert error.retry_after_seconds == 8.0


def test_a_network_front_gets_a_second_chance(simulator: GroqSimulator, client: GroqClient) -> None:
    simulator.control.add_fault("upload", times=1, status=403, body=HTML)
    assert upload(client, b"{}\n").bytes == 3
    simulator.control.add_fault("upload", times=2, status=403, body=HTML)
    error = failure(lambda: upload(client, b"{}\n"))
    assert isinstance(error, AccountError)
    assert "network front" in str(error)
    assert calls_of(simulator, "upload") == 4


@pytest.mark.parametrize(
    ("state", "code"),
    [("free", "plan_required"), ("spend_limit", "spend_limit"), ("network_blocked", None)],
)
def test_states_of_an_account(simulator: GroqSimulator, state: str, code: str | None) -> None:
    simulator.control.set_keys({DEFAULT_KEY: state})
    error = failure(lambda: upload(make_client(simulator.url), b"{}\n"))
    assert isinstance(error, AccountError)
    assert error.code == (code or "permission_denied")


def test_a_redirect_is_not_followed() -> None:
    with (
        RawServer(http(200, batch_json())) as elsewhere,
        RawServer(http(307, b"", Location=elsewhere.url), http(301, Location="\xff")) as server,
    ):
        client = make_client(server.url)
        for _ in range(2):
            error = failure(lambda: create(client))
            assert isinstance(error, AccountError)
            assert "GroqBaseUrl" in str(error)
    assert elsewhere.connections == 0
    assert server.connections == 2


def test_texts_that_quote_the_key_lose_it() -> None:
    body = {"error": {"code": "odd", "message": f"What is Bearer {DEFAULT_KEY}?"}}
    with RawServer(http(400, body)) as server:
        error = failure(lambda: create(make_client(server.url)))
    assert isinstance(error, RequestRefusedError)
    assert error.api_message == "What is Bearer (the API key)?"


# Keys


def test_a_key_that_was_replaced(simulator: GroqSimulator) -> None:
    simulator.control.set_keys({"gsk_new": "paid"})
    keys = Keys(DEFAULT_KEY, "gsk_new")
    client = make_client(simulator.url, keys)
    opened = []

    def open_stream() -> io.BytesIO:
        opened.append(io.BytesIO(b'{"custom_id":"a"}\n'))
        return opened[-1]

    file = client.upload_file(filename="a.jsonl", open_stream=open_stream, size=18)
    assert file.bytes == 18
    assert len(opened) == 2
    assert keys.refreshes == 1
    client.list_files()
    assert keys.refreshes == 1


def test_a_key_that_stays_wrong(simulator: GroqSimulator) -> None:
    keys = Keys("gsk_wrong")
    error = failure(lambda: create(make_client(simulator.url, keys)))
    assert error.code == "invalid_api_key"
    assert keys.refreshes == 1
    assert calls_of(simulator, "create") == 1
    newer = Keys("gsk_wrong", "gsk_wrong_too")
    error = failure(lambda: create(make_client(simulator.url, newer)))
    assert error.code == "invalid_api_key"
    assert calls_of(simulator, "create") == 3


@pytest.mark.parametrize("key", ["gsk_a\r\nX-Other: 1", "gsk_\u20ac"])
def test_a_key_that_no_header_can_hold(key: str) -> None:
    with RawServer(http(200, batch_json())) as server:
        with pytest.raises(NotSentError) as raised:
            make_client(server.url, Keys(key)).retrieve_batch("batch_1")
        assert key not in "".join(traceback.format_exception(raised.value))
        assert raised.value.__context__ is None
    assert server.heads == []


# Cancelling


def test_cancelling(simulator: GroqSimulator, client: GroqClient) -> None:
    ended = wait_for_end(client, submit(client))
    assert client.cancel_batch(ended.id).status == "completed"
    assert type(failure(lambda: client.cancel_batch("batch_x"))) is NotFoundError
    simulator.control.configure(batch_seconds=60, cancel_seconds=30)
    running = submit(client)
    assert client.cancel_batch(running.id).status == "cancelling"
    assert client.cancel_batch(running.id).status == "cancelling"


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 504},
        {"status": 409},
        {"answer": "reset"},
        {"answer": "garbage"},
        {"answer": "cut"},
        {"status": 200, "body": {}},
        {"status": 202, "body": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("act", [True, False])
def test_a_cancellation_with_no_clear_answer_is_looked_up(
    simulator: GroqSimulator, client: GroqClient, fault: dict[str, Any], act: bool
) -> None:
    [batch_id] = simulator.control.add_foreign_batches(1, status="in_progress")
    simulator.control.add_fault("cancel", **fault | {"act": act})
    if act:
        assert client.cancel_batch(batch_id).status == "cancelling"
    else:
        assert type(failure(lambda: client.cancel_batch(batch_id))) is UnknownOutcomeError
    assert calls_of(simulator, "cancel") == 1


# Time


def test_nothing_is_begun_when_the_time_is_over(simulator: GroqSimulator) -> None:
    client = make_client(simulator.url).within(0)
    for route, call in CALLS.items():
        error = failure(lambda call=call: call(client))  # type: ignore[misc]
        assert type(error) is NotSentError, route
        assert error.reason is NoAnswer.TIMED_OUT
    assert simulator.control.stats()["calls"] == {}


def test_what_acts_is_not_begun_when_its_answer_could_not_be_waited_for(
    simulator: GroqSimulator,
) -> None:
    client = make_client(simulator.url).within(4)
    assert client.list_files() == []
    assert type(failure(lambda: create(client))) is NotSentError
    assert simulator.control.stats()["calls"] == {"files_list": 1}


def test_limits_only_become_tighter(simulator: GroqSimulator) -> None:
    client = make_client(simulator.url)
    limited = client.within(0).within(60)
    assert type(failure(limited.list_files)) is NotSentError
    assert client.list_files() == []


def trickle_for_ever(peer: Peer) -> None:
    peer.read_request()
    peer.send(http(200, length=False, Content_Length="1000000"))
    while True:
        peer.send(b" ")
        threading.Event().wait(0.02)


@pytest.mark.parametrize("route", ["files_list", "list", "list_by_ids", "retrieve", "content"])
def test_no_answer_takes_longer_than_the_client_may(route: str) -> None:
    with RawServer(trickle_for_ever) as server:
        client = make_client(server.url).within(0.4)
        error = failure(lambda: CALLS[route](client))
    assert isinstance(error, UnknownOutcomeError | NotSentError)
    assert error.reason is NoAnswer.TIMED_OUT


def test_silence_ends_with_the_client_rather_than_with_its_patience(
    simulator: GroqSimulator,
) -> None:
    simulator.control.add_fault("retrieve", times=None, hold_before="gate")
    client = make_client(simulator.url, timeouts=replace(PATIENT, read=60.0)).within(0.3)
    error = failure(lambda: client.retrieve_batch("batch_1"))
    assert error.reason is NoAnswer.TIMED_OUT
    simulator.control.release("gate")


def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groq_batch.groq.http._MAX_IN_MEMORY", 10_000)
    with RawServer(http(200, b'{"data": [' + b" " * 20_000 + b"]}")) as server:
        error = failure(make_client(server.url).list_files)
    assert type(error) is UnknownOutcomeError
    assert "longer than any" in str(error)


def test_a_long_refusal_is_read_as_far_as_needed() -> None:
    with RawServer(http(400, b"<html>" + b"x" * 5_000_000)) as server:
        error = failure(lambda: create(make_client(server.url)))
    assert type(error) is RequestRefusedError


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=range(9),
)
def test_answers_that_are_no_http(answer: bytes) -> None:
    with RawServer(answer) as server:
        client = make_client(server.url)
        assert type(failure(lambda: create(client))) is UnknownOutcomeError
        assert server.connections == 1
        assert type(failure(lambda: client.retrieve_batch("batch_1"))) is UnknownOutcomeError
        assert server.connections == 4
