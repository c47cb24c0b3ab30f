"""``groq-batch status``: show one job, once or until it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from groq_batch.domain import object_keys
from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch_cli.aws import Target, connect
from groq_batch_cli.ending import end_line, problem_lines
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM, NoSuchJobError
from groq_batch_cli.failures import ErrorCodes, error_codes
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.job_progress import Follower, leave
from groq_batch_cli.options import job_argument, json_option, stack_options
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text_table import aligned
from groq_batch_client.follow import Followed
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.job_view import (
    GOOD,
    Progress,
    batch_rows,
    canary_text,
    cost_so_far,
    counts_text,
    headline,
    is_final,
    on_demand_text,
    phase,
    reason,
    seconds_of,
    style_of,
)
from groq_batch_client.pace import pace_of_report
from groq_batch_client.stored_reports import Report
from groq_batch_client.text import counted, duration, one_line, shorten

_SILENCE_SECONDS = 60.0
_MAX_CODES = 10
_LONGEST_LINE = 160
"""Width to use if the output is not a terminal."""

_WITHOUT_REPORT = {
    "uploaded": "uploaded; its job has not started yet",
    "starting": "the job was started and has no report yet",
    "replaced": "replaced by a newer run of this file; its report has expired",
}


@click.command()
@job_argument
@click.option("--watch", is_flag=True, help="Follow the job until it ends.")
@json_option
@stack_options
@click.pass_obj
def command(terminal: Terminal, job: str, watch: bool, as_json: bool, target: Target) -> int:
    """Show the progress or the outcome of a job.

    JOB is a job name or the beginning of one, a path such as team/requests.jsonl, the key or S3 URI
    of one of the job's objects, or a file name, if only one file of that name has jobs. For a
    recurring file (recurring/evals.jsonl) it is the newest run. --json prints the full report.

    \b
    Exit status: 0 if the job is running or has succeeded, 1 if it has ended otherwise.

    \b
    Examples:
      groq-batch status requests.jsonl --watch
      groq-batch status team/requests.jsonl --json | jq .errors
    """
    stack = connect(target)
    storage = stack.storage
    found = find_job(storage, job)
    if watch and not is_final(found.report):
        followed = Followed(one_line(found.path), found)
        try:
            follower = Follower(
                storage,
                terminal,
                on_silence=lambda one: terminal.note(_not_started(one.name)),
                silence_seconds=_SILENCE_SECONDS,
            )
            follower.follow([followed], lambda _: None)
        except KeyboardInterrupt:
            return leave(terminal, target, [followed])
        found = followed.job
    if as_json:
        if found.report is None:
            raise NoSuchJobError(f"{one_line(found.path)} has no report yet.")
        terminal.print(json.dumps(found.report, indent=2, ensure_ascii=False))
    else:
        codes = error_codes(storage, found) if is_final(found.report) else None
        for line in status_lines(found, terminal, datetime.now(UTC), codes):
            terminal.print(line)
        if found.job_id is None and stack.holds_uploads:
            terminal.print(f"  to start it now: {target.command('start', found.path)}")
    good = found.report is None or not is_final(found.report) or found.report["status"] == GOOD
    return EXIT_FINE if good else EXIT_PROBLEM


def _not_started(name: str) -> str:
    return (
        f"{name}: no job has started for this upload yet. A stack with TriggerMode=schedule starts "
        f"it on its schedule; other stacks use the schedule to start missed uploads. If that does "
        f"not help, check the dead-letter queue and the log of StartJobFunction."
    )


def status_lines(
    found: FoundJob, terminal: Terminal, now: datetime, codes: ErrorCodes | None = None
) -> Iterator[str]:
    """Yield the lines that describe a job.

    Args:
        found: The job.
        terminal: Where it is shown.
        now: The current time.
        codes: Its errors by code; None while the job runs.
    """
    report = found.report
    name = terminal.styled(one_line(found.path), "bold")
    if report is None:
        yield f"{name}: {_WITHOUT_REPORT[found.status]}"
        return
    if is_final(report):
        yield end_line(name, report, terminal)
        if report["status"] == "partial" and reason(report):
            yield f"  {reason(report)}"
    else:
        doing = terminal.styled(phase(report, has_job=True), style_of(report["status"]))
        yield f"{name}: {doing}, {headline(report)}"
        waits_for = reason(report)
        if waits_for:
            yield f"  waits: {waits_for}"
    if found.is_replaced:
        yield f"  {_replaced_text(found)}"
    yield from ("  " + line for line in aligned([*_facts(found, report, now)]))
    rows = batch_rows(report)
    if rows:
        yield from ("  " + line for line in aligned(rows))
    if codes is not None:
        yield from _code_lines(codes, terminal)
    if report["requests"]["invalid"] or report["status"] == "rejected":
        yield from problem_lines(report)


def _replaced_text(found: FoundJob) -> str:
    if is_final(found.report):
        return (
            "replaced by a newer run of this file; its results are older versions of these "
            f"objects: groq-batch results {found.job_id}"
        )
    aside = object_keys.superseded_path(found.job_id or "", found.path)
    return f"a newer run of this file has begun; this one will deliver to output/{one_line(aside)}"


def _code_lines(codes: ErrorCodes, terminal: Terminal) -> Iterator[str]:
    """Yield the error codes with their counts."""
    if not codes.codes:
        return
    limit = "" if codes.is_complete else f", of the first {codes.counted:,}"
    yield f"  {counted(codes.total, 'error')} by code{limit}:"
    rows = [(f"{one.count:,}", one.code, one.message) for one in codes.codes[:_MAX_CODES]]
    for line in aligned(rows, right=frozenset({0})):
        yield "    " + shorten(line, (terminal.width or _LONGEST_LINE) - 4)
    others = sum(one.count for one in codes.codes[_MAX_CODES:])
    if others:
        yield f"    {others:,} of other codes"


def _facts(found: FoundJob, report: Report, now: datetime) -> Iterator[tuple[str, str]]:
    counts, usage = report["requests"], ReportedUsage.of(report)
    yield "job", report["job_id"]
    if is_final(report):
        yield "requests", f"{counts['total']:,}: {counts_text(report)}"
    else:
        progress = Progress.of(report)
        yield "requests", f"{counts['total']:,}: {counted(progress.done, 'outcome')} so far"
        pace = pace_of_report(report, found.reported_at)
        if pace is not None and found.reported_at is not None:
            left = pace.left_text((now - found.reported_at).total_seconds())
            yield "pace", f"{pace.rate_text}, {left} left" if left else pace.rate_text
    if usage.total_tokens:
        yield "tokens", f"{usage.prompt_tokens:,} in, {usage.completion_tokens:,} out"
    if cost_so_far(report):
        yield "cost", cost_so_far(report)
    if report.get("canary"):
        yield "canary", canary_text(report)
    if report.get("on_demand") and report["on_demand"]["requests"]:
        yield "deadline", on_demand_text(report)
    yield "time", duration(seconds_of(report, now))
    for kind, url in report["outputs"].items():
        if url is not None:
            yield kind, one_line(url)
