"""Reading objects over connections that break, with boto3's own streams."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import FlexibleChecksumError, ResponseStreamingError

from groq_batch.bucket.concat import join
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.prefetch import read_version
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.request_file.lines import READ_BYTES
from tests.fakes.s3 import FakeS3
from tests.integration.raw_server import Peer, RawServer, Script

DATA = bytes(range(256)) * 4096 * 3
SENT = READ_BYTES * 3 // 2
"""Bytes that come before a connection breaks."""


def answer(peer: Peer, data: bytes, *, gives: int | None = None, **fields: str) -> None:
    """Answer a GET of ``data`` as S3 does, or only its beginning."""
    head = peer.read_head().decode()
    found = re.search(r"range: bytes=(\d+)-(\d*)", head, re.IGNORECASE)
    first = int(found[1]) if found else 0
    last = int(found[2]) if found and found[2] else len(data) - 1
    part = data[first : last + 1]
    lines = ["HTTP/1.1 206 Partial Content" if found else "HTTP/1.1 200 OK"]
    fields = {
        "Connection": "close",
        "ETag": '"e"',
        "Content-Length": str(len(part)),
        "Last-Modified": "Mon, 30 Nov 2026 10:00:00 GMT",
        **({"Content-Range": f"bytes {first}-{last}/{len(data)}"} if found else {}),
        **fields,
    }
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    peer.send("\r\n".join([*lines, "", ""]).encode() + part[:gives])


def breaks(how: Callable[[Peer], None]) -> Script:
    """Return the script of a connection that breaks."""

    def script(peer: Peer) -> None:
        answer(peer, DATA, gives=SENT)
        how(peer)

    return script


def whole(peer: Peer) -> None:
    answer(peer, DATA)


def checked(checksum: bytes) -> Script:
    """Return the script of a connection that sends a checksum."""

    def script(peer: Peer) -> None:
        answer(peer, b'{"a": 1}', x_amz_checksum_crc32=base64.b64encode(checksum).decode())

    return script


def ends(peer: Peer) -> None:
    """End the connection in good order."""


def stalls(peer: Peer) -> None:
    """Send nothing any more until the client goes away."""
    peer.socket.recv(1)


GOES_ON_AT = {
    ends: SENT,
    # What has come of the next piece is lost.
    stalls: READ_BYTES,
}


@contextmanager
def bucket(*scripts: Script) -> Iterator[tuple[Storage, RawServer]]:
    with RawServer(*scripts) as server:
        s3 = boto3.client(
            "s3",
            endpoint_url=server.url.removesuffix("/openai/v1"),
            region_name="us-east-1",
            config=Config(read_timeout=1, retries={"mode": "standard", "max_attempts": 0}),
        )
        yield Storage(s3=s3, bucket="bucket"), server


@pytest.mark.parametrize("how", GOES_ON_AT)
def test_chunks_of_broken_stream_goes_on_where_it_broke(how: Callable[[Peer], None]) -> None:
    with bucket(breaks(how), whole) as (storage, server):
        assert b"".join(storage.chunks("a", version_id="v")) == DATA
        first, second = server.heads[:2]
    assert b"range:" not in first.lower()
    found = re.search(rb"range: bytes=(\d+)-", second, re.IGNORECASE)
    assert found is not None
    assert int(found[1]) == GOES_ON_AT[how]
    assert b'if-match: "e"' in second.lower()


def test_chunks_of_stream_that_brings_nothing_is_an_error() -> None:
    with bucket(lambda peer: answer(peer, DATA, gives=0)) as (storage, server):
        with pytest.raises(ResponseStreamingError):
            list(storage.chunks("a", version_id="v"))
        assert len(server.heads) == 4


@pytest.mark.parametrize("how", GOES_ON_AT)
def test_read_version_over_broken_stream_is_complete(how: Callable[[Peer], None]) -> None:
    with bucket(breaks(how), whole) as (storage, _):
        pieces = read_version(storage, "a", version_id="v", length=len(DATA))
        assert b"".join(pieces) == DATA


def test_join_over_broken_stream_is_complete() -> None:
    target = FakeS3()
    with bucket(breaks(ends), whole) as (storage, _):
        writer = ObjectWriter(Storage(s3=target.client(), bucket=target.bucket), "b")
        join(storage, [StoredObject("a", len(DATA))], writer)
        writer.commit()
    assert target.read("b") == DATA


def test_get_json_compares_the_checksum() -> None:
    right = zlib.crc32(b'{"a": 1}').to_bytes(4, "big")
    with bucket(checked(right), checked(bytes(4))) as (storage, _):
        found = storage.get_json("a")
        assert found is not None
        assert (found.value, found.etag) == ({"a": 1}, '"e"')
        with pytest.raises(FlexibleChecksumError):
            storage.get_json("a")
