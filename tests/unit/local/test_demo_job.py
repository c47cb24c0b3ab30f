"""The demo fetches what its job has delivered, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.demo.job import Job
from local.demo.request_file import RequestFile
from local.stack import LocalStackError

ROWS = b'{"a": 1}\n{"b": 2}\n'
REPORT = {
    "status": "succeeded",
    "requests": {"total": 2, "succeeded": 2, "failed": 0, "invalid": 0},
    "outputs": {"results": "s3://bucket/output/x.jsonl", "failed": None, "invalid": None},
}


class FakeS3:
    """One object, ``output/x.jsonl``, of which something else arrives."""

    def __init__(self, arrives: bytes) -> None:
        self.arrives = arrives

    def head_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        assert Key == "output/x.jsonl"
        return {"ContentLength": len(ROWS), "ETag": "e", "VersionId": "v"}

    def download_file(self, _bucket: str, _key: str, target: str, **_: Any) -> None:
        Path(target).write_bytes(self.arrives)

    def get_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        if Key.startswith("reports/"):
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": ""}}, "GetObject")
        return {
            "ETag": "e",
            "ContentLength": len(self.arrives),
            "Body": io.BytesIO(self.arrives),
        }


def job(s3: FakeS3) -> Job:
    stack: Any = SimpleNamespace(client=lambda _service: s3)
    outputs = {"BucketName": "bucket", "StateMachineArn": "machine"}
    return Job(stack, "stack", outputs, RequestFile(Path("x.jsonl")))


def test_results_that_arrive_whole_are_kept(tmp_path: Path) -> None:
    delivered = job(FakeS3(ROWS)).fetch(REPORT, tmp_path)
    assert delivered.results == tmp_path / "results.jsonl"
    assert delivered.results.read_bytes() == ROWS
    assert (delivered.failed, delivered.page) == (None, None)


def test_results_that_arrive_otherwise_end_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LocalStackError, match="could not be fetched"):
        job(FakeS3(ROWS * 2)).fetch(REPORT, tmp_path)
    assert "has 36 bytes instead of 18" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
