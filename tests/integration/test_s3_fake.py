"""The S3 double of the workflow tests does what moto does, and where moto is lenient what AWS does.

Every test runs against both, but for those marked as of AWS alone, where moto does something else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from moto import mock_aws

from groq_batch.bucket.multipart_writer import PART_BYTES, ObjectWriter
from groq_batch.bucket.s3_errors import ConflictError, MissingObjectError
from groq_batch.bucket.storage import Storage
from tests.fakes.calls import Call
from tests.fakes.s3 import FakeS3
from tests.integration.moto_s3 import versioned_bucket

MIB = 1024 * 1024
BUCKET = "bucket"


@pytest.fixture(params=["moto", "double"])
def s3(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Yield a client of a versioned bucket."""
    if request.param == "double":
        yield FakeS3(BUCKET).client()
        return
    with mock_aws():
        yield versioned_bucket(BUCKET)


aws_alone = pytest.mark.parametrize("s3", ["double"], indirect=True)
"""Marks a test of what AWS does and moto does not; its comment says what AWS documents."""


@pytest.fixture
def storage(s3: Any) -> Storage:
    return Storage(s3=s3, bucket=BUCKET)


def put(s3: Any, key: str, data: bytes = b"data", **extra: Any) -> dict[str, Any]:
    answer: dict[str, Any] = s3.put_object(Bucket=BUCKET, Key=key, Body=data, **extra)
    return answer


def read(s3: Any, key: str, **extra: Any) -> bytes:
    with s3.get_object(Bucket=BUCKET, Key=key, **extra)["Body"] as body:
        return bytes(body.read())


def remove(s3: Any, key: str) -> Any:
    return s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key}], "Quiet": True})


def refusal(call: Callable[[], Any]) -> tuple[int, str]:
    """Return status and code of the error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


# -- single objects ----------------------------------------------------------------------------


def test_objects_have_quoted_md5_etags_and_versions(s3: Any) -> None:
    first = put(s3, "a", b"one")
    second = put(s3, "a", b"two")
    assert first["ETag"] == '"f97c5d29941bfb1b2fdab0874906ab82"'
    assert first["VersionId"] != second["VersionId"]
    assert read(s3, "a") == b"two"
    assert read(s3, "a", VersionId=first["VersionId"]) == b"one"
    assert s3.get_object(Bucket=BUCKET, Key="a")["ETag"] == second["ETag"]


def test_stream_is_read_in_pieces(s3: Any) -> None:
    put(s3, "a", b"0123456789")
    body = s3.get_object(Bucket=BUCKET, Key="a")["Body"]
    assert [body.read(4), body.read(4), body.read(4), body.read(4)] == [
        b"0123",
        b"4567",
        b"89",
        b"",
    ]
    body.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("bytes=2-4", b"234"), ("bytes=8-", b"89"), ("bytes=5-99", b"56789"), ("bytes=0-0", b"0")],
)
def test_ranges(s3: Any, text: str, expected: bytes) -> None:
    put(s3, "a", b"0123456789")
    answer = s3.get_object(Bucket=BUCKET, Key="a", Range=text)
    assert answer["Body"].read() == expected
    assert answer["ContentLength"] == len(expected)


@pytest.mark.parametrize("data", [b"", b"0123456789"])
def test_range_behind_the_end_is_refused(s3: Any, data: bytes) -> None:
    put(s3, "a", data)
    found = refusal(lambda: s3.get_object(Bucket=BUCKET, Key="a", Range="bytes=10-"))
    assert found == (416, "InvalidRange")


def test_missing_objects(s3: Any) -> None:
    put(s3, "gone")
    remove(s3, "gone")
    for key in ("absent", "gone"):
        assert refusal(lambda key=key: read(s3, key)) == (404, "NoSuchKey")
        assert refusal(lambda key=key: s3.head_object(Bucket=BUCKET, Key=key)) == (404, "404")


@aws_alone
def test_versions_that_are_delete_markers(s3: Any) -> None:
    # AWS: 405 when the specified version is a delete marker.
    put(s3, "a")
    remove(s3, "a")
    listed = s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET, Prefix="a")
    marker = next(iter(listed))["DeleteMarkers"][0]["VersionId"]
    ask = {"Bucket": BUCKET, "Key": "a", "VersionId": marker}
    assert refusal(lambda: s3.get_object(**ask)) == (405, "MethodNotAllowed")
    assert refusal(lambda: s3.head_object(**ask)) == (405, "405")


def test_metadata_keys_are_lower_case(s3: Any) -> None:
    put(s3, "a", Metadata={"Max-Attempts": "2", "note": "A b"}, ContentType="text/plain")
    head = s3.head_object(Bucket=BUCKET, Key="a")
    assert head["Metadata"] == {"max-attempts": "2", "note": "A b"}
    assert head["ContentType"] == "text/plain"
    assert head["ContentLength"] == 4
    with pytest.raises(ParamValidationError):
        put(s3, "a", Metadata={"note": "ä"})


@aws_alone
def test_metadata_has_a_limit(s3: Any) -> None:
    # AWS: user-defined metadata is limited to 2 KB.
    found = refusal(lambda: put(s3, "a", Metadata={"note": "x" * 2045}))
    assert found == (400, "MetadataTooLarge")


@aws_alone
def test_keys_have_a_limit_in_bytes(s3: Any) -> None:
    # AWS: a key is at most 1,024 bytes of UTF-8.
    put(s3, "k" * 1024)
    assert refusal(lambda: put(s3, "k" * 1025)) == (400, "KeyTooLongError")


# -- conditions --------------------------------------------------------------------------------


def test_if_none_match(s3: Any) -> None:
    put(s3, "a", IfNoneMatch="*")
    found = refusal(lambda: put(s3, "a", b"other", IfNoneMatch="*"))
    assert found == (412, "PreconditionFailed")
    remove(s3, "a")
    put(s3, "a", b"again", IfNoneMatch="*")
    assert read(s3, "a") == b"again"


def test_if_match(s3: Any) -> None:
    etag = put(s3, "a")["ETag"]
    newer = put(s3, "a", b"other", IfMatch=etag)["ETag"]
    found = refusal(lambda: put(s3, "a", b"late", IfMatch=etag))
    assert found == (412, "PreconditionFailed")
    put(s3, "a", b"other", IfMatch=newer)
    assert read(s3, "a") == b"other"


def test_if_match_of_a_key_without_object(s3: Any) -> None:
    etag = put(s3, "a")["ETag"]
    remove(s3, "a")
    for key in ("a", "absent"):
        found = refusal(lambda key=key: put(s3, key, IfMatch=etag))
        assert found == (404, "NoSuchKey")


def test_removal_of_what_was_looked_at(s3: Any) -> None:
    old = put(s3, "a")["ETag"]
    put(s3, "a", b"other")
    put(s3, "b")
    remove(s3, "b")
    for key, expected in (
        ("a", (412, "PreconditionFailed")),
        ("b", (404, "NoSuchKey")),
        ("c", (404, "NoSuchKey")),
    ):
        ask = {"Bucket": BUCKET, "Key": key, "IfMatch": old}
        assert refusal(lambda ask=ask: s3.delete_object(**ask)) == expected
    assert read(s3, "a") == b"other"
    put(s3, "b")
    s3.delete_object(Bucket=BUCKET, Key="b", IfMatch=old)
    assert refusal(lambda: read(s3, "b")) == (404, "NoSuchKey")
    s3.delete_object(Bucket=BUCKET, Key="a")
    assert refusal(lambda: read(s3, "a")) == (404, "NoSuchKey")


@aws_alone
def test_removal_of_many_cannot_name_what_xml_cannot_hold(s3: Any) -> None:
    # XML 1.0 has no place for these characters, and AWS answers MalformedXML.
    put(s3, "odd\x01name")
    assert refusal(lambda: remove(s3, "odd\x01name")) == (400, "MalformedXML")
    s3.delete_object(Bucket=BUCKET, Key="odd\x01name")
    assert refusal(lambda: read(s3, "odd\x01name")) == (404, "NoSuchKey")


# -- listings ----------------------------------------------------------------------------------


def pages(s3: Any, operation: str, **arguments: Any) -> list[dict[str, Any]]:
    return list(s3.get_paginator(operation).paginate(Bucket=BUCKET, **arguments))


def test_keys_are_listed_by_their_bytes(s3: Any) -> None:
    for key in ("p/ä", "p/z", "p/\ue000", "p/\U0001f600", "p/a/b", "p/a-b", "other"):
        put(s3, key)
    (page,) = pages(s3, "list_objects_v2", Prefix="p/")
    assert [one["Key"] for one in page["Contents"]] == [
        "p/a-b",
        "p/a/b",
        "p/z",
        "p/ä",
        "p/\ue000",
        "p/\U0001f600",
    ]
    assert {one["Size"] for one in page["Contents"]} == {4}


def test_empty_listings_have_no_entries(s3: Any) -> None:
    (page,) = pages(s3, "list_objects_v2", Prefix="none/")
    assert "Contents" not in page
    assert page["KeyCount"] == 0
    (page,) = pages(s3, "list_object_versions", Prefix="none/")
    assert "Versions" not in page
    assert "DeleteMarkers" not in page


def test_folders(s3: Any) -> None:
    for key in ("w/attempt-1/a", "w/attempt-1/b", "w/attempt-2/a", "w/file"):
        put(s3, key)
    (page,) = pages(s3, "list_objects_v2", Prefix="w/", Delimiter="/")
    assert [one["Prefix"] for one in page["CommonPrefixes"]] == ["w/attempt-1/", "w/attempt-2/"]
    assert [one["Key"] for one in page["Contents"]] == ["w/file"]


def test_pages_of_a_thousand(s3: Any) -> None:
    for number in range(1005):
        put(s3, f"p/{number:05d}", b"")
    first, second = pages(s3, "list_objects_v2", Prefix="p/")
    keys = [one["Key"] for page in (first, second) for one in page["Contents"]]
    assert keys == [f"p/{number:05d}" for number in range(1005)]
    assert len(first["Contents"]) == 1000
    listed = pages(s3, "list_object_versions", Prefix="p/")
    assert [one["Key"] for page in listed for one in page["Versions"]] == keys


@aws_alone
def test_a_thousand_objects_are_removed_at_once(s3: Any) -> None:
    # AWS: the request may name up to 1,000 keys.
    objects = [{"Key": f"k{number}"} for number in range(1001)]
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": objects[:1000], "Quiet": True})
    found = refusal(lambda: s3.delete_objects(Bucket=BUCKET, Delete={"Objects": objects}))
    assert found == (400, "MalformedXML")


def test_versions_are_listed_newest_first(s3: Any) -> None:
    ids = [put(s3, "k", data)["VersionId"] for data in (b"1", b"2")]
    remove(s3, "k")
    ids.append(put(s3, "k", b"3")["VersionId"])
    put(s3, "k2")
    remove(s3, "k2")
    (page,) = pages(s3, "list_object_versions", Prefix="k")
    versions = [(one["Key"], one["VersionId"], one["IsLatest"]) for one in page["Versions"]]
    assert versions[:3] == [("k", ids[2], True), ("k", ids[1], False), ("k", ids[0], False)]
    assert versions[3][::2] == ("k2", False)
    markers = [(one["Key"], one["IsLatest"]) for one in page["DeleteMarkers"]]
    assert markers == [("k", False), ("k2", True)]
    assert page["Versions"][0]["ETag"] == '"eccbc87e4b5ce2fe28308fd9f2a7baf3"'


# -- multipart uploads -------------------------------------------------------------------------


def begin(s3: Any, key: str = "big", **extra: Any) -> str:
    answer = s3.create_multipart_upload(Bucket=BUCKET, Key=key, **extra)
    return str(answer["UploadId"])


def part(s3: Any, upload: str, number: int, data: bytes, key: str = "big") -> dict[str, Any]:
    answer = s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=data)
    return {"PartNumber": number, "ETag": answer["ETag"]}


def complete(
    s3: Any, upload: str, parts: list[dict[str, Any]], key: str = "big", **extra: Any
) -> dict[str, Any]:
    answer: dict[str, Any] = s3.complete_multipart_upload(
        Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **extra
    )
    return answer


def test_parts_become_an_object(s3: Any) -> None:
    upload = begin(s3, ContentType="text/plain", Metadata={"Groq-Batch-Job": "j"})
    parts = [part(s3, upload, 2, b"tail"), part(s3, upload, 1, b"x" * 5 * MIB)]
    assert refusal(lambda: read(s3, "big")) == (404, "NoSuchKey")
    answer = complete(s3, upload, sorted(parts, key=lambda one: one["PartNumber"]))
    assert answer["ETag"].endswith('-2"')
    assert read(s3, "big") == b"x" * 5 * MIB + b"tail"
    head = s3.head_object(Bucket=BUCKET, Key="big")
    assert head["Metadata"] == {"groq-batch-job": "j"}
    assert head["ContentType"] == "text/plain"
    assert head["ETag"] == answer["ETag"]


def test_etag_of_parts(s3: Any) -> None:
    upload = begin(s3)
    answer = complete(s3, upload, [part(s3, upload, 1, b"few bytes")])
    digest = hashlib.md5(hashlib.md5(b"few bytes").digest()).hexdigest()
    assert answer["ETag"] == f'"{digest}-1"'


def test_a_part_is_replaced_by_a_later_one(s3: Any) -> None:
    upload = begin(s3)
    part(s3, upload, 1, b"first")
    complete(s3, upload, [part(s3, upload, 1, b"second")])
    assert read(s3, "big") == b"second"


def test_small_parts_are_refused(s3: Any) -> None:
    upload = begin(s3)
    parts = [part(s3, upload, 1, b"x" * (5 * MIB - 1)), part(s3, upload, 2, b"tail")]
    assert refusal(lambda: complete(s3, upload, parts)) == (400, "EntityTooSmall")


def test_unknown_parts_are_refused(s3: Any) -> None:
    upload = begin(s3)
    one, two = part(s3, upload, 1, b"x" * 5 * MIB), part(s3, upload, 2, b"tail")
    for number, etag in ((1, two["ETag"]), (3, one["ETag"])):
        wrong = {"PartNumber": number, "ETag": etag}
        assert refusal(lambda wrong=wrong: complete(s3, upload, [wrong])) == (400, "InvalidPart")
    assert refusal(lambda: complete(s3, upload, [])) == (400, "MalformedXML")


@aws_alone
def test_parts_in_wrong_order_are_refused(s3: Any) -> None:
    # AWS: the parts list must be specified in order by part number.
    upload = begin(s3)
    one, two = part(s3, upload, 1, b"x" * 5 * MIB), part(s3, upload, 2, b"tail")
    assert refusal(lambda: complete(s3, upload, [two, one])) == (400, "InvalidPartOrder")


@aws_alone
def test_aborted_uploads_are_gone(s3: Any) -> None:
    # AWS: NoSuchUpload when an upload was aborted or completed.
    upload = begin(s3)
    one = part(s3, upload, 1, b"data")
    s3.abort_multipart_upload(Bucket=BUCKET, Key="big", UploadId=upload)
    expected = (404, "NoSuchUpload")
    assert refusal(lambda: part(s3, upload, 2, b"data")) == expected
    assert refusal(lambda: complete(s3, upload, [one])) == expected
    ask = {"Bucket": BUCKET, "Key": "big", "UploadId": upload}
    assert refusal(lambda: s3.abort_multipart_upload(**ask)) == expected


def copy(
    s3: Any, upload: str, number: int, source: str, first: int, last: int, **version: str
) -> dict[str, Any]:
    answer = s3.upload_part_copy(
        Bucket=BUCKET,
        Key="big",
        UploadId=upload,
        PartNumber=number,
        CopySource={"Bucket": BUCKET, "Key": source, **version},
        CopySourceRange=f"bytes={first}-{last}",
    )
    return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}


def test_parts_are_copied(s3: Any) -> None:
    data = bytes(range(256)) * (6 * MIB // 256)
    put(s3, "source ü+", data)
    upload = begin(s3)
    parts = [copy(s3, upload, 1, "source ü+", 7, len(data) - 1), part(s3, upload, 2, b"tail")]
    complete(s3, upload, parts)
    assert read(s3, "big") == data[7:] + b"tail"


def test_parts_are_copied_from_a_version(s3: Any) -> None:
    old, new = b"old" * 2 * MIB, b"new" * 2 * MIB
    versions = [put(s3, "source ?versionId=1", data)["VersionId"] for data in (old, new)]
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "source ?versionId=1"}]})
    upload = begin(s3)
    parts = [
        copy(s3, upload, number, "source ?versionId=1", 0, len(old) - 1, VersionId=version)
        for number, version in enumerate(versions, 1)
    ]
    complete(s3, upload, parts)
    assert read(s3, "big") == old + new


@aws_alone
def test_copies_of_what_is_not_there_are_refused(s3: Any) -> None:
    # AWS: the copy of a part answers with a body, so that boto3 knows the code.
    upload = begin(s3)
    assert refusal(lambda: copy(s3, upload, 1, "absent", 0, 9)) == (404, "NoSuchKey")
    put(s3, "source", b"x" * 6 * MIB)
    absent = refusal(lambda: copy(s3, upload, 1, "source", 0, 9, VersionId="absent"))
    assert absent == (404, "NoSuchVersion")


@aws_alone
def test_ranges_are_not_copied_from_small_objects(s3: Any) -> None:
    # AWS: a range can only be copied when the source is larger than 5 MB.
    upload = begin(s3)
    for size in (5 * MIB - 1, 5 * MIB):
        put(s3, "source", b"x" * size)
        assert refusal(lambda: copy(s3, upload, 1, "source", 0, 9)) == (400, "InvalidRequest")
    put(s3, "source", b"x" * 6 * MIB)
    beyond = refusal(lambda: copy(s3, upload, 1, "source", 0, 6 * MIB))
    assert beyond == (400, "InvalidArgument")


def test_completion_only_where_nothing_stands(s3: Any) -> None:
    upload = begin(s3)
    one = part(s3, upload, 1, b"mine")
    put(s3, "big", b"theirs")
    found = refusal(lambda: complete(s3, upload, [one], IfNoneMatch="*"))
    assert found == (412, "PreconditionFailed")
    assert read(s3, "big") == b"theirs"


# -- what the code does with it ----------------------------------------------------------------


def test_storage_reads_errors_alike(storage: Storage) -> None:
    with pytest.raises(MissingObjectError):
        storage.open("absent")
    assert storage.head("absent") is None
    assert storage.get_json("absent") is None
    etag = storage.put_json("a", {"n": 1}, over=None)
    with pytest.raises(ConflictError):
        storage.put_json("a", {"n": 2}, over=None)
    with pytest.raises(ConflictError):
        storage.put_json("absent", {"n": 2}, over=etag)
    writer = ObjectWriter(storage, "a")
    writer.write(b"x" * (PART_BYTES + 1))
    with pytest.raises(ConflictError):
        writer.commit(over=None)


# -- where moto is lenient ---------------------------------------------------------------------


def test_condition_meets_a_removal_since_the_beginning() -> None:
    # AWS answers 409 when the key was removed (or written) after the upload began.
    s3 = FakeS3(BUCKET).client()
    put(s3, "big", b"theirs")
    upload = begin(s3)
    one = part(s3, upload, 1, b"mine")
    remove(s3, "big")
    found = refusal(lambda: complete(s3, upload, [one], IfNoneMatch="*"))
    assert found == (409, "ConditionalRequestConflict")
    complete(s3, upload, [one])
    assert read(s3, "big") == b"mine"


def test_completion_can_be_repeated() -> None:
    # AWS answers the same again when a completion is asked for twice in the same words.
    server = FakeS3(BUCKET)
    s3 = server.client()
    upload = begin(s3)
    one = part(s3, upload, 1, b"mine")
    assert complete(s3, upload, [one]) == complete(s3, upload, [one])
    assert server.history("big") == [b"mine"]


def test_ranges_of_small_objects_cannot_be_copied() -> None:
    # "You can copy a range only if the source object is greater than 5 MB."
    s3 = FakeS3(BUCKET).client()
    put(s3, "small", b"x" * MIB)
    upload = begin(s3)
    assert refusal(lambda: copy(s3, upload, 1, "small", 0, 9)) == (400, "InvalidRequest")


def test_date_of_parts_is_that_of_their_beginning() -> None:
    # "If the object is a multipart upload, Last-Modified is the date of its initiation."
    now = [1000.0]
    s3 = FakeS3(BUCKET, clock=lambda: now[0]).client()
    upload = begin(s3)
    one = part(s3, upload, 1, b"mine")
    now[0] = 2000.0
    complete(s3, upload, [one])
    assert s3.head_object(Bucket=BUCKET, Key="big")["LastModified"].timestamp() == 1000


def test_bucket_without_versions() -> None:
    server = FakeS3(BUCKET, versioned=False)
    s3 = server.client()
    put(s3, "a", b"1")
    assert "VersionId" not in put(s3, "a", b"2")
    (page,) = pages(s3, "list_object_versions", Prefix="a")
    assert [one["VersionId"] for one in page["Versions"]] == ["null"]
    remove(s3, "a")
    assert pages(s3, "list_object_versions", Prefix="a")[0].get("Versions") is None
    assert server.history("a") == []


# -- the double itself -------------------------------------------------------------------------


def test_small_pages() -> None:
    server = FakeS3(BUCKET, page_size=2)
    s3 = server.client()
    for key in ("p/a/1", "p/a/2", "p/a/3", "p/b", "p/c/1", "p/d"):
        put(s3, key)
        put(s3, key)
    found = pages(s3, "list_objects_v2", Prefix="p/")
    assert [one["Key"] for page in found for one in page["Contents"]] == server.keys("p/")
    found = pages(s3, "list_objects_v2", Prefix="p/", Delimiter="/")
    folders = [one["Prefix"] for page in found for one in page.get("CommonPrefixes", [])]
    assert folders == ["p/a/", "p/c/"]
    assert [one["Key"] for page in found for one in page.get("Contents", [])] == ["p/b", "p/d"]
    found = pages(s3, "list_object_versions", Prefix="p/")
    listed = [one for page in found for one in page["Versions"]]
    assert [one["Key"] for one in listed] == [key for key in server.keys("p/") for _ in range(2)]
    assert [one["IsLatest"] for one in listed] == [True, False] * 6
    assert len(found) == 6


def test_wire_sees_calls_and_may_stop_them() -> None:
    seen: list[str] = []

    def wire(call: Call, act: Callable[[], Any]) -> Any:
        seen.append(str(call))
        if call.target == "stop":
            raise ConnectionResetError
        return act()

    server = FakeS3(BUCKET)
    s3 = server.client(wire)
    put(s3, "a")
    with pytest.raises(ConnectionResetError):
        put(s3, "stop")
    pages(s3, "list_objects_v2", Prefix="p/")
    remove(s3, "a")
    assert seen == [
        "s3.put_object a",
        "s3.put_object stop",
        "s3.list_objects_v2 p/",
        "s3.delete_objects a",
    ]
    assert server.read("stop") is None


def test_unknown_operations_and_arguments_are_refused() -> None:
    s3 = FakeS3(BUCKET).client()
    with pytest.raises(AttributeError):
        s3.copy_object(Bucket=BUCKET)
    with pytest.raises(TypeError):
        put(s3, "a", Tagging="a=b")
    assert refusal(lambda: s3.head_object(Bucket="other", Key="a")) == (404, "NoSuchBucket")
