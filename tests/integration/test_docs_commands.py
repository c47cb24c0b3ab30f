"""Commands of the documentation that need neither AWS nor the emulator, run as they are printed."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from samcli.cli.types import CfnParameterOverridesType

from groq_batch.domain.job_options import JobOptions, parse_options
from local.groq_simulator import GroqSimulator
from local.reference.parameters import default_of
from tests import documents
from tests.documents import PROJECT

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
        done = documents.run(block.text, tmp_path / "clone", shell)
        assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr


def test_the_tutorial_shows_what_its_commands_say(shell: dict[str, str], tmp_path: Path) -> None:
    tutorial = PROJECT / "docs" / "tutorial.md"
    page = list(documents.blocks(tutorial))
    place = next(n for n, block in enumerate(page) if "groq-batch make" in block.text)
    script = "\n".join(block.text for block in page[: place + 1] if block.use == "offline")
    done = documents.run(f"exec 2>&1\n{script}", tmp_path / "clone", shell)
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
    from tests.infrastructure.test_parameters import accepts  # noqa: PLC0415

    values = CfnParameterOverridesType().convert(tuple(given), None, None)
    assert len(values) == len([word for word in given if "=" in word]) > 0
    known = source()["Parameters"]
    for name, value in values.items():
        assert name in known, f"The template has no parameter {name}"
        assert value or accepts(name, "")


def test_options_in_the_docs_fit_a_stack_with_its_defaults() -> None:
    """Whoever copies a command gets a job that runs, and a stack that takes files."""
    shells = [block for block in BLOCKS if block.language in documents.SHELLS]
    found = [
        (block.place, options)
        for block in shells
        for words in documents.commands(block.text)
        for options in _options_of(words)
    ]
    assert len(found) > 8
    for place, options in found:
        given = {name: value for name, value in options.items() if name != "retention"}
        days = int(options.get("retention", RETENTION_DAYS))
        _, problems = parse_options(given, defaults=DEFAULTS, work_retention_days=days)
        assert problems == [], place


DEFAULTS = JobOptions(
    completion_window=default_of("CompletionWindow"),
    skip_invalid_lines=default_of("OnInvalidLine") == "skip",
    max_attempts=int(default_of("MaxAttempts")),
    max_job_cost_usd=float(default_of("MaxJobCostUsd")),
)
RETENTION_DAYS = int(default_of("WorkRetentionDays"))
_OPTION_NAMES = {
    "--window": "completion-window",
    "--max-attempts": "max-attempts",
    "CompletionWindow": "completion-window",
    "MaxAttempts": "max-attempts",
    "WorkRetentionDays": "retention",
}


def _options_of(words: list[str]) -> Iterator[dict[str, str]]:
    """Yield the options of an upload that a command gives, or makes the stack's own."""
    if "--metadata" in words:
        pairs = words[words.index("--metadata") + 1].split(",")
        yield dict(pair.split("=", 1) for pair in pairs)
    given = [word.split("=", 1) for word in words if "=" in word]
    given += [list(pair) for pair in pairwise(words)]
    named = {_OPTION_NAMES[name]: value for name, value in given if name in _OPTION_NAMES}
    if named:
        yield named


def test_requests_to_the_simulator_in_the_docs_are_taken() -> None:
    pages = ["local/groq_simulator/README.md", "docs/how-to/see-a-failure-locally.md"]
    calls = [
        words
        for block in BLOCKS
        if _page(block.file) in pages and block.language in documents.SHELLS
        for words in documents.commands(block.text)
        if words[0] == "curl"
    ]
    assert len(calls) >= 2
    with GroqSimulator() as simulator:
        for words in calls:
            (url,) = (word for word in words if "/_control/" in word)
            operation = url.rsplit("/", 1)[-1]
            simulator.control.call(operation, json.loads(words[words.index("-d") + 1]))
