"""A bucket with jobs in it, reports to put into it, and terminals to show them on."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch, BatchCounts
from groq_batch.domain.job_id import firing_job_id, upload_job_id
from groq_batch.domain.times import timestamp
from groq_batch.records import stored
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.job import JobRecord, JobRequest
from groq_batch.records.submission import Stage
from groq_batch.reports.report import running_report
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.terminal import Terminal
from groq_batch_client.found_jobs import FoundJob
from tests.fakes.s3 import FakeS3, client_error
from tests.samples import OPTIONS, job_request

BUCKET = "bucket"


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_report(
    job_id: str = "job-1", status: str = "running", *, version_id: str | None = None, **changes: Any
) -> dict[str, Any]:
    begun = "2026-03-01T11:00:00.000Z"
    request = job_request(job_id, path="x.jsonl", version_id=version_id, started_at=begun)
    report: dict[str, Any] = {
        **running_report(request, None),
        "status": status,
        "requests": {"total": 10, "succeeded": 0, "failed": 0, "invalid": 0},
        "progress": {"completed": 0, "total": 10},
        "cost_usd": {"estimated": 2.0, "actual": None},
    }
    for name, value in changes.items():
        report[name] = {**report[name], **value} if isinstance(value, dict) else value
    return report


def a_batch(status: str = "in_progress", attempt: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"batch_{attempt}",
        "shard": 1,
        "attempt": attempt,
        "status": status,
        "requests": 10,
        "succeeded": 0,
        "failed": 0,
        "created_at": "2026-03-01T11:59:00.000Z",
        "ended_at": None,
        **changes,
    }


def fatal(code: str, message: str = "Do this.") -> dict[str, Any]:
    return {"line": None, "custom_id": None, "code": code, "message": message}


class Bucket:
    """A bucket with jobs in it."""

    def __init__(self) -> None:
        self.now = NOON.timestamp()
        self.fake = FakeS3(BUCKET, clock=lambda: self.now, page_size=3)
        self.reads: list[str] = []
        self.denied = ""

        def watch(call: Any, act: Callable[[], Any]) -> Any:
            if call.operation == self.denied:
                raise client_error(call.operation, 403, "AccessDenied", "Access Denied")
            if call.operation == "get_object":
                self.reads.append(call.arguments["Key"])
            return act()

        self.storage = self.fake.storage(watch)

    @property
    def timing(self) -> dict[str, Any]:
        """When the job that was recorded last was started."""
        moment = datetime.fromtimestamp(self.now, UTC)
        return {"started_at": timestamp(moment)}

    def upload(self, path: str, data: bytes = b"{}") -> str:
        """Upload a file; returns the name that its job will have."""
        key = object_keys.INPUT_PREFIX + path
        self.storage.put_bytes(key, data)
        head = self.storage.head(key)
        assert head is not None
        assert head.version_id is not None
        self.version = head.version_id
        return upload_job_id(bucket=BUCKET, key=key, version_id=head.version_id)

    def record(
        self, job_id: str, path: str, *, is_open: bool = False, key: str | None = None
    ) -> JobRequest:
        """Record that a job was started; time goes on."""
        self.now += 60
        key = key or object_keys.INPUT_PREFIX + path
        request = job_request(job_id, key=key, path=path, **self.timing)
        self.storage.put_json(object_keys.job_key(job_id), stored.to_record(request))
        if is_open:
            self.storage.put_json(object_keys.open_job_key(job_id), stored.to_record(request))
        return request

    def report(self, path: str, report: dict[str, Any]) -> None:
        self.storage.put_json(object_keys.delivery_keys(path).report, report)

    def run(self, path: str, status: str = "succeeded") -> str:
        """Upload a file, and let its job come to a status."""
        job_id = self.upload(path)
        self.record(job_id, path, is_open=status == "running")
        report = make_report(job_id, status, version_id=self.version, timing=self.timing)
        self.report(path, report)
        return job_id

    def fire(self, key: str) -> str:
        """Let a recurring file run once; returns the name of the job."""
        fired_at = object_keys.format_fired_at(datetime.fromtimestamp(self.now, UTC))
        job_id = firing_job_id(bucket=BUCKET, key=key, fired_at=fired_at)
        path = object_keys.recurring_path(key, fired_at)
        self.record(job_id, path, key=key)
        self.report(path, make_report(job_id, "succeeded", timing=self.timing))
        return job_id

    def prepared(self, job_id: str, *, good: int, **fields: Any) -> None:
        """Write what the preparation of a job found."""
        numbers = {"total": good, "good": good, "lines": good}
        record = JobRecord(accepted=True, options=OPTIONS, **numbers, **fields)
        self.storage.put_json(object_keys.WorkKeys(job_id).job_record, record.to_json())

    def state(self, job_id: str, attempt: int, counts: dict[str, int]) -> None:
        """Write what is known of the one batch of an attempt."""
        sent = counts.pop("requests")
        batch = Batch(
            id=f"batch_{attempt}",
            status="in_progress",
            counts=BatchCounts(total=sent, **counts),
            created_at=int(NOON.timestamp()) + 3600,
        )
        entry = ShardState(stage=Stage.CREATED, requests=sent, batch=batch)
        state = AttemptState(attempt=attempt, started_at=0.0, entries={1: entry})
        self.storage.put_json(
            object_keys.WorkKeys(job_id).batches(attempt), stored.to_record(state)
        )

    def find(self, text: str) -> FoundJob:
        return find_job(self.storage, text)


class Pipe(io.StringIO):
    encoding = "utf-8"


class Tty(Pipe):
    def isatty(self) -> bool:
        return True


def a_terminal(kind: type[Pipe] = Pipe) -> tuple[Terminal, Pipe, Pipe]:
    out, err = kind(), kind()
    return Terminal(out, err, {"NO_COLOR": "1", "COLUMNS": "200"}), out, err
