"""Downloads by the client of the Groq API: only a whole file is taken for one."""

from __future__ import annotations

import gzip
import io
import threading
from dataclasses import replace
from typing import Any

import pytest

from groq_batch.groq.calls import Timeouts
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NoAnswer,
    NotFoundError,
    UnknownOutcomeError,
)
from local.groq_simulator import GroqSimulator
from tests.integration.groq_calls import (
    HASTY,
    HTML,
    PATIENT,
    calls_of,
    failure,
    make_client,
    request_lines,
    submit,
    upload,
    wait_for_end,
)
from tests.integration.raw_server import Peer, RawServer, chunk, http

pytestmark = pytest.mark.usefixtures("no_key_in_the_log")


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
        [http(200, {"detail": "Try later."}), WHOLE],
        [http(200, b'{"detail": "Try"}\n{"detail": "later"}\n'), http(200, FILE), WHOLE],
        [http(200, b'{"id": "garb'), http(429), WHOLE],
        [http(200, b"[" * 10_000), http(200, FILE), WHOLE],
        [http(202, b""), WHOLE],
        [http(206, HALF), WHOLE],
    ],
    ids=range(30),
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


@pytest.mark.parametrize("refusal", [http(404), http(405)], ids=["404", "405"])
@pytest.mark.parametrize("content", [b"", b'["a"]\n'], ids=["empty", "odd"])
def test_download_file_size_that_nobody_tells_keeps_no_odd_file_away(
    content: bytes, refusal: bytes
) -> None:
    with RawServer(http(200, content), refusal) as server:
        assert fetch(server) == content


def test_a_size_that_is_wrong_at_groq_does_not_keep_the_file_away() -> None:
    answer, wrong = http(200, ROWS, length=False), http(200, FILE | {"bytes": 10**9})
    with RawServer(answer, wrong, answer, wrong, http(500)) as server:
        assert fetch(server) == ROWS
    odd, wrong = http(200, b'["a"]\n'), http(200, FILE | {"bytes": 1})
    with RawServer(odd, wrong, odd, wrong, http(500)) as server:
        assert fetch(server) == b'["a"]\n'


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


# Redirects


def key_was_sent(server: RawServer) -> list[bool]:
    return [b"authorization:" in head.lower() for head in server.heads]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_content_that_is_elsewhere_is_fetched_there_without_the_key(status: int) -> None:
    with RawServer(http(200, ROWS)) as storage:
        address = storage.url + "/signed?signature=a%2Fb&expires=1"
        with RawServer(http(status, b"moved", Location=address)) as server:
            assert fetch(server) == ROWS
            assert key_was_sent(server) == [True]
    assert key_was_sent(storage) == [False]
    assert storage.heads[0].startswith(b"GET /openai/v1/signed?signature=a%2Fb&expires=1 HTTP/1.1")


def test_content_that_is_elsewhere_at_the_api_is_fetched_with_the_key() -> None:
    with RawServer(http(307, Location="../x/content?y=1"), http(200, ROWS)) as server:
        assert fetch(server) == ROWS
        assert key_was_sent(server) == [True, True]
    assert server.heads[1].startswith(b"GET /openai/v1/files/x/content?y=1 HTTP/1.1")


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refusal_of_another_server_is_none_of_the_api(status: int) -> None:
    with RawServer(http(status, {"error": {"code": "invalid_api_key"}})) as storage:
        moved = http(302, Location=storage.url)
        with RawServer(moved, moved, http(200, ROWS)) as server:
            assert fetch(server) == ROWS
    assert storage.connections == 2


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "http://example.com/content",
        "http://user:password@127.0.0.1/content",
        "http://[127.0.0.1/content",
        "https://",
        "\xff",
        None,
    ],
)
def test_a_redirect_to_an_address_that_is_not_safe_is_not_followed(location: str | None) -> None:
    fields = {} if location is None else {"Location": location}
    with RawServer(http(302, **fields)) as server:
        error = failure(lambda: fetch(server))
    assert isinstance(error, AccountError)
    assert server.connections == 1


def test_redirects_that_go_round_end() -> None:
    with RawServer(http(302, Location="content")) as server:
        error = failure(lambda: fetch(server))
    assert isinstance(error, AccountError)
    assert server.connections == 4
