"""The client of the Groq API against the simulator, and against servers that break the rules."""

from __future__ import annotations

import gzip
import io
import json
import logging
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from groq_batch import __version__
from groq_batch.domain.batch import Batch
from groq_batch.groq.client import USER_AGENT, GroqClient, Timeouts
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
from tests.integration.raw_server import (
    HOST,
    Peer,
    RawServer,
    Script,
    chunk,
    free_port,
    http,
    make_certificate,
)

ENDPOINT = "/v1/chat/completions"
METADATA = {"job": "j-1", "shard": "1", "attempt": "1"}
PATIENT = Timeouts(connect=10.0, read=10.0, transfer=10.0, pause=0.0)
HASTY = replace(PATIENT, read=0.2, transfer=0.2)
MIB = 1024 * 1024


class Keys:
    """Hands out keys in turn: the first one until it is asked for the newest."""

    def __init__(self, *keys: str) -> None:
        self._keys = list(keys)
        self.refreshes = 0

    def __call__(self, *, refresh: bool = False) -> str:
        self.refreshes += refresh
        if refresh and len(self._keys) > 1:
            self._keys.pop(0)
        return self._keys[0]


@pytest.fixture(autouse=True)
def no_key_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert DEFAULT_KEY not in caplog.text


@pytest.fixture
def simulator() -> Iterator[GroqSimulator]:
    with GroqSimulator(batch_seconds=0.0, cancel_seconds=30.0) as running:
        yield running


@pytest.fixture
def client(simulator: GroqSimulator) -> GroqClient:
    return make_client(simulator.url)


def make_client(url: str, keys: Keys | None = None, timeouts: Timeouts = PATIENT) -> GroqClient:
    return GroqClient(base_url=url, api_key=keys or Keys(DEFAULT_KEY), timeouts=timeouts)


def failure(call: Callable[[], Any]) -> GroqApiError:
    """Return the error of a call; it must be ours alone, and must not show the key."""
    with pytest.raises(GroqApiError) as raised:
        call()
    error: BaseException | None = raised.value
    while error is not None:
        assert isinstance(error, GroqApiError)
        assert DEFAULT_KEY not in repr(error) + repr(vars(error))
        error = error.__cause__ or error.__context__
    assert DEFAULT_KEY not in "".join(traceback.format_exception(raised.value))
    return raised.value


def request_lines(count: int) -> bytes:
    return b"".join(
        b'{"custom_id":"r-%d","method":"POST","url":"/v1/chat/completions",'
        b'"body":{"model":"openai/gpt-oss-20b","messages":[{"role":"user","content":"hi"}]}}\n'
        % number
        for number in range(count)
    )


def upload(client: GroqClient, data: bytes, filename: str = "part-1.jsonl") -> Any:
    return client.upload_file(
        filename=filename, open_stream=lambda: io.BytesIO(data), size=len(data)
    )


def create(client: GroqClient, file_id: str = "file_1") -> Batch:
    return client.create_batch(
        input_file_id=file_id,
        endpoint=ENDPOINT,
        completion_window="24h",
        metadata=METADATA,
    )


def submit(client: GroqClient, count: int = 2) -> Batch:
    return create(client, upload(client, request_lines(count)).id)


def wait_for_end(client: GroqClient, batch: Batch) -> Batch:
    for _ in range(1000):
        batch = client.retrieve_batch(batch.id)
        if batch.is_terminal:
            return batch
        threading.Event().wait(0.005)
    raise AssertionError(batch)


def batch_json(batch_id: str = "batch_1", **changes: Any) -> dict[str, Any]:
    return {"id": batch_id, "object": "batch", "status": "in_progress", **changes}


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


def test_what_every_request_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://{HOST}:{free_port()}")
    with RawServer(http(200, batch_json())) as server:
        client = make_client(server.url + "/")
        client.retrieve_batch("batch_1")
        create(client)
    for head in server.heads:
        fields = head.decode().lower().split("\r\n")
        assert f"user-agent: {USER_AGENT}".lower() in fields
        assert f"authorization: bearer {DEFAULT_KEY}" in fields
        assert not any(field.startswith("cookie:") for field in fields)
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


CALLS: dict[str, Callable[[GroqClient], Any]] = {
    "upload": lambda client: upload(client, b"{}\n"),
    "files_list": lambda client: client.list_files(),
    "file_delete": lambda client: client.delete_file("file_1"),
    "content": lambda client: client.download_file("file_1", io.BytesIO()),
    "create": create,
    "retrieve": lambda client: client.retrieve_batch("batch_1"),
    "list": lambda client: list(client.all_batches()),
    "list_by_ids": lambda client: client.batches_by_id(["batch_1"]),
}
ACTING = ("upload", "create")
HTML = "<!DOCTYPE html><html><head><title>503</title></head></html>"


def calls_of(simulator: GroqSimulator, route: str) -> int:
    return int(simulator.control.stats()["calls"].get(route, 0))


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


# Connections


def test_nothing_was_sent_when_nobody_listens() -> None:
    client = make_client(f"http://{HOST}:{free_port()}/v1")
    for call in CALLS.values():
        error = failure(lambda call=call: call(client))  # type: ignore[misc]
        assert type(error) is NotSentError
        assert error.reason is NoAnswer.UNREACHABLE


def test_nothing_was_sent_when_the_name_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(*arguments: Any, **more: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", not_found)
    error = failure(lambda: create(make_client("https://api.groq.invalid/v1")))
    assert type(error) is NotSentError
    assert error.reason is NoAnswer.NAME_NOT_FOUND


def test_nothing_was_sent_when_no_connection_comes_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hang(*arguments: Any, **more: Any) -> Any:
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib3.connection.connection.create_connection", hang)
    error = failure(lambda: create(make_client(f"http://{HOST}:1/v1")))
    assert type(error) is NotSentError
    assert error.reason is NoAnswer.TIMED_OUT


def test_a_connection_that_was_never_made_is_tried_again_but_for_a_creation() -> None:
    with RawServer(http(200, batch_json())) as server:
        client = make_client(server.url)
        real = client._transport.exchange
        tries: list[str] = []

        def exchange(request: Any, **more: Any) -> Any:
            tries.append(request.method)
            if len(tries) % 3:
                return real(replace(request, url=f"http://{HOST}:{free_port()}/v1"), **more)
            return real(request, **more)

        client._transport.exchange = exchange  # type: ignore[method-assign]
        assert client.retrieve_batch("batch_1").id == "batch_1"
        assert client.cancel_batch("batch_1").id == "batch_1"
        assert tries == ["GET"] * 3 + ["POST"] * 3
        assert len(server.heads) == 2
        # By the second try another invocation may have taken over.
        assert type(failure(lambda: create(client))) is NotSentError
        assert len(tries) == 7
    assert len(server.heads) == 2


def test_what_acts_has_a_connection_of_its_own() -> None:
    """A kept connection may be dead without anybody knowing; then no outcome would be known."""

    def keep_then_close_at_the_second(peer: Peer) -> None:
        peer.read_request()
        peer.send(http(200, batch_json(), Connection="keep-alive"))
        # What comes on this connection later is lost.
        peer.read_request()
        peer.reset()

    with RawServer(keep_then_close_at_the_second, http(200, batch_json())) as server:
        client = make_client(server.url)
        client.retrieve_batch("batch_1")
        assert create(client).id == "batch_1"
        assert server.connections == 2
        assert client.cancel_batch("batch_1").id == "batch_1"
        assert server.connections == 3
        # What does not act finds out, and comes again.
        assert client.retrieve_batch("batch_1").id == "batch_1"
    methods = [head.split()[0] for head in server.heads]
    assert methods == [b"GET", b"POST", b"POST", b"GET", b"GET"]


def test_models_are_asked_for_once_on_a_new_connection() -> None:
    """Nothing is tried again, so that a kept connection that is dead would cost the list."""
    listed = {"object": "list", "data": [{"id": "m"}]}

    def keep(peer: Peer) -> None:
        peer.read_request()
        peer.send(http(200, batch_json(), Connection="keep-alive"))
        peer.read_request()
        peer.reset()

    with RawServer(keep, http(200, listed), http(500), http(200, b"{")) as server:
        client = make_client(server.url)
        client.retrieve_batch("batch_1")
        assert client.list_models() == listed
        assert type(failure(client.list_models)) is UnknownOutcomeError
        assert type(failure(client.list_models)) is UnknownOutcomeError
        assert server.connections == 4
    paths = [head.split()[1] for head in server.heads]
    assert [path.rsplit(b"/", 1)[-1] for path in paths] == [b"batch_1", *[b"models"] * 3]


def test_many_threads_share_a_client(simulator: GroqSimulator, client: GroqClient) -> None:
    ids = simulator.control.add_foreign_batches(60, status="in_progress")
    with ThreadPoolExecutor(max_workers=12) as pool:
        cancelled = list(pool.map(client.cancel_batch, ids))
    assert [batch.id for batch in cancelled] == ids
    assert {batch.status for batch in cancelled} == {"cancelling"}
    assert calls_of(simulator, "cancel") == 60


# TLS


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    authority, context = make_certificate(tmp_path)
    monkeypatch.setattr("certifi.where", lambda: str(authority))
    return context


def test_tls(tls: ssl.SSLContext) -> None:
    with RawServer(http(200, batch_json()), tls=tls) as server:
        assert create(make_client(server.url)).id == "batch_1"


def test_a_server_that_is_not_trusted(tmp_path: Path) -> None:
    _, context = make_certificate(tmp_path)
    with RawServer(http(200, batch_json()), tls=context) as server:
        error = failure(lambda: create(make_client(server.url)))
    assert type(error) is NotSentError
    assert error.reason is NoAnswer.UNTRUSTED_CERTIFICATE
    assert server.heads == []


def test_a_fault_of_tls_does_not_create_twice(tls: ssl.SSLContext) -> None:
    def break_off(peer: Peer) -> None:
        peer.read_request()
        peer.break_tls()

    with RawServer(break_off, tls=tls) as server:
        error = failure(lambda: create(make_client(server.url)))
    assert type(error) is UnknownOutcomeError
    assert len(server.heads) == 1


# Uploads


def refuse_early(answer: bytes, ending: str, gate: threading.Event) -> Script:
    """Return a server that answers before it has read the body, and reads no more of it."""

    def refuse(peer: Peer) -> None:
        peer.read_head()
        peer.socket.recv(20_000)
        peer.send(answer)
        if ending == "reset":
            peer.reset()
        elif ending == "silence":
            gate.wait(20)

    return refuse


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("ending", ["close", "reset", "silence"])
@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, AccountError, "invalid_api_key"),
        (413, RequestRefusedError, "file_too_large"),
        (429, RateLimitedError, None),
        (503, UnknownOutcomeError, None),
    ],
)
def test_an_upload_refused_before_its_end_says_why(
    tls: ssl.SSLContext,
    encrypted: bool,
    ending: str,
    status: int,
    kind: type[GroqApiError],
    code: str | None,
) -> None:
    gate = threading.Event()
    script = refuse_early(http(status, b"no"), ending, gate)
    with RawServer(script, tls=tls if encrypted else None) as server:
        client = make_client(server.url, timeouts=replace(PATIENT, transfer=0.3))
        error = failure(lambda: upload(client, bytes(24 * MIB)))
        gate.set()
    assert type(error) is kind
    assert (error.status, error.code) == (status, code)
    assert server.connections == 1


@pytest.mark.parametrize("encrypted", [False, True])
def test_an_upload_that_was_not_taken_whole_was_not_sent(
    tls: ssl.SSLContext, encrypted: bool
) -> None:
    def hang_up(peer: Peer) -> None:
        peer.read_head()
        peer.socket.recv(20_000)
        peer.reset()

    with RawServer(hang_up, tls=tls if encrypted else None) as server:
        error = failure(lambda: upload(make_client(server.url), bytes(24 * MIB)))
    assert type(error) is NotSentError
    assert error.reason is NoAnswer.BROKEN_OFF
    assert server.connections == 3


def test_an_upload_that_was_taken_whole_may_be_there() -> None:
    def hang_up(peer: Peer) -> None:
        peer.read_request()
        peer.reset()

    with RawServer(hang_up) as server:
        error = failure(lambda: upload(make_client(server.url), bytes(MIB)))
    assert type(error) is UnknownOutcomeError
    assert server.connections == 1


def test_a_success_before_the_end_of_an_upload_is_none() -> None:
    script = refuse_early(http(200, {"id": "file_1"}), "close", threading.Event())
    with RawServer(script) as server:
        error = failure(lambda: upload(make_client(server.url), bytes(24 * MIB)))
    assert type(error) is UnknownOutcomeError
    assert server.connections == 1


def test_an_upload_may_pause_longer_than_a_connection_may_take() -> None:
    resumed = threading.Event()

    def read_late(peer: Peer) -> None:
        peer.read_head()
        resumed.wait(0.5)
        left = 24 * MIB
        while left > 0:
            piece = peer.socket.recv(min(MIB, left))
            assert piece
            left -= len(piece)
        # The multipart frame around the content is still to come.
        peer.socket.recv(MIB)
        peer.send(http(200, {"id": "file_1"}))

    with RawServer(read_late) as server:
        client = make_client(server.url, timeouts=replace(PATIENT, connect=0.05))
        assert upload(client, bytes(24 * MIB)).id == "file_1"


def test_an_upload_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groq_batch.groq.client._LEAST_SECONDS_TO_ACT", 0.0)

    def read_slowly(peer: Peer) -> None:
        peer.read_head()
        while peer.socket.recv(65536):
            pass

    class Slow:
        def read(self, size: int = -1, /) -> bytes:
            threading.Event().wait(0.05)
            return bytes(size)

    with RawServer(read_slowly) as server:
        client = make_client(server.url, timeouts=replace(PATIENT, upload=0.3))
        error = failure(
            lambda: client.upload_file(filename="a.jsonl", open_stream=Slow, size=10**9)
        )
    assert type(error) is NotSentError
    assert "takes too long" in str(error)


@pytest.mark.parametrize(("said", "says"), [(5, "longer"), (7, "1 bytes shorter")])
def test_a_file_of_another_size_is_not_uploaded(
    simulator: GroqSimulator, client: GroqClient, said: int, says: str
) -> None:
    error = failure(
        lambda: client.upload_file(
            filename="a.jsonl", open_stream=lambda: io.BytesIO(b"123456"), size=said
        )
    )
    assert type(error) is NotSentError
    assert says in str(error)
    assert client.list_files() == []


def test_a_file_that_cannot_be_read_is_not_uploaded(client: GroqClient) -> None:
    class Failing:
        def read(self, size: int = -1, /) -> bytes:
            raise TimeoutError(f"S3 is silent, {DEFAULT_KEY}")

    error = failure(lambda: client.upload_file(filename="a.jsonl", open_stream=Failing, size=6))
    assert type(error) is NotSentError
    assert "could not be read (TimeoutError)" in str(error)
    assert client.list_files() == []


def test_a_large_file_arrives_byte_for_byte(simulator: GroqSimulator, client: GroqClient) -> None:
    data = request_lines(50_000)
    file = upload(client, data)
    assert file.bytes == len(data)
    target = io.BytesIO()
    assert client.download_file(file.id, target) == len(data)
    assert target.getvalue() == data


# Downloads


ROWS = b"".join(b'{"custom_id":"r-%d","response":{}}\n' % number for number in range(5000))
FILE = {"id": "file_1", "object": "file", "bytes": len(ROWS)}


def fetch(server: RawServer, timeouts: Timeouts = PATIENT) -> bytes:
    target = io.BytesIO(b"x" * 10)
    size = make_client(server.url, timeouts=timeouts).download_file("file_1", target)
    assert size == len(target.getvalue()) == target.tell()
    return target.getvalue()


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.99])
def test_a_download_that_is_cut_is_fetched_again(
    simulator: GroqSimulator, client: GroqClient, fraction: float
) -> None:
    batch = wait_for_end(client, submit(client, 50))
    whole, broken = io.BytesIO(), io.BytesIO()
    client.download_file(str(batch.output_file_id), whole)
    simulator.control.add_fault("content", times=2, answer="cut", fraction=fraction)
    client.download_file(str(batch.output_file_id), broken)
    assert broken.getvalue() == whole.getvalue()
    assert calls_of(simulator, "content") == 4
    simulator.control.add_fault("content", times=3, answer="cut", fraction=fraction)
    error = failure(lambda: client.download_file(str(batch.output_file_id), broken))
    assert type(error) is UnknownOutcomeError
    assert error.reason is NoAnswer.BROKEN_OFF


def test_a_download_that_stalls_is_fetched_again(
    simulator: GroqSimulator, client: GroqClient
) -> None:
    data = request_lines(5000)
    file = upload(client, data)
    simulator.control.add_fault("content", times=None, answer="stall", seconds=30)
    target = io.BytesIO()
    error = failure(
        lambda: make_client(simulator.url, timeouts=HASTY).download_file(file.id, target)
    )
    assert type(error) is UnknownOutcomeError
    assert error.reason is NoAnswer.TIMED_OUT
    assert calls_of(simulator, "content") == 3
    simulator.control.set_faults(
        [{"route": "content", "times": 1, "answer": "stall", "seconds": 30}]
    )
    make_client(simulator.url, timeouts=replace(PATIENT, transfer=1.0)).download_file(
        file.id, target
    )
    assert target.getvalue() == data


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = http(200, length=False, Transfer_Encoding="chunked")
    return head + b"".join(map(chunk, pieces)) + end


WHOLE = http(200, ROWS)
HALF = ROWS[: len(ROWS) // 2]


@pytest.mark.parametrize(
    "answers",
    [
        [WHOLE],
        [http(200, ROWS, Content_Type="text/html")],
        [chunked(ROWS[:7], ROWS[7:]), http(200, FILE)],
        [chunked(HALF, end=b""), chunked(ROWS), http(200, FILE)],
        [chunked(HALF, end=b"ff\r\nhalf"), WHOLE],
        [chunked(HALF, end=b"nonsense\r\n"), WHOLE],
        # An end that looks orderly: Groq's own figure tells that it is not.
        [chunked(HALF), http(200, FILE), WHOLE],
        [http(200, HALF, length=False), http(200, FILE), WHOLE],
        [http(200, b""), http(200, FILE), WHOLE],
        [http(200, ROWS, length=False), http(200, FILE)],
        [http(200, ROWS, length=False), http(404)],
        [http(200, ROWS, length=False), http(200, {"id": "file_1", "bytes": None})],
        [http(200, ROWS, length=False), http(200, {"id": "file_1", "bytes": 1})],
        # A compressed answer that nobody asked for: its length is not the content's.
        [http(200, gzip.compress(ROWS), Content_Encoding="gzip"), http(200, FILE)],
        [http(200, gzip.compress(ROWS)[:99], Content_Encoding="gzip"), http(200, FILE), WHOLE],
        [http(200, b"not gzip", Content_Encoding="gzip"), WHOLE],
        # Messages in the place of the file.
        [http(200, HTML.encode()), WHOLE],
        [http(200, b"\xef\xbb\xbf\n <html>"), WHOLE],
        [http(200, b"no healthy upstream"), WHOLE],
        [http(200, {"error": {"message": "m"}}), WHOLE],
        [http(200, b'{\n  "error": {\n    "message": "m"\n  }\n}\n'), WHOLE],
        [http(200, {"object": "error", "message": "m"}), WHOLE],
        [http(200, b'{"id": "garb'), http(200, FILE), WHOLE],
        [http(200, b"[1]"), http(200, FILE), WHOLE],
        [http(202, b""), WHOLE],
        [http(206, HALF), WHOLE],
    ],
    ids=range(26),
)
def test_only_a_whole_file_is_taken_for_one(answers: list[bytes]) -> None:
    with RawServer(*answers, http(500)) as server:
        assert fetch(server) == ROWS
    assert server.connections == len(answers)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\n\n{}\n",
        b'{"custom_id":"a","response":null,"error":{"code":"x"}}\n',
        b'{"response":null,"error":{"code":"x"}}\n',
        b'{"custom_id":"a","respon\n',
        b'["a"]\n',
        b'"a"\n{"custom_id":"b"}\n',
        b'\xef\xbb\xbf{"custom_id":"a"}\n',
        b'{"error":{"code":"x"}}\n{"custom_id":"b"}\n',
        b'{"error":{}}\n',
        b'{"custom_id":"a","response":"' + b"x" * 100_000 + b'"}\n',
        b'{"custom_id":"a","response":"' + b"x" * 70_000,
    ],
)
def test_files_with_odd_rows_are_files(content: bytes) -> None:
    answer = http(200, content)
    with RawServer(answer, http(200, {"id": "file_1", "bytes": len(content)})) as server:
        assert fetch(server) == content


def test_a_size_that_is_wrong_at_groq_does_not_keep_the_file_away() -> None:
    answer, wrong = http(200, ROWS, length=False), http(200, FILE | {"bytes": 10**9})
    with RawServer(answer, wrong, answer, wrong, http(500)) as server:
        assert fetch(server) == ROWS


def test_a_download_that_trickles_ends_when_its_time_is_over() -> None:
    def trickle(peer: Peer) -> None:
        peer.read_request()
        peer.send(http(200, length=False, Content_Length="1000000"))
        while True:
            peer.send(b"{")
            threading.Event().wait(0.02)

    with RawServer(trickle) as server:
        error = failure(lambda: fetch(server, replace(PATIENT, download=0.3)))
    assert type(error) is UnknownOutcomeError
    assert error.reason is NoAnswer.TIMED_OUT
    assert server.connections == 1


def test_a_full_disk_is_not_the_apis_fault() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any, /) -> int:
            raise OSError(28, "No space left on device")

    with RawServer(http(200, ROWS)) as server:
        client = make_client(server.url)
        with pytest.raises(OSError, match="No space left") as raised:
            client.download_file("file_1", Full())
    assert not isinstance(raised.value, GroqApiError)
    assert server.connections == 1


def test_a_file_that_is_gone(simulator: GroqSimulator, client: GroqClient) -> None:
    assert type(failure(lambda: client.download_file("file_x", io.BytesIO()))) is NotFoundError
    assert calls_of(simulator, "content") == 1


def test_the_answer_to_a_deletion_may_be_empty() -> None:
    with RawServer(http(204), http(200, b""), http(404)) as server:
        client = make_client(server.url)
        for _ in range(3):
            client.delete_file("file_1")
    assert server.connections == 3


def test_a_page_of_something_between_is_no_answer_to_a_deletion() -> None:
    with RawServer(*[http(200, b"<html>welcome</html>")] * 3) as server:
        error = failure(lambda: make_client(server.url).delete_file("file_1"))
    assert type(error) is UnknownOutcomeError
    assert server.connections == 3


# Lists


def test_all_pages_are_read(simulator: GroqSimulator, client: GroqClient) -> None:
    first = submit(client)
    simulator.control.add_foreign_batches(500)
    second = submit(client)
    simulator.control.add_foreign_batches(30)
    for last_page in ("null", "empty", "absent"):
        for order in ("newest", "oldest"):
            simulator.control.configure(last_page=last_page, list_order=order, page_size=50)
            found = [batch.id for batch in client.all_batches()]
            assert len(found) == len(set(found)) == 532
            assert {first.id, second.id} <= set(found)


def page(*items: Any, cursor: Any = None) -> dict[str, Any]:
    return {"object": "list", "data": list(items), "paging": {"next_cursor": cursor}}


@pytest.mark.parametrize(
    "last",
    [
        page(batch_json("b")),
        page(batch_json("b"), cursor=""),
        page(batch_json("b"), cursor={}),
        page(batch_json("b"), cursor=False),
        {"object": "list", "data": [batch_json("b")]},
        {"object": "list", "data": [batch_json("b")], "paging": None},
        {"object": "list", "data": [batch_json("b")], "paging": {}},
        {"object": "list", "data": [batch_json("b")], "paging": []},
        {"object": "list", "data": [batch_json("b")], "has_more": False, "last_id": "b"},
        [batch_json("b")],
        page(None, {}, 7, "text", batch_json("b"), {"id": ""}),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("cursor", ["c/1 &?", 7])
def test_shapes_of_pages(last: Any, cursor: Any) -> None:
    with RawServer(http(200, page(batch_json("a"), cursor=cursor)), http(200, last)) as server:
        client = make_client(server.url)
        assert [batch.id for batch in client.all_batches()] == ["a", "b"]
    expected = b"7" if cursor == 7 else b"c%2F1+%26%3F"
    assert server.heads[1].startswith(b"GET /openai/v1/batches?cursor=%s HTTP/1.1" % expected)


def test_a_cursor_beside_the_items() -> None:
    first = {"object": "list", "data": [batch_json("a")], "paging": {}, "next_cursor": "c-1"}
    with RawServer(http(200, first), http(200, page(batch_json("b")))) as server:
        assert [found.id for found in make_client(server.url).all_batches()] == ["a", "b"]
    assert server.heads[1].startswith(b"GET /openai/v1/batches?cursor=c-1 HTTP/1.1")


@pytest.mark.parametrize("data", [[], None])
def test_an_empty_list_of_batches(data: Any) -> None:
    with RawServer(http(200, {"object": "list", "data": data})) as server:
        assert list(make_client(server.url).all_batches()) == []
        assert make_client(server.url).list_files() == []


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"object": "list"},
        {"data": {}},
        {"data": "text"},
        {"data": None, "error": {"message": "m"}},
        {"data": [], "error": {"message": "m"}},
        {"error": {"message": "m"}},
    ],
)
def test_what_is_no_list_is_not_taken_for_an_empty_one(answer: Any) -> None:
    with RawServer(http(200, answer)) as server:
        client = make_client(server.url)
        assert type(failure(lambda: list(client.all_batches()))) is UnknownOutcomeError
        assert type(failure(client.list_files)) is UnknownOutcomeError


@pytest.mark.parametrize("cursor", [{"page": 2}, ["c"], True, 7.5])
def test_batches_that_cannot_be_seen_to_the_end_are_an_error(cursor: Any) -> None:
    with RawServer(http(200, page(batch_json("a"), cursor=cursor))) as server:
        error = failure(lambda: list(make_client(server.url).all_batches()))
    assert type(error) is UnknownOutcomeError


@pytest.mark.parametrize("place", ["beside the items", "in paging"])
def test_a_page_that_says_there_is_more_is_not_the_last(place: str) -> None:
    more = {"has_more": True, "first_id": "a", "last_id": "a"}
    answer = page(batch_json("a")) | more
    if place == "in paging":
        answer = {"data": [batch_json("a")], "paging": more}
    with RawServer(http(200, answer)) as server:
        error = failure(lambda: list(make_client(server.url).all_batches()))
    assert type(error) is UnknownOutcomeError


def test_pages_that_go_round() -> None:
    file = {"id": "file_1"}
    first, second = page(file, cursor="c-1"), page(file, cursor="c-2")
    with RawServer(http(200, first), http(200, second), http(200, first)) as server:
        error = failure(lambda: list(make_client(server.url).all_batches()))
    assert type(error) is UnknownOutcomeError
    assert server.connections == 3
    # Files have no pages as far as is known: a cursor is followed, but is no reason to fail.
    with RawServer(http(200, first), http(200, second), http(200, first)) as server:
        files = make_client(server.url).list_files()
    assert [found.id for found in files] == ["file_1"] * 3


def dated(*dates: int | None, cursor: str | None = None) -> dict[str, Any]:
    return page(
        *(batch_json(f"b-{number}", created_at=date) for number, date in enumerate(dates)),
        cursor=cursor,
    )


def pages_read(*pages: dict[str, Any], since: float | None) -> int:
    """Return how many pages are asked for when these are the answers."""
    with RawServer(*(http(200, one) for one in pages)) as server:
        list(make_client(server.url).batches_since(since))
    return server.connections


def test_batches_since_a_moment_are_read_up_to_the_first_page_before_it() -> None:
    pages = [dated(90, 80, cursor="c-1"), dated(70, 60, cursor="c-2"), dated(50, 40)]
    assert pages_read(*pages, since=65) == 3
    assert pages_read(*pages, since=75) == 2
    assert pages_read(*pages, since=95) == 1
    # A batch of that very second may be the one.
    assert pages_read(*pages, since=70) == 3
    assert pages_read(*pages, since=None) == 3


@pytest.mark.parametrize(
    "first",
    [
        dated(40, 50, cursor="c-1"),  # Oldest first.
        dated(50, 50, cursor="c-1"),  # Of one second, which shows no order.
        dated(50, cursor="c-1"),
        dated(50, None, 40, cursor="c-1"),
        dated(cursor="c-1"),
        page({"id": "a"}, {"id": "b"}, cursor="c-1"),
    ],
    ids=["oldest first", "one second", "one batch", "a date missing", "empty", "no dates"],
)
def test_batches_in_an_order_that_is_not_shown_are_read_to_the_end(first: dict[str, Any]) -> None:
    assert pages_read(first, dated(90, 80), since=85) == 2


def test_order_that_breaks_later_is_believed_no_more() -> None:
    pages = [dated(90, 80, cursor="c-1"), dated(85, 40, cursor="c-2"), dated(30, cursor="c-3")]
    assert pages_read(*pages, dated(95), since=88) == 4


def test_large_pages_are_asked_for() -> None:
    first, second = page(batch_json("a"), cursor="c-1"), page(batch_json("b"))
    with RawServer(http(200, first), http(200, second)) as server:
        found = [batch.id for batch in make_client(server.url).batches_since(None)]
    assert found == ["a", "b"]
    assert server.heads[0].startswith(b"GET /openai/v1/batches?limit=100 HTTP/1.1")
    assert server.heads[1].startswith(b"GET /openai/v1/batches?limit=100&cursor=c-1 HTTP/1.1")


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize("refused", [0, 1])
def test_a_limit_that_is_refused_is_left_out(status: int, refused: int) -> None:
    """The API's reference does not have it."""
    answers = [http(200, page(batch_json("a"), cursor="c-1")), http(200, page(batch_json("b")))]
    answers.insert(refused, http(status, {"error": {"message": "unknown parameter: limit"}}))
    with RawServer(*answers) as server:
        found = [batch.id for batch in make_client(server.url).batches_since(None)]
    assert found == ["a", "b"]
    asked = [b"limit" in head for head in server.heads]
    assert asked == [True] * (refused + 1) + [False] * (2 - refused)


def test_a_list_that_cannot_be_read_without_a_limit_either_is_an_error() -> None:
    refusal = http(400, {"error": {"message": "no"}})
    with RawServer(refusal, refusal) as server:
        error = failure(lambda: list(make_client(server.url).batches_since(None)))
    assert type(error) is RequestRefusedError
    assert server.connections == 2


def test_a_limit_that_cuts_the_list_off_does_not_hide_what_is_behind_it() -> None:
    """A full page that says it is the last may be that of a server with other ideas of a limit."""
    cut = page(*(batch_json(f"b-{number}") for number in range(100)))
    whole = [http(200, cut | {"paging": {"next_cursor": "c-1"}}), http(200, page(batch_json("z")))]
    with RawServer(http(200, cut), *whole) as server:
        found = {batch.id for batch in make_client(server.url).batches_since(None)}
    assert "z" in found
    assert [b"limit" in head for head in server.heads] == [True, False, False]


def test_an_account_with_many_batches_is_read_as_far_as_it_matters() -> None:
    old = [
        dated(*range(10_000 - 20 * number, 9_980 - 20 * number, -1), cursor=f"c-{number}")
        for number in range(400)
    ]
    assert pages_read(dated(20_001, 20_000, cursor="c"), *old, since=19_000) == 2


def test_an_error_in_the_middle_of_a_list(simulator: GroqSimulator, client: GroqClient) -> None:
    simulator.control.add_foreign_batches(50)
    simulator.control.add_fault("list", skip=1, status=429, times=None)
    seen = []

    def read() -> None:
        seen.extend(client.all_batches())

    assert type(failure(read)) is RateLimitedError
    assert len(seen) == 20


# Batches by their ids


def test_two_hundred_batches_with_one_call(simulator: GroqSimulator, client: GroqClient) -> None:
    ids = simulator.control.add_foreign_batches(450)
    found = client.batches_by_id(ids).batches
    assert sorted(found) == sorted(ids)
    assert all(batch.id == batch_id for batch_id, batch in found.items())
    assert simulator.control.stats()["calls"] == {"list_by_ids": 3}
    assert client.batches_by_id([]) == ({}, set())
    assert simulator.control.stats()["calls"] == {"list_by_ids": 3}


@pytest.mark.parametrize(
    "fault",
    [
        None,
        {"status": 400},
        {"status": 404},
        {"status": 414, "body": HTML},
        {"status": 500},
        {"status": 200, "body": HTML},
        {"status": 200, "body": {"object": "list", "data": []}},
        {"status": 200, "body": page(batch_json("foreign"), {}, cursor="c-1")},
        {"answer": "reset"},
    ],
    ids=str,
)
def test_what_a_list_does_not_show_is_asked_for_one_by_one(
    simulator: GroqSimulator, client: GroqClient, fault: dict[str, Any] | None
) -> None:
    ids = simulator.control.add_foreign_batches(30)
    unknown = ["batch_x", "batch_y"]
    if fault is not None:
        simulator.control.add_fault("list_by_ids", times=None, **fault)
    found = client.batches_by_id([*ids, *unknown])
    assert sorted(found.batches) == sorted(ids)
    assert found.unknown == set(unknown)
    assert calls_of(simulator, "retrieve") == (2 if fault is None else 32)


def test_unknown_ids_that_spoil_the_list(simulator: GroqSimulator, client: GroqClient) -> None:
    simulator.control.configure(unknown_ids="error")
    ids = simulator.control.add_foreign_batches(3)
    found = client.batches_by_id([*ids, "batch_x"])
    assert (sorted(found.batches), found.unknown) == (sorted(ids), {"batch_x"})


def test_a_list_by_ids_in_pages() -> None:
    answers = [
        page(batch_json("a"), batch_json("foreign"), cursor="c-1"),
        page(batch_json("b"), cursor="c-2"),
        page(batch_json("c"), cursor="c-3"),
    ]
    with RawServer(*(http(200, answer) for answer in answers), http(500)) as server:
        found = make_client(server.url).batches_by_id(["a", "b", "c"]).batches
    assert sorted(found) == ["a", "b", "c"]
    assert server.connections == 3
    assert b"?id=a&id=b&id=c&cursor=c-1 " in server.heads[1]


def test_what_was_found_is_not_lost_to_an_error(
    simulator: GroqSimulator, client: GroqClient
) -> None:
    ids = simulator.control.add_foreign_batches(250)
    # The second call for 50 of the ids fails, and so do they one by one.
    simulator.control.add_fault("list_by_ids", skip=1, times=None, status=429)
    found = client.batches_by_id(ids)
    assert (sorted(found.batches), found.unknown) == (sorted(ids[:200]), set())
    simulator.control.clear_faults()
    simulator.control.add_fault("list_by_ids", skip=1, times=None, status=400)
    simulator.control.add_fault("retrieve", times=None, status=401)
    found = client.batches_by_id(ids)
    assert (sorted(found.batches), found.unknown) == (sorted(ids[:200]), set())
    # No more is asked once one of the threads has met the error.
    assert calls_of(simulator, "retrieve") <= 8


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 401}, AccountError),
        ({"status": 429}, RateLimitedError),
        ({"status": 503}, UnknownOutcomeError),
        ({"answer": "reset"}, UnknownOutcomeError),
    ],
    ids=str,
)
def test_an_outage_is_told(
    simulator: GroqSimulator,
    client: GroqClient,
    fault: dict[str, Any],
    kind: type[GroqApiError],
) -> None:
    ids = simulator.control.add_foreign_batches(100)
    simulator.control.add_fault("*", times=None, **fault)
    assert type(failure(lambda: client.batches_by_id(ids))) is kind
    assert calls_of(simulator, "retrieve") <= 8 * 3


@pytest.mark.parametrize("answer", [{}, [], batch_json("other"), {"id": 7}, {"error": "x"}])
def test_an_answer_about_something_else(answer: Any) -> None:
    with RawServer(http(200, answer)) as server:
        client = make_client(server.url)
        assert type(failure(lambda: client.retrieve_batch("batch_1"))) is UnknownOutcomeError
        if answer != batch_json("other"):
            assert type(failure(lambda: create(client))) is UnknownOutcomeError


# Cancelling


def test_cancelling(simulator: GroqSimulator, client: GroqClient) -> None:
    ended = wait_for_end(client, submit(client))
    assert client.cancel_batch(ended.id).status == "completed"
    assert type(failure(lambda: client.cancel_batch("batch_x"))) is NotFoundError
    simulator.control.configure(batch_seconds=60)
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
    monkeypatch.setattr("groq_batch.groq.http._MOST_IN_MEMORY", 10_000)
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
