"""Provide a temporary folder, and remove those of invocations that died.

When an invocation times out or runs out of memory, Lambda starts a new process in the same
environment and does not clear ``/tmp``
(https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html). Files of several
gigabytes that stay there would leave the retries no room.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "groq-batch-results-"
"""Distinctive, because elsewhere than in Lambda the temporary folder is everybody's."""
_lock = threading.Lock()
_in_use: set[Path] = set()


@contextlib.contextmanager
def work_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder, which is removed at the end of the block.

    Args:
        parent: Folder to create it in; None means the temporary folder.
    """
    parent = parent or Path(tempfile.gettempdir())
    with _lock:
        _remove_leftovers(parent)
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
        _in_use.add(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _in_use.discard(folder)


def _remove_leftovers(parent: Path) -> None:
    """Remove the folders whose process has ended, or had the number that this one has now."""
    for folder in parent.glob(f"{_PREFIX}*-*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if folder in _in_use or not process.isdecimal():
            continue
        if int(process) == os.getpid() or not _is_alive(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # Another user's process, or no process's number.
        return True
    return True
