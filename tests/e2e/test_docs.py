"""Commands of the documentation for the emulated stack, run as they are printed."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

from groq_batch_cli.local_choice import FOLDER_VARIABLE
from groq_batch_cli.local_state import LocalFolder, LocalState
from local.environment import ROOT_ACCESS_KEY, ROOT_SECRET_KEY
from tests import documents
from tests.documents import PROJECT
from tests.e2e.pipeline import Pipeline

TUTORIAL = PROJECT / "docs" / "tutorial.md"
FAILURES = PROJECT / "docs" / "how-to" / "see-a-failure-locally.md"

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
        "CLONE": str(PROJECT),
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
    }
    page = list(documents.blocks(TUTORIAL))
    assert any(block.use == "local" for block in page)
    for place, block in enumerate(page):
        if block.use not in ("offline", "local"):
            continue
        done = documents.run(block.text, tmp_path, environ)
        assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
        shown = page[place + 1] if place + 1 < len(page) else None
        if block.use == "local" and shown is not None and shown.language == "text":
            assert _without_seconds(done.stdout) == _without_seconds(shown.text)


def test_the_page_about_failures(pipeline: Pipeline, tmp_path: Path) -> None:
    """The suite's own stack is made known as that of ``groq-batch local up``."""
    folder = LocalFolder(None, tmp_path / "stack")
    program = tmp_path / "bin" / "groq-batch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROJECT / "cli"}" "$@"\n')
    program.chmod(0o755)
    environ = {
        **os.environ,
        FOLDER_VARIABLE: str(folder.path),
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
    }
    stack = pipeline.stack
    with folder.locked():
        folder.write_ready(
            LocalState(
                pid=0,
                endpoint_url=stack.endpoint_url,
                region=stack.region,
                stack_name=pipeline.stack_name,
                access_key=ROOT_ACCESS_KEY,
                secret_key=ROOT_SECRET_KEY,
                bucket=pipeline.bucket,
                groq_base_url=stack.groq_base_url,
                started_at=time.time(),
                log_folder=str(stack.log_dir),
                groq_api_key=stack.groq_api_key,
            )
        )
        said = ""
        for block in documents.blocks(FAILURES):
            if block.language == "text":
                shown = _without_seconds(block.text).splitlines()
                assert set(shown) <= set(_without_seconds(said).splitlines()), said
            if block.use != "local":
                continue
            done = documents.run(block.text, tmp_path, environ, stops_at_failure=False)
            said = done.stdout
            expected = 1 if "groq-batch run" in block.text else 0
            assert done.returncode == expected, f"{block.place}\n{said}\n{done.stderr}"
            assert "Traceback" not in done.stderr
    assert said == '{"result": null}'


def _without_seconds(text: str) -> str:
    return re.sub(r"\d+ s\b", "some seconds", text)
