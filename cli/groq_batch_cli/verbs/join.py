"""``groq-batch join``: join the answers to the original rows."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from groq_batch_cli.errors import EXIT_FINE
from groq_batch_cli.options import (
    ExistingFile,
    ExistingPath,
    out_file_option,
    rows_argument,
    separator_option,
)
from groq_batch_cli.output_guard import check_output
from groq_batch_cli.terminal import Terminal
from groq_batch_client.dedupe import SharedAnswers
from groq_batch_client.join import AnswerColumns, join, open_writer
from groq_batch_client.request_files import STDIN
from groq_batch_client.row_ids import RowIds
from groq_batch_client.schemas import AnswerSchema
from groq_batch_client.tables.formats import Format, kind_of
from groq_batch_client.tables.sources import open_results
from groq_batch_client.tables.table import TableFile
from groq_batch_client.text import counted


@click.command()
@rows_argument
@click.argument("results", type=ExistingFile(allow_dash=True))
@click.option(
    "--id",
    "id_column",
    metavar="COLUMN",
    help="Column that holds the custom_id, as for make.  [default: row-N]",
)
@separator_option
@click.option(
    "--schema",
    type=ExistingPath(),
    help="JSON schema of the answers, as for make; parses the answers as JSON.",
)
@click.option(
    "--deduped",
    type=ExistingPath(),
    help="The file REQUESTS.rows that make --dedupe wrote.",
)
@click.option(
    "--prefix", default="", metavar="TEXT", help="Prefix for the names of the new columns."
)
@out_file_option(
    "File to write: .jsonl, .csv, .tsv (also with .gz or .zst), .parquet, or - (standard output).",
    show_default="JSONL on standard output",
)
@click.pass_obj
def command(
    terminal: Terminal,
    rows: TableFile,
    results: str,
    id_column: str | None,
    separator: str,
    schema: Path | None,
    deduped: Path | None,
    prefix: str,
    out: Path | None,
) -> int:
    """Join the answers to the original rows.

    ROWS is the file that make built the requests from, RESULTS the results file of their job. Adds
    the columns answer, tool_calls, finish_reason, error_code and error_message. error_code is empty
    if and only if the row has a valid answer. With --schema the answer is parsed as JSON: JSONL
    output gets it as an object; CSV, TSV and Parquet get a column answer_NAME for each property,
    and the column answer holds the text of answers that do not match the schema, or that have
    other properties besides.

    \b
    Example:
      groq-batch join reviews.csv requests.results.jsonl --id review_id --out answered.csv
    """
    if results == STDIN and rows.path is None:
        raise click.UsageError("Only one of ROWS and RESULTS can come from standard input.")
    rows.use_separator(separator)
    check_output(out, (rows.path, results, schema, deduped))
    kind = kind_of(str(out)).format if out is not None else Format.JSONL
    columns = AnswerColumns(
        prefix=prefix,
        schema=AnswerSchema.load(schema) if schema is not None else None,
        are_flat=kind is not Format.JSONL,
    )
    ids, names = RowIds(id_column), (rows.name, results)
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(open_results(results))
        shared = None
        if deduped is not None:
            shared = stack.enter_context(SharedAnswers(deduped, lines, ids=ids, names=names))
        writer = stack.enter_context(open_writer(rows, out, kind, columns))
        table = stack.enter_context(rows.open())
        counts = join(table, lines, writer, ids=ids, columns=columns, names=names, shared=shared)
    where = f" in {out}" if out is not None else ""
    errors = f", {counts.errors:,} without an answer" if counts.errors else ""
    left_out = f", {counts.left_out:,} without any value left out" if counts.left_out else ""
    terminal.note(f"{counted(counts.rows, 'row')}{where}{errors}{left_out}")
    return EXIT_FINE
