"""One job on the deployed stack, from a user's view: an upload, a report, files to download."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from groq_batch.bucket.storage import Storage
from groq_batch.domain.job_id import upload_job_id
from groq_batch_client.downloads import Deliverable, download
from groq_batch_client.errors import BrokenDownloadError
from groq_batch_client.job_files import expected_rows, key_of
from local.demo.request_file import RequestFile
from local.stack import LocalStack, LocalStackError

RUNNING = "running"

_START_SECONDS = 60.0
"""Seconds after which an upload without a job is considered lost."""

_SILENCE_SECONDS = 60.0
"""Seconds that a job without a running execution has for its final report."""

_MISSING = ("NoSuchKey", "404")


@dataclass(frozen=True, slots=True)
class Delivered:
    """The downloaded files of a job.

    Attributes:
        folder: Where they are.
        results: One row for each request.
        failed: The request lines without success, if there are any.
        invalid: What is wrong with the input, if anything is.
        report: The report.
        page: The report for people, if there is one.
    """

    folder: Path
    results: Path | None
    failed: Path | None
    invalid: Path | None
    report: Path
    page: Path | None


class Job:
    """The job of one upload.

    Attributes:
        id: The job's id; None before the upload.
    """

    id: str | None = None

    def __init__(
        self, stack: LocalStack, stack_name: str, outputs: Mapping[str, str], file: RequestFile
    ) -> None:
        """Create the job; ``upload`` starts it."""
        self._stack = stack
        self._stack_name = stack_name
        self._bucket = outputs["BucketName"]
        self._state_machine = outputs["StateMachineArn"]
        self._file = file
        self._s3 = stack.client("s3")
        self._states = stack.client("stepfunctions")
        self._last_active = time.monotonic()

    @property
    def input_url(self) -> str:
        """The S3 URI of the upload."""
        return f"s3://{self._bucket}/input/{self._file.name}"

    def upload(self) -> None:
        """Put the file into the bucket, which starts the job."""
        key = f"input/{self._file.name}"
        with self._file.path.open("rb") as data:
            answer = self._s3.put_object(Bucket=self._bucket, Key=key, Body=data)
        self.id = upload_job_id(bucket=self._bucket, key=key, version_id=answer["VersionId"])
        self._last_active = time.monotonic()

    def report(self) -> dict[str, Any] | None:
        """Return the job's report, or None when there is none yet."""
        data = self._read(f"reports/{self._file.name}.json")
        return json.loads(data) if data is not None else None

    def trouble(self, report: Mapping[str, Any] | None) -> str | None:
        """Return why the job can no longer end; None while it can."""
        now = time.monotonic()
        executions = self._executions()
        if "RUNNING" in executions.values():
            self._last_active = now
        elif report is None and not executions and now - self._last_active > _START_SECONDS:
            return "The upload did not start a job."
        elif executions and now - self._last_active > _SILENCE_SECONDS:
            ends = ", ".join(f"{name} {status}" for name, status in executions.items())
            return f"The job ended without a final report ({ends})."
        return None

    def stop(self) -> bool:
        """Stop the job as ``aws stepfunctions stop-execution`` does; may be called again.

        Another execution collects the answers received so far.

        Returns:
            Whether the job has been started at all.
        """
        executions = self._executions()
        if executions.get(self.id or "") == "RUNNING":
            arn = self._state_machine.replace(":stateMachine:", ":execution:")
            self._states.stop_execution(executionArn=f"{arn}:{self.id}")
        return bool(executions)

    def fetch(self, report: Mapping[str, Any], folder: Path) -> Delivered:
        """Download the job's files into a folder.

        Args:
            report: The final report.
            folder: Where the files go.

        Raises:
            LocalStackError: A downloaded file differs from the object in the bucket.
        """
        ending = ".jsonl.gz" if self._file.is_gzip else ".jsonl"
        files: dict[str, Path | None] = {}
        for kind in ("results", "failed", "invalid"):
            url = report["outputs"][kind]
            files[kind] = folder / f"{kind}{ending}" if url else None
            if url:
                self._download(key_of(url), folder / f"{kind}{ending}", expected_rows(report, kind))
        (folder / "report.json").write_text(
            json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        page = self._read(f"reports/{self._file.name}.html")
        if page is not None:
            (folder / "report.html").write_bytes(page)
        return Delivered(
            folder=folder,
            results=files["results"],
            failed=files["failed"],
            invalid=files["invalid"],
            report=folder / "report.json",
            page=folder / "report.html" if page is not None else None,
        )

    def _download(self, key: str, target: Path, rows: int | None) -> None:
        storage = Storage(s3=self._s3, bucket=self._bucket)
        head = storage.head(key)
        if head is None:
            raise LocalStackError(f"{storage.url(key)} no longer exists.")
        try:
            download(
                storage,
                Deliverable(key, target, head),
                rows=rows,
                begin=lambda _name, _size: lambda _bytes: None,
                warn=print,
            )
        except BrokenDownloadError as error:
            raise LocalStackError(str(error)) from None

    def save_function_logs(self, target: Path) -> None:
        """Write the functions' logs to a file."""
        found = self._stack.client("cloudformation").describe_stack_resource(
            StackName=self._stack_name, LogicalResourceId="LogGroup"
        )
        pages = (
            self._stack.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=found["StackResourceDetail"]["PhysicalResourceId"])
        )
        with target.open("w", encoding="utf-8") as log:
            for page in pages:
                log.writelines(event["message"].rstrip("\n") + "\n" for event in page["events"])

    def _read(self, key: str) -> bytes | None:
        try:
            data: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        return data

    def _executions(self) -> dict[str, str]:
        """Return the status of the job's executions by name; the stack has no other job."""
        pages = self._states.get_paginator("list_executions").paginate(
            stateMachineArn=self._state_machine
        )
        return {one["name"]: one["status"] for page in pages for one in page["executions"]}


def is_final(report: Mapping[str, Any] | None) -> bool:
    """Tell whether a report is final."""
    return report is not None and report["status"] != RUNNING
