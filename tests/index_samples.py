"""Usage records, sums and running jobs for the tests of the index of all jobs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from groq_batch.bucket.storage import StoredObject
from groq_batch.domain.times import timestamp
from groq_batch.records.job import JobRequest
from groq_batch.records.usage import UsageOfModel, UsageRecord
from groq_batch.records.usage_sums import UsageSums
from groq_batch.reports.running_jobs import RunningJob
from tests.report_samples import report

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
FOLDERS = ("support", "search", "ads", "research", "legal", "data", "ops", "")
CODES = {
    "succeeded": None,
    "partial": "batch_expired",
    "rejected": "invalid_json",
    "failed": "invalid_api_key",
    "cancelled": "cancelled",
}


def job_name(number: int) -> str:
    return f"requests-{number:020x}"


def usage_record(number: int = 1, *, hours_ago: float = 1.0, **fields: Any) -> UsageRecord:
    """Return the record of a job; ``fields`` replace what stands there."""
    finished = NOW - timedelta(hours=hours_ago)
    folder = fields.get("folder", "support")
    given: dict[str, Any] = {
        "job_id": job_name(number),
        "key": f"input/{folder}/requests-{number}.jsonl" if folder else f"input/r{number}.jsonl",
        "folder": folder,
        "status": "succeeded",
        "error_code": None,
        "started_at": timestamp(finished - timedelta(hours=2, minutes=14)),
        "finished_at": timestamp(finished),
        "requests": 45_000,
        "succeeded": 44_988,
        "failed": 12,
        "batches": 1,
        "prompt_tokens": 9_000_000,
        "completion_tokens": 2_000_000,
        "estimated_usd": 1.5,
        "actual_usd": 1.25,
        "bytes": 18_000_000,
        "version": "2.0.0",
        "models": [
            UsageOfModel(
                model="openai/gpt-oss-20b",
                requests=45_000,
                succeeded=44_988,
                prompt_tokens=9_000_000,
                completion_tokens=2_000_000,
                usd=1.25,
            )
        ],
    }
    return UsageRecord(**{**given, **fields})


def stored(record: UsageRecord) -> StoredObject:
    """Return the record's entry in a listing, as it is soon after the job's end."""
    written = datetime.fromisoformat(record.finished_at) + timedelta(seconds=2)
    return StoredObject(record.object_key, 900, written.timestamp())


def sums_of(records: list[UsageRecord]) -> UsageSums:
    sums = UsageSums(complete_on=f"{NOW:%Y-%m-%d}")
    for record in records:
        sums.count(record.day, stored(record), record)
    return sums


def everyday_sums(count: int = 200, name: Callable[[int], str] | None = None) -> UsageSums:
    """Return the sums of many jobs of all folders and ends, over thirty days."""
    statuses = list(CODES)
    records = []
    for number in range(count):
        status = "succeeded" if number % 3 else statuses[number // 3 % len(statuses)]
        fields: dict[str, Any] = {"folder": FOLDERS[number * number % len(FOLDERS)]}
        if name is not None:
            key = f"input/{name(number)}"
            fields = {"key": key, "folder": name(number)}
        records.append(
            usage_record(
                number,
                hours_ago=number * 29 * 24 / count,
                status=status,
                error_code=CODES[status],
                actual_usd=(number % 7) * 0.4321 if status != "rejected" else 0.0,
                **fields,
            )
        )
    return sums_of(records)


def running_job(number: int = 1, *, minutes: float = 90.0, key: str = "") -> RunningJob:
    """Return a job that is half done."""
    started = NOW - timedelta(minutes=minutes)
    key = key or f"input/support/nightly-{number}.jsonl"
    made = report("running")
    created = timestamp(started + timedelta(minutes=1))
    made["timing"] = {**made["timing"], "started_at": timestamp(started)}
    made["batches"] = [
        {
            **made["batches"][0],
            "attempt": 1,
            "status": "in_progress",
            "requests": 1000,
            "succeeded": 400,
            "failed": 0,
            "created_at": created,
            "ended_at": None,
        }
    ]
    made["progress"] = {"completed": 400, "total": 1000}
    made["errors"], made["errors_total"] = [], 0
    request = JobRequest(
        job_id=job_name(number + 10_000),
        bucket="bucket",
        key=key,
        version_id="v1",
        path=key.removeprefix("input/"),
        started_at=timestamp(started),
        claimed_by="",
    )
    return RunningJob(request=request, report=made, written_at=NOW - timedelta(minutes=2))
