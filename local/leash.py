"""Run a program that ends, with all its children, when its owner ends.

``python -m local.leash [--directory FOLDER] [--remove FOLDER] -- PROGRAM ARGUMENT...`` starts the
program in a process group of its own (and in a directory) and ends the group when this process's
standard input is closed, which also happens when the owner is killed and can clean up nothing.
Afterwards the folder to remove is removed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

GRACE_SECONDS = 3.0
"""Time that a program has between SIGTERM and SIGKILL."""

_POLL_SECONDS = 0.2


def _owner_is_gone(timeout_seconds: float) -> bool:
    """Wait for the owner's end of standard input to close, at most ``timeout_seconds``."""
    readable, _, _ = select.select([sys.stdin], [], [], timeout_seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1024)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate the program, then kill the rest of its process group."""
    if process.poll() is None:
        # Only the program itself: it may want to end its children in order.
        process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a program until it ends or its owner does; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", metavar="FOLDER")
    parser.add_argument("--remove", action="append", default=[], metavar="FOLDER")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args(arguments)

    # The owner handles Ctrl-C and then closes the leash. Handlers
    # that do nothing, unlike ignored signals, are not passed on to the program.
    signal.signal(signal.SIGINT, _do_nothing)
    signal.signal(signal.SIGHUP, _do_nothing)
    signal.signal(signal.SIGTERM, _leave)
    process = subprocess.Popen(
        options.program,
        stdin=subprocess.DEVNULL,
        cwd=options.directory,
        start_new_session=True,
    )
    try:
        while process.poll() is None and not _owner_is_gone(_POLL_SECONDS):
            pass
    finally:
        _end(process)
        for folder in options.remove:
            shutil.rmtree(folder, ignore_errors=True)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal by ignoring it."""


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
