"""The folder for a job's files, a new one for each run, so that none are overwritten."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from local.demo.errors import DemoError
from local.demo.request_file import RequestFile

RESULTS_FOLDER = Path("demo-output")


@contextlib.contextmanager
def results_folder(file: RequestFile, parent: Path = RESULTS_FOLDER) -> Iterator[Path]:
    """Yield a new folder named for the file and the time; it goes again if nothing comes into it.

    Raises:
        DemoError: It cannot be made.
    """
    try:
        folder = _new_folder(parent, f"{file.stem}-{time.strftime('%Y%m%d-%H%M%S')}")
    except OSError as error:
        raise DemoError(
            f"There is no place for the results: {parent} cannot be written to ({error.strerror})."
        ) from None
    try:
        yield folder
    finally:
        for empty in (folder, parent):
            with contextlib.suppress(OSError):
                empty.rmdir()


def _new_folder(parent: Path, name: str) -> Path:
    parent.mkdir(exist_ok=True)
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("unreachable")
