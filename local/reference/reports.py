"""The report and the event of a job's end, made by the code that makes the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch, BatchCounts
from groq_batch.domain.cost import ModelUsage, actual_cost_usd
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.prices import FROM_GROQ, Prices, table_prices
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.job import JobRecord, JobRequest, ShardRecord
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
    shards=(ShardRecord(number=1, requests=22, bytes=10_601, skipped=0),),
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
    "input.shown": "The same for people and mails: quotation marks, backslashes and control "
    "characters are question marks.",
    "input.version_id": "The version that the job has read.",
    "input.bytes": "Size of the object, compressed if it is.",
    "input.lines": "Lines of the file, blank ones included.",
    "folder": "The first folder below `input/` or `recurring/`; empty at the top.",
    "requests.total": "Lines that are not blank.",
    "requests.succeeded": "Requests with an answer.",
    "requests.failed": "Good lines without one. In a rejected job: all good lines.",
    "requests.invalid": "Lines that did not pass the checks.",
    "requests.invalid_output": "Only with `retry-invalid-output`: answers that are not the JSON "
    "asked for in the end.",
    "requests.unchecked_output": "Only with `retry-invalid-output`: answers that could not be "
    "checked against their schema; they count as valid.",
    "progress.completed": "Requests that have an outcome.",
    "progress.total": "Requests that are to have one.",
    "batches[].id": "The batch at Groq.",
    "batches[].shard": "The part of the file, from 1. Parts of a refused shard have numbers of "
    "their own, counted on from the highest.",
    "batches[].attempt": "How often the shard's requests were sent with this batch, from 1.",
    "batches[].status": "What Groq says of the batch.",
    "batches[].requests": "Requests in it.",
    "batches[].succeeded": "Requests of it with an answer.",
    "batches[].failed": "Requests of it without one.",
    "batches[].created_at": "When Groq made it.",
    "batches[].ended_at": "When it ended.",
    "usage.prompt_tokens": "Tokens of all answered requests, as Groq counts.",
    "usage.completion_tokens": "Tokens of all answers.",
    "usage.total_tokens": "Both.",
    "cost_usd.estimated": "Before sending; null where a price or the length of audio is not known.",
    "cost_usd.actual": (
        "Of what the answers used, at the batch price, and at the one on demand for ordinary "
        "calls; null where a price is not known, or an answer does not say what it used."
    ),
    "prices.source": (
        "`groq` where a price of the account's list of models was used, else `table`. The job's "
        "prices are fixed when its input is checked; before, `prices` is null."
    ),
    "prices.date": "The day of that list, or of the [table](../how-to/cap-the-cost.md).",
    "canary": "What became of the requests that were sent alone at first: `requests`, how many, "
    "`failed` for good, `projected_cost_usd` of the whole file at their rate (null where a price "
    "or a usage is not known), and whether they have `passed` (null until they are judged). Null "
    "in a job [without a canary](../how-to/send-a-canary-first.md).",
    "on_demand": "The ordinary calls after a deadline: `requests` for which one was begun, those "
    "of them that `succeeded`, and `failed` without an answer, one that is not known included; "
    "`cost_usd` of the answers (null where it is not known). Null in a job [without a "
    "deadline](../how-to/set-a-deadline.md), zeros where no call was made.",
    "timing.started_at": "When the job was started.",
    "timing.submitted_at": "When its first batch was made.",
    "timing.finished_at": "When it ended.",
    "timing.seconds": "From start to end.",
    "errors[].line": "Line of the input, from 1, where it is known.",
    "errors[].custom_id": "The request, where it is known.",
    "errors[].code": "What is wrong, for programs: [error codes](error-codes.md).",
    "errors[].message": "The same as a sentence that says what to do.",
    "errors_total": "All errors; `errors` holds the first 100.",
    "outputs.results": "Address of the result rows.",
    "outputs.failed": "Address of the request lines without a success.",
    "outputs.invalid": "Address of the problems of the input.",
    "version": "Version of the stack's code that wrote the report.",
}
"""What each field says; a list's fields are written with ``[]``."""

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
        UndescribedError: Nobody has written down the meaning of one.
    """
    names = dict.fromkeys(field_names(example()))
    return table(
        ["field", "meaning"], ([code(name), described(MEANINGS, name, _PLACE)] for name in names)
    )


def event_example() -> str:
    """Return the event of the example's end, as a rule gets it."""
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
    """Yield the names of all fields of some JSON data, those in lists with ``[]``."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from field_names(value, f"{before}.{name}" if before else name)
    elif isinstance(data, list):
        for item in data:
            yield from field_names(item, f"{before}[]")
    else:
        yield before
