"""``groq-batch open``: open the report of a job, or the index of all jobs, in the browser."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path

import click

from groq_batch.bucket.storage import Storage
from groq_batch_cli.aws import Target, connect
from groq_batch_cli.errors import EXIT_FINE, CommandError, NoSuchJobError
from groq_batch_cli.index_page import make_index
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.options import stack_options
from groq_batch_cli.shell_completion import complete_job
from groq_batch_cli.terminal import Terminal
from groq_batch_client.job_files import fetch_page
from groq_batch_client.text import counted, one_line


@click.command()
@click.argument("job", required=False, shell_complete=complete_job)
@click.option(
    "--print", "only_print", is_flag=True, help="Print the path of the page instead of opening it."
)
@stack_options
@click.pass_obj
def command(terminal: Terminal, job: str | None, only_print: bool, target: Target) -> int:
    """Open the report of a job, or of all jobs, in the browser.

    Without JOB, opens an index of all jobs: running jobs, ended jobs, and the cost by day and
    folder in the last 30 days. The page is a file in a temporary folder and needs no network. If
    the output is not a terminal, prints the path of the page, as with --print. Give JOB as for
    status.

    \b
    Examples:
      groq-batch open
      groq-batch open requests.jsonl
      cp "$(groq-batch open requests.jsonl --print)" report.html
    """
    stack = connect(target)
    page = (
        _index_page(stack.storage, terminal)
        if job is None
        else _report_page(stack.storage, job, terminal, target)
    )
    if only_print or not terminal.out_is_terminal or not webbrowser.open(page.as_uri()):
        terminal.print(str(page))
    else:
        terminal.note(f"Opened {page}")
    return EXIT_FINE


def _index_page(storage: Storage, terminal: Terminal) -> Path:
    page = make_index(
        storage, on_progress=lambda jobs: terminal.live([f"{counted(jobs, 'job')} counted"])
    )
    terminal.clear()
    # Keep the folder after the command: the browser reads it later.
    file = Path(tempfile.mkdtemp(prefix="groq-batch-")) / "index.html"
    file.write_bytes(page)
    return file


def _report_page(storage: Storage, job: str, terminal: Terminal, target: Target) -> Path:
    found = find_job(storage, job)
    if found.job_id is None:
        raise NoSuchJobError(
            f"The upload {one_line(found.path)} has no job yet, so there is no report."
        )
    # Keep the folder after the command: the browser reads it later.
    folder = Path(tempfile.mkdtemp(prefix="groq-batch-"))
    target_file = folder / f"{found.stem}.report.html"
    page = fetch_page(storage, found, target_file, warn=terminal.warn)
    if page is None:
        folder.rmdir()
        raise CommandError(
            f"{one_line(found.path)} has no page at present: its job has just started, or a newer "
            f"job has replaced it. See {target.command('status', found.path)}"
        )
    return page
