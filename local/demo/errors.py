"""What ends the demo early, said in a sentence."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class DemoError(Exception):
    """Something has to be put right by the user; the text says what and how."""

    exit_status = EXIT_FAILED


class UsageError(DemoError):
    """The command line names something that cannot be used."""

    exit_status = EXIT_USAGE
