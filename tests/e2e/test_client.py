"""The Python client on the deployed stack: frames, a program that dies, the notebook."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import polars
import pytest
from nbclient import NotebookClient

from groq_batch_client import GroqBatch
from local.environment import ROOT_ACCESS_KEY, ROOT_SECRET_KEY
from tests.e2e.pipeline import Pipeline, wait_until
from tests.patience import PATIENCE_SECONDS

PROJECT = Path(__file__).parents[2]
NOTEBOOK = PROJECT / "docs" / "notebooks" / "score-an-evaluation.ipynb"
WRITES = "WRITE_NOTEBOOKS" in os.environ
"""Keep the outputs of this run in the file: WRITE_NOTEBOOKS=1 make e2e ARGS="-k notebook"."""

ROWS = int(os.environ.get("CLIENT_ROWS", "1000"))
"""Rows of a frame; 10,000 by hand now and then: CLIENT_ROWS=10000 make e2e ARGS="-k rows_is"."""

PROGRAM = """
import polars
from groq_batch_client import GroqBatch

rows = polars.DataFrame({"text": [f"NAME {number}" for number in range(150)]})
answered = GroqBatch().run(rows, prompt="Say {text}", model="openai/gpt-oss-20b")
answered.write_parquet("answered.parquet")
"""


@pytest.fixture
def environ(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set what ``groq-batch local env`` prints; return it with the way to the client."""
    found = {
        "AWS_ENDPOINT_URL": pipeline.stack.endpoint_url,
        "AWS_ACCESS_KEY_ID": ROOT_ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ROOT_SECRET_KEY,
        "AWS_REGION": pipeline.stack.region,
        "AWS_DEFAULT_REGION": pipeline.stack.region,
        "GROQ_BATCH_STACK": pipeline.stack_name,
        "PYTHONPATH": os.pathsep.join([str(PROJECT / "cli"), str(PROJECT / "functions")]),
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, **found}


def test_frame_of_many_rows_is_answered(environ: dict[str, str], name: str) -> None:
    rows = polars.DataFrame({"text": [f"{name} {number}" for number in range(ROWS)]})
    answered = GroqBatch().run(rows, prompt="Say {text}", model="openai/gpt-oss-20b")
    assert answered["answer"].to_list() == [f"Echo: Say {text}" for text in rows["text"]]
    assert answered["error_code"].null_count() == ROWS


def test_program_that_is_killed_and_run_again_pays_nothing_twice(
    environ: dict[str, str], pipeline: Pipeline, name: str, tmp_path: Path
) -> None:
    pipeline.simulator.configure(batch_seconds=5)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("NAME", name))
    before = set(pipeline.keys("input/frames/"))

    def uploaded() -> list[str]:
        return sorted(set(pipeline.keys("input/frames/")) - before)

    with subprocess.Popen([sys.executable, str(program)], cwd=tmp_path, env=environ) as first:
        wait_until(uploaded, PATIENCE_SECONDS, lambda: "nothing was uploaded")
        first.send_signal(signal.SIGKILL)
    assert not (tmp_path / "answered.parquet").exists()

    subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env=environ,
        timeout=PATIENCE_SECONDS,
        check=True,
    )

    answered = polars.read_parquet(tmp_path / "answered.parquet")
    assert answered["answer"].to_list() == [f"Echo: Say {name} {n}" for n in range(150)]
    (key,) = uploaded()
    report = pipeline.report(key.removeprefix("input/"))
    assert report is not None
    sendings = pipeline.simulator.requests(report["job_id"])
    assert [one["succeeded"] for one in sendings.values()] == [1] * 150
    versions = pipeline.s3.list_object_versions(Bucket=pipeline.bucket, Prefix=key)["Versions"]
    assert len(versions) == 1


def test_notebook_runs_and_shows_what_it_shows_in_the_docs(environ: dict[str, str]) -> None:
    kept = nbformat.read(NOTEBOOK, as_version=4)
    found = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(found, timeout=PATIENCE_SECONDS, record_timing=False).execute()
    # The bar of ``wait`` leaves an empty place behind.
    bars = [one for cell in found.cells for one in _outputs(cell) if not _shows(one)]
    assert [one.data["text/html"] for one in bars] == [""]
    for cell in found.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if _shows(one)]
    found.metadata = kept.metadata
    if WRITES:
        NOTEBOOK.write_text(nbformat.writes(found, indent=1) + "\n", encoding="utf-8")
        kept = found
    assert [_said(cell) for cell in found.cells] == [_said(cell) for cell in kept.cells]
    assert any("image/png" in one.get("data", {}) for cell in kept.cells for one in _outputs(cell))


def _outputs(cell: Any) -> list[Any]:
    return list(cell.get("outputs", []))


def _shows(output: Any) -> bool:
    return output.output_type != "display_data" or "image/png" in output.data


def _said(cell: Any) -> list[str]:
    """Return what a cell has written; pictures differ by the fonts of a machine."""
    return [
        one.get("text") or one.get("data", {}).get("text/plain", "")
        for one in _outputs(cell)
        if "image/png" not in one.get("data", {})
    ]
