"""``groq-batch open``: the report of a job as a page in the browser."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path

import click

from groq_batch_cli.aws import Target, connect
from groq_batch_cli.errors import EXIT_FINE, CommandError, NoSuchJobError
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.options import job_argument, stack_options
from groq_batch_cli.terminal import Terminal
from groq_batch_client.fetching import fetch_page
from groq_batch_client.text import one_line


@click.command()
@job_argument
@click.option("--print", "only_print", is_flag=True, help="Print the file's path; open nothing.")
@stack_options
@click.pass_obj
def command(terminal: Terminal, job: str, only_print: bool, target: Target) -> int:
    """Open the report of a job as a page in the browser.

    The page is fetched into a temporary folder; it needs no network. In a pipe its path is printed,
    as with --print. JOB is named as for status.

    \b
    Examples:
      groq-batch open requests.jsonl
      cp "$(groq-batch open requests.jsonl --print)" report.html
    """
    stack = connect(target)
    found = find_job(stack.storage, job)
    if found.job_id is None:
        raise NoSuchJobError(f"The upload {one_line(found.path)} has no job yet, and so no report.")
    # Kept when the command has ended: the browser reads it afterwards.
    folder = Path(tempfile.mkdtemp(prefix="groq-batch-"))
    target_file = folder / f"{found.stem}.report.html"
    page = fetch_page(stack.storage, found, target_file, warn=terminal.warn)
    if page is None:
        folder.rmdir()
        raise CommandError(
            f"{one_line(found.path)} has no page at present: its job has just begun, or a newer "
            f"one has taken its place. See {target.command('status', found.path)}"
        )
    if only_print or not terminal.out_is_terminal or not webbrowser.open(page.as_uri()):
        terminal.print(str(page))
    else:
        terminal.note(f"Opened {page}")
    return EXIT_FINE
