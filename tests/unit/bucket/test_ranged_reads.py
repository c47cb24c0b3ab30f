"""A version is read in ranges side by side: the same bytes in order, a few in memory at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import FlexibleChecksumError
from botocore.httpchecksum import Crc32Checksum, StreamingChecksumBody
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.bucket import multipart_writer, prefetch
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.prefetch import RANGES_AT_ONCE, read_version
from groq_batch.bucket.s3_errors import MissingObjectError
from groq_batch.bucket.storage import Storage
from tests.fakes.calls import Call
from tests.fakes.s3 import FakeS3

RANGE = 10


class Meter:
    """Passes calls of one operation on when so many of them are under way, or nobody else comes."""

    def __init__(self, operation: str, most: int) -> None:
        self.most = 0
        self._operation = operation
        self._under_way = 0
        self._expected = most
        self._changed = threading.Condition()

    def __call__(self, call: Call, act: Callable[[], Any]) -> Any:
        if call.operation != self._operation:
            return act()
        with self._changed:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self._changed.notify_all()
            # The last ones have nobody to wait for.
            self._changed.wait_for(lambda: self.most >= self._expected, timeout=5)
        try:
            return act()
        finally:
            with self._changed:
                self._under_way -= 1


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "RANGE_BYTES", RANGE)


def bucket_with(data: bytes) -> tuple[FakeS3, str]:
    s3 = FakeS3()
    answer = s3.client().put_object(Bucket=s3.bucket, Key="input/a.jsonl", Body=data)
    return s3, answer["VersionId"]


@given(size=st.integers(1, 95), first=st.integers(0, 94))
def test_read_version_yields_the_bytes_of_a_stretch(size: int, first: int) -> None:
    data = bytes(range(size))
    first = min(first, size - 1)
    s3, version = bucket_with(data)
    s3.client().put_object(Bucket=s3.bucket, Key="input/a.jsonl", Body=b"a newer one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefetch, "RANGE_BYTES", RANGE)
        found = read_version(
            s3.storage(), "input/a.jsonl", version_id=version, first=first, length=size - first
        )
        assert b"".join(found) == data[first:]


def test_read_version_fetches_some_ranges_side_by_side_and_no_more() -> None:
    s3, version = bucket_with(bytes(200))
    meter = Meter("get_object", RANGES_AT_ONCE)
    found = read_version(s3.storage(meter), "input/a.jsonl", version_id=version, length=200)
    assert len(b"".join(found)) == 200
    assert meter.most == RANGES_AT_ONCE


def test_read_version_left_early_leaves_no_thread_and_reads_no_further() -> None:
    s3, version = bucket_with(bytes(1000))
    calls: list[Call] = []

    def wire(call: Call, act: Callable[[], Any]) -> Any:
        calls.append(call)
        return act()

    before = threading.active_count()
    pieces = read_version(s3.storage(wire), "input/a.jsonl", version_id=version, length=1000)
    with closing(pieces):
        next(pieces)
    assert len(calls) <= RANGES_AT_ONCE + 1
    assert threading.active_count() == before


def test_read_version_of_a_version_that_is_gone_raises() -> None:
    s3, _ = bucket_with(bytes(100))
    with pytest.raises(MissingObjectError):
        list(read_version(s3.storage(), "input/a.jsonl", version_id="v-gone", length=100))


@pytest.mark.parametrize(("copies", "most"), [(40, 16), (3, 3)])
def test_object_writer_has_many_parts_copied_side_by_side(copies: int, most: int) -> None:
    size = 6 * 1024 * 1024
    s3, version = bucket_with(bytes(size))
    meter = Meter("upload_part_copy", most)
    with ObjectWriter(s3.storage(meter), "output/a.jsonl") as writer:
        for _ in range(copies):
            writer.copy_part("input/a.jsonl", first=0, length=size, version_id=version)
    assert meter.most == most
    assert writer.bytes_written == copies * size
    head = s3.storage().head("output/a.jsonl")
    assert head is not None
    assert head.size == copies * size


def test_object_writer_holds_two_parts_in_memory_while_others_are_copied() -> None:
    size = 6 * 1024 * 1024
    s3, _ = bucket_with(bytes(size))
    meter = Meter("upload_part", multipart_writer._PARTS_IN_FLIGHT)
    with ObjectWriter(s3.storage(meter), "output/a.jsonl") as writer:
        for number in range(6):
            writer.copy_part("input/a.jsonl", first=0, length=size)
            writer.write(bytes([number]) * size)
    assert meter.most == multipart_writer._PARTS_IN_FLIGHT
    data = s3.read("output/a.jsonl")
    assert data is not None
    assert [data[place] for place in range(size, 12 * size, 2 * size)] == list(range(6))


def test_upload_with_the_checksum_of_its_parts_is_read_whole() -> None:
    """boto3 uploads files above 8 MiB so; the checksum is that of the parts' checksums."""
    data = b"line\n" * 2
    s3, version = bucket_with(data)

    def send_checksum(call: Call, act: Callable[[], Any]) -> Any:
        answer = act()
        if call.operation == "get_object":
            length = answer["ContentLength"]
            answer["Body"] = StreamingChecksumBody(
                answer["Body"], length, Crc32Checksum(), "UymZPQ=="
            )
        return answer

    storage = Storage(s3=s3.client(send_checksum), bucket=s3.bucket)
    with pytest.raises(FlexibleChecksumError):
        storage.open("input/a.jsonl", version_id=version).read()
    for length in (None, len(data)):
        pieces = storage.chunks("input/a.jsonl", version_id=version, length=length)
        assert b"".join(pieces) == data
    assert (
        b"".join(read_version(storage, "input/a.jsonl", version_id=version, length=len(data)))
        == data
    )
