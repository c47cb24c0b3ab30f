"""List a job's batches, files and options for its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.times import parse_timestamp
from groq_batch.reports.page import wording
from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.timeline import BATCH_STYLES

_MAX_BATCHES = 200


class BatchRow(msgspec.Struct, frozen=True):
    """One batch of the job."""

    id: str
    place: str
    style: str
    status: str
    requests: str
    succeeded: str
    took: str


def batches_of(report: Mapping[str, Any]) -> list[BatchRow]:
    """Return the first batches of the job."""
    return [_batch_row(batch) for batch in report["batches"][:_MAX_BATCHES]]


def _batch_row(batch: Mapping[str, Any]) -> BatchRow:
    created, ended = batch["created_at"], batch["ended_at"]
    took = ""
    if created is not None and ended is not None:
        seconds = (parse_timestamp(ended) - parse_timestamp(created)).total_seconds()
        took = wording.duration(max(seconds, 0))
    return BatchRow(
        id=wording.text(batch["id"], most=wording.NAME_CHARACTERS),
        place=f"{batch['attempt']} · {batch['shard']}",
        style=BATCH_STYLES.get(batch["status"], "running"),
        status=wording.text(batch["status"], most=40),
        requests=wording.whole(batch["requests"]),
        succeeded=wording.whole(batch["succeeded"]),
        took=took,
    )


def batches_remark(report: Mapping[str, Any]) -> str:
    """Return how many batches are not shown; empty if all are."""
    batches = report["batches"]
    if len(batches) <= _MAX_BATCHES:
        return ""
    return (
        f"The first {_MAX_BATCHES} of {wording.whole(len(batches))} batches; the JSON report lists "
        f"all."
    )


def details_of(report: Mapping[str, Any], page_data: PageData) -> list[tuple[str, str]]:
    """Return labels and values: the job's files and options."""
    source = report["input"]
    details = [
        ("Job", report["job_id"]),
        ("Input", f"s3://{source['bucket']}/{source['key']}"),
        ("Version", source["version_id"] or "none"),
        ("Lines", wording.whole(source["lines"])),
    ]
    for label, name in (("Results", "results"), ("Without an answer", "failed")):
        if report["outputs"][name]:
            details.append((label, report["outputs"][name]))
    if report["outputs"]["invalid"]:
        details.append(("Invalid lines", report["outputs"]["invalid"]))
    if page_data.job is not None:
        options = page_data.job.options
        details += [
            ("Completion window", options.completion_window),
            ("Attempts at most", wording.whole(options.max_attempts)),
            ("On an invalid line", "skip it" if options.skip_invalid_lines else "reject the file"),
            ("Models", "those of the account's list" if options.check_models else "any"),
            (
                "Cost cap",
                wording.money(options.max_job_cost_usd) if options.max_job_cost_usd else "none",
            ),
            *_asked_for(options),
        ]
    return [(label, wording.text(value, most=wording.KEY_CHARACTERS)) for label, value in details]


def _asked_for(options: JobOptions) -> Iterator[tuple[str, str]]:
    """Yield the options that are set only for some jobs."""
    if options.canary_requests:
        requests = wording.whole(options.canary_requests)
        percent = options.canary_max_failed_percent
        yield "Canary", f"{requests} requests, of which {percent} % may fail for good"
    if options.batch_deadline:
        most_usd = wording.money(options.deadline_max_usd)
        yield "Deadline", f"{options.batch_deadline}, then ordinary calls for at most {most_usd}"
    if options.retry_invalid_output:
        yield "Answers that are not the requested JSON", "sent again"
