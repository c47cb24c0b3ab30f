"""What ends a command early, said in a sentence, and the exit statuses."""

from __future__ import annotations

from groq_batch_client.errors import GroqBatchError

EXIT_FINE = 0
EXIT_PROBLEM = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class CommandError(GroqBatchError):
    """Something has to be put right by the user; the text says what was found and what to do."""


class NoSuchJobError(CommandError):
    """What the user named is no job of this stack."""
