"""Names of files in the errors of the operating system that come without one.

Only opening a file names it; reading, writing and closing do not.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STDOUT = "<stdout>"


@contextlib.contextmanager
def naming(name: Path | str) -> Iterator[None]:
    """Have errors within a ``with`` block name a file, unless they name one themselves."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(name)
        raise


class NamedFile(io.FileIO):
    """A file to write whose errors name the file that it becomes when it is complete."""

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
        """Close the file, which with some file systems only then tells that it is full."""
        with naming(self._becomes):
            super().close()
