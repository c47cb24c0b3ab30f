"""The generated parts of the documentation: up to date with the code, and nothing left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from groq_batch.domain import object_keys
from local import asl
from local.reference import bucket, options, reports
from local.reference.blocks import BlockError, block_names, fill, markdown_files
from local.reference.contents import BLOCKS
from local.reference.docstrings import first_sentence
from local.reference.markdown import code, table
from local.template_parameters import read_template

PROJECT = Path(__file__).parents[3]
FILES = list(markdown_files(PROJECT))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_generated_blocks_are_up_to_date(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert fill(text, BLOCKS) == text, "Update it: make reference"


def test_every_block_stands_somewhere() -> None:
    used = {name for file in FILES for name in block_names(file.read_text(encoding="utf-8"))}
    assert used == set(BLOCKS)


def test_every_parameter_is_in_a_group() -> None:
    interface = read_template()["Metadata"]["AWS::CloudFormation::Interface"]
    named = {name for group in interface["ParameterGroups"] for name in group["Parameters"]}
    assert named == set(read_template()["Parameters"])


def test_option_without_a_parameter_of_its_name_has_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(options._OPTIONS, "x-new", ("new", str, "any text"))
    assert "| `x-new` | any text | nothing |" in options.options()


def test_every_shipped_option_has_a_parameter() -> None:
    assert "| nothing |" not in options.options()


def test_every_state_says_what_it_does() -> None:
    assert all(one.fields.get("Comment") for one in asl.states_of(asl.machine()))


def test_the_waits_of_a_retrier_grow_to_their_longest() -> None:
    retrier = {"ErrorEquals": [], "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 4}
    retrier["MaxDelaySeconds"] = 20
    assert list(asl.Retrier.from_json(retrier).delays) == [2, 6, 18, 20]


def field_names(data: object, before: str = "") -> Iterator[str]:
    """Yield the names of all fields of JSON data; fields of list items have ``[]``."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from field_names(value, f"{before}.{name}" if before else name)
    elif isinstance(data, list):
        for item in data:
            yield from field_names(item, f"{before}[]")
    else:
        yield before


def test_page_of_the_report_explains_every_field_in_order_and_no_other() -> None:
    text = (PROJECT / "docs" / "reference" / "report.md").read_text("utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| .", text.partition("\n## Fields\n")[2], re.MULTILINE)
    assert rows == list(dict.fromkeys(field_names(reports.example())))


def test_the_example_report_adds_up() -> None:
    report = reports.example()
    requests = report["requests"]
    assert requests["total"] == requests["succeeded"] + requests["failed"] + requests["invalid"]
    assert report["timing"]["finished_at"] > max(one["ended_at"] for one in report["batches"])


def test_working_files_have_a_line_for_every_key_of_the_layout() -> None:
    shown = bucket.work()
    keys = object_keys.WorkKeys("J")
    assert keys.stopped.replace("J", "…") in shown
    assert keys.submission(1, 1).replace("J", "…") in shown
    assert "| |" not in shown.replace("|  |", "| |")


def test_working_files_of_the_life_of_a_job_are_in_the_table() -> None:
    page = (PROJECT / "docs" / "explanation" / "how-it-works.md").read_text(encoding="utf-8")
    told = {re.sub(r"\d+", "#", key) for key in re.findall(r"`(work/…/[^`]+[^`/])`", page)}
    listed = {re.sub(r"\d+", "#", key) for key in re.findall(r"`(work/…/[^`]+)`", bucket.work())}
    assert "work/…/plan.json" in told
    assert told <= listed


def test_every_line_of_the_working_files_is_one_key() -> None:
    keys = [line.split("|")[1].strip() for line in bucket.work().splitlines()[2:]]
    assert all(re.fullmatch(r"`(jobs|work)/[^`,()]+`", key) for key in keys), keys


def test_a_block_is_written_anew_and_what_is_around_it_stays() -> None:
    text = "before\n<!-- generated: x -->\nold\n<!-- end of x -->\nafter\n"
    filled = fill(text, {"x": lambda: "new\n"})
    assert filled == "before\n<!-- generated: x -->\n\nnew\n\n<!-- end of x -->\nafter\n"
    assert fill(filled, {"x": lambda: "new"}) == filled


@pytest.mark.parametrize(
    "text",
    [
        "<!-- generated: x -->\nold\n",
        "<!-- generated: x -->\n<!-- generated: x -->\n<!-- end of x -->\n",
        "<!-- generated: y -->\n<!-- end of y -->\n",
    ],
    ids=["no end", "nested", "unknown"],
)
def test_a_block_that_cannot_be_filled_is_refused(text: str) -> None:
    with pytest.raises(BlockError):
        fill(text, {"x": lambda: "new"})


def test_tables_escape_pipes_and_line_ends() -> None:
    shown = table(["a", "b"], [["x|y", "two\nlines"]], right=[1])
    assert shown == "| a | b |\n|---|---:|\n| x\\|y | two lines |"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("", "")],
)
def test_code_within_a_line(text: str, shown: str) -> None:
    assert code(text) == shown


def test_first_sentence_of_a_docstring() -> None:
    assert first_sentence("One ``thing``\nhere. Two.\n\nThree.") == "One `thing` here."
