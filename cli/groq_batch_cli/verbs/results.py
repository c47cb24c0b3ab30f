"""``groq-batch results``: the files of a job that has ended."""

from __future__ import annotations

from pathlib import Path

import click

from groq_batch_cli.aws import Target, connect
from groq_batch_cli.endings import end
from groq_batch_cli.errors import EXIT_FINE, CommandError
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.job_view import headline, is_final
from groq_batch_cli.options import out_folder_option, stack_options
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text import one_line


@click.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@out_folder_option
@stack_options
@click.pass_obj
def command(terminal: Terminal, jobs: tuple[str, ...], out: Path, target: Target) -> int:
    """Fetch the results of jobs that have ended.

    Writes NAME.results.jsonl, NAME.report.json, and where there are any NAME.failed.jsonl (request
    lines to run again) and NAME.invalid.jsonl (problems of the file). JOB is named as for status.

    \b
    Examples:
      groq-batch results requests.jsonl
      groq-batch results 2026/june/part-1.jsonl 2026/june/part-2.jsonl --out results
    """
    stack = connect(target)
    for text in jobs:
        job = find_job(stack.storage, text)
        if not is_final(job.report):
            so_far = f" ({headline(job.report)})" if job.report else ""
            raise CommandError(
                f"{one_line(job.path)} has not ended yet{so_far}. Follow it: "
                f"{target.command('status', job.path, '--watch')}"
            )
        end(stack, job, one_line(job.path), out, terminal, terminal.print)
    return EXIT_FINE
