"""Check output files and folders before any work is done."""

from __future__ import annotations

import tempfile
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


def check_folder(folder: Path) -> None:
    """Create the folder for results, and check that files can be written there.

    Called before a job starts: otherwise it would be paid for before anyone learns of it.

    Raises:
        UsageError: They cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise click.BadParameter(
            f"{folder} cannot hold the results: {error.strerror}.", param_hint="--out"
        ) from None


def identity(path: Path) -> tuple[int, int] | None:
    """Return a value that is equal for all paths of one file, however spelled or linked.

    It is what ``os.path.samefile`` compares; None if there is no such file.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
