"""``groq-batch start``: start a job now, without waiting for an event or the schedule."""

from __future__ import annotations

from pathlib import Path

import click

from groq_batch.domain import object_keys
from groq_batch_cli.aws import Stack, Target, connect
from groq_batch_cli.ending import end
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM, CommandError
from groq_batch_cli.job_lookup import path_of
from groq_batch_cli.job_progress import Follower, leave
from groq_batch_cli.options import out_folder_option, stack_options
from groq_batch_cli.output_guard import check_folder
from groq_batch_cli.shell_completion import complete_job
from groq_batch_cli.terminal import Terminal
from groq_batch_client.follow import Followed
from groq_batch_client.found_jobs import FoundJob, job_of_path
from groq_batch_client.job_view import GOOD
from groq_batch_client.text import one_line
from groq_batch_client.uploads import start_anew, start_by_hand


@click.command()
@click.argument("file", shell_complete=complete_job)
@click.option(
    "--wait/--no-wait",
    default=True,
    help="Follow the job and fetch its results.  [default: wait]",
)
@out_folder_option
@click.option("--again", is_flag=True, help="Run an upload again, and pay again.")
@stack_options
@click.pass_obj
def command(
    terminal: Terminal, file: str, wait: bool, out: Path, again: bool, target: Target
) -> int:
    """Start a job for a file that is already in the bucket.

    FILE is the key of a recurring file (recurring/evals.jsonl), which runs once now in addition to
    its schedule, or the path, key or S3 URI of an upload (team/requests.jsonl), which starts
    without waiting for the schedule. An upload that already has a job keeps it, unless you give
    --again. To run a file on this machine, use groq-batch run.

    \b
    Exit status: 0 if every request was answered (with --no-wait: if the job has
    started), 1 if not, 2 for a usage error, 130 after Ctrl-C.

    \b
    Examples:
      groq-batch start recurring/evals.jsonl
      groq-batch start team/requests.jsonl --no-wait
    """
    if wait:
        check_folder(out)
    stack = connect(target)
    path = path_of(stack.storage, file)
    is_recurring = path.startswith(object_keys.RECURRING_PREFIX)
    if again and is_recurring:
        raise click.UsageError(
            "--again is for uploads; a recurring file starts a new job each time."
        )
    if is_recurring:
        _refuse_scheduled_run(stack, path)
    key = path if is_recurring else object_keys.INPUT_PREFIX + path
    starts_anew = again or is_recurring
    answer = start_anew(stack, key) if starts_anew else start_by_hand(stack, key)
    job = FoundJob(path=path_of(stack.storage, answer["report"]), job_id=answer["job_id"])
    followed = Followed(one_line(job.path), job)
    if answer["status"] == "started":
        terminal.print(f"{followed.name}: started as {job.job_id}")
    else:
        terminal.note(
            f"{followed.name} has a job already, {job.job_id}. To run it again, and pay again: "
            f"--again"
        )
    if not wait:
        terminal.print(f"  follow it: {target.command('status', job.path, '--watch')}")
        terminal.print(f"  fetch its results: {target.command('results', job.path)}")
        return EXIT_FINE
    return _follow(stack, followed, out, terminal)


def _refuse_scheduled_run(stack: Stack, path: str) -> None:
    """Refuse the path of a scheduled run, which has results but is no file that could run.

    Raises:
        CommandError: The path belongs to a run of a recurring file.
    """
    job = job_of_path(stack.storage, path)
    # The rejected job of an upload below input/recurring/ has the path of that file, too.
    if job is not None and job.key.startswith(object_keys.RECURRING_PREFIX) and job.key != path:
        raise CommandError(
            f"{one_line(path)} is a run of {one_line(job.key)}. To run that file now, as "
            f"it is in the bucket today: {job.run_again}"
        )


def _follow(stack: Stack, followed: Followed, out: Path, terminal: Terminal) -> int:
    """Follow a job until it ends and fetch its results; return the exit status."""
    try:
        Follower(stack.storage, terminal).follow([followed], lambda _: None)
    except KeyboardInterrupt:
        return leave(terminal, stack.target, [followed])
    end(stack, followed.job, followed.name, out, terminal, terminal.print)
    report = followed.report
    return EXIT_FINE if report is not None and report["status"] == GOOD else EXIT_PROBLEM
