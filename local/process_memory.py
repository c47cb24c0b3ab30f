"""Measure the memory of this process and its children (Linux)."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Self

_LOOK_SECONDS = 1.0
_PROCESSES = Path("/proc")


class PeakMemory:
    """The peak memory of a process tree within a ``with`` block.

    It is the sum of the processes' proportional set sizes, in which a page that several processes
    share counts once (https://docs.kernel.org/filesystems/proc.html).

    Attributes:
        peak_bytes: The most memory.
        most_processes: The most processes at once.
    """

    def __init__(self, root: int | None = None) -> None:
        """Watch the tree below a process; this one when none is given."""
        self.peak_bytes = 0
        self.most_processes = 0
        self._root = root or os.getpid()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            processes = tree(self._root)
            self.most_processes = max(self.most_processes, len(processes))
            self.peak_bytes = max(self.peak_bytes, sum(map(proportional_bytes, processes)))
            if self._ended.wait(_LOOK_SECONDS):
                return


def tree(root: int) -> list[int]:
    """Return a process and all processes below it."""
    children: dict[int, list[int]] = {}
    for folder in _PROCESSES.iterdir():
        if folder.name.isdecimal():
            children.setdefault(_parent(folder), []).append(int(folder.name))
    found, pending = [], [root]
    while pending:
        process = pending.pop()
        found.append(process)
        pending += children.get(process, ())
    return found


def _parent(folder: Path) -> int:
    try:
        text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    # The second field is the program's name in parentheses, which may hold anything.
    return int(text.rpartition(")")[2].split()[1])


def proportional_bytes(process: int) -> int:
    """Return a process's proportional set size; 0 when it has ended."""
    try:
        text = (_PROCESSES / str(process) / "smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
