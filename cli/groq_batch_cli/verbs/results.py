"""``groq-batch results``: fetch the files of a job that has ended."""

from __future__ import annotations

from pathlib import Path

import click

from groq_batch.domain import object_keys
from groq_batch_cli.aws import Target, connect
from groq_batch_cli.ending import end
from groq_batch_cli.errors import EXIT_FINE, CommandError
from groq_batch_cli.job_list import REPLACED
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.options import jobs_argument, out_folder_option, stack_options
from groq_batch_cli.terminal import Terminal
from groq_batch_client.job_view import headline, is_final
from groq_batch_client.text import one_line


@click.command()
@jobs_argument
@out_folder_option
@stack_options
@click.pass_obj
def command(terminal: Terminal, jobs: tuple[str, ...], out: Path, target: Target) -> int:
    """Fetch the results of jobs that have ended.

    Writes NAME.results.jsonl, NAME.report.json and NAME.report.html. If there are any, also writes
    NAME.failed.jsonl (request lines to run again) and NAME.invalid.jsonl (problems of the file).
    Give JOB as for status. If a newer run of its file has replaced a job, give its job name.

    \b
    Examples:
      groq-batch results requests.jsonl
      groq-batch results 2026/june/part-1.jsonl 2026/june/part-2.jsonl --out results
      groq-batch results requests-04ad86b59a21faf11acc
    """
    stack = connect(target)
    for text in jobs:
        job = find_job(stack.storage, text)
        if job.status == REPLACED:
            raise CommandError(
                f"{one_line(job.path)} was replaced by a newer run more than a month ago, and the "
                f"report of {job.job_id} has expired. Its results are an older version of "
                f"{stack.storage.url(object_keys.delivery_keys(job.path).results)}."
            )
        if not is_final(job.report):
            so_far = f" ({headline(job.report)})" if job.report else ""
            raise CommandError(
                f"{one_line(job.path)} has not ended yet{so_far}. Follow it: "
                f"{target.command('status', job.path, '--watch')}"
            )
        end(stack, job, one_line(job.path), out, terminal, terminal.print)
    return EXIT_FINE
