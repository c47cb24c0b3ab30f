"""What ends a command early, said in a sentence, and the exit statuses."""

from __future__ import annotations

EXIT_FINE = 0
EXIT_PROBLEM = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class CommandError(Exception):
    """Something has to be put right by the user; the text says what was found and what to do.

    Attributes:
        exit_status: How the command ends for it.
    """

    exit_status = EXIT_PROBLEM


class WrongUsageError(CommandError):
    """An argument or an option has a value that cannot be used, whatever the files and jobs are."""

    exit_status = EXIT_USAGE


class NoSuchJobError(CommandError):
    """What the user named is no job of this stack."""
