"""A POST to Groq goes out once, whatever becomes of its connection: seen from the server's side.

A second one would be a second batch, paid twice. Counted are connections and requests, with and
without TLS, with a body of bytes (a create) and with one that is read while it is sent (an upload).
"""

from __future__ import annotations

import contextlib
import io
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from groq_batch.groq.errors import GroqApiError, NotSentError, UnknownOutcomeError
from groq_batch.groq.http import HttpRequest, HttpResponse, Transport
from groq_batch.groq.multipart_body import MultipartBody
from local.groq_simulator import DEFAULT_KEY
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
from tests.patience import wait_until

pytestmark = pytest.mark.usefixtures("no_key_in_the_log")

BODY_BYTES = 8 * 1024 * 1024
"""More than the sockets of both sides hold, so that a server can leave a body half read."""


def in_bytes() -> bytes:
    return b"x" * BODY_BYTES


def streamed() -> MultipartBody:
    return MultipartBody(
        filename="a.jsonl", purpose="batch", stream=io.BytesIO(in_bytes()), size=BODY_BYTES
    )


@pytest.fixture(params=[in_bytes, streamed], ids=["bytes", "streamed"])
def body(request: pytest.FixtureRequest) -> bytes | MultipartBody:
    made: bytes | MultipartBody = request.param()
    return made


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ssl.SSLContext | None:
    """Return the server's side of TLS, whose authority the client trusts; None without TLS."""
    if not request.param:
        return None
    authority, context = make_certificate(tmp_path)
    monkeypatch.setattr("certifi.where", lambda: str(authority))
    return context


def exchange(
    transport: Transport,
    url: str,
    *,
    method: str = "POST",
    body: bytes | MultipartBody | None = None,
    read_timeout: float = 20.0,
) -> HttpResponse:
    request = HttpRequest(
        method=method,
        url=f"{url}/batches",
        headers={"Authorization": f"Bearer {DEFAULT_KEY}", "Content-Type": "text/plain"},
        body=body,
        connect_timeout=20.0,
        read_timeout=read_timeout,
        until=time.monotonic() + 60.0,
    )
    return transport.exchange(request)


class Counted:
    """A script that plays a fault, and then notes whatever else comes on the same connection."""

    def __init__(self, fault: Callable[[Peer], None]) -> None:
        self._fault = fault
        self.more = b""

    def __call__(self, peer: Peer) -> None:
        self._fault(peer)
        with contextlib.suppress(OSError):
            while piece := peer.socket.recv(65_536):
                self.more += piece


def answering(answer: bytes) -> Callable[[Peer], None]:
    def answer_and_end(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer)
        peer.socket.close()

    return answer_and_end


def close_before_the_answer(peer: Peer) -> None:
    peer.read_request()
    peer.socket.close()


def reset_before_the_answer(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def close_in_the_body(peer: Peer) -> None:
    peer.read_head()
    peer.socket.recv(20_000)
    peer.socket.close()


def reset_in_the_body(peer: Peer) -> None:
    peer.read_head()
    peer.socket.recv(20_000)
    peer.reset()


def reset_in_the_answer(peer: Peer) -> None:
    peer.read_request()
    peer.send(http(200, b"{}")[:-1])
    peer.reset()


def end_the_encryption(peer: Peer) -> None:
    peer.read_request()
    peer.break_tls()


FAULTS: dict[str, Callable[[Peer], None]] = {
    "closed before the answer": close_before_the_answer,
    "reset before the answer": reset_before_the_answer,
    "closed in the body": close_in_the_body,
    "reset in the body": reset_in_the_body,
    "reset in the answer": reset_in_the_answer,
    "garbage": answering(b"\x00\xffno HTTP at all\r\n\r\n"),
    "bytes that are no TLS": end_the_encryption,
    "half a status line": answering(b"HTTP/1.1 2"),
    "half an answer": answering(http(200, b"{" + b" " * 1000)[:-500]),
    "half a chunk": answering(http(200, length=False, Transfer_Encoding="chunked") + chunk(b"{")),
    "lengths that differ": answering(b"HTTP/1.1 200 OK\r\nContent-Length: 7, 9\r\n\r\n{}"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_post_whose_connection_fails_is_sent_once(
    tls: ssl.SSLContext | None, body: bytes | MultipartBody, fault: str
) -> None:
    script = Counted(FAULTS[fault])
    with RawServer(script, tls=tls) as server:
        with pytest.raises(GroqApiError) as raised:
            exchange(Transport(encrypted=tls is not None), server.url, body=body)
        # What was read to its end may have been acted on.
        is_whole = not fault.endswith("in the body") or isinstance(body, bytes)
        assert type(raised.value) is (UnknownOutcomeError if is_whole else NotSentError)
    assert server.connections == 1
    assert [head.split()[0] for head in server.heads] == [b"POST"]
    assert b"HTTP/1.1" not in script.more


def test_post_whose_answer_stalls_is_sent_once(
    tls: ssl.SSLContext | None, body: bytes | MultipartBody
) -> None:
    for answer in (b"", b"HTTP/1.1 200 OK\r\n", http(200, b"{}")[:-1]):

        def stall(peer: Peer, answer: bytes = answer) -> None:
            peer.read_request()
            peer.send(answer)

        body = body if isinstance(body, bytes) else streamed()
        script = Counted(stall)
        with RawServer(script, tls=tls) as server, pytest.raises(UnknownOutcomeError):
            exchange(Transport(encrypted=tls is not None), server.url, body=body, read_timeout=0.2)
        assert server.connections == len(server.heads) == 1
        assert script.more == b""


@pytest.mark.parametrize(
    "answer",
    [
        http(503, Retry_After="0"),
        http(429, Retry_After="0"),
        http(413, Retry_After="0"),
        http(401, WWW_Authenticate='Digest realm="r", nonce="n", qop="auth"'),
        http(408),
        http(302, Location="/elsewhere"),
        http(307, Location="/elsewhere"),
        http(308, b"x" * 5_000, Location="/elsewhere"),
        http(421),
    ],
    ids=lambda answer: answer[9:12].decode(),
)
def test_post_that_is_answered_is_sent_once(
    tls: ssl.SSLContext | None, body: bytes | MultipartBody, answer: bytes
) -> None:
    answer = answer.replace(b"Connection: close", b"Connection: keep-alive")

    def serve(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer)

    script = Counted(serve)
    with RawServer(script, tls=tls) as server:
        got = exchange(Transport(encrypted=tls is not None), server.url, body=body)
        assert got.status == int(answer[9:12])
    assert server.connections == len(server.heads) == 1
    assert script.more == b""


def test_post_to_which_nobody_listens_is_not_sent(
    tls: ssl.SSLContext | None, body: bytes | MultipartBody, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[object] = []
    scheme = "http" if tls is None else "https"
    transport = Transport(encrypted=tls is not None)
    monkeypatch.setattr("socket.socket.connect", lambda self, address: refuse(tries, address))
    with pytest.raises(NotSentError):
        exchange(transport, f"{scheme}://{HOST}:{free_port()}", body=body)
    assert len(tries) == 1


def refuse(tries: list[object], address: object) -> None:
    tries.append(address)
    raise ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize("how", ["close", "reset", "silence"])
def test_post_after_a_kept_connection_has_died_is_sent_once(
    tls: ssl.SSLContext | None, body: bytes | MultipartBody, how: str
) -> None:
    """The connection of the GET before it is kept, and then the server ends it or forgets it."""

    def die(peer: Peer) -> None:
        peer.read_request()
        peer.send(http(200, b"{}", Connection="keep-alive"))
        if how == "close":
            peer.socket.close()
        elif how == "reset":
            peer.reset()

    dead = Counted(die)
    scripts: list[Script] = [dead, http(200, b'{"id": 1}')]
    with RawServer(*scripts, tls=tls) as server:
        transport = Transport(encrypted=tls is not None)
        assert exchange(transport, server.url, method="GET").status == 200
        assert exchange(transport, server.url, body=body).body == b'{"id": 1}'
        assert server.connections == 2
    assert [head.split()[0] for head in server.heads] == [b"GET", b"POST"]
    assert dead.more == b""


def test_post_keeps_no_connection_for_others(tls: ssl.SSLContext | None) -> None:
    def keep(peer: Peer) -> None:
        peer.read_request()
        peer.send(http(200, b"{}", Connection="keep-alive"))

    scripts = [Counted(keep) for _ in range(3)]
    with RawServer(*scripts, tls=tls) as server:
        transport = Transport(encrypted=tls is not None)
        for _ in range(2):
            exchange(transport, server.url, body=b"{}")
        exchange(transport, server.url, method="GET")
        assert server.connections == 3
        # The third, of the GET, is kept.
        wait_until(lambda: server.open_connections == 1, lambda: "they are kept")
    assert [script.more for script in scripts] == [b""] * 3
