"""The writes that ``groq-batch doctor`` tries out, on an S3 that does one thing otherwise."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.response import StreamingBody
from msgspec.structs import replace

from groq_batch.bucket.storage import Storage
from groq_batch.bucket.write_checks import WriteChecks, check_writes
from tests.fakes.calls import Call, Wire, plain_wire
from tests.fakes.s3 import FakeS3, client_error

KEY = "work/doctor-1/halt.json"
WELL = WriteChecks(
    conditional_writes="yes", conditional_deletes="yes", multipart_uploads="yes", is_removed=True
)


def check(wire: Wire = plain_wire) -> tuple[WriteChecks, FakeS3]:
    s3 = FakeS3()
    return check_writes(Storage(s3=s3.client(wire), bucket=s3.bucket), KEY), s3


def test_check_writes_on_s3_as_documented_is_well() -> None:
    made, s3 = check()
    assert made == WELL
    assert (s3.keys(), s3.open_uploads) == ([], [])


def test_check_writes_copies_and_sends_parts_as_jobs_do() -> None:
    calls: list[Call] = []

    def note(call: Call, act: Callable[[], Any]) -> Any:
        calls.append(call)
        return act()

    check(note)
    for call in calls:
        # boto3 would ask for what S3 then wants to have of each part.
        assert not {"ChecksumAlgorithm", "ChecksumType"} & call.arguments.keys()
    completed = [c.arguments for c in calls if c.operation == "complete_multipart_upload"]
    assert [part.keys() for part in completed[-1]["MultipartUpload"]["Parts"]] == [
        {"PartNumber", "ETag"}
    ] * 2


def failing(operation: str, status: int, code: str) -> Wire:
    def wire(call: Call, act: Callable[[], Any]) -> Any:
        if call.operation == operation:
            name = operation.title().replace("_", "")
            raise client_error(name, status, code, "S3's own words.")
        return act()

    return wire


@pytest.mark.parametrize(
    ("operation", "changes"),
    [
        ("upload_part", {"multipart_uploads": "InvalidRequest at UploadPart"}),
        ("upload_part_copy", {"multipart_uploads": "InvalidRequest at UploadPartCopy"}),
        (
            "complete_multipart_upload",
            {"multipart_uploads": "InvalidRequest at CompleteMultipartUpload"},
        ),
        (
            "put_object",
            {
                "conditional_writes": "InvalidRequest at PutObject",
                "conditional_deletes": "InvalidRequest at PutObject",
            },
        ),
        ("delete_object", {"conditional_deletes": "InvalidRequest at DeleteObject"}),
    ],
)
def test_check_writes_of_refused_call_names_code_and_operation(
    operation: str, changes: dict[str, Any]
) -> None:
    made, s3 = check(failing(operation, 400, "InvalidRequest"))
    assert made == replace(WELL, **changes)
    assert (s3.keys(), s3.open_uploads) == ([], [])


def test_check_writes_denied_throughout_names_the_operations() -> None:
    def deny(call: Call, _: Callable[[], Any]) -> Any:
        is_head = call.operation == "head_object"
        name = call.operation.title().replace("_", "")
        raise client_error(name, 403, "403" if is_head else "AccessDenied", "No.")

    made, _ = check(deny)
    assert made == WriteChecks(
        conditional_writes="AccessDenied at PutObject",
        conditional_deletes="AccessDenied at PutObject",
        multipart_uploads="AccessDenied at DeleteObjects",
        is_removed=False,
    )


def test_check_writes_without_an_answer_names_the_error() -> None:
    def cut(call: Call, act: Callable[[], Any]) -> Any:
        if call.operation == "upload_part_copy":
            raise EndpointConnectionError(endpoint_url="https://s3")
        return act()

    assert check(cut)[0].multipart_uploads == "EndpointConnectionError"


def ignoring(operation: str, condition: str) -> Wire:
    """S3 as it was before it knew a condition."""

    def wire(call: Call, act: Callable[[], Any]) -> Any:
        if call.operation == operation:
            call.arguments.pop(condition, None)  # type: ignore[attr-defined]
        return act()

    return wire


@pytest.mark.parametrize(
    ("operation", "condition", "changes"),
    [
        ("put_object", "IfNoneMatch", {"conditional_writes": "no"}),
        ("put_object", "IfMatch", {"conditional_writes": "no"}),
        ("delete_object", "IfMatch", {"conditional_deletes": "no"}),
        ("complete_multipart_upload", "IfNoneMatch", {"multipart_uploads": "no"}),
    ],
)
def test_check_writes_of_ignored_condition_says_no(
    operation: str, condition: str, changes: dict[str, Any]
) -> None:
    made, s3 = check(ignoring(operation, condition))
    assert made == replace(WELL, **changes)
    assert s3.keys() == []


def test_check_writes_that_reads_other_bytes_says_no() -> None:
    def damage(call: Call, act: Callable[[], Any]) -> Any:
        answer = act()
        if call.operation == "get_object":
            data = bytearray(answer["Body"].read())
            data[-1] ^= 1
            answer["Body"] = StreamingBody(io.BytesIO(bytes(data)), len(data))
        return answer

    assert check(damage)[0] == replace(WELL, multipart_uploads="no")


def test_check_writes_that_cannot_remove_its_object_says_so() -> None:
    made, s3 = check(failing("delete_objects", 403, "AccessDenied"))
    assert not made.is_removed
    assert s3.open_uploads == []
