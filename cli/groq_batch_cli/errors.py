"""What ends a command early, said in a sentence, and the exit statuses."""

from __future__ import annotations

from groq_batch_client.errors import GroqBatchError, WrongArgumentError

EXIT_FINE = 0
EXIT_PROBLEM = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class CommandError(GroqBatchError):
    """Something has to be put right by the user; the text says what was found and what to do."""


class WrongUsageError(CommandError):
    """An argument or an option has a value that cannot be used, whatever the files and jobs are."""


def exit_status(error: GroqBatchError) -> int:
    """Return how the command ends for an error."""
    is_usage = isinstance(error, WrongUsageError | WrongArgumentError)
    return EXIT_USAGE if is_usage else EXIT_PROBLEM


class NoSuchJobError(CommandError):
    """What the user named is no job of this stack."""
