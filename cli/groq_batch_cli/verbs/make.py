"""``groq-batch make``: build a request file from rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from groq_batch_cli.errors import EXIT_FINE
from groq_batch_cli.options import (
    ExistingPath,
    out_file_option,
    rows_argument,
    separator_option,
)
from groq_batch_cli.output_guard import check_output
from groq_batch_cli.prices import price
from groq_batch_cli.shell_completion import complete_model
from groq_batch_cli.terminal import Terminal
from groq_batch_client.build_requests import Built, RequestBuilder, build_requests, read_parameters
from groq_batch_client.dedupe import Sharing, open_sharing, rows_file
from groq_batch_client.file_errors import naming
from groq_batch_client.output import output
from groq_batch_client.row_ids import RowIds
from groq_batch_client.schemas import AnswerSchema
from groq_batch_client.tables.formats import FORMAT_ENDINGS, Format
from groq_batch_client.tables.table import TableFile
from groq_batch_client.templates import Template, constant_prompt
from groq_batch_client.text import counted, dollars, size

_TABLE_ENDINGS = tuple(
    ending for ending, kind in FORMAT_ENDINGS.items() if kind is not Format.JSONL
)

_OTHER_COMPRESSION = (".zst", ".bz2", ".xz", ".zip")
"""Endings of compressed files that no stack takes as requests."""


@click.command()
@rows_argument
@click.option(
    "--model",
    required=True,
    metavar="MODEL",
    shell_complete=complete_model,
    help="Model, such as openai/gpt-oss-20b.",
)
@click.option("--prompt", metavar="TEXT", help="User message; {column} inserts a value.")
@click.option(
    "--prompt-file",
    type=ExistingPath(),
    help="Read the user message from a file.",
)
@click.option("--system", metavar="TEXT", help="System message; {column} works here too.")
@click.option(
    "--system-file",
    type=ExistingPath(),
    help="Read the system message from a file.",
)
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Extra request field, such as temperature=0.2; repeatable.",
)
@click.option(
    "--schema",
    type=ExistingPath(),
    help="JSON schema for the answers.",
)
@click.option(
    "--strict", is_flag=True, help="Force answers to match the schema (not every model can)."
)
@click.option(
    "--same-prompt", is_flag=True, help="Allow a prompt without {column}, the same for all rows."
)
@click.option(
    "--id", "id_column", metavar="COLUMN", help="Column that holds the custom_id.  [default: row-N]"
)
@separator_option
@click.option(
    "--dedupe",
    is_flag=True,
    help="Send identical requests only once; join then needs FILE.rows.",
)
@out_file_option("File to write, or - for standard output; compressed when it ends in .gz.")
@click.pass_obj
def command(
    terminal: Terminal,
    rows: TableFile,
    model: str,
    prompt: str | None,
    prompt_file: Path | None,
    system: str | None,
    system_file: Path | None,
    parameters: tuple[str, ...],
    schema: Path | None,
    strict: bool,
    same_prompt: bool,
    id_column: str | None,
    separator: str,
    dedupe: bool,
    out: Path | None,
) -> int:
    """Build a request file from rows (JSONL, CSV, TSV, Parquet).

    ROWS is a .jsonl, .csv, .tsv or .parquet file, or - for JSONL on standard input. Each row
    becomes one request, in order, and passes the same checks as in the pipeline. Rows of CSV and
    TSV files without any value are skipped.

    \b
    Examples:
      groq-batch make reviews.csv --model openai/gpt-oss-20b \\
          --prompt "Is this review positive? {text}" --param max_completion_tokens=20 \\
          --id review_id --out requests.jsonl
      groq-batch make papers.parquet --model openai/gpt-oss-120b --schema topics.json --strict \\
          --prompt-file prompt.txt --out requests.jsonl.gz
    """
    rows.use_separator(separator)
    _check_outputs(out, (rows.path, prompt_file, system_file, schema), dedupe=dedupe)
    user_text = _text(prompt, prompt_file, "--prompt")
    if user_text is None:
        raise click.UsageError("Give the prompt with --prompt or --prompt-file.")
    system_text = _text(system, system_file, "--system")
    fields = read_parameters(parameters)
    if strict and schema is None:
        raise click.UsageError("--strict needs --schema.")
    if schema is not None:
        answers = AnswerSchema.load(schema)
        is_strict = strict or answers.strict
        if is_strict:
            answers.check_strict()
        fields["response_format"] = answers.response_format(strict=is_strict)
    builder = RequestBuilder(
        model=model,
        prompt=Template.parse(user_text),
        system=Template.parse(system_text) if system_text is not None else None,
        parameters=fields,
        ids=RowIds(id_column),
    )
    if not (builder.prompted_columns or same_prompt):
        raise click.UsageError(constant_prompt(user_text))
    built = Built()
    with (
        rows.open(builder.columns) as table,
        output(out) as stream,
        open_sharing(out if dedupe else None, builder.ids) as sharing,
    ):
        for lines in build_requests(table, builder, name=rows.name, built=built, sharing=sharing):
            stream.write(lines)
    terminal.note(_summary(built, model, out))
    if built.without_value:
        terminal.note(
            f"{counted(built.without_value, 'row')} "
            f"{'has' if built.without_value == 1 else 'have'} no value for the prompt; requests of "
            f"such rows are billed as well"
        )
    if sharing is not None:
        terminal.note(_saved(sharing, out))
    if table.left_out:
        terminal.note(
            f"{counted(table.left_out, 'row')} of {rows.name} without any value "
            f"{'was' if table.left_out == 1 else 'were'} left out"
        )
    return EXIT_FINE


def _text(text: str | None, file: Path | None, option: str) -> str | None:
    if text is not None and file is not None:
        raise click.UsageError(f"Give {option} or {option}-file, not both.")
    if file is None:
        return text
    try:
        # Editors end a file with a line end; it is not part of the prompt.
        with naming(file):
            return file.read_text(encoding="utf-8-sig").removesuffix("\n")
    except UnicodeDecodeError:
        raise click.BadParameter(
            f"{file} is not UTF-8. Save it as UTF-8.", param_hint=f"{option}-file"
        ) from None


def _check_outputs(out: Path | None, inputs: Iterable[Path | None], *, dedupe: bool) -> None:
    given = list(inputs)
    check_output(out, given)
    name = out.name.lower() if out is not None else ""
    if name.endswith(_OTHER_COMPRESSION) or name.removesuffix(".gz").endswith(_TABLE_ENDINGS):
        raise click.BadParameter(
            f"{out}: requests are JSON lines, which no stack takes under such a name. End it with "
            f".jsonl or .jsonl.gz.",
            param_hint="--out",
        )
    if not dedupe:
        return
    if out is None:
        raise click.UsageError("--dedupe writes a second file next to the requests: give --out.")
    check_output(rows_file(out), given)


def _saved(sharing: Sharing, out: Path | None) -> str:
    rows, saved = sharing.rows, sharing.rows - sharing.requests
    if not saved or out is None:
        return f"No two of {counted(rows, 'row')} ask the same."
    return (
        f"{saved:,} of {counted(rows, 'row')} {'has' if saved == 1 else 'have'} the answer of "
        f"another: {saved / rows:.0%} of the requests are saved. Join with --deduped "
        f"{rows_file(out)}"
    )


def _summary(built: Built, model: str, out: Path | None) -> str:
    where = f" in {out}" if out is not None else ""
    if not built.requests:
        return f"The file has no rows, so there are no requests{where}."
    cost = price(built.models)
    costs = (
        f"estimated {dollars(cost.batch)} in a batch"
        if cost.batch is not None
        else f"no estimate, because the price list has no model {model}"
    )
    return f"{counted(built.requests, 'request')}{where}, {size(built.bytes)}, {costs}"
