"""The errors of the client: one tree, each with a sentence that says what to do."""

from __future__ import annotations


class GroqBatchError(Exception):
    """Base of all errors that a caller is meant to handle; the text is for people."""


class TableError(GroqBatchError):
    """A table cannot be read, used or written; names the file, and the row or column at fault."""


class WrongArgumentError(TableError):
    """An argument has a value that cannot be used, whatever the files hold."""
