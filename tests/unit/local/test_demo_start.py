"""The demo as `make demo` starts it: as a module, with nothing set for imports."""

from __future__ import annotations

import os
import subprocess
import sys

from local.demo.errors import EXIT_USAGE
from local.environment import PROJECT_ROOT


def test_demo_with_a_missing_file_says_so_without_python_path() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, "-m", "local.demo", "missing.jsonl"],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (EXIT_USAGE, "")
    assert "missing.jsonl does not exist" in ended.stdout
