"""How objects are removed: many at once, one that nobody has written since, and what may fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from groq_batch.bucket.s3_errors import UnwritableObjectError
from tests.fakes.calls import Call, Wire, plain_wire
from tests.fakes.s3 import FakeS3, refusing


class Bucket:
    """A bucket that remembers its calls, and may refuse them."""

    def __init__(self, wire: Wire = plain_wire) -> None:
        self.calls: list[Call] = []
        self.wire = wire
        self.s3 = FakeS3()
        self.storage = self.s3.storage(self._remember)

    def _remember(self, call: Call, act: Callable[[], Any]) -> Any:
        self.calls.append(call)
        return self.wire(call, act)

    @property
    def deletions(self) -> list[str]:
        """The calls that remove something."""
        return [str(call) for call in self.calls if "delete" in call.operation]


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def test_delete_many_keys_asks_for_a_thousand_at_once(bucket: Bucket) -> None:
    keys = [f"{number:04d}" for number in range(1001)]
    for key in keys:
        bucket.storage.put_bytes(key, b"")
    bucket.storage.delete(keys)
    assert bucket.s3.keys() == []
    assert [call.split()[0] for call in bucket.deletions] == ["s3.delete_objects"] * 2


@pytest.mark.parametrize("code", ["InternalError", "SlowDown", "ServiceUnavailable"])
def test_delete_a_key_that_s3_fails_for_is_asked_for_alone(bucket: Bucket, code: str) -> None:
    for key in ("a", "b", "c"):
        bucket.storage.put_bytes(key, b"")
    bucket.s3.deletion_errors = [code]
    bucket.storage.delete(["a", "b", "c"])
    assert bucket.s3.keys() == []
    assert bucket.deletions == ["s3.delete_objects a,b,c", "s3.delete_object a"]


def test_delete_a_key_that_s3_fails_for_again_is_no_denial(bucket: Bucket) -> None:
    bucket.wire = refusing("delete_object", 500, "InternalError")
    bucket.s3.deletion_errors = ["InternalError"]
    with pytest.raises(ClientError):
        bucket.storage.delete(["a"])


@pytest.mark.parametrize("code", ["AccessDenied", "403"])
def test_delete_a_key_that_s3_denies_raises_the_denial(bucket: Bucket, code: str) -> None:
    bucket.s3.deletion_errors = [code]
    with pytest.raises(UnwritableObjectError, match="a: "):
        bucket.storage.delete(["a"])


def test_delete_names_that_xml_cannot_hold_are_removed(bucket: Bucket) -> None:
    keys = [f"odd{character}name" for character in "\x01\x08\x0b\x1f\ufffe\t\r\n\x7fü"]
    for key in keys:
        bucket.storage.put_bytes(key, b"")
    bucket.storage.delete(keys)
    assert bucket.s3.keys() == []


def test_delete_unchanged_sends_the_etag_as_a_condition_of_one_deletion(bucket: Bucket) -> None:
    etag = bucket.storage.put_bytes("odd\x01name", b"one")
    assert bucket.storage.delete_unchanged("odd\x01name", etag)
    assert bucket.s3.keys() == []
    (sent,) = [call for call in bucket.calls if "delete" in call.operation]
    assert sent.operation == "delete_object"
    # As HEAD tells it, with its marks: measured against S3 for this header, and in no other place.
    assert sent.arguments["IfMatch"] == etag
    assert etag.startswith('"')


@pytest.mark.parametrize("now", [b"two", None])
def test_delete_unchanged_leaves_what_was_written_since(bucket: Bucket, now: bytes | None) -> None:
    etag = bucket.storage.put_bytes("a", b"one")
    bucket.storage.delete(["a"])
    if now is not None:
        bucket.storage.put_bytes("a", now)
    assert not bucket.storage.delete_unchanged("a", etag)
    assert bucket.s3.read("a") == now


def test_delete_unchanged_met_by_another_write_leaves_it(bucket: Bucket) -> None:
    etag = bucket.storage.put_bytes("a", b"one")
    bucket.wire = refusing("delete_object", 409, "ConditionalRequestConflict")
    assert not bucket.storage.delete_unchanged("a", etag)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(403, "AccessDenied", UnwritableObjectError), (500, "InternalError", ClientError)],
)
def test_delete_unchanged_tells_a_denial_from_a_failure(
    bucket: Bucket, status: int, code: str, error: type[Exception]
) -> None:
    etag = bucket.storage.put_bytes("a", b"one")
    bucket.wire = refusing("delete_object", status, code)
    with pytest.raises(error) as caught:
        bucket.storage.delete_unchanged("a", etag)
    assert caught.type is error
