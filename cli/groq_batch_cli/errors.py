"""Errors of commands, and the exit statuses."""

from __future__ import annotations

from groq_batch_client.errors import GroqBatchError, WrongArgumentError

EXIT_FINE = 0
EXIT_PROBLEM = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class CommandError(GroqBatchError):
    """The user has to fix something. The message says what was found and what to do."""


class WrongUsageError(CommandError):
    """An argument or option has an invalid value, regardless of files and jobs."""


def exit_status(error: GroqBatchError) -> int:
    """Return the exit status for an error."""
    is_usage = isinstance(error, WrongUsageError | WrongArgumentError)
    return EXIT_USAGE if is_usage else EXIT_PROBLEM


class NoSuchJobError(CommandError):
    """The stack has no job with the given name."""
