"""Downloads are checked against what stands in the bucket, and never end as half a file."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.exceptions import RetriesExceededError
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.bucket.storage import ObjectHead, Storage
from groq_batch.request_file.lines import NotGzipError
from groq_batch_client.downloads import (
    Deliverable,
    all_rows,
    count_rows,
    download,
)
from groq_batch_client.errors import BrokenDownloadError

ROWS = b'{"a": 1}\n' * 3
TWO_ROWS = b'{"a": 12345}\n{"a": 123456}\n'
VERSION = "version-1"


class FakeS3:
    """Answers a download in parts, and one in one piece, with what the test says."""

    def __init__(self, parts: bytes | Exception, whole: bytes = b"") -> None:
        self.parts = parts
        self.whole = whole
        self.versions: list[str] = []

    def download_file(
        self,
        bucket: str,
        key: str,
        target: str,
        *,
        ExtraArgs: dict[str, str],  # noqa: N803
        Callback: Callable[[int], None],  # noqa: N803
    ) -> None:
        self.versions.append(ExtraArgs["VersionId"])
        if isinstance(self.parts, Exception):
            raise self.parts
        Path(target).write_bytes(self.parts)
        Callback(len(self.parts))

    def get_object(self, *, VersionId: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        self.versions.append(VersionId)
        return {"ETag": "e", "ContentLength": len(self.whole), "Body": io.BytesIO(self.whole)}


class Fetching:
    """Downloads into a folder of the test's, and keeps what was said."""

    def __init__(self, folder: Path) -> None:
        self.target = folder / "x.results.jsonl"
        self.said: list[str] = []
        self.begun: list[tuple[str, int]] = []
        self.bytes: list[int] = []

    def __call__(
        self,
        s3: FakeS3,
        *,
        size: int = len(ROWS),
        rows: int | None = 3,
        key: str = "output/x.jsonl",
    ) -> None:
        def begin(name: str, total: int) -> Callable[[int], None]:
            self.begun.append((name, total))
            return self.bytes.append

        head = ObjectHead(size=size, etag="e", version_id=VERSION, metadata={})
        one = Deliverable(key, self.target, head)
        storage = Storage(s3=s3, bucket="bucket")
        download(storage, one, rows=rows, begin=begin, warn=self.said.append)


@pytest.fixture
def fetching(tmp_path: Path) -> Iterator[Fetching]:
    made = Fetching(tmp_path)
    yield made
    assert {path.name for path in tmp_path.iterdir()} <= {made.target.name}, "a draft is left"


def test_download_that_is_whole_is_made_once(fetching: Fetching) -> None:
    s3 = FakeS3(ROWS)
    fetching(s3)
    assert fetching.target.read_bytes() == ROWS
    assert (fetching.said, s3.versions) == ([], [VERSION])
    assert fetching.begun == [("x.results.jsonl", len(ROWS))]
    assert fetching.bytes == [len(ROWS)]


@pytest.mark.parametrize(
    ("parts", "rows", "fault"),
    [
        (ROWS + ROWS, 3, "has 54 bytes instead of 27"),
        (ROWS[:-1], None, "has 26 bytes instead of 27"),
        (ROWS, 2, "has 3 rows instead of 2"),
        (b"\0" * 27, 3, "has 1 row instead of 3"),
        (RetriesExceededError(OSError()), 3, "broke off on the way"),
    ],
)
def test_download_that_is_wrong_is_made_once_more_in_one_piece(
    parts: bytes | Exception, rows: int | None, fault: str, fetching: Fetching
) -> None:
    whole = TWO_ROWS if rows == 2 else ROWS
    s3 = FakeS3(parts, whole)
    fetching(s3, rows=rows)
    assert fetching.target.read_bytes() == whole
    assert fetching.said == [f"x.results.jsonl {fault}. Fetching it again, in one piece."]
    assert s3.versions == [VERSION, VERSION]
    assert len(fetching.begun) == 2


def test_download_that_stays_wrong_leaves_the_file_that_was_there(fetching: Fetching) -> None:
    fetching.target.write_bytes(b"before")
    with pytest.raises(BrokenDownloadError) as caught:
        fetching(FakeS3(ROWS + b"x", ROWS + ROWS))
    assert "s3://bucket/output/x.jsonl could not be fetched" in str(caught.value)
    assert "has 54 bytes instead of 27, twice" in str(caught.value)
    assert fetching.target.read_bytes() == b"before"


def test_compressed_rows_are_counted_unpacked(fetching: Fetching) -> None:
    packed = gzip.compress(ROWS)
    fetching(FakeS3(packed), size=len(packed), key="output/x.jsonl.gz")
    assert fetching.said == []
    broken = packed[:-4] + b"none"
    with pytest.raises(BrokenDownloadError, match="is not gzip, or is damaged, twice"):
        fetching(FakeS3(broken, broken), size=len(packed), key="output/x.jsonl.gz")


def test_object_that_is_removed_meanwhile(fetching: Fetching) -> None:
    s3 = FakeS3(b"")
    gone = ClientError({"Error": {"Code": "NoSuchVersion", "Message": ""}}, "GetObject")

    def get_object(**_: Any) -> None:
        raise gone

    s3.get_object = get_object  # type: ignore[method-assign, assignment]
    with pytest.raises(BrokenDownloadError, match="was removed while it was fetched"):
        fetching(s3)


def test_errors_of_the_disk_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    fetching = Fetching(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError) as caught:
        fetching(FakeS3(ROWS))
    assert caught.value.filename == str(fetching.target)
    fetching = Fetching(tmp_path)
    fetching.target.mkdir()
    with pytest.raises(IsADirectoryError) as directory:
        fetching(FakeS3(ROWS))
    assert directory.value.filename == str(fetching.target)
    assert [path.name for path in tmp_path.iterdir()] == [fetching.target.name]


@given(rows=st.lists(st.binary(max_size=9).map(lambda row: row.replace(b"\n", b"")), max_size=9))
@pytest.mark.parametrize("is_gzip", [False, True])
def test_rows_are_counted_with_and_without_a_last_line_end(
    rows: list[bytes], is_gzip: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows"
    data = b"".join(row + b"\n" for row in rows)
    path.write_bytes(gzip.compress(data) if is_gzip else data)
    assert count_rows(path, is_gzip=is_gzip) == len(rows)
    data += b"no end"
    path.write_bytes(gzip.compress(data) if is_gzip else data)
    assert count_rows(path, is_gzip=is_gzip) == len(rows) + 1


def test_rows_of_what_is_not_gzip(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(ROWS)
    with pytest.raises(NotGzipError):
        count_rows(path, is_gzip=True)


@pytest.mark.parametrize("number", [0, 2, 4])
def test_stream_of_rows_tells_at_its_end_that_they_were_not_all(number: int) -> None:
    rows = all_rows([b"row"] * number, 3, "s3://bucket/x")
    with pytest.raises(BrokenDownloadError, match=rf"came with {number} rows instead of 3"):
        list(rows)
    assert list(all_rows([b"row"] * 3, 3, "x")) == [b"row"] * 3
