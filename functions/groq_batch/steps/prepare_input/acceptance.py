"""Decide whether a job is accepted, and make the record that says so: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groq_batch.domain.cost import estimate_cost_usd
from groq_batch.domain.cost_cap import check_cap
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.prices import job_prices
from groq_batch.domain.problem import Problem
from groq_batch.domain.reason import Reason
from groq_batch.domain.times import seconds_of
from groq_batch.records.job import JobRecord
from groq_batch.records.model_listing import ModelListing
from groq_batch.request_file.input_summary import MAX_KEPT_PROBLEMS, InputSummary

REPLACED = Reason(
    ErrorCode.INPUT_UNREADABLE,
    "The uploaded object no longer exists; another upload has replaced it, or it was "
    "deleted before it could be read. Upload it again.",
)
DENIED = Reason(
    ErrorCode.INPUT_UNREADABLE,
    "S3 denies access to the uploaded object. If it is encrypted with your own KMS "
    "key, allow the function to use it (kms:Decrypt), then upload the file again.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What decides about an input besides its lines.

    Attributes:
        options: The options in force.
        option_problems: Problems of these options, which reject the job.
        stack_cap_usd: The stack's own cost cap in US dollars; 0 means none.
        input_bytes: Size of the object.
        started_at: When the job was started.
    """

    options: JobOptions
    option_problems: Sequence[Problem]
    stack_cap_usd: float
    input_bytes: int
    started_at: str


def decide(
    summary: InputSummary, terms: Terms, listing: ModelListing | None, *, now: str
) -> tuple[JobRecord, Sequence[Problem]]:
    """Return the record of an input that was read, and the problems of its options or its cost.

    Args:
        summary: The totals of the input.
        terms: What else decides about it.
        listing: The account's models; None if the list was not requested.
        now: The time of the record.
    """
    options, problems = terms.options, terms.option_problems
    listed = (listing.prices, listing.day) if listing is not None else (None, "")
    prices = job_prices(summary.models, *listed)
    if not problems and summary.fatal is None:
        too_expensive = check_cap(
            summary.models,
            cap_usd=options.max_job_cost_usd,
            stack_cap_usd=terms.stack_cap_usd,
            prices=prices,
        )
        problems = [too_expensive] if too_expensive is not None else []
    bad_lines_reject = summary.invalid > 0 and not options.skip_invalid_lines
    rejected = bool(problems) or summary.fatal is not None or bad_lines_reject
    accepted = not rejected and summary.good > 0
    deadline_at = None
    if options.deadline_seconds is not None:
        deadline_at = seconds_of(terms.started_at) + options.deadline_seconds
    record = JobRecord(
        accepted=accepted,
        options=options,
        input_bytes=terms.input_bytes,
        lines=summary.lines,
        total=summary.total,
        good=summary.good,
        invalid=summary.invalid,
        shards=tuple(summary.shards) if accepted else (),
        has_canary=accepted and 0 < options.canary_requests < summary.good,
        problems=tuple([*problems, *summary.problems][:MAX_KEPT_PROBLEMS]),
        problems_total=len(problems) + summary.problems_total,
        estimated_cost_usd=estimate_cost_usd(summary.models, prices),
        prices=prices,
        prepared_at=now,
        deadline_at=deadline_at,
    )
    return record, problems
