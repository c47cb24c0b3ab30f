"""``groq-batch make``: rows of tables into requests."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch_cli.main import run
from groq_batch_client.errors import TableError, WrongArgumentError
from groq_batch_client.schemas import AnswerSchema
from groq_batch_client.templates import Template
from tests.table_files import MODEL, make, prompts, requests_of, write_rows

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "Great, really", "stars": 5},
    {"id": "b", "text": 'He said "ok"', "stars": 3},
    {"id": "c", "text": "ü\u2028{x}", "stars": None},
]
REVIEW: dict[str, Any] = {
    "title": "Review of a film",
    "type": "object",
    "properties": {"good": {"type": "boolean"}, "topics": {"type": "array", "items": {}}},
    "required": ["good", "topics"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "name",
    ["r.jsonl", "r.ndjson.gz", "r.csv", "r.CSV.GZ", "r.tsv", "r.tsv.gz", "r.parquet", "r.PQ"],
)
def test_rows_of_any_format_become_requests(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / name.lower().replace(".pq", ".parquet"), ROWS)
    rows = rows.rename(tmp_path / name)
    out = tmp_path / "new" / "requests.jsonl"
    assert make(rows, "--prompt", "Rate {stars}: {text}", "--id", "id", "--out", str(out)) == 0
    assert requests_of(out.read_bytes()) == [
        {
            "custom_id": row["id"],
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": MODEL,
                "messages": [
                    {"role": "user", "content": f"Rate {row['stars'] or ''}: {row['text']}"}
                ],
            },
        }
        for row in ROWS
    ]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"3 requests in {out}, ")
    assert "estimated $0.0000" in said.err


def test_requests_go_to_standard_output(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    assert make(rows, "--prompt", "{text}") == 0
    made = requests_of(capsysbinary.readouterr().out)
    assert [one["custom_id"] for one in made] == ["row-1", "row-2", "row-3"]


def test_rows_come_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    class Stdin:
        buffer = io.BytesIO(b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": [true]}')

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert make("-", "--prompt", "{a}") == 0
    made = requests_of(capsysbinary.readouterr().out)
    assert [one["body"]["messages"][0]["content"] for one in made] == ["1", "[true]"]


def test_everything_of_a_request(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS[:1])
    schema = tmp_path / "review.json"
    schema.write_text(json.dumps(REVIEW))
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("As {{json}}: {text}\n", encoding="utf-8-sig")
    out = tmp_path / "requests.jsonl.gz"
    arguments = ["--prompt-file", str(prompt), "--system", "Judge {id}.", "--schema", str(schema)]
    arguments += ["--strict", "--param", "temperature=0.2", "--param", "reasoning_effort=low"]
    arguments += ["--param", 'stop=["\\n"]', "--out", str(out)]
    assert make(rows, *arguments) == 0
    (request,) = requests_of(gzip.decompress(out.read_bytes()))
    assert request["body"] == {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "Judge a."},
            {"role": "user", "content": "As {json}: Great, really"},
        ],
        "temperature": 0.2,
        "reasoning_effort": "low",
        "stop": ["\n"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "Review_of_a_film", "schema": REVIEW, "strict": True},
        },
    }


def test_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    made = []
    for name in ("1.jsonl.gz", "2.jsonl.gz"):
        assert make(rows, "--prompt", "{text}", "--out", str(tmp_path / name)) == 0
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]


def test_numbers_of_json_rows_keep_their_digits(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    numbers = ["123456789012345678901234", "1.10", "1e400", "-0.0"]
    rows.write_text("".join(f'{{"value": {one}}}\n' for one in numbers))
    assert prompts(rows, tmp_path / "o.jsonl") == numbers


@pytest.mark.parametrize(
    ("rows", "arguments", "expected"),
    [
        (
            '{"a": 1}',
            ["--prompt", "{b}"],
            "Row 1 of {rows}: there is no column 'b'; there are 'a'. Write {{ and }} for literal",
        ),
        (
            '{"a": 1}\n{"b": 1}',
            ["--prompt", "{a}"],
            "Row 2 of {rows}: there is no column 'a'; there are 'b'.",
        ),
        (
            '{"a": 1}',
            ["--prompt", "{a}", "--id", "c"],
            "Row 1 of {rows} has no id (--id): there is no column 'c'; there are 'a'.",
        ),
        (
            '{"a": 1}\n{"a": 1}',
            ["--prompt", "{a}", "--id", "a"],
            (
                "Row 2 of {rows}: This custom_id was already used in row 1. Give every request a "
                "custom_id of its own. The ids come from the column 'a' (--id)."
            ),
        ),
        ('{"a": ""}', ["--prompt", "{a}", "--id", "a"], "The column 'a' (--id) is empty."),
        ('{"a": null}', ["--prompt", "{a}", "--id", "a"], "The column 'a' (--id) is empty."),
        (
            '{"a": 1}',
            ["--prompt", "{a}", "--param", "stream=true"],
            "Row 1 of {rows}: stream is true, but a batch cannot stream.",
        ),
        ('{"a": 1}\n[1]', ["--prompt", "{a}"], "Line 2 of {rows} is not a JSON object"),
        ('{"a": "\\ud8"}', ["--prompt", "{a}"], "Line 1 of {rows} is not a JSON object"),
        ('{"a": "x"}\n{"a": "x', ["--prompt", "{a}"], "(Input data was truncated)"),
        (
            '{"a": 1, "b": NaN}',
            ["--prompt", "{a}"],
            "Line 1 of {rows} holds NaN, which JSON cannot represent",
        ),
        (
            '{"a": "\\ud800"}',
            ["--prompt", "{a}"],
            "Line 1 of {rows} has half of a surrogate pair in its column 'a', often half of an",
        ),
        (
            '{"a": 1}\n{"a": 1, "b": {"c": ["\\udc00 and more"]}}',
            ["--prompt", "{a}"],
            "Line 2 of {rows} has half of a surrogate pair in its column 'b'",
        ),
        (
            '{"\\ud800a": 1}',
            ["--prompt", "{a}"],
            "Line 1 of {rows} has half of a surrogate pair in its column '\\ud800a'",
        ),
    ],
)
def test_row_that_cannot_become_a_request_is_said(
    rows: str,
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    path.write_text(rows)
    assert make(path, *arguments, "--out", str(out)) == 1
    assert expected.replace("{rows}", str(path)) in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path], "something was left behind"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--prompt", "{a}", "--param", "stream"], "--param 'stream' is not NAME=VALUE"),
        (["--prompt", "{a}", "--param", "n = 1"], "--param 'n = 1' is not NAME=VALUE"),
        (["--prompt", "{a}", "--param", "model=y"], "--param model is set by --model"),
        (["--prompt", "{a}", "--param", "temperature=hot"], "temperature is 'hot', but it must be"),
        (["--prompt", "{a}", "--param", "n=true"], "n is True, but it must be a number"),
        (["--prompt", "{a}", "--param", "top_p=NaN"], "top_p is 'NaN', but it must be"),
        (["--prompt", "{a}", "--param", 'x="\\ud83d"'], "--param x has half of a surrogate pair"),
        (["--prompt", "{a}", "--out", "o.csv"], "requests are JSON lines"),
        (["--prompt", "{a}", "--out", "o.TSV.gz"], "requests are JSON lines"),
        (["--prompt", "{a}", "--out", "o.jsonl.zst"], "End it with .jsonl or .jsonl.gz."),
        (["--prompt", "{a}", "--out", "o.jsonl.BZ2"], "End it with .jsonl or .jsonl.gz."),
        (["--prompt", "{a"], "The prompt has a brace without a partner"),
        (["--prompt", "{}"], "The prompt has braces without a column name"),
        ([], "Give the prompt with --prompt or --prompt-file."),
        (["--prompt", "x", "--prompt-file", "{file}"], "Give --prompt or --prompt-file, not both."),
        (["--prompt", "{a}", "--strict"], "--strict needs --schema"),
    ],
)
def test_option_with_a_value_of_no_use_is_a_wrong_usage(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"a": 1}')
    assert make(rows, *[one.replace("{file}", str(rows)) for one in arguments]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        (["--prompt", "{a}"], 2),
        (["--prompt", "Rate: {a}"], 2),
        (["--prompt", "{a} {b}"], 1),
        (["--prompt", "Rate: {a}", "--system", "As {b}"], 1),
        (["--prompt", "Hi", "--system", "{a}"], 2),
        (["--prompt", "{c}"], 0),
        (["--prompt", "Hi", "--same-prompt"], 0),
    ],
)
def test_rows_without_a_value_for_the_prompt_are_counted_aloud(
    asked: list[str], number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b,c\nx,,1\n,,2\n,y,3\n")
    assert make(rows, *asked, "--out", str(tmp_path / "o.jsonl")) == 0
    said = capsys.readouterr().err
    expected = f"{number} row{'s have' if number > 1 else ' has'} no value for the prompt; requests"
    assert (expected in said) if number else ("no value" not in said)


def test_model_without_a_known_price_is_named_in_place_of_the_estimate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    asked = ["--model", "openai/gpt-oss-20", "--prompt", "{text}"]
    assert run(["make", str(rows), *asked, "--out", str(tmp_path / "o.jsonl")]) == 0
    assert "no estimate, because the price list has no model openai/gpt-oss-20" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("prompt", "hint"),
    [
        ("Is this positive?", None),
        ("Is this positive? {{text}}", "{{text}}"),
        ("Is this positive? $text", "$text"),
        ("Is this positive? ${text}", "${text}"),
        ("Is this positive? <text>", "<text>"),
    ],
)
def test_prompt_without_a_column_is_refused_unless_it_is_meant(
    prompt: str, hint: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.csv", ROWS)
    out = tmp_path / "o.jsonl"
    asked = prompt.replace("${text}", "${{text}}") if hint == "${text}" else prompt
    assert make(rows, "--prompt", asked, "--out", str(out)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "The prompt names no column, so every row would send, and pay for, the same" in said
    assert "--same-prompt if you mean it" in said
    assert (hint is None) == ("which is not replaced" not in said)
    assert not out.exists()
    assert len(set(prompts(rows, out, asked, "--same-prompt"))) == 1


@pytest.mark.parametrize("name", ["rows", "rows/x.jsonl"])
def test_folder_or_nothing_in_the_place_of_a_file_is_said_as_for_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    wrong = "does not exist." if "/" in name else "is a folder. Name a file in it."
    for arguments in (
        ["make", name, "--model", "m", "--prompt", "x"],
        ["join", name, name],
        ["merge", name, name],
    ):
        assert run(arguments) == 2
        assert f"{name} {wrong}" in capsys.readouterr().err


def test_request_that_is_too_long_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groq_batch_client.build_requests.HARD_LINE_LIMIT_BYTES", 200)
    path = write_rows(tmp_path / "rows.jsonl", [{"a": "x"}, {"a": "x" * 200}])
    assert make(path, "--prompt", "{a}") == 1
    assert "Row 2 of" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["rows.jsonl", "prompt.jsonl", "system.jsonl", "schema.jsonl"])
def test_make_never_replaces_what_it_reads(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--prompt-file", "prompt.jsonl", "--system-file", "system.jsonl"]
    for name in ("rows.jsonl", "prompt.jsonl", "system.jsonl", "schema.jsonl"):
        Path(name).write_text('{"a": 1}')
    arguments += ["--schema", "schema.jsonl", "--out", f"../{tmp_path.name}/{out}"]
    assert make("rows.jsonl", *arguments) == 2
    assert f"{out} would overwrite the input file {out}." in capsys.readouterr().err
    assert Path(out).read_text() == '{"a": 1}'


def test_no_rows_make_no_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n")
    assert make(path, "--prompt", "{a}", "--out", str(tmp_path / "o.jsonl")) == 0
    assert "The file has no rows, so there are no requests" in capsys.readouterr().err


# -- templates -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("{}", "braces without a column name"),
        ("{", "a brace without a partner"),
        ("}", "a brace without a partner"),
        ("{a {b}}", "a brace without a partner"),
    ],
)
def test_braces_that_enclose_no_column_are_wrong(prompt: str, expected: str) -> None:
    with pytest.raises(WrongArgumentError) as raised:
        Template.parse(prompt)
    assert expected in str(raised.value)
    assert "Write {{ and }} for literal braces." in str(raised.value)


def test_columns_of_a_prompt_may_have_any_name(tmp_path: Path) -> None:
    names = ["Film title", "a.b[0]", "Rating: overall (1=low)", "a!r", '"a": 1']
    rows = write_rows(tmp_path / "rows.csv", [{name: f"<{name}>" for name in names}])
    prompt = " ".join(f"{{{name}}}" for name in [*names, names[0]])
    assert Template.parse(prompt).columns == names
    assert prompts(rows, tmp_path / "o.jsonl", prompt) == [
        " ".join(f"<{name}>" for name in [*names, names[0]])
    ]


@given(st.text(), st.lists(st.text()))
def test_value_stands_in_the_prompt_as_it_is(text: str, values: list[str]) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    filled = Template.parse(f"{escaped}{{a}}").fill(len(values), lambda name: values)
    assert filled == [text + value for value in values]


# -- schemas -------------------------------------------------------------------------------------


def load_schema(folder: Path, text: str, name: str = "my schema.json") -> AnswerSchema:
    path = folder / name
    path.write_text(text)
    return AnswerSchema.load(path)


def test_name_of_a_schema_is_given_or_the_files(tmp_path: Path) -> None:
    assert load_schema(tmp_path, "{}").name == "my_schema"
    assert load_schema(tmp_path, '{"title": "A b"}').name == "A_b"
    assert "strict" not in load_schema(tmp_path, "{}").response_format(strict=False)["json_schema"]


@pytest.mark.parametrize(
    "wrapped",
    [
        {"name": "n", "strict": True, "schema": REVIEW},
        {
            "type": "json_schema",
            "json_schema": {"name": "n", "strict": True, "schema": REVIEW},
        },
        {"type": "json_schema", "name": "n", "strict": True, "schema": REVIEW},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "strict": True, "schema": REVIEW},
            }
        },
        {
            "text": {
                "format": {"type": "json_schema", "name": "n", "strict": True, "schema": REVIEW}
            }
        },
        {"type": "function", "function": {"name": "n", "strict": True, "parameters": REVIEW}},
        {"name": "n", "strict": True, "input_schema": REVIEW},
    ],
)
def test_schema_as_guides_print_it_is_unwrapped(wrapped: dict[str, Any], tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(wrapped), encoding="utf-8-sig")
    rows = write_rows(tmp_path / "rows.jsonl", ROWS[:1])
    out = tmp_path / "o.jsonl"
    assert make(rows, "--prompt", "{text}", "--schema", str(schema), "--out", str(out)) == 0
    (request,) = requests_of(out.read_bytes())
    assert request["body"]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": REVIEW, "strict": True},
    }


def test_schema_with_a_property_called_schema_is_no_wrapping(tmp_path: Path) -> None:
    text = json.dumps({"properties": {"schema": {"type": "object"}}})
    assert list(load_schema(tmp_path, text).properties) == ["schema"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1]", "must be a JSON schema, which is an object."),
        ('"x"', "must be a JSON schema, which is an object."),
        ("{", "is not JSON: "),
        ('{"type": "text"}', "is not a valid JSON schema: "),
        ('{"$ref": "https://example.com/x"}', "which is not part of it"),
        ('{"maximum": NaN}', "is not JSON: it holds NaN, which JSON cannot represent"),
        ('{"description": "\\ud83d"}', "has half of a surrogate pair"),
        ('{"pattern": "("}', "is not a valid JSON schema: "),
    ],
)
def test_file_that_holds_no_schema_is_said(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(TableError) as raised:
        load_schema(tmp_path, text)
    assert expected in str(raised.value)


def test_schema_with_look_around_in_a_pattern_is_used(tmp_path: Path) -> None:
    schema = load_schema(tmp_path, '{"pattern": "^(?=a)"}')
    assert schema.misfit("abc") is None
    assert "does not match" in str(schema.misfit("bc"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": "array"}, 'the schema itself must be of "type": "object"'),
        ({"required": ["good"]}, "in the schema these are not: 'topics'"),
        ({"additionalProperties": True}, 'needs "additionalProperties": false; the schema has'),
        (
            {
                "properties": {"a": {"type": "array", "items": {"type": "object"}}},
                "required": ["a"],
            },
            "property 'a' has it not",
        ),
        (
            {"$defs": {"d": {"anyOf": [{"properties": {"p": {}}}]}}},
            "in definition 'd' these are not: 'p'",
        ),
    ],
)
def test_schema_that_cannot_be_forced_is_said(change: dict[str, Any], expected: str) -> None:
    AnswerSchema("x", REVIEW).check_strict()
    with pytest.raises(TableError) as raised:
        AnswerSchema("x", {**REVIEW, **change}).check_strict()
    assert expected in str(raised.value)


def test_kind_of_a_property_is_found_through_references_and_choices() -> None:
    schema = {
        "$defs": {
            "Level": {"enum": ["low", "high"]},
            "Loop": {"$ref": "#/$defs/Loop"},
            "Tree": {"anyOf": [{"$ref": "#/$defs/Tree"}]},
        },
        "properties": {
            "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "level": {"$ref": "#/$defs/Level"},
            "optional": {"anyOf": [{"$ref": "#/$defs/Level"}, {"type": "null"}]},
            "number": {"type": ["number", "integer", "null"]},
            "mixed": {"type": ["string", "integer"]},
            "list": {"type": "array"},
            "flag": {"const": True},
            "loop": {"$ref": "#/$defs/Loop"},
            "tree": {"$ref": "#/$defs/Tree"},
            "any": {},
        },
    }
    assert AnswerSchema("x", schema).properties == {
        "maybe": "integer",
        "level": "string",
        "optional": "string",
        "number": "number",
        "mixed": "json",
        "list": "json",
        "flag": "boolean",
        "loop": "json",
        "tree": "json",
        "any": "json",
    }
