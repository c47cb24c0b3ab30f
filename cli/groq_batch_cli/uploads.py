"""Check the options of an upload, and derive its key."""

from __future__ import annotations

from collections.abc import Mapping

import click

from groq_batch.domain.job_options import JobOptions, parse_options
from groq_batch_cli.aws import Stack
from groq_batch_cli.errors import CommandError, WrongUsageError
from groq_batch_client import upload_paths
from groq_batch_client.errors import WrongArgumentError
from groq_batch_client.request_files import RequestFile


def options_in_force(stack: Stack, metadata: Mapping[str, str]) -> JobOptions:
    """Return the options of a job with this metadata.

    Raises:
        WrongUsageError: The stack would reject the job because of command-line options.
        CommandError: It would reject the job because of its own options.
    """
    options, problems = parse_options(
        metadata,
        defaults=stack.default_options,
        work_retention_days=stack.work_retention_days,
    )
    if problems:
        kind = WrongUsageError if metadata else CommandError
        raise kind(" ".join(problem.message for problem in problems))
    return options


def input_key(file: RequestFile, to: str | None) -> str:
    """Return the object key for a file.

    Args:
        file: The file.
        to: The folder below ``input/``, or the whole path if it has the suffix of a request file.

    Raises:
        BadParameter: ``to`` is not such a folder.
    """
    try:
        return upload_paths.input_key(file.name, to)
    except WrongArgumentError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
