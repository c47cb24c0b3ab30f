"""Errors that end the demo early, with a message for users."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class DemoError(Exception):
    """An error that the user has to fix; the message says what to do."""

    exit_status = EXIT_FAILED


class UsageError(DemoError):
    """The command line has an invalid argument."""

    exit_status = EXIT_USAGE
