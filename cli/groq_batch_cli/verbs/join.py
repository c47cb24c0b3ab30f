"""``groq-batch join``: answers beside the rows."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from groq_batch_cli.errors import EXIT_FINE, WrongUsageError
from groq_batch_cli.ids import RowIds
from groq_batch_cli.joining import AnswerColumns, JoinCounts, check_columns, join
from groq_batch_cli.lines import local_lines
from groq_batch_cli.options import ExistingFile, ExistingPath, rows_argument
from groq_batch_cli.overwriting import check_output
from groq_batch_cli.request_files import STDIN
from groq_batch_cli.rows.formats import Format, format_of
from groq_batch_cli.rows.reading import RowFile
from groq_batch_cli.rows.writing import RowWriter, columns_of, csv_writer, jsonl_writer
from groq_batch_cli.schemas import AnswerSchema
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text import counted


@click.command()
@rows_argument
@click.argument("results", type=ExistingFile(allow_dash=True))
@click.option("--id", "id_column", metavar="COLUMN", help="Column with the custom_id, as for make.")
@click.option(
    "--schema",
    type=ExistingPath(),
    help="JSON schema of the answers, as for make: they are read as JSON.",
)
@click.option(
    "--prefix", default="", metavar="TEXT", help="What the names of the new columns begin with."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    show_default="JSONL on standard output",
    metavar="FILE",
    help="File to write: .jsonl, .csv, .tsv (also with .gz) or .parquet.",
)
@click.pass_obj
def command(
    terminal: Terminal,
    rows: RowFile,
    results: str,
    id_column: str | None,
    schema: Path | None,
    prefix: str,
    out: Path | None,
) -> int:
    """Put the answers back beside the rows.

    ROWS are those that the requests were made of, RESULTS the results of their job. The columns
    answer, finish_reason, error_code and error_message are added. With a schema the answer is data:
    an object in JSONL, a column answer_NAME for each of its properties in CSV and Parquet.

    \b
    Example:
      groq-batch join reviews.csv requests.results.jsonl --id review_id --out answered.csv
    """
    if results == STDIN and not rows.can_be_read_again:
        raise click.UsageError("Only one of ROWS and RESULTS can come in on standard input.")
    check_output(out, (rows.path, results, schema))
    kind = format_of(str(out)) if out is not None else Format.JSONL
    columns = AnswerColumns(
        prefix=prefix,
        schema=AnswerSchema.load(schema) if schema is not None else None,
        are_flat=kind is not Format.JSONL,
    )
    counts = JoinCounts()
    with contextlib.ExitStack() as files:
        writer = files.enter_context(_writer(rows, out, kind, columns))
        for row in join(
            files.enter_context(rows.rows()),
            files.enter_context(local_lines(results)),
            ids=RowIds(id_column),
            columns=columns,
            names=(rows.name, results),
            counts=counts,
        ):
            writer.write(row)
    where = f" in {out}" if out is not None else ""
    errors = f", {counts.errors:,} without an answer" if counts.errors else ""
    terminal.note(f"{counted(counts.rows, 'row')}{where}{errors}")
    return EXIT_FINE


def _writer(
    rows: RowFile, out: Path | None, kind: Format, columns: AnswerColumns
) -> contextlib.AbstractContextManager[RowWriter]:
    """Return what writes the joined rows, which for CSV and Parquet needs all columns first."""
    if out is None or kind is Format.JSONL:
        return jsonl_writer(out)
    if not rows.can_be_read_again:
        raise WrongUsageError(
            f"To write {kind.value} the rows are read twice, which standard input cannot be. Give "
            f"them as a file, or write JSONL."
        )
    if kind is Format.PARQUET:
        from groq_batch_cli.rows.parquet_join import joined_writer  # noqa: PLC0415 - needs pyarrow

        return joined_writer(rows, out, columns)
    existing = columns_of(rows)
    check_columns(existing, columns.names)
    return csv_writer(out, [*existing, *columns.names], kind)
