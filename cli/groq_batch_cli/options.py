"""Define the arguments and options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
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
from groq_batch_client.tables.formats import SEPARATORS, advice_for_table

MAX_CAP_DIGITS = 12
MAX_CAP_DECIMALS = 9
"""How many digits of a USD amount the pipeline accepts before and after the decimal point."""

_SMALLEST_CAP = Decimal(1).scaleb(-MAX_CAP_DECIMALS)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def request_files_argument(*, stdin: bool) -> Callable[[_Function], _Function]:
    """Return the argument FILE…: files, folders and, if allowed, ``-`` for standard input."""

    def read(
        context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
    ) -> tuple[RequestFile, ...]:
        found: list[RequestFile] = []
        for value in values:
            found += _request_files(value, context.obj, stdin=stdin)
        names = [file.argument for file in found]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise click.BadParameter(f"{name} is given twice.")
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
    """Return the file or the files of the folder that an argument names; report skipped ones."""
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
        raise click.BadParameter(f"{value} is a folder without request files (.jsonl, .jsonl.gz).")
    return found.files


class ExistingFile(click.Path):
    """An existing file; all options that take one reject a wrong path with the same message."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, allow_dash=allow_dash)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check that the path exists and is not a folder."""
        if not (self.allow_dash and value == STDIN):
            if not Path(value).exists():
                self.fail(f"{value} does not exist.", param, ctx)
            if Path(value).is_dir():
                self.fail(f"{value} is a folder. Name a file in it.", param, ctx)
        return super().convert(value, param, ctx)


class ExistingPath(ExistingFile):
    """An existing file, converted to a ``Path``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check the path and convert it."""
        return Path(super().convert(value, param, ctx))


class _OutFile(click.Path):
    """A file to write; ``-`` is standard output, returned as None like the default."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the path."""
        return None if value == STDIN else super().convert(value, param, ctx)


_SKIP_INVALID_HELP = "Skip invalid lines and run the good ones."

skip_invalid_option = click.option("--skip-invalid", is_flag=True, help=_SKIP_INVALID_HELP)


class _Amount(click.FloatRange):
    """A USD amount that fits into the metadata of an upload."""

    def __init__(self, *, smallest: str, zero: str) -> None:
        """Take the meaning of the smallest amount and of 0, for the error message."""
        super().__init__(0)
        self._meanings = f"{smallest} is {_SMALLEST_CAP:f}; 0 means {zero}."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read an amount exactly. Rounding a tiny amount to 0 would change its meaning."""
        try:
            written = Decimal(str(value))
        except InvalidOperation:
            self.fail(f"{value!r} is not an amount in US dollars, such as 2.50.", param, ctx)
        amount = float(super().convert(value, param, ctx))
        if not written.is_finite():
            self.fail(f"{value} is not an amount in US dollars, such as 2.50.", param, ctx)
        if written >= 10**MAX_CAP_DIGITS or written != round(written, MAX_CAP_DECIMALS):
            self.fail(
                f"{value} has more than {MAX_CAP_DIGITS} digits before the point or "
                f"{MAX_CAP_DECIMALS} after it. {self._meanings}",
                param,
                ctx,
            )
        return amount


def _max_cost_option(name: str) -> Callable[[_Function], _Function]:
    return click.option(
        "--max-cost",
        name,
        type=_Amount(smallest="The smallest cap", zero="no cap"),
        metavar="USD",
        help="Reject a file whose estimated cost is higher; 0 means only the stack's cap applies.",
    )


max_cost_option = _max_cost_option("max_cost")


class _Checked(click.ParamType):
    """A text that is validated before the command reads any file."""

    def __init__(self, name: str, is_valid: Callable[[str], bool], allowed: str) -> None:
        """Take the test, and the end of the error message: what is allowed."""
        self.name = name
        self._is_valid = is_valid
        self._allowed = allowed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text, and return it unchanged."""
        if not self._is_valid(value):
            self.fail(f"{value!r} is not {self._allowed}", param, ctx)
        return str(value)


_WINDOW = _Checked(
    "window",
    is_completion_window,
    "a window that Groq accepts. Give hours or days between 24h and 7d, such as 24h, 72h or 7d.",
)
_DEADLINE = _Checked(
    "deadline",
    lambda text: text == NO_DEADLINE or deadline_seconds(text) is not None,
    "a deadline. Give minutes, hours or days between 1m and 30d, such as 90m, 6h or 2d, or "
    f"{NO_DEADLINE}.",
)

_UPLOAD_OPTIONS = {
    "completion_window": click.option(
        "--window",
        "completion_window",
        type=_WINDOW,
        metavar="WINDOW",
        help="Time limit for Groq to complete a batch, from 24h to 7d.",
    ),
    "on_invalid_line": click.option(
        "--skip-invalid", "on_invalid_line", flag_value="skip", help=_SKIP_INVALID_HELP
    ),
    "max_attempts": click.option(
        "--max-attempts",
        type=click.IntRange(1, MAX_ATTEMPTS_LIMIT),
        metavar="N",
        help="Maximum number of times to send a request.",
    ),
    "max_job_cost_usd": _max_cost_option("max_job_cost_usd"),
    "canary_requests": click.option(
        "--canary",
        "canary_requests",
        type=click.IntRange(0, MAX_CANARY_REQUESTS),
        metavar="N",
        help="Send the first N requests alone, the rest only if enough of them succeed; 0 means "
        "off.",
    ),
    "canary_max_failed_percent": click.option(
        "--canary-max-failed-percent",
        type=click.IntRange(0, 100),
        metavar="PERCENT",
        help="Share of the canary's requests that may fail permanently, in percent.",
    ),
    "batch_deadline": click.option(
        "--deadline",
        "batch_deadline",
        type=_DEADLINE,
        metavar="TIME",
        help="Stop waiting for batches after this time (1m to 30d from the start, or none), and "
        "send the remaining requests by ordinary calls.",
    ),
    "deadline_max_usd": click.option(
        "--deadline-max-usd",
        type=_Amount(smallest="The smallest amount", zero="no ordinary calls"),
        metavar="USD",
        help="Maximum cost of the ordinary calls after the deadline; 0 means no such calls.",
    ),
    "retry_invalid_output": click.option(
        "--retry-invalid-output",
        is_flag=True,
        default=None,
        help="Resend, and pay again for, requests whose answer is not the JSON they ask for.",
    ),
}
"""The options of an upload, by the name of the argument of the Python client."""


def upload_options(*, except_for: str | None = None) -> Callable[[_Function], Callable[..., Any]]:
    """Return a decorator that adds the options of an upload.

    The function gets the given ones as ``metadata``, in the form that the stack reads.

    Args:
        except_for: The name of an option that the command sets itself.
    """
    names = [name for name in _UPLOAD_OPTIONS if name != except_for]

    def decorate(function: _Function) -> Callable[..., Any]:
        @functools.wraps(function)
        def with_metadata(*arguments: Any, **others: Any) -> Any:
            # Commands that don't use AWS shouldn't pay for this import.
            from groq_batch_client.options import options_as_metadata  # noqa: PLC0415

            given = {name: others.pop(name) for name in names}
            return function(*arguments, metadata=options_as_metadata(given), **others)

        for name in reversed(names):
            with_metadata = _UPLOAD_OPTIONS[name](with_metadata)
        return with_metadata

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

out_folder_option = click.option(
    "--out",
    "out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="current directory",
    metavar="DIR",
    help="Output directory (created if missing).",
)


def out_file_option(
    help_text: str, *, show_default: str = "standard output"
) -> Callable[[_Function], _Function]:
    """Return the option ``--out`` of a command that writes one file."""
    return click.option(
        "--out",
        type=_OutFile(),
        show_default=show_default,
        metavar="FILE",
        help=help_text,
    )


def stack_options(function: _Function) -> Callable[..., Any]:
    """Add the options that select a stack; pass them to the function as ``target``."""

    @click.option(
        "--stack-name",
        metavar="NAME",
        help="Name of the stack.  [env: GROQ_BATCH_STACK; default: groq-batch]",
    )
    @click.option(
        "--region", metavar="REGION", help="AWS region.  [default: from the AWS settings]"
    )
    @click.option(
        "--profile", metavar="NAME", help="AWS profile.  [default: from the AWS settings]"
    )
    @click.option(
        "--endpoint-url", metavar="URL", help="URL of the AWS APIs.  [env: AWS_ENDPOINT_URL]"
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
        # Commands that don't use AWS shouldn't pay for these imports.
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
    from groq_batch_client.tables.table import TableFile  # noqa: PLC0415 - only two commands need it

    return TableFile(value)


rows_argument = click.argument(
    "rows",
    type=ExistingFile(allow_dash=True),
    callback=_table_file,
)

separator_option = click.option(
    "--separator",
    type=click.Choice(SEPARATORS),
    default=",",
    show_default=True,
    metavar="CHAR",
    help="Separator of the columns if ROWS is CSV: ',', '|', or ';' as in many files from Excel.",
)
