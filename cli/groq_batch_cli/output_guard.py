"""Keeps a command from writing over a file that it reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from groq_batch_client.request_files import STDIN


def check_output(out: Path | None, inputs: Iterable[Path | str | None]) -> None:
    """Check that a file to write is none of those that are read.

    Args:
        out: The option ``--out``; None is standard output.
        inputs: The files that are read; None, or ``-`` for standard input, is no file.

    Raises:
        UsageError: It is one of them.
    """
    if out is None:
        return
    written = identity(out)
    for one in inputs:
        if one is None or one == STDIN or written is None:
            continue
        if identity(Path(one)) == written:
            raise click.UsageError(
                f"--out {out} would be written over {one}, which is read. Name another file."
            )


def identity(path: Path) -> tuple[int, int] | None:
    """Return what all paths of one file have in common, whatever their spelling and links.

    It is what ``os.path.samefile`` compares; None when there is no such file.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
