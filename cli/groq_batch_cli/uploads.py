"""What the options of the command line mean for an upload: its metadata and its key."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from groq_batch.domain import object_keys
from groq_batch.domain.job_options import JobOptions, parse_options
from groq_batch_cli.aws import Stack
from groq_batch_cli.bucket_folders import upload_path
from groq_batch_cli.errors import CommandError, WrongUsageError
from groq_batch_client.request_files import RequestFile


def option_metadata(
    *,
    window: str | None,
    skip_invalid: bool,
    max_attempts: int | None,
    max_cost: float | None,
) -> dict[str, str]:
    """Return the options of the command line as the metadata of an upload."""
    metadata = {}
    if window is not None:
        metadata["completion-window"] = window
    if skip_invalid:
        metadata["on-invalid-line"] = "skip"
    if max_attempts is not None:
        metadata["max-attempts"] = str(max_attempts)
    if max_cost is not None:
        metadata["max-job-cost-usd"] = _plain(max_cost)
    return metadata


def _plain(amount: float) -> str:
    """Return an amount with all of its digits, without a sign and an exponent."""
    text = f"{Decimal(repr(abs(float(amount)))):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def options_in_force(stack: Stack, metadata: Mapping[str, str]) -> JobOptions:
    """Return the options that a job with this metadata will have.

    Raises:
        WrongUsageError: The stack would reject the job for the options of the command line.
        CommandError: It would do so for its own.
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
    """Return the key that a file gets in the bucket.

    Args:
        file: The file.
        to: The folder below ``input/``, or the whole path where it has a file's ending.

    Raises:
        BadParameter: ``to`` is no such folder.
    """
    path = upload_path(to or "")
    if path and object_keys.has_accepted_ending(path):
        return object_keys.INPUT_PREFIX + path
    return object_keys.INPUT_PREFIX + (f"{path}/" if path else "") + file.name
