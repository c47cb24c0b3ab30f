"""The package that ``pip install .`` makes: whole, and in need of nothing but what it declares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from groq_batch import __version__
from groq_batch_cli.main import VERBS

PROJECT = Path(__file__).parents[2]
NOT_DECLARED = ("aws_lambda_powertools", "requests", "pyarrow", "yaml", "local", "hatchling")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package as pip does, with the build tools that are here."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the package into a folder of its own."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_content(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"groq_batch-{__version__}.dist-info"
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert {name.split("/")[0] for name in names} == {
        "groq_batch",
        "groq_batch_cli",
        "groq_batch_client",
        info,
    }
    assert {
        "groq_batch/domain/prices.json",
        "groq_batch/reports/page/index.html.j2",
        "groq_batch/py.typed",
        "groq_batch_cli/py.typed",
        "groq_batch_client/py.typed",
        "groq_batch_client/tables/parquet.py",
    } <= names
    assert not [name for name in names if "__pycache__" in name]
    assert entry_points.split() == [
        "[console_scripts]",
        "groq-batch",
        "=",
        "groq_batch_cli.entry_point:main",
    ]
    assert metadata["Version"] == __version__
    needed = [name for name in metadata.get_all("Requires-Dist", []) if "extra" not in name]
    assert [name.split(">")[0] for name in needed] == [
        "boto3",
        "click",
        "jinja2",
        "jsonschema-rs",
        "msgspec",
    ]
    assert metadata.get_all("Provides-Extra") == ["frames"]


def test_client_is_typed_and_needs_nothing_else(installed: Path) -> None:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_DECLARED!r}))\n"
        f"from groq_batch_client import *\n"
        f"import groq_batch_client\n"
        f"print(groq_batch_client.__file__, Job, WaitTimeout)"
    )
    path = Path(run(installed, code).split()[0])
    assert path.is_relative_to(installed)
    assert path.with_name("py.typed").exists()


def test_every_verb_needs_nothing_else(installed: Path) -> None:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_DECLARED!r}))\n"
        f"import groq_batch_client.aws_errors, groq_batch_cli.targets\n"
        f"import groq_batch_cli.main as main\n"
        f"for verb in main.VERBS: main.load_verb(verb)\n"
        f"print(main.__file__, len(main.VERBS))"
    )
    path, number = run(installed, code).split()
    assert Path(path).is_relative_to(installed)
    assert int(number) == len(VERBS)


def test_rows_become_requests_and_are_joined_without_pyarrow(installed: Path) -> None:
    (installed.parent / "rows.csv").write_text("text\nHello\n")
    answer = {"choices": [{"message": {"content": "Hi"}}]}
    row = {"custom_id": "row-1", "response": {"status_code": 200, "body": answer}}
    (installed.parent / "results.jsonl").write_text(json.dumps(row))
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_DECLARED!r}))\n"
        f"from groq_batch_cli.main import main; main()"
    )
    made = run(installed, code, "make", "rows.csv", "--model", "m", "--prompt", "{text}")
    assert json.loads(made)["body"]["messages"][0]["content"] == "Hello"
    joined = run(installed, code, "join", "rows.csv", "results.jsonl")
    assert json.loads(joined)["answer"] == "Hi"


def test_index_of_all_jobs_is_made_with_what_is_declared(installed: Path) -> None:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_DECLARED!r}))\n"
        f"from datetime import UTC, datetime\n"
        f"from groq_batch.records.usage_sums import UsageSums\n"
        f"from groq_batch.reports.page.index_rendering import render_index\n"
        f"from groq_batch.reports.page.index_view import index_view\n"
        f"import groq_batch_cli.index_page\n"
        f"view = index_view(UsageSums(), [], running_total=0, as_of=datetime.now(UTC))\n"
        f"print(render_index(view))"
    )
    assert "<h1>All jobs</h1>" in run(installed, code)


def test_it_works_away_from_the_project(installed: Path) -> None:
    code = "from groq_batch_cli.main import main; main()"
    sample = str(PROJECT / "events/sample.jsonl")
    assert json.loads(run(installed, code, "check", "--json", sample))["passes"] is True
