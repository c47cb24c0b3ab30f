"""``groq-batch usage``: show the tokens and the cost of jobs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click

from groq_batch_cli.aws import Target, connect
from groq_batch_cli.errors import EXIT_FINE, WrongUsageError
from groq_batch_cli.options import json_option, stack_options
from groq_batch_cli.periods import Since
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text_table import aligned
from groq_batch_cli.usage_groups import (
    GROUPINGS,
    NUMBERS,
    Usage,
    grouped_usage,
    rows_of,
    total_usage,
)
from groq_batch_cli.usage_period import read_period
from groq_batch_client.text import counted, dollars, one_line, shorten

_DAYS = 30
_LONGEST_NAME = 60
_HEAD = ("JOBS", "REQUESTS", "ANSWERED", "PROMPT TOKENS", "COMPLETION TOKENS", "COST")
_TOP = "(top)"


@click.command()
@click.option(
    "--since",
    type=Since(),
    metavar="TIME",
    help="Count only jobs that ended since then: 12h, 7d ago, or a date such as 2026-11-25 (UTC). "
    f"[default: {_DAYS}d]",
)
@click.option(
    "--until",
    type=Since(),
    metavar="TIME",
    help="Count only jobs that ended before then. [default: now]",
)
@click.option(
    "--by",
    type=click.Choice(GROUPINGS),
    default="folder",
    show_default=True,
    help="How to group the totals.",
)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@stack_options
@click.pass_obj
def command(
    terminal: Terminal,
    since: datetime | None,
    until: datetime | None,
    by: str,
    as_json: bool,
    as_csv: bool,
    target: Target,
) -> int:
    """Show the tokens and the cost of the jobs of a stack.

    The totals come from usage records. Every job leaves one when it ends, including rejected,
    failed and replaced jobs and each run of a recurring file. A job counts for the first folder
    below input/ or recurring/, and for the UTC day on which it ended. Jobs that ended before
    version 2 have no record. With --json each line is a JSON object.

    \b
    Examples:
      groq-batch usage
      groq-batch usage --since 7d --by day
      groq-batch usage --since 2026-11-01 --until 2026-12-01 --csv > november.csv
      groq-batch usage --json | jq -s 'map(.usd) | add'
    """
    if as_json and as_csv:
        raise WrongUsageError("Give --json or --csv, not both.")
    now = datetime.now(UTC)
    begin = since if since is not None else (until or now) - timedelta(days=_DAYS)
    if until is not None and until <= begin:
        raise WrongUsageError("--until has to be later than --since.")
    stack = connect(target)
    period = read_period(
        stack.storage,
        begin,
        # Clocks differ: a job that ended this moment counts as well.
        until if until is not None else now + timedelta(days=1),
        on_many=lambda count: terminal.note(f"Reading {counted(count, 'usage record')} ..."),
    )
    groups = grouped_usage(period.records, by)
    if as_json:
        for row in rows_of(groups, by):
            terminal.print(json.dumps(row, ensure_ascii=False))
    elif as_csv:
        _write_csv(groups, by, terminal)
    else:
        _show(groups, by, total_usage(period.records), terminal)
    if period.is_before_records:
        terminal.note(
            "Jobs that ended under version 1 of the stack have no usage record and are not counted."
        )
    if period.unreadable:
        terminal.warn(
            f"{counted(period.unreadable, 'object')} below usage/ cannot be read as a usage record."
        )
    return EXIT_FINE


def _write_csv(groups: Sequence[tuple[str, Usage]], by: str, terminal: Terminal) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [by, *NUMBERS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows_of(groups, by))
    terminal.print(text.getvalue().removesuffix("\n"))


def _show(groups: Sequence[tuple[str, Usage]], by: str, total: Usage, terminal: Terminal) -> None:
    if not total.jobs:
        terminal.note("No job ended in this period.")
        return
    rows = [_row(name, usage) for name, usage in groups]
    head, *lines = aligned([(by.upper(), *_HEAD), *rows], right=frozenset(range(1, len(_HEAD) + 1)))
    terminal.print(terminal.styled(head, "dim"))
    for line in lines:
        terminal.print(line)
    parts = [counted(total.jobs, "job"), counted(total.requests, "request"), dollars(total.usd)]
    if total.without_cost:
        parts.append(f"the cost of {counted(total.without_cost, 'job')} is not known")
    terminal.print(terminal.styled("Total: " + ", ".join(parts), "dim"))


def _row(name: str, usage: Usage) -> tuple[str, ...]:
    is_unknown = usage.without_cost == usage.jobs
    return (
        shorten(one_line(name), _LONGEST_NAME) or _TOP,
        f"{usage.jobs:,}",
        f"{usage.requests:,}",
        f"{usage.succeeded:,}",
        f"{usage.prompt_tokens:,}",
        f"{usage.completion_tokens:,}",
        dollars(None if is_unknown else usage.usd),
    )
