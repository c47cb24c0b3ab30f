"""The generated parts of the documentation: up to date with the code, and nothing left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from groq_batch.domain import object_keys
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.job_options import _OPTIONS
from local import asl
from local.reference import __main__ as reference
from local.reference import bucket, codes, found_codes, options, parameters, reports
from local.reference.blocks import BlockError, block_names, fill, markdown_files
from local.reference.contents import BLOCKS
from local.reference.markdown import code, first_sentence, table

PROJECT = Path(__file__).parents[3]
PACKAGE = PROJECT / "functions" / "groq_batch"
FILES = list(markdown_files(PROJECT))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_generated_blocks_are_up_to_date(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert fill(text, BLOCKS) == text, "Update it: make reference"


def test_every_block_stands_somewhere() -> None:
    used = {name for file in FILES for name in block_names(file.read_text(encoding="utf-8"))}
    assert used == set(BLOCKS)


def test_every_code_of_the_source_is_described() -> None:
    assert codes.all_codes() >= found_codes.codes_in(PACKAGE)


def test_error_codes_of_the_enum_are_those_that_are_described() -> None:
    assert set(ErrorCode) == codes.all_codes()


def test_no_code_is_described_that_the_source_does_not_have() -> None:
    # Those of rows and rules stand in constants, this one is made when it is needed.
    made = {one.name for one in (*codes.ROWS, *codes.ENDED_BY_A_RULE)} | {"unknown_error"}
    assert codes.all_codes() - made <= found_codes.codes_in(PACKAGE)


def test_codes_are_found_wherever_they_are_written() -> None:
    source = """
def check() -> tuple[str, str] | None:
    return "a_returned", f"sentence"
def text() -> str:
    return "not_a_code"
Problem(3, None, "a_problem", "text")
AccountError("text", code="named")
AccountError("text", code=ErrorCode.SPEND_LIMIT)
failure = {"code": "recorded", "message": "not this"}
self._problem("first", "text")
Problem(3, None, variable, "text")
"""
    found = set(found_codes.codes_of(source))
    assert found == {"a_returned", "a_problem", "named", "recorded", "first", "spend_limit"}


def test_line_codes_stand_in_the_order_of_the_checks() -> None:
    """An example with the faults of all later codes has the first of them."""
    line = b'{"custom_id": "", "method": "GET", "url": "/x", "body": 3}'
    names = [one.name for one in codes.LINES]
    found = []
    for wrong, right in (
        (b'""', b'"a"'),
        (b'"GET"', b'"POST"'),
        (b'"/x"', b'"/v1/chat/completions"'),
        (b"3", b'{"stream": true}'),
        (b'{"stream"', b'{"model": "m", "stream"'),
    ):
        found.append(_code_of(line))
        line = line.replace(wrong, right)
    found.append(_code_of(line))
    assert found == [name for name in names if name in found]
    assert len(found) == 6


def _code_of(line: bytes) -> str:
    problem = codes.LineChecker(models=codes.MODELS).check(1, line)
    assert isinstance(problem, codes.Problem)
    return problem.code


def test_every_example_line_has_the_code_that_it_is_an_example_of() -> None:
    for one in codes.LINES:
        if one.example.startswith(("{", "[")) and one.name != "duplicate_custom_id":
            line = one.example.encode("ascii").replace(rb"\xe9", b"\xe9")
            assert _code_of(line) == one.name


def test_every_sentence_can_be_written() -> None:
    for group in (codes.LINES, codes.FILES, codes.JOBS, codes.ROWS):
        assert all(one.says is None or one.says().endswith(".") for one in group)


def test_every_parameter_is_in_a_group() -> None:
    assert parameters.ungrouped() == set()


def test_every_option_names_its_parameter_or_says_that_it_has_none() -> None:
    assert set(options.PARAMETERS) == set(_OPTIONS)
    named = {name for name in options.PARAMETERS.values() if name is not None}
    assert named <= set(parameters.template()["Parameters"])


def test_option_without_a_parameter_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(options._OPTIONS, "x-new", ("new", str, "any text"))
    monkeypatch.setattr(options, "PARAMETERS", {**options.PARAMETERS, "x-new": None})
    assert "| `x-new` | any text | nothing |" in options.options()


@pytest.mark.parametrize(
    ("block", "place"),
    [
        ("options", "x-new has no description. Describe it in PARAMETERS of local/reference/opt"),
        (
            "report-fields",
            "input.x-new has no description. Describe it in MEANINGS of local/refer",
        ),
    ],
)
def test_make_reference_says_where_to_describe_what_is_new(
    block: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Add an option, and a field of the report, as somebody does who has not read on yet."""
    monkeypatch.setitem(options._OPTIONS, "x-new", ("new", str, "any text"))
    report = reports.example()
    report["input"]["x-new"] = "x"
    monkeypatch.setattr(reports, "example", lambda: report)
    page = tmp_path / "page.md"
    page.write_text(f"<!-- generated: {block} -->\n<!-- end of {block} -->\n")
    monkeypatch.setattr(reference, "PROJECT_ROOT", tmp_path)
    assert reference.main([]) == 1
    assert capsys.readouterr().out.startswith(f"page.md: {place}")


def test_every_state_says_what_it_does() -> None:
    assert all(one.fields.get("Comment") for one in asl.states_of(asl.machine()))


def test_the_waits_of_a_retrier_grow_to_their_longest() -> None:
    retrier = {"ErrorEquals": [], "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 4}
    retrier["MaxDelaySeconds"] = 20
    assert list(asl.Retrier.from_json(retrier).delays) == [2, 6, 18, 20]


def test_the_report_has_a_meaning_for_every_field_and_no_other() -> None:
    assert set(reports.field_names(reports.example())) == set(reports.MEANINGS)


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
