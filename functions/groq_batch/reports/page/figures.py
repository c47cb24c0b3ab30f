"""Show the numbers of a job's page: highlights, outcomes of requests, distributions of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from groq_batch.domain.answer_stats import AnswerStats, Histogram
from groq_batch.domain.job_status import RUNNING
from groq_batch.domain.pace import mean_pace
from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch.reports.page import charts, wording
from groq_batch.reports.page.histograms import draw_histogram

_UNANSWERED = ("bad", "without an answer")


class Figure(msgspec.Struct, frozen=True):
    """A highlighted number, its label, and a remark below it."""

    label: str
    value: str
    remark: str


class Outcome(msgspec.Struct, frozen=True):
    """A part of the requests: its style, its name, its number, and its share."""

    style: str
    label: str
    count: str
    share: str


class Distribution(msgspec.Struct, frozen=True):
    """Distribution of a quantity over the answers."""

    label: str
    drawing: str
    figures: Sequence[tuple[str, str]]


def figures_of(report: Mapping[str, Any], as_of: datetime) -> list[Figure]:
    """Return the highlighted numbers."""
    requests, progress, usage = report["requests"], report["progress"], ReportedUsage.of(report)
    is_running = report["status"] == RUNNING
    done = progress["completed"] if is_running else requests["succeeded"]
    of = progress["total"] if is_running else requests["total"]
    figures = [
        Figure(
            "Requests",
            wording.whole(requests["total"]),
            f"{wording.size(report['input']['bytes'])} of input",
        ),
        Figure(
            "Done" if is_running else "Answered",
            wording.percent(done, of),
            f"{wording.whole(done)} of {wording.whole(of)}",
        ),
    ]
    pace = mean_pace(report, as_of)
    if pace is not None:
        left = wording.duration(pace[1])
        figures.append(Figure("Time left", f"~{left}", f"{_rate(pace[0])} so far"))
    if usage.total_tokens:
        figures.append(
            Figure(
                "Tokens",
                wording.short(usage.total_tokens),
                f"{wording.short(usage.prompt_tokens)} in, "
                f"{wording.short(usage.completion_tokens)} out",
            )
        )
    if usage.actual_usd is not None and not is_running and requests["succeeded"]:
        figures.append(
            Figure(
                "Cost",
                wording.money(usage.actual_usd),
                f"{wording.money(usage.all_on_demand_usd)} on demand",
            )
        )
    else:
        figures.append(
            Figure("Estimated cost", wording.money(usage.estimated_usd), "before sending")
        )
    return figures


def _rate(rate: float) -> str:
    """Format the rate of completed requests, per second or per minute."""
    return (
        f"{wording.short(rate)} a second" if rate >= 1 else f"{wording.short(60 * rate)} a minute"
    )


def outcomes_of(report: Mapping[str, Any]) -> list[Outcome]:
    """Return the parts of the requests, by outcome."""
    parts = _parts(report)
    total = sum(count for _, _, count in parts)
    return [
        Outcome(style, name, wording.whole(count), wording.percent(count, total))
        for style, name, count in parts
    ]


def draw_outcomes(report: Mapping[str, Any]) -> str:
    """Draw the parts of the requests as one bar."""
    parts = _parts(report)
    total = sum(count for _, _, count in parts)
    if not total:
        return ""
    title = ", ".join(f"{wording.whole(count)} {name}" for _, name, count in parts)
    return charts.stacked_bar(
        [charts.Part(style, count / total) for style, _, count in parts], title=title
    )


def _parts(report: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return style, name and number of each part of the requests."""
    requests, progress = report["requests"], report["progress"]
    if report["status"] == RUNNING:
        waiting = max(progress["total"] - progress["completed"], 0)
        parts = [
            ("running", "done", progress["completed"]),
            ("waiting", "under way", waiting),
            ("invalid", "invalid", requests["invalid"]),
        ]
    else:
        # Valid lines of a rejected file have not failed; they were not sent.
        unanswered = ("idle", "not sent") if report["status"] == "rejected" else _UNANSWERED
        parts = [
            ("good", "answered", requests["succeeded"]),
            (*unanswered, requests["failed"]),
            ("invalid", "invalid", requests["invalid"]),
        ]
    return [part for part in parts if part[2]]


def distributions_of(stats: AnswerStats | None) -> list[Distribution]:
    """Return the distributions of the answers' tokens and times."""
    if stats is None:
        return []
    wanted = (
        ("Prompt tokens", stats.prompt_tokens, wording.short),
        ("Completion tokens", stats.completion_tokens, wording.short),
        ("Time of the model", stats.milliseconds, wording.milliseconds),
    )
    return [
        Distribution(label, draw_histogram(histogram, label, write), _quantiles(histogram, write))
        for label, histogram, write in wanted
        if histogram.count
    ]


def _quantiles(histogram: Histogram, write: Any) -> list[tuple[str, str]]:
    values = (
        ("mean", histogram.mean),
        ("median", histogram.quantile(0.5)),
        ("90 %", histogram.quantile(0.9)),
        ("99 %", histogram.quantile(0.99)),
        ("most", histogram.most),
    )
    return [(label, write(round(value))) for label, value in values if value is not None]


def finish_reasons_of(stats: AnswerStats | None) -> list[charts.Bar]:
    """Return why answers ended, most frequent first."""
    if stats is None:
        return []
    total = sum(stats.finish_reasons.values())
    return [
        charts.Bar(
            label=wording.text(name, most=wording.NAME_CHARACTERS),
            value=wording.whole(count),
            remark=wording.percent(count, total),
            drawing=charts.single_bar(count / total, "accent"),
        )
        for name, count in sorted(stats.finish_reasons.items(), key=lambda item: -item[1])
    ]
