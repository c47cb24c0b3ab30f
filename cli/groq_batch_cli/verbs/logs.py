"""``groq-batch logs``: show the log lines of a job."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import click

from groq_batch.domain.times import seconds_of
from groq_batch_cli.aws import Stack, Target, connect
from groq_batch_cli.errors import EXIT_FINE, NoSuchJobError
from groq_batch_cli.job_logs import LogEvent, job_events, log_group
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.log_lines import full_text, readable_lines
from groq_batch_cli.options import job_argument, stack_options
from groq_batch_cli.terminal import Terminal
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.text import one_line

_LOOK_SECONDS = 3.0
_BEFORE_MILLISECONDS = 60_000
"""How far to look back before the start: the clocks of the functions and of S3 may differ."""

_LATE_MILLISECONDS = 60_000
"""How far to look back for late lines: CloudWatch shows a line some time after it was written."""


@click.command()
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until Ctrl-C.")
@click.option("--all", "everything", is_flag=True, help="Show every line with all its fields.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines unchanged, as JSON.")
@stack_options
@click.pass_obj
def command(
    terminal: Terminal, job: str, follow: bool, everything: bool, as_json: bool, target: Target
) -> int:
    """Show the log lines of a job.

    Each line shows the time, the function, the event and its main fields. Repeated status checks
    without news are only counted. --all shows every line, including metrics and stack traces;
    --json prints the lines unchanged. The functions never log prompts or answers. Give JOB as for
    status.

    \b
    Examples:
      groq-batch logs requests.jsonl
      groq-batch logs requests.jsonl --json | jq 'select(.level == "ERROR")'
    """
    stack = connect(target)
    found = find_job(stack.storage, job)
    if found.job_id is None:
        raise NoSuchJobError(
            f"The upload {one_line(found.path)} has no job yet, so there is no log."
        )
    since = _began(found) - _BEFORE_MILLISECONDS
    events = _events(stack, found.job_id, since, follow=follow)
    lines = _raw(events, terminal, as_json=as_json)
    if not everything and not as_json:
        lines = readable_lines(events, terminal)
    is_empty = True
    try:
        for line in lines:
            is_empty = False
            terminal.print(line)
    except KeyboardInterrupt:
        return EXIT_FINE
    if is_empty:
        terminal.note("The log has no lines of this job, or they have expired.")
    return EXIT_FINE


def _raw(events: Iterable[LogEvent], terminal: Terminal, *, as_json: bool) -> Iterator[str]:
    for event in events:
        yield event.text if as_json else full_text(event, terminal)


def _events(stack: Stack, job_id: str, since: int, *, follow: bool) -> Iterator[LogEvent]:
    """Yield each line once."""
    group = log_group(stack)
    seen: set[tuple[str, int, str]] = set()
    while True:
        newest = since
        for event in job_events(stack, group, job_id, since_milliseconds=since):
            newest = max(newest, event.milliseconds - _LATE_MILLISECONDS)
            name = (event.id, event.milliseconds, event.text)
            if name not in seen:
                seen.add(name)
                yield event
        if not follow:
            return
        since = newest
        time.sleep(_LOOK_SECONDS)


def _began(job: FoundJob) -> int:
    """Return the start time of a job in milliseconds since 1970.

    If it is unknown, the returned time makes the search cover the whole log.
    """
    text = None
    if job.request is not None:
        text = job.request.started_at
    elif job.report is not None:
        text = job.report["timing"]["started_at"]
    return int(seconds_of(text) * 1000) if text else _BEFORE_MILLISECONDS
