"""The bucket, as moto emulates S3."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from groq_batch.joining import join
from groq_batch.storage import (
    PART_BYTES,
    ConflictError,
    LineReader,
    MissingObjectError,
    Storage,
    StoredObject,
)

MIB = 1024 * 1024


@pytest.fixture
def storage() -> Iterator[Storage]:
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="bucket")
        s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
        yield Storage(s3=s3, bucket="bucket")


def test_conditional_writes(storage: Storage) -> None:
    etag = storage.put_json("a", {"n": 1}, if_none_match=True)
    with pytest.raises(ConflictError):
        storage.put_json("a", {"n": 2}, if_none_match=True)
    newer = storage.put_json("a", {"n": 2}, if_match=etag)
    with pytest.raises(ConflictError):
        storage.put_json("a", {"n": 3}, if_match=etag)
    with pytest.raises(ConflictError):
        storage.put_json("absent", {}, if_match=etag)
    assert storage.get_json("a") == ({"n": 2}, newer)
    assert storage.get_json("absent") is None


def test_head_and_versions(storage: Storage) -> None:
    storage.put_bytes("input/a", b"1", metadata={"Max-Attempts": "2"})
    first = storage.head("input/a")
    assert first is not None
    assert first.metadata == {"max-attempts": "2"}
    storage.put_bytes("input/a", b"22")
    storage.put_bytes("input/a2", b"3")
    storage.delete(["input/a"])
    assert storage.head("input/a") is None
    assert not storage.exists("input/a")
    old = storage.head("input/a", version_id=first.version_id)
    assert old is not None
    assert old.size == 1
    versions = list(storage.versions("input/"))
    assert [(one.key, one.is_latest, one.is_delete_marker) for one in versions] == [
        ("input/a", True, True),
        ("input/a", False, False),
        ("input/a", False, False),
        ("input/a2", True, False),
    ]
    assert versions[2].version_id == first.version_id
    assert b"".join(storage.chunks("input/a", version_id=first.version_id)) == b"1"
    with pytest.raises(MissingObjectError):
        storage.open("input/a")


def test_lists(storage: Storage) -> None:
    for key in ("w/attempt-1/a", "w/attempt-1/b", "w/attempt-2/a"):
        storage.put_bytes(key, b"12")
    assert list(storage.objects("w/attempt-1/")) == [
        StoredObject("w/attempt-1/a", 2),
        StoredObject("w/attempt-1/b", 2),
    ]
    assert storage.folders("w/") == ["attempt-1", "attempt-2"]
    storage.delete([])


@pytest.mark.parametrize("size", [0, 10, PART_BYTES, 3 * PART_BYTES + 5])
def test_writer_writes_objects_of_any_size(storage: Storage, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    with storage.writer("a", metadata={"groq-batch-job": "j"}) as writer:
        for start in range(0, size, MIB):
            writer.write(data[start : min(start + MIB, size)])
    assert writer.bytes_written == size
    assert b"".join(storage.chunks("a")) == data[:size]
    head = storage.head("a")
    assert head is not None
    assert head.metadata == {"groq-batch-job": "j"}


def test_sealed_writer_shows_nothing_before_commit(storage: Storage) -> None:
    kept, dropped = storage.writer("kept"), storage.writer("dropped")
    for writer in (kept, dropped):
        writer.write(b"few bytes")
        writer.seal()
    assert not storage.exists("kept")
    kept.commit()
    dropped.abort()
    assert b"".join(storage.chunks("kept")) == b"few bytes"
    assert not storage.exists("dropped")
    assert storage.s3.list_multipart_uploads(Bucket="bucket").get("Uploads", []) == []


def test_failing_block_leaves_nothing(storage: Storage) -> None:
    def write() -> None:
        with storage.writer("a") as writer:
            writer.write(b"x" * (PART_BYTES + 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert not storage.exists("a")
    assert storage.s3.list_multipart_uploads(Bucket="bucket").get("Uploads", []) == []


@pytest.mark.parametrize("size", [3, PART_BYTES + 1])
def test_commit_only_where_nothing_stands(storage: Storage, size: int) -> None:
    storage.put_bytes("a", b"theirs")
    writer = storage.writer("a")
    writer.write(b"x" * size)
    with pytest.raises(ConflictError):
        writer.commit(if_none_match=True)
    assert b"".join(storage.chunks("a")) == b"theirs"


def test_join(storage: Storage) -> None:
    sizes = [10, 6 * MIB, 5, 7, 5 * MIB, 100]
    sources, expected = [], b""
    for number, size in enumerate(sizes):
        data = bytes([65 + number]) * size
        storage.put_bytes(f"part-{number}", data)
        sources.append(StoredObject(f"part-{number}", size))
        expected += data
    with storage.writer("joined") as writer:
        join(storage, sources, writer)
    assert b"".join(storage.chunks("joined")) == expected
    assert writer.bytes_written == len(expected)


def test_lines_end_with_one_byte_only() -> None:
    pieces = [b"a\xe2\x80", b"\xa8b\r\nc", b"", b"\n\nlast"]
    assert list(LineReader(pieces)) == [b"a\xe2\x80\xa8b\r", b"c", b"", b"last"]
