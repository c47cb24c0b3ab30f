"""Which errors of S3 deny a write for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from groq_batch.bucket.multipart_writer import PART_BYTES, ObjectWriter
from groq_batch.bucket.s3_errors import UnreadableObjectError, UnwritableObjectError
from groq_batch.bucket.storage import Storage
from tests.fakes.calls import Call
from tests.fakes.s3 import FakeS3, client_error

DENIED = [
    (403, "AccessDenied"),
    (400, "KMS.DisabledException"),
    (400, "KMS.KMSInvalidStateException"),
    (400, "KMS.NotFoundException"),
]
PASSING = [(503, "SlowDown"), (400, "KMS.ThrottlingException"), (500, "KMS.KMSInternalException")]


def storage_that_answers(status: int, code: str) -> Storage:
    def wire(call: Call, act: Callable[[], Any]) -> Any:
        raise client_error(call.operation, status, code, "refused")

    return Storage(s3=FakeS3().client(wire), bucket="bucket")


def write(storage: Storage, size: int) -> None:
    with ObjectWriter(storage, "a") as writer:
        writer.write(b"x" * size)


@pytest.mark.parametrize(("status", "code"), DENIED)
@pytest.mark.parametrize("size", [1, PART_BYTES + 1])
def test_write_that_is_denied_says_so(status: int, code: str, size: int) -> None:
    storage = storage_that_answers(status, code)
    with pytest.raises(UnwritableObjectError):
        storage.put_bytes("a", b"1")
    with pytest.raises(UnwritableObjectError):
        write(storage, size)


@pytest.mark.parametrize(("status", "code"), PASSING)
def test_error_that_passes_denies_nothing(status: int, code: str) -> None:
    storage = storage_that_answers(status, code)
    with pytest.raises(ClientError):
        storage.put_bytes("a", b"1")
    with pytest.raises(ClientError):
        storage.head("a")


def test_object_whose_key_is_disabled_cannot_be_read() -> None:
    with pytest.raises(UnreadableObjectError):
        storage_that_answers(400, "KMS.DisabledException").head("a")
