"""``groq-batch check``: run the pipeline's checks offline."""

from __future__ import annotations

import json

import click

from groq_batch_cli.check_report import check_json, problem_lines, summary_lines
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM
from groq_batch_cli.file_check import DEFAULT_MAX_PROBLEMS, FileCheck, check_file
from groq_batch_cli.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_REQUESTS, split_limits
from groq_batch_cli.options import max_cost_option, request_files_argument, skip_invalid_option
from groq_batch_cli.progress_bar import ByteProgress
from groq_batch_cli.terminal import Terminal
from groq_batch_client.request_files import RequestFile


@click.command()
@request_files_argument(stdin=True)
@skip_invalid_option
@max_cost_option
@click.option(
    "--max-requests-per-batch",
    type=click.IntRange(1, DEFAULT_MAX_REQUESTS),
    default=DEFAULT_MAX_REQUESTS,
    show_default=True,
    help="The stack's limit of requests per batch (MaxRequestsPerBatch).",
)
@click.option(
    "--max-bytes-per-batch",
    type=click.IntRange(1, 2 * DEFAULT_MAX_BYTES),
    default=DEFAULT_MAX_BYTES,
    show_default=True,
    help="The stack's limit of bytes per batch (MaxBytesPerBatch).",
)
@click.option(
    "--max-problems",
    type=click.IntRange(0),
    default=DEFAULT_MAX_PROBLEMS,
    show_default=True,
    metavar="N",
    help="Maximum number of invalid lines to show; the rest are counted.",
)
@click.option(
    "--source/--no-source",
    default=None,
    help="Show the part of each invalid line around the error.  [default: on a terminal only]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file.")
@click.option("-q", "--quiet", is_flag=True, help="Print problems only.")
@click.pass_obj
def command(
    terminal: Terminal,
    files: tuple[RequestFile, ...],
    skip_invalid: bool,
    max_cost: float | None,
    max_requests_per_batch: int,
    max_bytes_per_batch: int,
    max_problems: int,
    source: bool | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Check request files offline and estimate their cost.

    Runs the same checks as the pipeline before it sends anything, except one: only the stack can
    check whether a model exists and supports the request, because that needs the model list of its
    Groq account. FILE is a .jsonl or .jsonl.gz file, a folder of them, or - for standard input.

    \b
    Exit status: 0 if the pipeline would run every file, 1 if not, 2 for a usage error.

    \b
    Examples:
      groq-batch check requests.jsonl
      groq-batch check --json requests.jsonl | jq .cost_usd.batch
      zcat part-*.jsonl.gz | groq-batch check -
    """
    limits = split_limits(max_requests_per_batch, max_bytes_per_batch)
    passes = True
    for file in files:
        with ByteProgress(terminal, f"Checking {file.shown}", file.size) as progress:
            found = check_file(
                file,
                limits=limits,
                max_cost_usd=max_cost or 0.0,
                max_problems=max_problems,
                progress=progress.add,
            )
        passes = found.passes(skip_invalid=skip_invalid) and passes
        if as_json:
            terminal.print(json.dumps(check_json(found, skip_invalid=skip_invalid)))
        else:
            with_source = terminal.out_is_terminal if source is None else source
            _show(found, terminal, with_source=with_source, skip_invalid=skip_invalid, quiet=quiet)
    return EXIT_FINE if passes else EXIT_PROBLEM


def _show(
    found: FileCheck, terminal: Terminal, *, with_source: bool, skip_invalid: bool, quiet: bool
) -> None:
    for line in problem_lines(found, terminal, with_source=with_source):
        terminal.print(line)
    if not quiet:
        for line in summary_lines(found, terminal, skip_invalid=skip_invalid):
            terminal.print(line)
