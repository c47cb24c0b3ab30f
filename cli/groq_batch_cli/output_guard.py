"""Keep a command from overwriting a file that it reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from groq_batch_client.request_files import STDIN


def check_output(out: Path | None, inputs: Iterable[Path | str | None]) -> None:
    """Check that the output file is not one of the input files.

    Args:
        out: The option ``--out``; None is standard output.
        inputs: The input files; None, or ``-`` for standard input, is skipped.

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
                f"--out {out} would overwrite the input file {one}. Give another file."
            )


def identity(path: Path) -> tuple[int, int] | None:
    """Return a value that is equal for all paths of one file, however spelled or linked.

    It is what ``os.path.samefile`` compares; None if there is no such file.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
