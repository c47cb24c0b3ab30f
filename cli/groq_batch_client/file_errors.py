"""Add the file name to operating-system errors that lack it.

Only errors from opening a file name it; errors from reading, writing and closing do not.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STDOUT = "<stdout>"


def file_sentence(error: OSError) -> str:
    """Return the message for an error about a local file."""
    said = error.strerror or str(error)
    return f"{error.filename}: {said}." if error.filename else f"{said}."


@contextlib.contextmanager
def naming(name: Path | str) -> Iterator[None]:
    """Add a file name to errors within a ``with`` block that have none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(name)
        raise


class NamedFile(io.FileIO):
    """A temporary output file whose errors name the final file."""

    def __init__(self, path: Path, becomes: Path) -> None:
        self._becomes = str(becomes)
        try:
            super().__init__(path, "w")
        except OSError as error:
            error.filename = self._becomes
            raise

    def write(self, data: Any, /) -> int:
        """Write bytes."""
        with naming(self._becomes):
            return super().write(data)

    def close(self) -> None:
        """Close the file. Some file systems report only now that they are full."""
        with naming(self._becomes):
            super().close()
