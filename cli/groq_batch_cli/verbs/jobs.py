"""``groq-batch jobs``: what has run and what runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

import click

from groq_batch.jobs import timestamp
from groq_batch_cli.aws import Target, connect
from groq_batch_cli.errors import EXIT_FINE
from groq_batch_cli.job_list import STATUSES, ListedJob, list_jobs
from groq_batch_cli.job_view import Progress, cost_so_far, style_of
from groq_batch_cli.options import json_option, stack_options
from groq_batch_cli.tables import aligned
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text import age, one_line, share, shorten

_LONGEST_PATH = 60
_HEADS = ("STATUS", "FILE", "DONE", "REQUESTS", "COST", "AGE", "JOB")
_NUMBERS = frozenset({2, 3, 4, 5})


@click.command()
@click.option("--status", type=click.Choice(STATUSES), help="Only jobs of this status.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="Most jobs to list.",
)
@click.option("--all", "everything", is_flag=True, help="List all jobs.")
@json_option
@stack_options
@click.pass_obj
def command(
    terminal: Terminal,
    status: str | None,
    limit: int,
    everything: bool,
    as_json: bool,
    target: Target,
) -> int:
    """List jobs, the newest first.

    The status is that of the job's report; `replaced` says that a newer upload of the same file
    has taken its place. With --json each line is a JSON object.

    \b
    Examples:
      groq-batch jobs
      groq-batch jobs --status running
      groq-batch jobs --all --json | jq -s 'map(.cost_usd.actual) | add'
    """
    found = list_jobs(connect(target).storage, status=status)
    chosen = found if everything else islice(found, limit)
    if as_json:
        for one in chosen:
            terminal.print(json.dumps(_json(one), ensure_ascii=False))
        return EXIT_FINE
    _show(chosen, terminal)
    return EXIT_FINE


def _show(jobs: Iterable[ListedJob], terminal: Terminal) -> None:
    now = datetime.now(UTC)
    listed = list(jobs)
    if not listed:
        terminal.note("There are no such jobs.")
        return
    head, *lines = aligned([_HEADS, *(_row(one, now) for one in listed)], right=_NUMBERS)
    terminal.print(terminal.styled(_fitting(head, terminal), "dim"))
    for one, line in zip(listed, lines, strict=True):
        rest = _fitting(line, terminal).removeprefix(one.status)
        terminal.print(terminal.styled(one.status, style_of(one.status)) + rest)


def _fitting(line: str, terminal: Terminal) -> str:
    return shorten(line, terminal.width) if terminal.width else line


def _row(one: ListedJob, now: datetime) -> tuple[str, ...]:
    report = one.job.report
    progress = Progress.of(report)
    return (
        one.status,
        shorten(one_line(one.job.path), _LONGEST_PATH),
        share(progress.done, progress.total) if progress.total else "",
        f"{report['requests']['total']:,}" if report else "",
        cost_so_far(report).partition(" of ")[0],
        age(one.started_at, now),
        one.job.job_id or "",
    )


def _json(one: ListedJob) -> dict[str, object]:
    report = one.job.report or {}
    return {
        "job_id": one.job.job_id,
        "path": one.job.path,
        "status": one.status,
        "started_at": timestamp(one.started_at),
        "requests": report.get("requests"),
        "progress": report.get("progress"),
        "cost_usd": report.get("cost_usd"),
    }
