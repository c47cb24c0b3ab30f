"""The emulator with its corrections answers as AWS does, where the project leans on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.emulator import Emulator
from local.emulator_corrections import WRITTEN_FOR, UnknownVersionError, check_version
from local.environment import PROJECT_ROOT

BUCKET = "bucket"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Yield a running emulator for all tests of this file."""
    log_file = tmp_path_factory.mktemp("emulator") / "log"
    with Emulator.start(log_file=log_file, wait_scale=0.02, check_permissions=False) as running:
        yield running


def client(emulator: Emulator, service: str) -> Any:
    return boto3.client(service, endpoint_url=emulator.endpoint_url)


# -- versions of MiniStack ------------------------------------------------------------------------


def test_corrections_are_for_the_version_that_is_pinned() -> None:
    pinned = (PROJECT_ROOT / "requirements-dev.in").read_text(encoding="utf-8").splitlines()
    assert f"ministack=={WRITTEN_FOR}" in pinned


def test_another_version_is_refused() -> None:
    with pytest.raises(UnknownVersionError, match=r"MiniStack 9\.9 is installed.*make setup"):
        check_version("9.9")
    check_version(WRITTEN_FOR)


# -- S3 -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def versioned(emulator: Emulator) -> tuple[Any, str]:
    """A client of S3, and the older of two versions of the object ``key``."""
    s3 = client(emulator, "s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    older = s3.put_object(Bucket=BUCKET, Key="key", Body=b"0123456789", Metadata={"a": "b"})
    s3.put_object(Bucket=BUCKET, Key="key", Body=b"abcdefghijklmno")
    return s3, older["VersionId"]


@pytest.mark.parametrize(
    ("wanted", "expected", "place"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=8-", b"89", "bytes 8-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
    ],
)
def test_range_of_a_version_is_answered_with_that_range(
    wanted: str, expected: bytes, place: str, versioned: tuple[Any, str]
) -> None:
    s3, older = versioned
    answer = s3.get_object(Bucket=BUCKET, Key="key", VersionId=older, Range=wanted)
    assert answer["Body"].read() == expected
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (answer["ContentRange"], answer["ContentLength"]) == (place, len(expected))
    assert (answer["VersionId"], answer["Metadata"]) == (older, {"a": "b"})


def test_range_beyond_a_version_is_refused(versioned: tuple[Any, str]) -> None:
    s3, older = versioned
    with pytest.raises(ClientError, match="InvalidRange"):
        s3.get_object(Bucket=BUCKET, Key="key", VersionId=older, Range="bytes=10-")


def test_version_without_a_range_is_answered_whole(versioned: tuple[Any, str]) -> None:
    s3, older = versioned
    answer = s3.get_object(Bucket=BUCKET, Key="key", VersionId=older)
    assert answer["Body"].read() == b"0123456789"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_version_that_is_fetched_in_parts_is_whole(
    versioned: tuple[Any, str], tmp_path: Path
) -> None:
    s3, _ = versioned
    content = bytes(range(256)) * (80 * 1024)
    stored = s3.put_object(Bucket=BUCKET, Key="large", Body=content)
    target = tmp_path / "large"
    s3.download_file(BUCKET, "large", str(target), {"VersionId": stored["VersionId"]})
    assert target.read_bytes() == content
