"""Commands of the documentation that need neither AWS nor the emulator, run as they are printed."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from samcli.cli.types import CfnParameterOverridesType

from tests import documents
from tests.documents import PROJECT
from tests.patience import PATIENCE_SECONDS

BLOCKS = [block for file in documents.files() for block in documents.blocks(file)]
PAGES = sorted({block.file for block in BLOCKS if block.use == "offline"})
BUCKET = "documented-bucket"


def _page(file: object) -> str:
    return str(file.relative_to(PROJECT)) if isinstance(file, Path) else str(file)


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a reader's shell who has installed the command line."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "groq-batch"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROJECT / "cli"}" "$@"\n')
    program.chmod(0o755)
    (tmp_path / "clone").mkdir()
    shutil.copytree(PROJECT / "events", tmp_path / "clone" / "events")
    return {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_offline_commands_work_as_printed(
    page: Path, shell: dict[str, str], tmp_path: Path
) -> None:
    """The blocks of a page run one after the other in one folder, as a reader runs them."""
    for block in documents.blocks(page):
        if block.use != "offline":
            continue
        done = subprocess.run(
            ["bash", "-eu"],
            input=block.text,
            cwd=tmp_path / "clone",
            env=shell,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr


def test_the_tutorial_shows_what_its_commands_say(shell: dict[str, str], tmp_path: Path) -> None:
    tutorial = PROJECT / "docs" / "tutorial.md"
    page = list(documents.blocks(tutorial))
    place = next(n for n, block in enumerate(page) if "groq-batch make" in block.text)
    script = "\n".join(block.text for block in page[: place + 1] if block.use == "offline")
    done = subprocess.run(
        ["bash", "-eu"],
        input=script,
        cwd=tmp_path / "clone",
        env=shell,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.stdout == page[place + 1].text


def test_commands_of_sam_exist() -> None:
    shells = [block for block in BLOCKS if block.language in documents.SHELLS]
    calls = [words for one in shells for words in documents.commands(one.text) if words[0] == "sam"]
    assert len(calls) > 10
    for words in calls:
        command = importlib.import_module(f"samcli.commands.{words[1]}.command").cli
        options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options
        if "--parameter-overrides" in words:
            _check_parameters(words[words.index("--parameter-overrides") + 1 :])


def test_settings_for_sam_are_those_of_the_template() -> None:
    found = [block for block in BLOCKS if block.language == "toml"]
    assert len(found) >= 2
    for block in found:
        data = tomllib.loads(block.text)
        while "parameter_overrides" not in data:
            data = next(iter(data.values()))
        _check_parameters(data["parameter_overrides"])


def _check_parameters(given: list[str]) -> None:
    """Read parameters as the SAM CLI does, and look for them in the template."""
    from tests.infrastructure.stack import source  # noqa: PLC0415 - it is slow to import

    values = CfnParameterOverridesType().convert(tuple(given), None, None)
    assert len(values) == len([word for word in given if "=" in word]) > 0
    known = source()["Parameters"]
    for name, value in values.items():
        assert name in known, f"The template has no parameter {name}"
        assert value


@pytest.fixture
def python_guide(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """Return the functions of the guide for Python, on an account in memory."""
    guide = PROJECT / "docs" / "how-to" / "use-from-python.md"
    functions, _ = (one for one in documents.blocks(guide) if one.language == "python")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        module = types.ModuleType("guide")
        exec(compile(functions.text, str(guide), "exec"), module.__dict__)
        yield module


def test_the_functions_for_python_run_a_file(python_guide: Any) -> None:
    guide = PROJECT / "docs" / "how-to" / "use-from-python.md"
    _, use = (one for one in documents.blocks(guide) if one.language == "python")
    path = "team/requests.jsonl"
    body = b'{"choices":[{"message":{"content":"yes\xe2\x80\xa8no"}}]}'
    answers = [
        b'{"custom_id":"a","response":{"status_code":200,"body":' + body + b'},"error":null}\n',
        b'{"custom_id":"b","response":{"status_code":400,"body":{}},"error":null}\n',
        b'{"custom_id":"c","response":null,"error":{"code":"missing"}}\n',
    ]
    calls = []

    def pipeline(seconds: float) -> None:
        """Do what the stack does between two looks at the report: an older run's report first."""
        s3 = python_guide.s3
        head = s3.head_object(Bucket=BUCKET, Key=f"input/{path}")
        assert head["Metadata"] == {"completion-window": "7d"}
        version = head["VersionId"] if calls else "older"
        status = "succeeded" if len(calls) in (0, 2) else "running"
        report = f'{{"status": "{status}", "input": {{"version_id": "{version}"}}}}'
        s3.put_object(Bucket=BUCKET, Key=f"reports/{path}.json", Body=report.encode())
        s3.put_object(Bucket=BUCKET, Key=f"output/{path}", Body=b"".join(answers))
        calls.append(seconds)

    python_guide.time = types.SimpleNamespace(sleep=pipeline)
    names = {**python_guide.__dict__, "BUCKET": BUCKET, "requests": [{"custom_id": "a"}]}
    exec(compile(use.text, str(guide), "exec"), names)
    assert names["answers"] == {"a": "yes\u2028no", "b": None, "c": None}
    assert len(calls) == 3
