"""Arguments and options that several verbs have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import click

from groq_batch.domain.job_options import (
    MAX_ATTEMPTS_LIMIT,
    MAX_CANARY_REQUESTS,
    NO_DEADLINE,
    deadline_seconds,
    is_completion_window,
)
from groq_batch_cli.request_folders import files_of_folder
from groq_batch_cli.shell_completion import complete_job
from groq_batch_cli.terminal import Terminal
from groq_batch_client.request_files import STDIN, RequestFile
from groq_batch_client.tables.formats import advice_for_table

MOST_CAP_DIGITS = 12
MOST_CAP_DECIMALS = 9
"""The digits of an amount of USD that the pipeline takes before and behind the point."""

_SMALLEST_CAP = Decimal(1).scaleb(-MOST_CAP_DECIMALS)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def request_files_argument(*, stdin: bool) -> Callable[[_Function], _Function]:
    """Return the argument FILE…: files, folders of files, and perhaps ``-`` for standard input."""

    def read(
        context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
    ) -> tuple[RequestFile, ...]:
        found: list[RequestFile] = []
        for value in values:
            found += _request_files(value, context.obj, stdin=stdin)
        names = [file.argument for file in found]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise click.BadParameter(f"{name} is named twice.")
        return tuple(found)

    return click.argument(
        "files",
        nargs=-1,
        required=True,
        metavar="FILE...",
        type=click.Path(allow_dash=stdin),
        callback=read,
    )


def _request_files(value: str, terminal: Terminal, *, stdin: bool) -> list[RequestFile]:
    """Return the file that an argument names, or those of the folder; tells what is left out."""
    if value == STDIN:
        if stdin:
            return [RequestFile(value)]
        raise click.BadParameter("Standard input has no name to upload it under. Name a file.")
    path = Path(value)
    if not path.exists():
        raise click.BadParameter(f"{value} does not exist.")
    if not path.is_dir():
        advice = advice_for_table(value)
        if advice is not None:
            raise click.BadParameter(advice)
        return [RequestFile(value)]
    found = files_of_folder(value)
    for sentence in found.left_out():
        terminal.note(sentence)
    if not found.files:
        raise click.BadParameter(
            f"{value} is a folder without files of requests, whose names end in .jsonl or "
            f".jsonl.gz."
        )
    return found.files


class ExistingFile(click.Path):
    """A file to read, refused in the same words wherever one is named."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, allow_dash=allow_dash)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check that the file exists and is no folder."""
        if not (self.allow_dash and value == STDIN):
            if not Path(value).exists():
                self.fail(f"{value} does not exist.", param, ctx)
            if Path(value).is_dir():
                self.fail(f"{value} is a folder. Name a file in it.", param, ctx)
        return super().convert(value, param, ctx)


class ExistingPath(ExistingFile):
    """The same as a ``Path``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check the file."""
        return Path(super().convert(value, param, ctx))


skip_invalid_option = click.option(
    "--skip-invalid", is_flag=True, help="Run the good lines, though there are bad ones."
)


class _Amount(click.FloatRange):
    """An amount of USD that the metadata of an upload can hold."""

    def __init__(self, *, smallest: str, zero: str) -> None:
        """Take what the smallest amount and 0 mean, for the sentence of a refusal."""
        super().__init__(0)
        self._meanings = f"{smallest} is {_SMALLEST_CAP:f}; 0 means {zero}."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read an amount as it is written; none is rounded, for 0 means something else."""
        amount = float(super().convert(value, param, ctx))
        written = Decimal(str(value))
        if not written.is_finite():
            self.fail(f"{value} is no amount of US dollars, such as 2.50.", param, ctx)
        if written >= 10**MOST_CAP_DIGITS or written != round(written, MOST_CAP_DECIMALS):
            self.fail(
                f"{value} has more than {MOST_CAP_DIGITS} digits before the point or "
                f"{MOST_CAP_DECIMALS} behind it. {self._meanings}",
                param,
                ctx,
            )
        return amount


max_cost_option = click.option(
    "--max-cost",
    type=_Amount(smallest="The smallest cap", zero="no cap"),
    metavar="USD",
    help="Refuse a file whose estimated cost is above this; 0 means no cap but the stack's.",
)


class _Window(click.ParamType):
    """A completion window, refused before anything is looked at."""

    name = "window"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check that Groq takes a window; it is sent as it is written."""
        if not is_completion_window(value):
            self.fail(
                f"{value!r} is no time that Groq takes: hours or days between 24h and 7d, such as "
                f"24h, 72h or 7d.",
                param,
                ctx,
            )
        return str(value)


window_option = click.option(
    "--window",
    type=_Window(),
    metavar="WINDOW",
    help="Time that Groq has for a batch, from 24h to 7d.",
)

max_attempts_option = click.option(
    "--max-attempts",
    type=click.IntRange(1, MAX_ATTEMPTS_LIMIT),
    metavar="N",
    help=f"How often a request may be sent in all, 1 to {MAX_ATTEMPTS_LIMIT}.",
)

canary_option = click.option(
    "--canary",
    type=click.IntRange(0, MAX_CANARY_REQUESTS),
    metavar="N",
    help="Send the first N requests alone, and the rest only if they do well; 0 means none.",
)

canary_max_failed_percent_option = click.option(
    "--canary-max-failed-percent",
    type=click.IntRange(0, 100),
    metavar="PERCENT",
    help="How many of the canary's requests may fail for good, in percent.",
)


class _Deadline(click.ParamType):
    """A deadline, refused before anything is looked at."""

    name = "deadline"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check a deadline; it is written into the upload as it is."""
        if value != NO_DEADLINE and deadline_seconds(value) is None:
            self.fail(
                f"{value!r} is no deadline: minutes, hours or days between 1m and 30d, such as "
                f"90m, 6h or 2d, or {NO_DEADLINE}.",
                param,
                ctx,
            )
        return str(value)


deadline_option = click.option(
    "--deadline",
    type=_Deadline(),
    metavar="TIME",
    help="When to stop waiting for batches, from 1m to 30d after the start; the rest is asked by "
    "ordinary calls.",
)

deadline_max_usd_option = click.option(
    "--deadline-max-usd",
    type=_Amount(smallest="The smallest amount", zero="no ordinary calls"),
    metavar="USD",
    help="What these calls may cost; 0 means that none is made.",
)

retry_invalid_output_option = click.option(
    "--retry-invalid-output",
    is_flag=True,
    help="Ask, and pay, once more where an answer is not the JSON that its request asks for.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")

out_folder_option = click.option(
    "--out",
    "out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="here",
    metavar="DIR",
    help="Folder for the results; is made.",
)


def stack_options(function: _Function) -> Callable[..., Any]:
    """Add the options that name a stack; the function gets them as ``target``."""

    @click.option(
        "--stack-name",
        metavar="NAME",
        help="The stack.  [env: GROQ_BATCH_STACK; default: groq-batch]",
    )
    @click.option(
        "--region", metavar="REGION", help="Its region.  [default: that of the AWS settings]"
    )
    @click.option("--profile", metavar="NAME", help="Profile of the AWS settings.")
    @click.option(
        "--endpoint-url", metavar="URL", help="Where the AWS APIs are.  [env: AWS_ENDPOINT_URL]"
    )
    @click.option("--local", is_flag=True, help="Use the stack of `groq-batch local up`.")
    @functools.wraps(function)
    def with_target(
        *arguments: Any,
        stack_name: str | None,
        region: str | None,
        profile: str | None,
        endpoint_url: str | None,
        local: bool,
        **others: Any,
    ) -> Any:
        # Verbs without AWS do not need this module's imports.
        from groq_batch_cli.targets import choose_target  # noqa: PLC0415

        target = choose_target(
            stack_name=stack_name,
            region=region,
            profile=profile,
            endpoint_url=endpoint_url,
            local=local,
        )
        return function(*arguments, target=target, **others)

    return with_target


job_argument = click.argument("job", shell_complete=complete_job)

jobs_argument = click.argument(
    "jobs", nargs=-1, required=True, metavar="JOB...", shell_complete=complete_job
)


def _table_file(_context: click.Context, _parameter: click.Parameter, value: str) -> Any:
    from groq_batch_client.tables.table import TableFile  # noqa: PLC0415 - two verbs need it

    return TableFile(value)


rows_argument = click.argument(
    "rows",
    type=ExistingFile(allow_dash=True),
    callback=_table_file,
)
