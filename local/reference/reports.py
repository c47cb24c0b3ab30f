"""Examples of the report and of the end event, created by the real code."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch, BatchCounts
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.prices import FROM_GROQ, Prices, table_prices
from groq_batch.domain.shard import Shard
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.job import JobRecord, JobRequest
from groq_batch.records.shard_result import ShardResult
from groq_batch.records.submission import Stage
from groq_batch.reports.report import delivery_outputs, event_detail, final_report
from groq_batch.steps.finish_job.end_event import EVENT_DETAIL_TYPE, EVENT_SOURCE
from local.reference.markdown import json_block

_BUCKET = "my-bucket"
_BEGIN = 1_795_600_347
_MODEL = "openai/gpt-oss-20b"

_REQUEST = JobRequest(
    job_id="requests-04ad86b59a21faf11acc",
    bucket=_BUCKET,
    key="input/team/requests.jsonl",
    version_id="0b680cdbc88f46be",
    path="team/requests.jsonl",
    started_at="2026-11-25T09:52:27.836Z",
    claimed_by="",
)

_JOB = JobRecord(
    accepted=True,
    options=JobOptions(
        completion_window="24h",
        skip_invalid_lines=False,
        max_attempts=3,
        max_job_cost_usd=0,
        retry_invalid_output=True,
    ),
    input_bytes=10_601,
    lines=22,
    total=22,
    good=22,
    shards=(Shard(number=1, requests=22, bytes=10_601, skipped=0),),
    estimated_cost_usd=0.002337,
    prices=Prices(FROM_GROQ, "2026-11-25", table_prices().models),
    prepared_at="2026-11-25T09:52:35.000Z",
)


def _batch(attempt: int, requests: int, succeeded: int) -> Batch:
    begin = _BEGIN + 12 + 11 * attempt
    return Batch(
        id=f"batch_0{attempt}dfc4caf84ad1414c95",
        status="completed",
        counts=BatchCounts(requests, succeeded, requests - succeeded),
        created_at=begin,
        ended_at=begin + 5,
    )


def _board(attempt: int, requests: int, succeeded: int) -> AttemptState:
    batch = _batch(attempt, requests, succeeded)
    entry = ShardState(stage=Stage.CREATED, requests=requests, batch=batch)
    return AttemptState(attempt=attempt, started_at=_BEGIN, entries={1: entry})


def example() -> dict[str, Any]:
    """Return the report of a job of 22 requests, one of which fails for good."""
    error = {
        "line": 16,
        "custom_id": "q-16",
        "code": "invalid_request_error",
        "message": "max_completion_tokens is too large.",
    }
    summaries = [
        ShardResult(1, 1, sent=22, batch_succeeded=20, succeeded=20, failed=2, to_retry=1),
        ShardResult(2, 1, sent=1, batch_succeeded=1, succeeded=21, failed=1, errors=[error]),
    ]
    summaries[0].usage = {_MODEL: [1_380, 712, 2_092]}
    summaries[1].usage = {_MODEL: [63, 34, 97]}
    keys = object_keys.delivery_keys(_REQUEST.path)
    return final_report(
        _REQUEST,
        _JOB,
        status="partial",
        reason=None,
        states=[_board(1, 22, 20), _board(2, 1, 1)],
        summaries=summaries,
        outputs=delivery_outputs(
            keys, lambda key: f"s3://{_BUCKET}/{key}", results=True, failed=True, invalid=False
        ),
        finished_at=datetime(2026, 11, 25, 9, 53, 21, tzinfo=UTC),
    )


def report_example() -> str:
    """Return the example as a block."""
    return json_block(example())


def event_example() -> str:
    """Return the end event of the example as a rule receives it."""
    report = example()
    return json_block(
        {
            "version": "0",
            "id": "2f0a4b6e-…",
            "detail-type": EVENT_DETAIL_TYPE,
            "source": EVENT_SOURCE,
            "account": "123456789012",
            "time": "2026-11-25T09:53:21Z",
            "region": "us-east-1",
            "resources": [],
            "detail": event_detail(report),
        }
    )


def event_pattern() -> str:
    """Return the pattern of a rule for jobs that need attention."""
    return json_block(
        {
            "source": [EVENT_SOURCE],
            "detail-type": [EVENT_DETAIL_TYPE],
            "detail": {"status": ["partial", "rejected", "failed", "cancelled"]},
        }
    )
