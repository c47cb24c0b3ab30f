"""``groq-batch jobs``: list running and ended jobs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import click

from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch.domain.times import timestamp
from groq_batch_cli.aws import Target, connect
from groq_batch_cli.bucket_folders import folder_below
from groq_batch_cli.errors import EXIT_FINE
from groq_batch_cli.job_list import STATUSES, WAITING, ListedJob, Wanted, list_jobs
from groq_batch_cli.options import json_option, stack_options
from groq_batch_cli.periods import Since
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text_table import aligned
from groq_batch_client.job_view import (
    answered_share,
    cost_so_far,
    first_error_code,
    is_final,
    reason,
    style_of,
    unanswered,
    why,
)
from groq_batch_client.pace import pace_of_report
from groq_batch_client.text import age, counted, dollars, one_line, shorten

_LONGEST_PATH = 60
_COLUMNS = ("STATUS", "FILE", "DONE", "REQUESTS", "FAILED", "COST", "LEFT", "AGE", "WHY", "JOB")
_NUMBERS = frozenset({"DONE", "REQUESTS", "FAILED", "COST", "LEFT", "AGE"})
_LEFT_OUT_WHEN_EMPTY = frozenset({"LEFT", "WHY"})


@click.command()
@click.option("--status", type=click.Choice(STATUSES), help="List only jobs with this status.")
@click.option(
    "--since",
    type=Since(),
    metavar="TIME",
    help="List only jobs started since then: 30m, 12h, 7d ago, or a date such as 2026-11-25 (UTC).",
)
@click.option("--under", metavar="FOLDER/", help="List only jobs of files below this folder.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="Maximum number of jobs to list.",
)
@click.option("--all", "everything", is_flag=True, help="List all jobs.")
@json_option
@stack_options
@click.pass_obj
def command(
    terminal: Terminal,
    status: str | None,
    since: datetime | None,
    under: str | None,
    limit: int,
    everything: bool,
    as_json: bool,
    target: Target,
) -> int:
    """List jobs, newest first.

    STATUS comes from the job's report. There are three more: `starting` (no report yet), `waiting`
    (an upload that waits for the schedule) and `replaced` (a newer run of the same file has
    overwritten the job's results). FAILED counts requests without an answer, WHY is the most common
    error code, and LEFT estimates the remaining time. With --json each line is a JSON object.

    \b
    Examples:
      groq-batch jobs
      groq-batch jobs --status running
      groq-batch jobs --under team/ --since 7d --all
      groq-batch jobs --all --json | jq -s 'map(.cost_usd.actual) | add'
    """
    stack = connect(target)
    wanted = Wanted(
        status=status,
        since=since,
        under=folder_below(under, stack.bucket) if under is not None else "",
        with_waiting=stack.holds_uploads or status == WAITING,
    )
    found = list_jobs(stack.storage, wanted, on_denied=terminal.warn)
    now = datetime.now(UTC)
    if as_json:
        for one in found if everything else islice(found, limit):
            terminal.print(json.dumps(_json(one, now), ensure_ascii=False))
        return EXIT_FINE
    listed = list(found if everything else islice(found, limit + 1))
    _show(listed if everything else listed[:limit], terminal, now)
    if not listed:
        terminal.note(
            "There are no jobs yet. Start one: groq-batch run"
            if wanted.is_everything
            else "No job matches."
        )
    elif not everything and len(listed) > limit:
        terminal.note(f"These are the newest {limit}; --limit N lists more, --all lists all.")
    return EXIT_FINE


def _show(jobs: Sequence[ListedJob], terminal: Terminal, now: datetime) -> None:
    if not jobs:
        return
    rows = [_row(one, now) for one in jobs]
    shown = [
        name
        for name in _COLUMNS
        if name not in _LEFT_OUT_WHEN_EMPTY or any(row[name] for row in rows)
    ]
    head, *lines = aligned(
        [shown, *([row[name] for name in shown] for row in rows)],
        right=frozenset(place for place, name in enumerate(shown) if name in _NUMBERS),
    )
    # A narrow terminal wraps the lines; cut ones would lack the age, the reason and the name.
    terminal.print(terminal.styled(head, "dim"))
    for one, line in zip(jobs, lines, strict=True):
        rest = line.removeprefix(one.status)
        terminal.print(terminal.styled(one.status, style_of(one.status)) + rest)
    terminal.print(terminal.styled(Total.of(jobs).text, "dim"))


def _row(one: ListedJob, now: datetime) -> dict[str, str]:
    report = one.job.report
    missing = unanswered(report)
    return {
        "STATUS": one.status,
        "FILE": shorten(one_line(one.job.path), _LONGEST_PATH),
        "DONE": answered_share(report),
        "REQUESTS": f"{report['requests']['total']:,}" if report else "",
        "FAILED": f"{missing:,}" if missing else "",
        "COST": cost_so_far(report).partition(" of ")[0],
        "LEFT": _left_text(one, now),
        "AGE": age(one.at, now),
        "WHY": why(report),
        "JOB": one.job.job_id or "",
    }


def _left_text(one: ListedJob, now: datetime) -> str:
    pace = pace_of_report(one.job.report, one.job.reported_at)
    return pace.left_text(_since_report(one, now)) if pace is not None else ""


def _since_report(one: ListedJob, now: datetime) -> float:
    return (now - one.job.reported_at).total_seconds() if one.job.reported_at else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Totals of the listed jobs.

    Attributes:
        jobs: Number of jobs.
        requests: Number of their requests.
        cost_usd: Total cost of the jobs whose cost is known.
        without_cost: Number of jobs that were sent and have ended, but whose cost is unknown.
    """

    jobs: int
    requests: int
    cost_usd: float
    without_cost: int

    @classmethod
    def of(cls, jobs: Iterable[ListedJob]) -> Total:
        """Add up jobs."""
        listed = list(jobs)
        reports = [one.job.report for one in listed if one.job.report is not None]
        costs = [ReportedUsage.of(report).actual_usd for report in reports]
        return cls(
            jobs=len(listed),
            requests=sum(report["requests"]["total"] for report in reports),
            cost_usd=sum(cost for cost in costs if cost is not None),
            without_cost=sum(map(_lacks_cost, listed)),
        )

    @property
    def text(self) -> str:
        """The totals as text."""
        parts = [counted(self.jobs, "job"), counted(self.requests, "request")]
        parts.append(dollars(self.cost_usd))
        if self.without_cost:
            parts.append(f"the cost of {counted(self.without_cost, 'job')} is not known")
        return "Total: " + ", ".join(parts)


def _lacks_cost(one: ListedJob) -> bool:
    report = one.job.report
    if report is None:
        return one.job.is_replaced
    is_unknown = ReportedUsage.of(report).actual_usd is None
    return bool(is_unknown and report["batches"] and is_final(report))


def _json(one: ListedJob, now: datetime) -> dict[str, object]:
    report = one.job.report or {}
    pace = pace_of_report(one.job.report, one.job.reported_at)
    left = pace.seconds_left_after(_since_report(one, now)) if pace is not None else None
    is_waiting = one.status == WAITING
    return {
        "job_id": one.job_id,
        "path": one.job.path,
        "status": one.status,
        "started_at": None if is_waiting else timestamp(one.at),
        "requests": report.get("requests"),
        "progress": report.get("progress"),
        "cost_usd": report.get("cost_usd"),
        "uploaded_at": timestamp(one.at) if is_waiting else None,
        "finished_at": report["timing"]["finished_at"] if report else None,
        "report_status": report.get("status"),
        "seconds_left": round(left) if left is not None else None,
        "error_code": first_error_code(one.job.report),
        "errors_total": report.get("errors_total"),
        "reason": reason(report) if report else None,
    }
