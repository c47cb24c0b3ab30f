"""Finds the processes in which the emulator runs the functions."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


def worker_processes(functions: Sequence[str]) -> list[int]:
    """Return the processes that run one of some functions, by the functions' names."""
    listing = subprocess.run(
        ["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True
    )
    found = []
    for line in listing.stdout.splitlines():
        process, _, arguments = line.strip().partition(" ")
        known = arguments + _environment(process)
        if any(name in known for name in functions):
            found.append(int(process))
    return found


def _environment(process: str) -> str:
    try:
        return Path(f"/proc/{process}/environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
