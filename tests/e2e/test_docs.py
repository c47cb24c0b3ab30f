"""The tutorial's commands for the emulated stack, run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from local.environment import ROOT_ACCESS_KEY, ROOT_SECRET_KEY
from tests import documents
from tests.documents import PROJECT
from tests.e2e.pipeline import Pipeline
from tests.patience import PATIENCE_SECONDS

TUTORIAL = PROJECT / "docs" / "tutorial.md"

# The suite's own stack is running: it stands for that of `groq-batch local up`.
PROGRAM = f"""#!/bin/sh
case "$1" in
    local) exit 0 ;;
esac
for word; do
    shift
    test "$word" = --local || set -- "$@" "$word"
done
exec "{sys.executable}" "{PROJECT / "cli"}" "$@"
"""


def test_the_tutorial_up_to_the_deployment(pipeline: Pipeline, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "groq-batch"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    environ = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": ROOT_ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ROOT_SECRET_KEY,
        "AWS_ENDPOINT_URL": pipeline.stack.endpoint_url,
        "GROQ_BATCH_STACK": pipeline.stack_name,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
    }
    page = list(documents.blocks(TUTORIAL))
    assert any(block.use == "local" for block in page)
    for place, block in enumerate(page):
        if block.use not in ("offline", "local"):
            continue
        done = subprocess.run(
            ["bash", "-eu"],
            input=block.text,
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
        shown = page[place + 1] if place + 1 < len(page) else None
        if block.use == "local" and shown is not None and shown.language == "text":
            assert _without_seconds(done.stdout) == _without_seconds(shown.text)


def _without_seconds(text: str) -> str:
    return re.sub(r"\d+ s\b", "some seconds", text)
