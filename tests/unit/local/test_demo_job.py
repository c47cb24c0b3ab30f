"""The demo's job: it is fetched whole or not at all, and a job that cannot end is noticed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from groq_batch.bucket.storage import Storage
from groq_batch_cli.terminal import Terminal
from groq_batch_client.errors import BrokenDownloadError
from groq_batch_client.found_jobs import FoundJob
from local.demo import job as demo_job
from local.demo.interrupts import Interrupts
from local.demo.job import Job
from local.demo.log_folder import LogFolder
from local.demo.request_file import RequestFile
from local.demo.session import Session
from local.stack import LocalStackError

ROWS = b'{"a": 1}\n{"b": 2}\n'
REPORT = {
    "status": "succeeded",
    "requests": {"total": 2, "succeeded": 2, "failed": 0, "invalid": 0},
    "outputs": {"results": "s3://bucket/output/x.jsonl", "failed": None, "invalid": None},
}


class FakeS3:
    """One object, ``output/x.jsonl``, of which something else arrives."""

    def __init__(self, arrives: bytes = b"") -> None:
        self.arrives = arrives

    def head_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        if Key != "output/x.jsonl":
            raise ClientError({"Error": {"Code": "404", "Message": ""}}, "HeadObject")
        return {"ContentLength": len(ROWS), "ETag": "e", "VersionId": "v"}

    def download_file(self, _bucket: str, _key: str, target: str, **_: Any) -> None:
        Path(target).write_bytes(self.arrives)

    def get_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        if Key != "output/x.jsonl":
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": ""}}, "GetObject")
        return {
            "ETag": "e",
            "ContentLength": len(self.arrives),
            "Body": io.BytesIO(self.arrives),
        }


class FakeStack:
    """A stack with one bucket and the executions that it is given."""

    def __init__(self, s3: FakeS3, *executions: tuple[str, str]) -> None:
        self.storage = Storage(s3=s3, bucket="bucket")
        self.bucket = "bucket"
        self.outputs = {"StateMachineArn": "machine"}
        self.pages = [{"executions": [{"name": n, "status": s} for n, s in executions]}]

    def client(self, _service: str) -> Any:
        return self

    def get_paginator(self, _operation: str) -> Any:
        return self

    def paginate(self, **_: Any) -> Any:
        return self.pages


def job_on(stack: Any) -> Job:
    job = Job(stack, RequestFile(Path("x.jsonl")))
    job.found = FoundJob(path="x.jsonl", job_id="j-1", report=REPORT)
    return job


def terminal(stream: io.StringIO | None = None) -> Terminal:
    stream = stream or io.StringIO()
    return Terminal(stream, stream, {})


def test_results_that_arrive_whole_are_kept_under_short_names(tmp_path: Path) -> None:
    files = job_on(FakeStack(FakeS3(ROWS))).fetch(tmp_path, terminal())
    assert files.results == tmp_path / "results.jsonl"
    assert files.results.read_bytes() == ROWS
    assert files.report == tmp_path / "report.json"
    assert (files.failed, files.page) == (None, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "results.jsonl"]


def test_results_that_arrive_otherwise_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenDownloadError, match="could not be fetched"):
        job_on(FakeStack(FakeS3(ROWS * 2))).fetch(tmp_path, terminal())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("executions", "expected"),
    [
        ([], "The upload did not start a job"),
        ([("j-1", "FAILED")], r"ended without a final report \(j-1 FAILED\)"),
    ],
)
def test_job_that_can_no_longer_end_is_given_up(
    executions: list[tuple[str, str]], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_job, "_START_SECONDS", -1.0)
    monkeypatch.setattr(demo_job, "_SILENCE_SECONDS", -1.0)
    job = job_on(FakeStack(FakeS3(), *executions))
    job.found = FoundJob(path="x.jsonl", job_id=None)
    with pytest.raises(LocalStackError, match=expected):
        job.follow(terminal())


def test_output_that_nobody_reads_any_more_still_stops_the_job_at_groq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    done: list[str] = []
    monkeypatch.setattr("local.demo.session.drop_output", lambda: done.append("dropped"))
    monkeypatch.setattr(Session, "_stop", lambda *_: done.append("stopped"))
    monkeypatch.setattr(Job, "upload", lambda _: None)
    access: Any = object()
    session = Session(
        RequestFile(Path("x.jsonl")), access, tmp_path, terminal(Closed()), Interrupts()
    )
    with LogFolder(tmp_path / "logs") as logs, pytest.raises(BrokenPipeError):
        session.run_job(job_on(FakeStack(FakeS3())), logs)
    assert done == ["dropped", "stopped"]
