"""Reports for the tests of their page: an everyday one, and hostile ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from groq_batch.domain.answer_stats import AnswerStats, Failures, count_name
from groq_batch.domain.cost import JobUsage, ModelUsage, ModelUsages
from groq_batch.domain.problem import Problem
from groq_batch.records.job import JobRecord
from groq_batch.reports.page.data import PageData
from tests.samples import OPTIONS

START = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
AS_OF = START + timedelta(hours=4)

HOSTILE = (
    "<script>document.title='pwned'</script>",
    "</style><script>alert(1)</script>",
    '"><img src=x onerror="document.title=\'pwned\'">',
    "' onmouseover='document.title=1' x='",
    "{{ 7 * 7 }}{% include 'x' %}",
    "&lt;b&gt; &amp; &#x3c;",
    "javascript:document.title='pwned'",
    "\u202egnihtyreve nruT\u2066",
    "שלום עולם",
    "null\0byte, bell\a, lone \ud800 surrogate, \ufeff",
    "line\nbreak\r\ttab \u2028\u2029",
    "z" + "\u0301" * 3000,
    "W" * 10_000,
    "漢字🙂" * 2000,
    "]]><!-- -->",
)


def moment(minutes: float) -> str:
    at = START + timedelta(minutes=minutes)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def batch(number: int, *, attempt: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"batch_{attempt}{number:04}",
        "shard": number,
        "attempt": attempt,
        "status": "completed",
        "requests": 900,
        "succeeded": 890,
        "failed": 10,
        "created_at": moment(1 + number / 5),
        "ended_at": moment(60 + number * 20),
    } | fields


def report(status: str = "partial", **fields: Any) -> dict[str, Any]:
    """Return a report; ``fields`` replace what stands there."""
    is_final = status != "running"
    return {
        "schema_version": 1,
        "job_id": "requests-0f3c9a7be21d4f55a1b2",
        "status": status,
        "input": {
            "bucket": "data",
            "key": "input/team/requests.jsonl",
            "version_id": "v1",
            "bytes": 18_300_000,
            "lines": 4500,
        },
        "requests": {"total": 4500, "succeeded": 4400, "failed": 96, "invalid": 4},
        "progress": {"completed": 4400, "total": 4496},
        "batches": [batch(number) for number in range(1, 6)],
        "usage": {"prompt_tokens": 2_000_000, "completion_tokens": 900_000, "total_tokens": 2.9e6},
        "cost_usd": {"estimated": 0.4, "actual": 0.21 if is_final else None},
        "prices": {"source": "groq", "date": "2026-11-25"},
        "canary": None,
        "on_demand": None,
        "timing": {
            "started_at": moment(0),
            "submitted_at": moment(1.2),
            "finished_at": moment(187) if is_final else None,
            "seconds": 187 * 60.0 if is_final else None,
        },
        "errors": [
            {"line": 3, "custom_id": "row-3", "code": "invalid_url", "message": "Use /v1/…"},
            {"line": 17, "custom_id": "row-17", "code": "rate_limit", "message": "Too many."},
            {"line": None, "custom_id": "row-18", "code": "rate_limit", "message": "Too many."},
        ],
        "errors_total": 100,
        "outputs": {
            "results": "s3://data/output/team/requests.jsonl" if is_final else None,
            "failed": "s3://data/failed/team/requests.jsonl" if is_final else None,
            "invalid": "s3://data/invalid/team/requests.jsonl" if is_final else None,
        },
    } | fields


def facts(text: Callable[[], str] = lambda: "") -> PageData:
    """Return what a page tells beside a report; ``text`` gives what stands after each name."""
    stats, failures = AnswerStats(), Failures()
    for number in range(400):
        stats.prompt_tokens.add_all([200 + number * number % 700])
        stats.completion_tokens.add_all([number * 7919 % 4000])
        stats.milliseconds.add_all([100 + number * 104_729 % 6000])
    count_name(stats.finish_reasons, "stop" + text(), 380)
    count_name(stats.finish_reasons, "length" + text(), 20)
    failures.add("rate_limit" + text(), 17, "Too many." + text())
    failures.add("rate_limit_2" + text(), 18, "Too many." + text())
    problem = Problem(3, "row-3" + text(), "invalid_url" + text(), "Use /v1/…" + text())
    job = JobRecord(
        accepted=True,
        options=replace(OPTIONS, skip_invalid_lines=True),
        problems=(problem,),
        problems_total=4,
    )
    usage = ModelUsages(
        {
            "openai/gpt-oss-20b": ModelUsage(3000, 1_500_000, 700_000),
            "model" + text(): ModelUsage(1400, 500_000, 200_000),
        }
    )
    return PageData(job, stats, failures, JobUsage(batches=usage))


def hostile_report(text: Callable[[], str], status: str = "partial") -> dict[str, Any]:
    """Return a report in which every text that others may write ends with ``text()``."""
    made = report(status)
    made["input"] |= {
        "key": f"input/folder{text()}/name{text()}.jsonl",
        "version_id": "v" + text(),
    }
    made["batches"] = [
        batch(1, id="batch_1" + text(), status="completed" + text()),
        batch(2, id="batch_2" + text(), status="odd" + text()),
    ]
    made["errors"] = [
        {"line": None, "custom_id": None, "code": "code" + text(), "message": "Why" + text()},
        {"line": 3, "custom_id": "a" + text(), "code": "c1" + text(), "message": "m" + text()},
        {"line": None, "custom_id": "b" + text(), "code": "c2" + text(), "message": "m" + text()},
    ]
    made["outputs"] = {name: f"s3://data/{name}/x{text()}" for name in made["outputs"]}
    return made
