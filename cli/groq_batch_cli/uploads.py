"""Convert command-line options into the metadata and the key of an upload."""

from __future__ import annotations

from collections.abc import Mapping

import click

from groq_batch.domain.job_options import JobOptions, parse_options
from groq_batch_cli.aws import Stack
from groq_batch_cli.errors import CommandError, WrongUsageError
from groq_batch_client import upload_paths
from groq_batch_client.errors import WrongArgumentError
from groq_batch_client.options import options_as_metadata
from groq_batch_client.request_files import RequestFile


def option_metadata(
    *,
    window: str | None,
    skip_invalid: bool,
    max_attempts: int | None,
    max_cost: float | None,
    canary: int | None = None,
    canary_max_failed_percent: int | None = None,
    deadline: str | None = None,
    deadline_max_usd: float | None = None,
    retry_invalid_output: bool = False,
) -> dict[str, str]:
    """Return the command-line options as the metadata of an upload."""
    return options_as_metadata(
        {
            "completion_window": window,
            "on_invalid_line": "skip" if skip_invalid else None,
            "max_attempts": max_attempts,
            "max_job_cost_usd": max_cost,
            "canary_requests": canary,
            "canary_max_failed_percent": canary_max_failed_percent,
            "batch_deadline": deadline,
            "deadline_max_usd": deadline_max_usd,
            "retry_invalid_output": retry_invalid_output or None,
        }
    )


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
