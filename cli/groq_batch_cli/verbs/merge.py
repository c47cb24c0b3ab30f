"""``groq-batch merge``: merge the results of retries into the original results."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM
from groq_batch_cli.options import ExistingFile, out_file_option
from groq_batch_cli.output_guard import check_output
from groq_batch_cli.terminal import Terminal
from groq_batch_client.line_io import local_lines
from groq_batch_client.merge import NamedRows, merge
from groq_batch_client.retries import write_rows
from groq_batch_client.text import one_line


@click.command()
@click.argument("results", type=ExistingFile(allow_dash=True))
@click.argument(
    "retried",
    nargs=-1,
    required=True,
    metavar="RETRIED...",
    type=ExistingFile(),
)
@out_file_option("File to write, or - for standard output; compressed when it ends in .gz.")
@click.pass_obj
def command(terminal: Terminal, results: str, retried: tuple[str, ...], out: Path | None) -> int:
    """Merge the results of retries into the original results.

    RESULTS is the results file of a job, RETRIED the results file of its retry. If the retry was
    retried too, give its results as the next RETRIED. The rows keep the order of RESULTS.

    \b
    Exit status: 0 if every row has an answer now, 1 if not.

    \b
    Example:
      groq-batch merge requests.results.jsonl requests.retry.results.jsonl --out merged.jsonl
    """
    check_output(out, (results, *retried))
    with contextlib.ExitStack() as files:
        original, *others = [
            NamedRows(one_line(path), files.enter_context(local_lines(path)))
            for path in (results, *retried)
        ]
        rows, counts = merge(original, others)
        write_rows(rows, out)
    terminal.note(counts.text)
    return EXIT_PROBLEM if counts.left else EXIT_FINE
