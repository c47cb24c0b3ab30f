"""Examples and fields of the report and of the end event, created by the real code."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch, BatchCounts
from groq_batch.domain.cost import ModelUsage, actual_cost_usd
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.prices import FROM_GROQ, Prices, table_prices
from groq_batch.domain.shard import Shard
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.job import JobRecord, JobRequest
from groq_batch.records.shard_result import ShardResult
from groq_batch.records.submission import Stage
from groq_batch.reports.report import delivery_outputs, event_detail, final_report
from groq_batch.steps.finish_job import EVENT_DETAIL_TYPE, EVENT_SOURCE
from local.reference.blocks import described
from local.reference.markdown import code, json_block, table

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

MEANINGS = {
    "schema_version": "Changes when a field changes its meaning. New fields do not change it.",
    "job_id": "The job; also the name of its execution.",
    "status": "`running`, `succeeded`, `partial`, `rejected`, `failed` or `cancelled`.",
    "input.bucket": "Where the input is.",
    "input.key": "The input's key.",
    "input.shown": "The key for display and emails: quotation marks, backslashes and control "
    "characters are replaced by question marks.",
    "input.version_id": "The object version that the job reads.",
    "input.bytes": "Size of the object; for a compressed file, its compressed size.",
    "input.lines": "Lines of the file, including blank ones.",
    "folder": "The first folder below `input/` or `recurring/`; empty at the top.",
    "requests.total": "Lines that are not blank.",
    "requests.succeeded": "Requests with an answer.",
    "requests.failed": "Good lines without an answer. In a rejected job: all good lines.",
    "requests.invalid": "Lines that did not pass the checks.",
    "requests.invalid_output": "Only with `retry-invalid-output`: requests whose final answer is "
    "not the requested JSON.",
    "requests.unchecked_output": "Only with `retry-invalid-output`: answers that could not be "
    "checked against their schema; they count as valid.",
    "progress.completed": "Requests that are done.",
    "progress.total": "Requests to be done.",
    "batches[].id": "The id of the batch at Groq.",
    "batches[].shard": "The shard's number, from 1. The parts of a refused shard get new numbers, "
    "which continue from the highest one.",
    "batches[].attempt": "The number of times the shard's requests were sent, including this "
    "batch.",
    "batches[].status": "The batch's status at Groq.",
    "batches[].requests": "Requests in the batch.",
    "batches[].succeeded": "Its requests with an answer.",
    "batches[].failed": "Its requests without an answer.",
    "batches[].created_at": "When Groq created it.",
    "batches[].ended_at": "When it ended.",
    "usage.prompt_tokens": "Prompt tokens of all answered requests, as counted by Groq.",
    "usage.completion_tokens": "Completion tokens of all answers.",
    "usage.total_tokens": "The sum of both.",
    "cost_usd.estimated": "Estimate before sending; null if a price or the length of audio is not "
    "known.",
    "cost_usd.actual": (
        "Cost of the answers at the batch price, and at the on-demand price for ordinary calls; "
        "null if a price or the usage of an answer is not known."
    ),
    "prices.source": (
        "`groq` if a price of the account's list of models was used, else `table`. The job's "
        "prices are fixed when its input is checked; before, `prices` is null."
    ),
    "prices.date": "The date of that list, or of the [table](../how-to/cap-the-cost.md).",
    "canary": "The result of the canary: its number of `requests`, how many of them `failed` for "
    "good, the `projected_cost_usd` of the whole file at their rate (null if a price or a usage "
    "is not known), and whether it has `passed` (null until it is evaluated). Null in a job "
    "[without a canary](../how-to/send-a-canary-first.md).",
    "on_demand": "The ordinary calls after a deadline: the `requests` for which a call was "
    "started, how many of them `succeeded` and how many `failed` (no answer, or unknown outcome), "
    "and the `cost_usd` of the answers (null if unknown). Null in a job [without a "
    "deadline](../how-to/set-a-deadline.md); zeros if no call was made.",
    "timing.started_at": "When the job started.",
    "timing.submitted_at": "When its first batch was created.",
    "timing.finished_at": "When it ended.",
    "timing.seconds": "Seconds from start to end.",
    "errors[].line": "Line of the input, from 1, if known.",
    "errors[].custom_id": "The `custom_id` of the request, if known.",
    "errors[].code": "The [error code](error-codes.md), for programs.",
    "errors[].message": "The error as a sentence that says what to do.",
    "errors_total": "Number of all errors; `errors` has the first 100.",
    "outputs.results": "S3 URI of the result rows.",
    "outputs.failed": "S3 URI of the request lines without a success.",
    "outputs.invalid": "S3 URI of the problems of the input.",
    "version": "Version of the stack's code that wrote the report.",
}
"""The meaning of each field; fields of list items are written with ``[]``."""

_PLACE = "MEANINGS of local/reference/reports.py"


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
        ShardResult(1, 1, sent=22, batch_succeeded=20, succeeded=20, failed=2, left_over=1),
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
        actual_cost_usd=actual_cost_usd({_MODEL: ModelUsage(21, 1_443, 746)}),
        outputs=delivery_outputs(
            keys, lambda key: f"s3://{_BUCKET}/{key}", results=True, failed=True, invalid=False
        ),
        finished_at=datetime(2026, 11, 25, 9, 53, 21, tzinfo=UTC),
    )


def report_example() -> str:
    """Return the example as a block."""
    return json_block(example())


def report_fields() -> str:
    """Return every field of a report with its meaning.

    Raises:
        UndescribedError: A field has no description.
    """
    names = dict.fromkeys(field_names(example()))
    return table(
        ["field", "meaning"], ([code(name), described(MEANINGS, name, _PLACE)] for name in names)
    )


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


def field_names(data: Any, before: str = "") -> Iterator[str]:
    """Yield the names of all fields of JSON data; fields of list items have ``[]``."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from field_names(value, f"{before}.{name}" if before else name)
    elif isinstance(data, list):
        for item in data:
            yield from field_names(item, f"{before}[]")
    else:
        yield before
