"""Writes that S3 answers with 409, and writes whose first response is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from groq_batch.bucket.multipart_writer import PART_BYTES, ObjectWriter
from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.bucket.write_condition import ANYTHING, Over, write_condition
from tests.fakes.calls import Call
from tests.fakes.s3 import FakeS3, client_error

IN_PROGRESS = "ConditionalRequestConflict"


class Bucket:
    """A bucket whose S3 answers some calls with an error, before or after it has acted."""

    def __init__(self, operation: str) -> None:
        self.s3 = FakeS3()
        self.operation = operation
        self.before: list[ClientError] = []
        self.after: list[ClientError] = []
        self.storage = Storage(s3=self.s3.client(self._wire), bucket=self.s3.bucket)

    def _wire(self, call: Call, act: Callable[[], Any]) -> Any:
        if call.operation == self.operation and self.before:
            raise self.before.pop(0)
        answer = act()
        if call.operation == self.operation and self.after:
            raise self.after.pop(0)
        return answer


def in_progress(code: str = IN_PROGRESS) -> ClientError:
    return client_error("PutObject", 409, code, "Another operation is in progress.")


def gone() -> ClientError:
    return client_error("CompleteMultipartUpload", 404, "NoSuchUpload", "It is gone.")


@pytest.mark.parametrize("code", [IN_PROGRESS, "OperationAborted"])
def test_put_bytes_while_another_write_fails_is_repeated(code: str) -> None:
    bucket = Bucket("put_object")
    bucket.before = [in_progress(code)]
    bucket.storage.put_bytes("a", b"one", over=None)
    assert bucket.s3.history("a") == [b"one"]


def test_put_bytes_with_endless_409_is_a_conflict() -> None:
    bucket = Bucket("put_object")
    bucket.before = [in_progress() for _ in range(100)]
    with pytest.raises(ConflictError):
        bucket.storage.put_bytes("a", b"one", over=None)
    assert bucket.s3.read("a") is None
    assert len(bucket.before) > 90


def test_delete_unchanged_while_another_write_fails_is_repeated() -> None:
    bucket = Bucket("delete_object")
    etag = bucket.storage.put_bytes("a", b"one")
    bucket.before = [in_progress()]
    assert bucket.storage.delete_unchanged("a", etag)
    assert bucket.s3.read("a") is None


def large_object(bucket: Bucket, data: bytes) -> ObjectWriter:
    writer = ObjectWriter(bucket.storage, "a")
    writer.write(data)
    writer.seal()
    return writer


@pytest.mark.parametrize("size", [1, 2 * PART_BYTES])
def test_commit_whose_response_is_lost_returns_the_objects_etag(size: int) -> None:
    bucket = Bucket("complete_multipart_upload")
    writer = large_object(bucket, bytes(size))
    bucket.after = [gone()]
    etag = writer.commit()
    head = bucket.storage.head("a")
    assert head is not None
    assert (head.etag, head.size) == (etag, size)


@pytest.mark.parametrize("other", [None, b"other", bytes(PART_BYTES)])
def test_commit_of_a_lost_upload_is_an_error(other: bytes | None) -> None:
    bucket = Bucket("complete_multipart_upload")
    writer = large_object(bucket, bytes(PART_BYTES))
    if other is not None:
        bucket.storage.put_bytes("a", other)
    bucket.before = [gone()]
    with pytest.raises(ClientError, match="NoSuchUpload"):
        writer.commit()


def test_conditional_commit_whose_response_is_lost_is_a_conflict() -> None:
    """Whoever handles it looks whose object it is, as after a lost response of PutObject."""
    bucket = Bucket("complete_multipart_upload")
    writer = large_object(bucket, b"mine")
    bucket.after = [gone()]
    with pytest.raises(ConflictError):
        writer.commit(over=None)
    assert bucket.s3.history("a") == [b"mine"]


def test_conditional_commit_of_a_lost_upload_is_an_error() -> None:
    bucket = Bucket("complete_multipart_upload")
    writer = large_object(bucket, b"mine")
    bucket.before = [gone()]
    with pytest.raises(ClientError, match="NoSuchUpload"):
        writer.commit(over=None)


@pytest.mark.parametrize(
    ("over", "condition"),
    [(ANYTHING, {}), (None, {"IfNoneMatch": "*"}), ('"e"', {"IfMatch": '"e"'})],
)
def test_write_condition_says_what_may_be_replaced(over: Over, condition: dict[str, str]) -> None:
    assert write_condition(over) == condition
