"""The bucket, as moto emulates S3."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from groq_batch.bucket.concat import join
from groq_batch.bucket.multipart_writer import PART_BYTES, ObjectWriter
from groq_batch.bucket.s3_errors import ConflictError, MissingObjectError
from groq_batch.bucket.storage import ListingPosition, LostPositionError, Storage, StoredObject
from groq_batch.request_file.lines import READ_BYTES
from local.listed_bucket import BUCKET, ListedBucket
from tests.fakes.calls import Call
from tests.fakes.s3 import FakeS3
from tests.fakes.streams import BreakingBody
from tests.integration.moto_s3 import versioned_bucket

MIB = 1024 * 1024


@pytest.fixture
def storage() -> Iterator[Storage]:
    with mock_aws():
        yield Storage(s3=versioned_bucket("bucket"), bucket="bucket")


def test_conditional_writes(storage: Storage) -> None:
    etag = storage.put_json("a", {"n": 1}, over=None)
    with pytest.raises(ConflictError):
        storage.put_json("a", {"n": 2}, over=None)
    newer = storage.put_json("a", {"n": 2}, over=etag)
    with pytest.raises(ConflictError):
        storage.put_json("a", {"n": 3}, over=etag)
    with pytest.raises(ConflictError):
        storage.put_json("absent", {}, over=etag)
    found = storage.get_json("a")
    assert found is not None
    assert (found.value, found.etag) == ({"n": 2}, newer)
    assert storage.get_json("absent") is None


def test_a_listing_of_versions_goes_on_where_another_has_ended() -> None:
    storage = Storage(s3=ListedBucket(1_020, modified_at=0.0).client(), bucket=BUCKET)
    first = next(iter(storage.version_pages("input/")))
    assert len(first.versions) == 1_000
    assert first.following is not None
    assert first.following.key == first.versions[-1].key
    (second,) = storage.version_pages("input/", first.following)
    assert second.following is None
    assert [*first.versions, *second.versions] == list(storage.versions("input/"))


def test_a_listing_that_cannot_go_on_says_so() -> None:
    def refuse(**_: Any) -> Any:
        return Refused(), {
            "Error": {"Code": "InvalidArgument", "Message": "Invalid version id specified"},
            "ResponseMetadata": {"HTTPStatusCode": 400},
        }

    class Refused:
        status_code = 400

    storage = Storage(s3=boto3.client("s3"), bucket="bucket")
    storage.s3.meta.events.register_first("before-call.s3.ListObjectVersions", refuse)
    with pytest.raises(LostPositionError):
        next(storage.version_pages("input/", ListingPosition("input/a", "gone")))
    with pytest.raises(ClientError):
        next(storage.version_pages("input/"))


def test_objects_are_listed_with_their_dates(storage: Storage) -> None:
    before = time.time()
    storage.put_bytes("a", b"1")
    (found,) = storage.objects("a")
    assert before - 2 < found.modified_at < time.time() + 2


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
    with ObjectWriter(storage, "a", metadata={"groq-batch-job": "j"}) as writer:
        for start in range(0, size, MIB):
            writer.write(data[start : min(start + MIB, size)])
    assert writer.bytes_written == size
    assert b"".join(storage.chunks("a")) == data[:size]
    head = storage.head("a")
    assert head is not None
    assert head.metadata == {"groq-batch-job": "j"}


def test_sealed_writer_shows_nothing_before_commit(storage: Storage) -> None:
    kept, dropped = ObjectWriter(storage, "kept"), ObjectWriter(storage, "dropped")
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
        with ObjectWriter(storage, "a") as writer:
            writer.write(b"x" * (PART_BYTES + 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert not storage.exists("a")
    assert storage.s3.list_multipart_uploads(Bucket="bucket").get("Uploads", []) == []


@pytest.mark.parametrize("size", [3, PART_BYTES + 1])
def test_commit_only_where_nothing_stands(storage: Storage, size: int) -> None:
    storage.put_bytes("a", b"theirs")
    writer = ObjectWriter(storage, "a")
    writer.write(b"x" * size)
    with pytest.raises(ConflictError):
        writer.commit(over=None)
    assert b"".join(storage.chunks("a")) == b"theirs"


def test_join(storage: Storage) -> None:
    sizes = [10, 6 * MIB, 5, 7, 5 * MIB, 100]
    sources, expected = [], b""
    for number, size in enumerate(sizes):
        data = bytes([65 + number]) * size
        storage.put_bytes(f"part-{number}", data)
        sources.append(StoredObject(f"part-{number}", size))
        expected += data
    with ObjectWriter(storage, "joined") as writer:
        join(storage, sources, writer)
    assert b"".join(storage.chunks("joined")) == expected
    assert writer.bytes_written == len(expected)


class TestRanges:
    DATA = bytes(range(256)) * 12_000
    """Three pieces of a stream, the last one short."""

    @pytest.fixture
    def storage(self, storage: Storage) -> Storage:
        storage.put_bytes("a", self.DATA)
        return storage

    @pytest.mark.parametrize("first", [0, 1, READ_BYTES, 3_071_999])
    @pytest.mark.parametrize("length", [0, 1, 10, READ_BYTES + 1, None])
    def test_of_an_object(self, storage: Storage, first: int, length: int | None) -> None:
        pieces = list(storage.chunks("a", first=first, length=length))
        end = len(self.DATA) if length is None else first + length
        assert b"".join(pieces) == self.DATA[first:end]
        assert all(0 < len(piece) <= READ_BYTES for piece in pieces)

    def test_that_reach_beyond_the_end_are_cut(self, storage: Storage) -> None:
        assert b"".join(storage.chunks("a", first=3_071_990, length=100)) == self.DATA[-10:]

    def test_of_no_length_ask_for_nothing(self, storage: Storage) -> None:
        """Not even for an object: S3 knows no range without a byte."""
        assert list(storage.chunks("absent", first=5, length=0)) == []

    def test_of_a_version(self, storage: Storage) -> None:
        head = storage.head("a")
        assert head is not None
        storage.put_bytes("a", b"of somebody else")
        pieces = storage.chunks("a", version_id=head.version_id, first=3, length=7)
        assert b"".join(pieces) == self.DATA[3:10]
        assert b"".join(storage.chunks("a", first=3, length=7)) == b"somebod"

    def test_of_what_is_not_there(self, storage: Storage) -> None:
        with pytest.raises(MissingObjectError):
            list(storage.chunks("absent", first=1, length=2))


class TestBrokenRanges:
    """A range whose stream breaks is taken up where it broke, and ends where it was to end."""

    @pytest.mark.parametrize("ignores_ranges", [False, True])
    @pytest.mark.parametrize(("first", "length"), [(0, 50), (7, 50), (7, 400), (50, None)])
    def test_is_taken_up(self, first: int, length: int | None, ignores_ranges: bool) -> None:
        s3 = FakeS3()
        data = bytes(range(200))
        s3.client().put_object(Bucket="bucket", Key="a", Body=data)
        asked: list[str | None] = []

        def wire(call: Call, act: Callable[[], Any]) -> Any:
            asked.append(call.arguments.get("Range"))
            answer = act()
            if ignores_ranges:
                answer = s3.client().get_object(Bucket="bucket", Key="a")
            else:
                answer = {**answer, "Body": BreakingBody(answer["Body"], gives=20)}
            return answer

        storage = s3.storage(wire)
        end = None if length is None else first + length
        assert b"".join(storage.chunks("a", first=first, length=length)) == data[first:end]
        if not ignores_ranges:
            rest = range(first, min(200, end or 200), 20)
            starts = [
                int((one or "bytes=0-").removeprefix("bytes=").split("-")[0]) for one in asked
            ]
            assert starts == list(rest)

    def test_of_an_object_that_was_overwritten_meanwhile(self) -> None:
        s3 = FakeS3()
        s3.client().put_object(Bucket="bucket", Key="a", Body=b"x" * 100)

        def wire(call: Call, act: Callable[[], Any]) -> Any:
            answer = act()
            s3.client().put_object(Bucket="bucket", Key="a", Body=b"y" * 100)
            return {**answer, "Body": BreakingBody(answer["Body"], gives=20)}

        storage = s3.storage(wire)
        with pytest.raises(ClientError, match="PreconditionFailed"):
            list(storage.chunks("a", first=10, length=60))

    def test_of_an_object_that_is_not_the_expected_one(self) -> None:
        s3 = FakeS3()
        storage = Storage(s3=s3.client(), bucket="bucket")
        etag = storage.put_bytes("a", b"x")
        assert list(storage.chunks("a", etag=etag)) == [b"x"]
        storage.put_bytes("a", b"y")
        with pytest.raises(MissingObjectError):
            list(storage.chunks("a", etag=etag))


class TestCopies:
    DATA = bytes(range(256)) * (7 * MIB // 256)

    def put(self, storage: Storage, key: str, data: bytes) -> str:
        storage.put_bytes(key, data)
        head = storage.head(key)
        assert head is not None
        return str(head.version_id)

    @pytest.mark.parametrize("key", ["input/a", "input/a b+c?versionId=x&%20#ü'\".jsonl"])
    def test_of_a_version(self, storage: Storage, key: str) -> None:
        version_id = self.put(storage, key, self.DATA)
        self.put(storage, key, b"of somebody else")
        with ObjectWriter(storage, "a") as writer:
            writer.copy_part(key, first=3, length=6 * MIB, version_id=version_id)
            writer.write(b"tail")
        assert writer.bytes_written == 6 * MIB + 4
        assert b"".join(storage.chunks("a")) == self.DATA[3 : 3 + 6 * MIB] + b"tail"

    def test_of_what_is_not_there(self, storage: Storage) -> None:
        writer = ObjectWriter(storage, "a")
        writer.copy_part("absent", first=0, length=6 * MIB)
        with pytest.raises(MissingObjectError, match="absent"):
            writer.seal()
        writer.abort()
        assert storage.s3.list_multipart_uploads(Bucket="bucket").get("Uploads", []) == []
