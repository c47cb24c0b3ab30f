"""The body of an upload, read in pieces of any size from streams of any kind."""

from __future__ import annotations

import io
import tracemalloc
from email import policy
from email.parser import BytesParser
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.groq.multipart_body import MultipartBody, ReadableStream, StreamError

MIB = 1024 * 1024


def make(stream: ReadableStream, size: int, filename: str = "part-1.jsonl") -> MultipartBody:
    return MultipartBody(filename=filename, purpose="batch", stream=stream, size=size)


def read_all(body: MultipartBody, sizes: list[int]) -> bytes:
    found = []
    for size in cycle(sizes):
        assert body.is_complete == (sum(map(len, found)) == len(body))
        piece = body.read(size)
        assert len(piece) <= size
        if not piece:
            break
        found.append(piece)
    return b"".join(found)


def parts(body: MultipartBody, data: bytes) -> dict[str, tuple[str | None, bytes]]:
    """Read a body as an independent reader does: file name and content of each part, by name."""
    head = f"Content-Type: {body.content_type}\r\n\r\n".encode()
    message = BytesParser(policy=policy.HTTP).parsebytes(head + data)
    found = {}
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        name = part["Content-Disposition"].params["name"]
        found[name] = (part.get_filename(), content)
    return found


class SlowStream:
    """Hands out fewer bytes than it is asked for, as networks do."""

    def __init__(self, data: bytes, most: int) -> None:
        self._source = io.BytesIO(data)
        self._most = most

    def read(self, size: int = -1, /) -> bytes:
        return self._source.read(min(size, self._most))


@given(
    content=st.binary(max_size=3000),
    sizes=st.lists(st.integers(1, 1000), min_size=1, max_size=5),
    most=st.integers(1, 1000),
)
def test_body_is_the_same_however_it_is_read(content: bytes, sizes: list[int], most: int) -> None:
    body = make(SlowStream(content, most), len(content))
    assert not body.is_complete
    data = read_all(body, sizes)
    assert len(data) == len(body)
    assert body.is_complete
    assert body.read(1) == b""
    boundary = body.content_type.removeprefix("multipart/form-data; boundary=").encode()
    assert data.count(boundary) == 3
    assert data.endswith(b"\r\n" + content + b"\r\n--" + boundary + b"--\r\n")


def test_parts_as_others_read_them() -> None:
    content = b'{"custom_id":"a"}\n{"custom_id":"\xc3\xa4"}\n'
    body = make(io.BytesIO(content), len(content))
    assert parts(body, body.read()) == {
        "purpose": (None, b"batch"),
        "file": ("part-1.jsonl", content),
    }
    assert body.is_complete


def test_a_file_name_cannot_break_out_of_its_header() -> None:
    body = make(io.BytesIO(b"x"), 1, filename='a"\r\nContent-Type: text/html\r\n\r\nb.jsonl')
    assert parts(body, body.read())["file"] == (
        "a%22%0D%0AContent-Type: text/html%0D%0A%0D%0Ab.jsonl",
        b"x",
    )


def test_boundaries_differ() -> None:
    assert len({make(io.BytesIO(), 0).content_type for _ in range(100)}) == 100


def test_no_more_than_some_pieces_are_in_memory() -> None:
    class Zeros:
        def read(self, size: int = -1, /) -> bytes:
            taken = min(size, self.left)
            self.left -= taken
            return bytes(taken)

        left = 64 * MIB

    body = make(Zeros(), 64 * MIB)
    tracemalloc.start()
    try:
        while body.read(128 * 1024):
            pass
        assert tracemalloc.get_traced_memory()[1] < 5 * MIB
    finally:
        tracemalloc.stop()
    assert body.is_complete


@pytest.mark.parametrize(
    ("actual", "said", "text"),
    [
        (b"1234", 5, "1 bytes shorter"),
        (b"", 1, "1 bytes shorter"),
        (b"123456", 5, "longer than expected"),
        (b"1", 0, "longer than expected"),
    ],
)
def test_streams_of_another_size(actual: bytes, said: int, text: str) -> None:
    body = make(io.BytesIO(actual), said)
    with pytest.raises(StreamError, match=text):
        body.read()
    assert not body.is_complete


def test_a_stream_that_hands_out_more_than_was_asked_for() -> None:
    class Generous:
        def read(self, size: int = -1, /) -> bytes:
            return b"12345678"

    body = make(Generous(), 4)
    with pytest.raises(StreamError, match="longer than expected"):
        body.read()
    assert not body.is_complete


@pytest.mark.parametrize("error", [OSError("reset"), ValueError("bad"), TimeoutError()])
def test_errors_of_the_stream_do_not_look_like_errors_of_the_network(error: Exception) -> None:
    class Failing:
        def read(self, size: int = -1, /) -> bytes:
            raise error

    body = make(Failing(), 4)
    with pytest.raises(StreamError, match=f"could not be read \\({type(error).__name__}\\)"):
        body.read()
    assert not body.is_complete
    assert not isinstance(StreamError(), OSError | ValueError)
