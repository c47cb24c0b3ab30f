"""One job on the deployed stack, from a user's view: an upload, a report, files to download."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch_cli.aws import Stack, Target, connect
from groq_batch_cli.ending import fetch_files
from groq_batch_cli.job_logs import log_group
from groq_batch_cli.job_progress import Follower
from groq_batch_cli.terminal import Terminal
from groq_batch_client.follow import Followed, look
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.job_files import Fetched
from groq_batch_client.stored_reports import Report
from local.demo.request_file import RequestFile
from local.environment import ROOT_ACCESS_KEY, ROOT_SECRET_KEY
from local.stack import LocalStack, LocalStackError

_START_SECONDS = 60.0
"""Seconds after which an upload without a job is considered lost."""

_SILENCE_SECONDS = 60.0
"""Seconds that a job without a running execution has for its final report."""


def deployed(stack: LocalStack, stack_name: str) -> Stack:
    """Return a stack that was deployed to the emulated account."""
    target = Target(
        stack_name=stack_name,
        region=stack.region,
        endpoint_url=stack.endpoint_url,
        access_key=(ROOT_ACCESS_KEY, ROOT_SECRET_KEY),
    )
    return connect(target)


class Job:
    """The job of one upload.

    Attributes:
        id: The job's id; None before the upload.
        found: The job as last read.
    """

    id: str | None = None

    def __init__(self, stack: Stack, file: RequestFile) -> None:
        """Create the job; ``upload`` starts it."""
        self.stack = stack
        self._file = file
        self._key = object_keys.INPUT_PREFIX + file.name
        self.found = FoundJob(path=file.name, job_id=None)

    @property
    def input_url(self) -> str:
        """The S3 URI of the upload."""
        return self.stack.storage.url(self._key)

    def upload(self) -> None:
        """Put the file into the bucket, which starts the job."""
        bucket = self.stack.bucket
        with self._file.path.open("rb") as data:
            answer = self.stack.client("s3").put_object(Bucket=bucket, Key=self._key, Body=data)
        self.id = upload_job_id(bucket=bucket, key=self._key, version_id=answer["VersionId"])
        self.found = FoundJob(path=self._file.name, job_id=self.id)

    def report(self) -> Report | None:
        """Return the job's report, or None when there is none yet."""
        self.found = look(self.stack.storage, self.found)
        return self.found.report

    def follow(self, terminal: Terminal) -> None:
        """Show the progress of the job until its end.

        Raises:
            LocalStackError: It will never end.
        """
        followed = Followed(self._file.name, self.found)
        _Watching(self, terminal).follow([followed], lambda _: None)
        self.found = followed.job

    def stop(self) -> bool:
        """Stop the job as ``aws stepfunctions stop-execution`` does; may be called again.

        Another execution collects the answers received so far.

        Returns:
            Whether the job has been started at all.
        """
        executions = self.executions()
        if self.id is not None and executions.get(self.id) == "RUNNING":
            arn = self.stack.execution_arn(self.id)
            self.stack.client("stepfunctions").stop_execution(executionArn=arn)
        return bool(executions)

    def executions(self) -> dict[str, str]:
        """Return the status of the job's executions by name; the stack has no other job."""
        pages = (
            self.stack.client("stepfunctions")
            .get_paginator("list_executions")
            .paginate(stateMachineArn=self.stack.outputs["StateMachineArn"])
        )
        return {one["name"]: one["status"] for page in pages for one in page["executions"]}

    def fetch(self, folder: Path, terminal: Terminal) -> Fetched:
        """Download the job's files into a folder of its own, without its name in theirs.

        Raises:
            GroqBatchError: A downloaded file differs from the object in the bucket.
        """
        fetched = fetch_files(self.stack.storage, self.found, folder, terminal)
        files = {one.name: getattr(fetched, one.name) for one in fields(fetched)}
        prefix = f"{self.found.stem}."
        return Fetched(
            **{
                name: path and path.rename(folder / path.name.removeprefix(prefix))
                for name, path in files.items()
            }
        )

    def save_function_logs(self, target: Path) -> None:
        """Write the functions' logs to a file."""
        pages = (
            self.stack.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=log_group(self.stack))
        )
        with target.open("w", encoding="utf-8") as log:
            for page in pages:
                log.writelines(event["message"].rstrip("\n") + "\n" for event in page["events"])


class _Watching(Follower):
    """Follows a job, and notices when it can no longer end."""

    def __init__(self, job: Job, terminal: Terminal) -> None:
        super().__init__(job.stack.storage, terminal)
        self._job = job
        self._last_active = time.monotonic()

    def show(self, jobs: Sequence[Followed], now: float) -> None:
        """Show the state of the job.

        Raises:
            LocalStackError: It will never end.
        """
        super().show(jobs, now)
        executions = self._job.executions()
        silent = time.monotonic() - self._last_active
        if "RUNNING" in executions.values():
            self._last_active = time.monotonic()
        elif not executions and silent > _START_SECONDS:
            raise LocalStackError("The upload did not start a job.")
        elif executions and silent > _SILENCE_SECONDS:
            ends = ", ".join(f"{name} {status}" for name, status in executions.items())
            raise LocalStackError(f"The job ended without a final report ({ends}).")
