"""The client's connections: none is reused where that could act twice; TLS; uploads."""

from __future__ import annotations

import io
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NoAnswer,
    NotSentError,
    RateLimitedError,
    RequestRefusedError,
    UnknownOutcomeError,
)
from local.groq_simulator import DEFAULT_KEY, GroqSimulator
from tests.integration.groq_calls import (
    CALLS,
    MIB,
    PATIENT,
    batch_json,
    calls_of,
    create,
    failure,
    make_client,
    request_lines,
    upload,
)
from tests.integration.raw_server import (
    HOST,
    Peer,
    RawServer,
    Script,
    free_port,
    http,
    make_certificate,
)

pytestmark = pytest.mark.usefixtures("no_key_in_the_log")


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
        real = client._calls.transport.exchange
        tries: list[str] = []

        def exchange(request: Any, **more: Any) -> Any:
            tries.append(request.method)
            if len(tries) % 3:
                return real(replace(request, url=f"http://{HOST}:{free_port()}/v1"), **more)
            return real(request, **more)

        client._calls.transport.exchange = exchange  # type: ignore[method-assign]
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


def test_authorities_of_the_environment_are_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = make_certificate(tmp_path)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(authority))
    with RawServer(http(200, batch_json()), tls=context) as server:
        error = failure(lambda: create(make_client(server.url)))
    assert error.reason is NoAnswer.UNTRUSTED_CERTIFICATE


def test_a_certificate_of_another_name_is_not_trusted(tls: ssl.SSLContext) -> None:
    with RawServer(http(200, batch_json()), tls=tls) as server:
        client = make_client(server.url.replace(HOST, "localhost"))
        error = failure(lambda: create(client))
    assert type(error) is NotSentError
    assert error.reason is NoAnswer.UNTRUSTED_CERTIFICATE
    assert server.heads == []


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
    monkeypatch.setattr("groq_batch.groq.calls._MIN_SECONDS_TO_ACT", 0.0)

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
