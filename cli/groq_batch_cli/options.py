"""Arguments and options that several verbs have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import click

from groq_batch.options import MAX_ATTEMPTS_LIMIT
from groq_batch_cli.request_files import STDIN, RequestFile

MOST_CAP_DIGITS = 12
MOST_CAP_DECIMALS = 9
"""The digits of ``max-job-cost-usd`` that the pipeline takes before and behind the point."""

_SMALLEST_CAP = Decimal(1).scaleb(-MOST_CAP_DECIMALS)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def request_files_argument(*, stdin: bool) -> Callable[[_Function], _Function]:
    """Return the argument FILE…: files that exist, and perhaps ``-`` for standard input."""

    def read(
        _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
    ) -> tuple[RequestFile, ...]:
        for place, value in enumerate(values):
            _check_file(value, stdin=stdin)
            if value in values[:place]:
                raise click.BadParameter(f"{value} is named twice.")
        return tuple(RequestFile(value) for value in values)

    return click.argument(
        "files",
        nargs=-1,
        required=True,
        metavar="FILE...",
        type=click.Path(allow_dash=stdin),
        callback=read,
    )


def _check_file(value: str, *, stdin: bool) -> None:
    if value == STDIN:
        if stdin:
            return
        raise click.BadParameter("Standard input has no name to upload it under. Name a file.")
    path = Path(value)
    if not path.exists():
        raise click.BadParameter(f"{value} does not exist.")
    if path.is_dir():
        raise click.BadParameter(f"{value} is a folder. Name the files in it.")


skip_invalid_option = click.option(
    "--skip-invalid", is_flag=True, help="Run the good lines, though there are bad ones."
)


class _Cap(click.FloatRange):
    """An amount of USD that the metadata of an upload can hold."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read an amount as it is written; none is rounded, for 0 would mean no cap."""
        amount = float(super().convert(value, param, ctx))
        written = Decimal(str(value))
        if not written.is_finite():
            self.fail(f"{value} is no amount of US dollars, such as 2.50.", param, ctx)
        if written >= 10**MOST_CAP_DIGITS or written != round(written, MOST_CAP_DECIMALS):
            self.fail(
                f"{value} has more than {MOST_CAP_DIGITS} digits before the point or "
                f"{MOST_CAP_DECIMALS} behind it. The smallest cap is {_SMALLEST_CAP:f}; 0 means "
                f"no cap.",
                param,
                ctx,
            )
        return amount


max_cost_option = click.option(
    "--max-cost",
    type=_Cap(0),
    metavar="USD",
    help="Refuse a file whose estimated cost is above this; 0 means no cap.",
)

window_option = click.option(
    "--window", metavar="WINDOW", help="Time that Groq has for a batch, from 24h to 7d."
)

max_attempts_option = click.option(
    "--max-attempts",
    type=click.IntRange(1, MAX_ATTEMPTS_LIMIT),
    metavar="N",
    help=f"How often a request may be sent in all, 1 to {MAX_ATTEMPTS_LIMIT}.",
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


def _table_file(_context: click.Context, _parameter: click.Parameter, value: str) -> Any:
    from groq_batch_client.tables.table import TableFile  # noqa: PLC0415 - two verbs need it

    return TableFile(value)


rows_argument = click.argument(
    "rows",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    callback=_table_file,
)
