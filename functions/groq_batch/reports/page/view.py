"""Build the view of a report page: every number, text and drawing, ready for the template.

User-supplied texts are truncated here and escaped by the template. Drawings are made of numbers,
and of texts that ``charts`` escapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from groq_batch.domain import object_keys
from groq_batch.domain.job_status import RUNNING
from groq_batch.reports.page import charts, wording
from groq_batch.reports.page.advice import (
    Command,
    advice_of,
    canary_of,
    commands_of,
    ordinary_calls_of,
    reason_of,
    times_of,
)
from groq_batch.reports.page.costs import ModelRow, cost_bars_of, cost_remark, models_of
from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.details import BatchRow, batches_of, batches_remark, details_of
from groq_batch.reports.page.errors import ErrorGroup, error_groups_of, errors_remark
from groq_batch.reports.page.figures import (
    Distribution,
    Figure,
    Outcome,
    distributions_of,
    draw_outcomes,
    figures_of,
    finish_reasons_of,
    outcomes_of,
)
from groq_batch.reports.page.timeline import Timeline, draw_timeline

_RELOAD_SECONDS = 60
"""Seconds after which the page of a running job reloads."""
_TITLE_CHARACTERS = 90
_STATUS_WORDS = {
    RUNNING: "Running",
    "succeeded": "Succeeded",
    "partial": "Partial",
    "rejected": "Rejected",
    "failed": "Failed",
    "cancelled": "Cancelled",
}


class View(msgspec.Struct, frozen=True):
    """All values that the template shows, in the order of the template."""

    title: str
    path: str
    folder: str
    status: str
    status_word: str
    times: str
    advice: str
    reason: tuple[str, str] | None
    commands: Sequence[Command]
    reload_seconds: int | None
    canary: str
    on_demand: str
    figures: Sequence[Figure]
    outcomes: Sequence[Outcome]
    outcome_bar: str
    timeline: Timeline | None
    distributions: Sequence[Distribution]
    finish_reasons: Sequence[charts.Bar]
    error_groups: Sequence[ErrorGroup]
    errors_remark: str
    cost_bars: Sequence[charts.Bar]
    cost_remark: str
    models: Sequence[ModelRow]
    batches: Sequence[BatchRow]
    batches_remark: str
    details: Sequence[tuple[str, str]]
    json_address: str


def view_of(
    report: Mapping[str, Any], page_data: PageData, *, report_key: str, as_of: datetime
) -> View:
    """Build the view of a report page.

    Args:
        report: The stored report.
        page_data: Data that the report does not contain.
        report_key: Key of the report.
        as_of: When the page is made; a running job is described as of then.
    """
    status = str(report["status"])
    source = report["input"]
    key = str(source["key"])
    folder, _, name = object_keys.input_path(key).rpartition("/")
    return View(
        title=f"{_STATUS_WORDS.get(status, status)}: {wording.shortened_path(name, most=60)}",
        path=wording.shortened_path(name, most=_TITLE_CHARACTERS),
        folder=wording.shortened_path(folder, most=_TITLE_CHARACTERS),
        status=status if status in _STATUS_WORDS else "failed",
        status_word=_STATUS_WORDS.get(status, wording.text(status, most=20)),
        times=times_of(report, as_of),
        advice=advice_of(report),
        reason=reason_of(report),
        commands=commands_of(report),
        reload_seconds=_RELOAD_SECONDS if status == RUNNING else None,
        canary=canary_of(report, page_data),
        on_demand=ordinary_calls_of(report),
        figures=figures_of(report, as_of),
        outcomes=outcomes_of(report),
        outcome_bar=draw_outcomes(report),
        timeline=draw_timeline(report, as_of=as_of),
        distributions=distributions_of(page_data.stats),
        finish_reasons=finish_reasons_of(page_data.stats),
        error_groups=error_groups_of(report, page_data),
        errors_remark=errors_remark(report, page_data),
        cost_bars=cost_bars_of(report),
        cost_remark=cost_remark(report),
        models=models_of(page_data),
        batches=batches_of(report),
        batches_remark=batches_remark(report),
        details=details_of(report, page_data),
        json_address=wording.text(
            f"s3://{source['bucket']}/{report_key}", most=wording.KEY_CHARACTERS
        ),
    )
