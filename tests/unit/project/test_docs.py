"""The documentation: every link leads somewhere, every page is found, every command exists."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import botocore.session
import click
import pytest
import yaml
from botocore import xform_name
from botocore.exceptions import UnknownServiceError
from botocore.model import ServiceModel

from groq_batch.domain.job_options import JobOptions, parse_options
from groq_batch.domain.problem import Problem
from groq_batch_cli import main
from tests import documents
from tests.documents import PROJECT, Block, Link

FILES = documents.files()
LINKS = [link for file in FILES for link in documents.links(file)]
BLOCKS = [block for file in FILES for block in documents.blocks(file)]
SHELL_BLOCKS = [block for block in BLOCKS if block.language in documents.SHELLS]
TOML_BLOCKS = [block for block in BLOCKS if block.language == "toml"]

GUIDES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "docs/tutorial.md")),
    *(file for file in FILES if file.parent.name == "how-to"),
]
"""Pages whose shell blocks say how they were tried."""


def _id(thing: object) -> str:
    if isinstance(thing, Block):
        return thing.place
    if isinstance(thing, Link):
        return f"{thing.file.relative_to(PROJECT)}-{thing.target}"
    return str(thing)


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 25
    assert len(LINKS) > 120
    assert len(SHELL_BLOCKS) > 50


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_links_lead_somewhere(file: Path) -> None:
    broken = [link.target for link in LINKS if link.file == file and not _leads_somewhere(link)]
    assert broken == []


def _leads_somewhere(link: Link) -> bool:
    parts = urlsplit(link.target)
    if parts.scheme or parts.netloc:
        return parts.scheme == "https" and "." in parts.netloc
    target = link.file
    if parts.path:
        target = (link.file.parent / unquote(parts.path)).resolve()
    if not target.exists() or not target.is_relative_to(PROJECT):
        return False
    if not parts.fragment:
        return True
    return target.suffix == ".md" and parts.fragment in documents.anchors(target)


def test_every_page_is_linked_from_the_index() -> None:
    index = PROJECT / "docs" / "README.md"
    linked = {
        (index.parent / urlsplit(link.target).path).resolve()
        for link in LINKS
        if link.file == index
    }
    pages = {file for file in FILES if file.is_relative_to(index.parent) and file != index}
    assert pages <= linked


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_no_two_headings_of_a_page_are_the_same(file: Path) -> None:
    repeated = [anchor for anchor in documents.anchors(file) if re.search(r"-[0-9]$", anchor)]
    bases = documents.anchors(file)
    assert [one for one in repeated if one.rsplit("-", 1)[0] in bases] == []


def test_changelog_says_nothing_twice() -> None:
    # Two branches that tidy it up are easily merged into one that has both versions.
    lines = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line.startswith("- ")]
    assert sorted(entries) == sorted(set(entries))


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=_id)
def test_shell_blocks_of_guides_say_how_they_were_tried(block: Block) -> None:
    if block.file in GUIDES:
        assert block.use in documents.USES
    else:
        assert block.use in ("", *documents.USES)


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=_id)
def test_commands_exist(block: Block) -> None:
    for words in documents.commands(block.text):
        if words[0] == "make":
            _check_make(words)
        elif words[0] == "groq-batch":
            _check_verb(words)
        elif words[0] == "aws":
            _check_aws(words)


@pytest.mark.parametrize("block", [*SHELL_BLOCKS, *TOML_BLOCKS], ids=_id)
def test_attempts_and_windows_that_are_shown_fit_into_the_retention(block: Block) -> None:
    texts = [block.text]
    if block.language in documents.SHELLS:
        texts = [" ".join(words) for words in documents.commands(block.text)]
    for text in texts:
        problems = _retention_problems(text)
        assert problems == [], text


def _retention_problems(text: str) -> list[Problem]:
    """Return what a stack with the other parameters at their defaults has against a command."""

    def given(*names: str, default: str) -> str:
        found = re.search(rf"(?:{'|'.join(names)})[= ]\"?([0-9a-z]+)", text)
        return found[1] if found else default

    options = JobOptions(
        completion_window=given("CompletionWindow", "completion-window", "--window", default="24h"),
        skip_invalid_lines=False,
        max_attempts=int(given("MaxAttempts", "max-attempts", "--max-attempts", default="3")),
        max_job_cost_usd=0,
    )
    days = int(given("WorkRetentionDays", default="30"))
    return parse_options({}, defaults=options, work_retention_days=days)[1]


def _check_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z][a-z0-9-]*):", (PROJECT / "Makefile").read_text("utf-8"), re.M)
    asked = [word for word in words[1:] if "=" not in word]
    assert set(asked) <= set(targets)
    assert {word.split("=")[0] for word in words[1:] if "=" in word} <= {
        "ARGS",
        "FILE",
        "PYTHON_BIN",
    }


def _check_verb(words: list[str]) -> None:
    command: click.Command = main.cli
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"groq-batch has no verb {name}"
        command = found
    options = {"--help", "-h"}
    for parameter in command.params:
        options |= {*parameter.opts, *parameter.secondary_opts}
    asked = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    assert asked <= options, f"{words} has other options than {sorted(options)}"


AWS_OPTIONS = {"--query", "--output", "--region", "--profile", "--endpoint-url"}
S3_OPTIONS = {
    "--exclude",
    "--metadata",
    "--metadata-directive",
    "--recursive",
    "--sse",
    "--sse-kms-key-id",
}
LAMBDA_OPTIONS = {"--cli-binary-format"}


def _check_aws(words: list[str]) -> None:
    """Hold a command of the AWS CLI against the models of the services that it is made from."""
    service, operation = words[1], words[2]
    options = {word for word in words[3:] if re.match(r"--[a-z]", word)} - AWS_OPTIONS
    if service == "s3":
        assert operation in ("cp", "ls", "rm", "sync", "mv")
        assert options <= S3_OPTIONS
        return
    model = _service(service.removesuffix("api"))
    names = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in names, f"{service} has no operation {operation}"
    shape = model.operation_model(names[operation]).input_shape
    assert shape is not None
    members = {"--" + xform_name(name, "-") for name in shape.members}
    required = {"--" + xform_name(name, "-") for name in shape.required_members}
    assert options - (LAMBDA_OPTIONS if service == "lambda" else set()) <= members
    # "..." and variables may stand in for values, but an option may not be left out.
    assert required <= options or "…" in words


@cache
def _service(name: str) -> ServiceModel:
    try:
        return botocore.session.get_session().get_service_model(name)
    except UnknownServiceError:
        pytest.fail(f"AWS has no service {name}")


def test_commands_of_a_block() -> None:
    text = "$ A=1 make unit  # a comment\nshown\n$ cat <<'END'\n$ x\nEND\n$ a \\\n  b | c && (d)\n"
    assert list(documents.commands(text)) == [["make", "unit"], ["a", "b"], ["c"], ["d"]]


@pytest.mark.parametrize(
    "block", [one for one in BLOCKS if one.language in ("json", "yaml", "python")], ids=_id
)
def test_data_and_code_can_be_parsed(block: Block) -> None:
    if block.language == "python":
        ast.parse(block.text)
    elif block.language == "yaml":
        _parse_yaml(block.text)
    else:
        _parse_json(block.text)


def _parse_json(text: str) -> None:
    """Read one value, or one on each line."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        for line in text.splitlines():
            json.loads(line)


def _parse_yaml(text: str) -> None:
    class Loader(yaml.SafeLoader):
        """Takes the short forms of CloudFormation's functions."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: suffix)
    yaml.load(text, Loader)


def test_the_tutorial_leaves_the_clone_as_it_is() -> None:
    """What it writes goes into a folder of the reader's own; it is in the clone for a moment."""
    tutorial = PROJECT / "docs" / "tutorial.md"
    shells = [one for one in documents.blocks(tutorial) if one.language in documents.SHELLS]
    own = next(place for place, one in enumerate(shells) if "\ncd ~/evaluation\n" in one.text)
    assert all(one.use == "elsewhere" for one in shells[: own + 1])
    for block in shells[own + 1 :]:
        there = block.text.count('cd "$CLONE"')
        back = block.text.count('(cd "$CLONE"') + block.text.count("cd ~/evaluation")
        assert there == back, block.place
        assert "/dev/stdout" not in block.text, "what AWS answers mixes with what a tool says"
