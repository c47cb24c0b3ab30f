"""Uploads that S3 holds back until they are completed."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from groq_batch.bucket.multipart_writer import PART_BYTES
from groq_batch.bucket.pending_upload import (
    LostUploadError,
    PendingUpload,
    PendingWriter,
    abort_all,
    complete_all,
)
from groq_batch.domain.json_data import from_json_data, to_json_data
from tests.fakes.s3 import FakeS3, refusing


def held(s3: FakeS3, data: bytes, key: str = "a") -> PendingUpload:
    writer = PendingWriter(s3.storage(), key)
    for start in range(0, len(data), 1_000_000):
        writer.write(data[start : start + 1_000_000])
    upload = writer.hold()
    assert upload.upload_id == writer.upload_id
    # Whoever completes it knows no more than what was written down.
    return from_json_data(json.loads(json.dumps(to_json_data(upload))), PendingUpload)


@pytest.mark.parametrize("size", [1, PART_BYTES, 3 * PART_BYTES + 1])
def test_nothing_is_visible_before_it_is_completed(s3: FakeS3, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    upload = held(s3, data[:size])
    assert upload.size == size
    assert s3.keys() == []
    upload.complete(s3.storage())
    assert s3.read("a") == data[:size]
    assert s3.open_uploads == []


def test_completing_it_again_changes_nothing(s3: FakeS3) -> None:
    upload = held(s3, b"data")
    for _ in range(3):
        upload.complete(s3.storage())
    assert s3.history("a") == [b"data"]


FORGETFUL = refusing("complete_multipart_upload", 404, "NoSuchUpload")
"""S3, when it does not remember an upload that was completed long ago."""


def test_an_upload_that_is_gone_has_been_completed_when_its_object_stands(s3: FakeS3) -> None:
    upload = held(s3, b"data")
    upload.complete(s3.storage())
    upload.complete(s3.storage(FORGETFUL))
    assert s3.history("a") == [b"data"]


@pytest.mark.parametrize("other", [None, b"others"])
def test_an_upload_that_is_gone_without_its_object(s3: FakeS3, other: bytes | None) -> None:
    upload = held(s3, b"data")
    if other is not None:
        s3.storage().put_bytes("a", other)
    with pytest.raises(LostUploadError, match="upload of a no longer exists"):
        upload.complete(s3.storage(FORGETFUL))


def test_other_errors_are_passed_on(s3: FakeS3) -> None:
    upload = held(s3, b"data")
    denied = refusing("complete_multipart_upload", 403, "AccessDenied")
    with pytest.raises(ClientError, match="AccessDenied"):
        upload.complete(s3.storage(denied))


def test_many_at_once(s3: FakeS3) -> None:
    uploads = [held(s3, b"%d" % number, f"k{number:02}") for number in range(40)]
    complete_all(s3.storage(), uploads)
    assert [s3.read(f"k{number:02}") for number in range(40)] == [b"%d" % n for n in range(40)]
    complete_all(s3.storage(), [])


def test_many_are_dropped_at_once_and_again(s3: FakeS3) -> None:
    uploads = [held(s3, b"%d" % number, f"k{number:02}") for number in range(40)]
    uploads[7].complete(s3.storage())
    for _ in range(2):
        abort_all(s3.storage(), iter(uploads))
    assert s3.open_uploads == []
    assert s3.keys() == ["k07"]
    abort_all(s3.storage(), [])


def test_an_error_of_dropping_is_passed_on(s3: FakeS3) -> None:
    upload = held(s3, b"data")
    denied = refusing("abort_multipart_upload", 403, "AccessDenied")
    with pytest.raises(ClientError, match="AccessDenied"):
        abort_all(s3.storage(denied), [upload])


def test_copied_and_written_bytes_are_held_together(s3: FakeS3) -> None:
    source = bytes(range(251)) * 30_000
    s3.storage().put_bytes("source", source)
    writer = PendingWriter(s3.storage(), "a")
    writer.write(source[:PART_BYTES])
    writer.copy_part("source", first=5, length=PART_BYTES)
    writer.write(b"end")
    upload = writer.hold()
    assert len(upload.etags) == 3
    assert upload.size == 2 * PART_BYTES + 3
    upload.complete(s3.storage())
    assert s3.read("a") == source[:PART_BYTES] + source[5 : 5 + PART_BYTES] + b"end"


def test_a_part_that_is_too_small_is_refused_when_it_is_completed(s3: FakeS3) -> None:
    """Who writes has to see to it: S3 tells only in the end."""
    s3.storage().put_bytes("source", b"x" * PART_BYTES)
    writer = PendingWriter(s3.storage(), "a")
    writer.write(b"x" * (5 * 1024 * 1024 - 1))
    writer.copy_part("source", first=0, length=PART_BYTES)
    with pytest.raises(ClientError, match="EntityTooSmall"):
        writer.hold().complete(s3.storage())


def test_one_of_many_fails(s3: FakeS3) -> None:
    uploads = [held(s3, b"%d" % number, f"k{number:02}") for number in range(5)]
    s3.storage().s3.abort_multipart_upload(
        Bucket=s3.bucket, Key="k03", UploadId=uploads[3].upload_id
    )
    with pytest.raises(LostUploadError, match="k03"):
        complete_all(s3.storage(), uploads)


def test_a_dropped_upload_cannot_be_held(s3: FakeS3) -> None:
    writer = PendingWriter(s3.storage(), "a")
    writer.write(b"x" * (PART_BYTES + 1))
    assert writer.upload_id is not None
    writer.abort()
    assert writer.upload_id is None
    assert s3.open_uploads == []
    with pytest.raises(ValueError, match="nothing to be held back for a"):
        writer.hold()
    assert s3.open_uploads == []


def test_nothing_cannot_be_held(s3: FakeS3) -> None:
    with pytest.raises(ValueError, match="nothing to be held back for a"):
        PendingWriter(s3.storage(), "a").hold()
    assert s3.open_uploads == []
