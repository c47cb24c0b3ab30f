"""``groq-batch status``: one job, now or until its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from groq_batch_cli.aws import Target, connect
from groq_batch_cli.endings import end_line, problem_lines
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM, NoSuchJobError
from groq_batch_cli.following import Followed, Follower
from groq_batch_cli.job_lookup import FoundJob, Report, find_job
from groq_batch_cli.job_view import (
    GOOD,
    Progress,
    batch_rows,
    cost_so_far,
    headline,
    is_final,
    phase,
    reason,
    seconds_of,
    style_of,
)
from groq_batch_cli.options import json_option, stack_options
from groq_batch_cli.tables import aligned
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text import counted, duration, one_line
from groq_batch_cli.verbs.run import leave

_SILENCE_SECONDS = 60.0


@click.command()
@click.argument("job")
@click.option("--watch", is_flag=True, help="Follow it to its end.")
@json_option
@stack_options
@click.pass_obj
def command(terminal: Terminal, job: str, watch: bool, as_json: bool, target: Target) -> int:
    """Show how far a job is, or how it ended.

    JOB is a job's name or its beginning, a path such as team/requests.jsonl, or a file's name: then
    it is the newest job of a file of this name. With --json it is the whole report.

    \b
    Exit status: 0 when it is running or has succeeded, 1 when it has ended otherwise.

    \b
    Examples:
      groq-batch status requests.jsonl --watch
      groq-batch status team/requests.jsonl --json | jq .errors
    """
    storage = connect(target).storage
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
        for line in status_lines(found, terminal, datetime.now(UTC)):
            terminal.print(line)
    good = found.report is None or not is_final(found.report) or found.report["status"] == GOOD
    return EXIT_FINE if good else EXIT_PROBLEM


def _not_started(name: str) -> str:
    return (
        f"{name}: no job has started for this upload yet. A stack with TriggerMode=schedule starts "
        f"it when its schedule fires, others start what was missed then; if that does not help, "
        f"look at the dead-letter queue and the log of StartJobFunction."
    )


def status_lines(found: FoundJob, terminal: Terminal, now: datetime) -> Iterator[str]:
    """Yield what is known of a job."""
    report = found.report
    name = terminal.styled(one_line(found.path), "bold")
    if report is None:
        known = {
            "uploaded": "uploaded; its job has not started yet",
            "starting": "the job was started and has no report yet, or its report was replaced",
        }
        yield f"{name}: {known[found.status]}"
        return
    if is_final(report):
        yield end_line(name, report, terminal)
    else:
        doing = terminal.styled(phase(report, has_job=True), style_of(report["status"]))
        yield f"{name}: {doing}, {headline(report)}"
        waits_for = reason(report)
        if waits_for:
            yield f"  waits: {waits_for}"
    yield from ("  " + line for line in aligned([*_facts(report, now)]))
    rows = batch_rows(report)
    if rows:
        yield from ("  " + line for line in aligned(rows))
    if report["requests"]["invalid"] or report["status"] == "rejected":
        yield from problem_lines(report)


def _facts(report: Report, now: datetime) -> Iterator[tuple[str, str]]:
    counts, usage = report["requests"], report["usage"]
    yield "job", report["job_id"]
    parts = [f"{counts['succeeded']:,} answered", f"{counts['failed']:,} failed"]
    if counts["invalid"]:
        parts.append(f"{counts['invalid']:,} invalid")
    if is_final(report):
        yield "requests", f"{counts['total']:,}: {', '.join(parts)}"
    else:
        progress = Progress.of(report)
        yield "requests", f"{counts['total']:,}: {counted(progress.done, 'outcome')} so far"
    if usage["total_tokens"]:
        yield (
            "tokens",
            f"{usage['prompt_tokens']:,} in, {usage['completion_tokens']:,} out",
        )
    if cost_so_far(report):
        yield "cost", cost_so_far(report)
    yield "time", duration(seconds_of(report, now))
    for kind, url in report["outputs"].items():
        if url is not None:
            yield kind, one_line(url)
