"""The command line as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from local.environment import ROOT_ACCESS_KEY, ROOT_SECRET_KEY
from tests.documents import PROJECT
from tests.patience import PATIENCE_SECONDS

ROWS = int(os.environ.get("CLI_ROWS", "150"))
"""Rows of each format; 10,000 by hand now and then: CLI_ROWS=10000 make e2e ARGS="-k keep"."""


class CommandLine:
    """Runs ``groq-batch`` in a folder, for a stack."""

    def __init__(self, folder: Path, *, program: Path = PROJECT / "cli", **environ: str) -> None:
        self.folder = folder
        self._program = program
        self._environ = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": ROOT_ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_SECRET_KEY,
            **environ,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, str(self._program), *arguments],
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        """Run a command to its end; returns what it said."""
        with self.start(*arguments) as process:
            try:
                out, err = process.communicate(timeout=PATIENCE_SECONDS + ROWS / 10)
            finally:
                process.kill()
        assert process.returncode == status, f"{arguments}: {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err
        return out, err

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a file of the folder."""
        return [json.loads(line) for line in self.read(name).split(b"\n")[:-1]]

    def read(self, name: str) -> bytes:
        """Return the bytes of a file of the folder."""
        return (self.folder / name).read_bytes()
