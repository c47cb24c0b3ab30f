"""Group the errors of a job's page by code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from groq_batch.domain.answer_stats import (
    MAX_EXAMPLES,
    FailureGroup,
    Failures,
)
from groq_batch.reports.page import charts, wording
from groq_batch.reports.page.advice import reason_of
from groq_batch.reports.page.data import PageData

_MAX_GROUPS = 30
_MESSAGE_CHARACTERS = 300


class ErrorExample(msgspec.Struct, frozen=True):
    """Location of an error, and its message if the examples differ; either may be empty."""

    line: str
    custom_id: str
    message: str


class ErrorGroup(msgspec.Struct, frozen=True):
    """The errors of one code.

    Attributes:
        code: The code.
        count: Number of errors.
        message: Their message, if all examples have the same.
        examples: The first errors.
        has_more: Whether there are more errors.
        drawing: A bar for their share.
    """

    code: str
    count: str
    message: str
    examples: Sequence[ErrorExample]
    has_more: bool
    drawing: str


def error_groups_of(report: Mapping[str, Any], page_data: PageData) -> list[ErrorGroup]:
    """Return the errors by code, most frequent first; rare codes beyond 30 are left out."""
    listed = _row_errors(report)
    groups = Failures()
    if page_data.failures is not None:
        groups.merge(page_data.failures)
        problems = page_data.job.problems if page_data.job is not None else ()
        for problem in problems:
            groups.add(problem.code, problem.line, problem.message)
    else:
        for error in listed:
            groups.add(error["code"], error["line"], error["message"])
    largest = max((group.count for group in groups.values()), default=0)
    ordered = sorted(groups.items(), key=lambda item: -item[1].count)
    return [_error_group(code, group, largest, listed) for code, group in ordered[:_MAX_GROUPS]]


def _error_group(
    code: str, group: FailureGroup, largest: int, listed: Iterable[Mapping[str, Any]]
) -> ErrorGroup:
    shown = [
        error
        for error in listed
        if (error["code"] or "unknown") == code
        and (error["line"] is not None or error["custom_id"])
    ][:MAX_EXAMPLES]
    differ = len({error["message"] for error in shown}) > 1
    examples = [
        ErrorExample(
            _line(error["line"]),
            wording.text(error["custom_id"] or "", most=wording.NAME_CHARACTERS),
            wording.text((error["message"] or "") if differ else "", most=_MESSAGE_CHARACTERS),
        )
        for error in shown
    ]
    examples = examples or [ErrorExample(_line(line), "", "") for line in group.lines]
    message = "" if differ else (group.message or "")
    return ErrorGroup(
        code=wording.text(code, most=wording.NAME_CHARACTERS),
        count=wording.whole(group.count),
        message=wording.text(message, most=_MESSAGE_CHARACTERS),
        examples=examples,
        has_more=group.count > len(examples) > 0,
        drawing=charts.single_bar(group.count / largest, "bad"),
    )


def _row_errors(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the listed errors that concern lines instead of the job."""
    errors: list[Mapping[str, Any]] = list(report["errors"])
    return errors[1:] if reason_of(report) is not None else errors


def _line(number: int | None) -> str:
    return f"line {wording.whole(number)}" if number is not None else ""


def errors_remark(report: Mapping[str, Any], page_data: PageData) -> str:
    """Return how many errors the groups do not count; empty if they count all."""
    total = report["errors_total"]
    if page_data.failures is not None:
        job = page_data.job
        if job is None or job.problems_total <= len(job.problems):
            return ""
        return (
            f"The first {wording.whole(len(job.problems))} of "
            f"{wording.whole(job.problems_total)} invalid lines are counted here; the list of "
            f"invalid lines has all."
        )
    if total <= len(report["errors"]):
        return ""
    return f"The first {len(report['errors'])} of {wording.whole(total)} are counted here."
