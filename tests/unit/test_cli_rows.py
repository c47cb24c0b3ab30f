"""``groq-batch make`` and ``join``: rows into requests, answers back beside the rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.result_row import pipeline_row
from groq_batch.request_file.line_checks import CheckedRequest, LineChecker
from groq_batch_cli.answers import read_answer
from groq_batch_cli.errors import CommandError
from groq_batch_cli.lines import output
from groq_batch_cli.main import run
from groq_batch_cli.rows import writing
from groq_batch_cli.rows.formats import Format, format_of
from groq_batch_cli.rows.reading import RowFile, as_text
from groq_batch_cli.schemas import AnswerSchema
from groq_batch_cli.templates import Template

MODEL = "openai/gpt-oss-20b"
ROWS = [
    {"id": "a", "text": "Great,\nreally", "stars": 5},
    {"id": "b", "text": 'He said "ok"', "stars": 3},
    {"id": "c", "text": "ü\u2028{x}", "stars": None},
]
REVIEW = {
    "title": "Review of a film",
    "type": "object",
    "properties": {
        "good": {"type": "boolean"},
        "score": {"type": ["number", "null"]},
        "count": {"type": "integer"},
        "topics": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["good", "score", "count", "topics"],
    "additionalProperties": False,
}


@pytest.fixture(params=["rows.jsonl", "rows.ndjson.gz", "rows.csv", "rows.tsv", "rows.parquet"])
def rows_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write the rows in one of the formats."""
    return write_rows(tmp_path / request.param, ROWS)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    if path.suffix in (".csv", ".tsv"):
        text = io.StringIO()
        delimiter = "\t" if path.suffix == ".tsv" else ","
        writer = csv.writer(text, delimiter=delimiter)
        writer.writerow(rows[0])
        writer.writerows(["" if one is None else one for one in row.values()] for row in rows)
        data = b"\xef\xbb\xbf" + text.getvalue().encode()
    else:
        data = b"\n\n".join(json.dumps(row).encode() for row in rows)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def requests_of(data: bytes) -> list[dict[str, Any]]:
    checker = LineChecker()
    lines = data.split(b"\n")
    assert lines.pop() == b""
    assert all(isinstance(checker.check(n, one), CheckedRequest) for n, one in enumerate(lines, 1))
    return [json.loads(one) for one in lines]


def result(custom_id: str, content: Any, **choice: Any) -> bytes:
    body = {
        "model": MODEL,
        "choices": [{"message": {"content": content}, "finish_reason": "stop", **choice}],
    }
    row = {"id": "x", "custom_id": custom_id, "response": {"status_code": 200, "body": body}}
    return json.dumps({**row, "error": None}).encode()


def results_file(folder: Path, *rows: bytes) -> str:
    path = folder / "requests.results.jsonl"
    path.write_bytes(b"".join(row.rstrip(b"\n") + b"\n" for row in rows))
    return str(path)


# -- make -------------------------------------------------------------------------------------


def make(rows: Path | str, *arguments: str) -> int:
    return run(["make", str(rows), "--model", MODEL, *arguments])


def test_rows_of_any_format_become_requests(
    rows_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "requests.jsonl"
    assert make(rows_file, "--prompt", "Rate {stars}: {text}", "--id", "id", "--out", str(out)) == 0
    assert requests_of(out.read_bytes()) == [
        {
            "custom_id": row["id"],
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": MODEL,
                "messages": [
                    {"role": "user", "content": f"Rate {as_text(row['stars'])}: {row['text']}"}
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
    prompt.write_text("As {{json}}: {text}\n", encoding="utf-8")
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
            {"role": "user", "content": "As {json}: Great,\nreally"},
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


@pytest.mark.parametrize(
    ("rows", "arguments", "expected"),
    [
        ('{"a": 1}', ["--prompt", "{b}"], "Row 1 of {rows}: there is no column 'b'; there are a."),
        (
            '{"a": 1}\n{"b": 1}',
            ["--prompt", "{a}"],
            "Row 2 of {rows}: there is no column 'a'; there are b.",
        ),
        ('{"a": 1}', ["--prompt", "x", "--id", "c"], "row 1 has no column 'c' for its id"),
        (
            '{"a": 1}\n{"a": 1}',
            ["--prompt", "x", "--id", "a"],
            (
                "Row 2 of {rows}: This custom_id was already used in row 1. Give every request a "
                "custom_id of its own. The ids are those of the column 'a' (--id)."
            ),
        ),
        ('{"a": ""}', ["--prompt", "x", "--id", "a"], "Row 1 of {rows}: The column 'a' (--id) is"),
        (
            '{"a": 1}',
            ["--prompt", "x", "--param", "stream=true"],
            "Row 1 of {rows}: stream is true, but a batch cannot stream.",
        ),
        ('{"a": 1}\n[1]', ["--prompt", "x"], "Line 2 of {rows} is not a JSON object"),
        ('{"a": "\\ud8"}', ["--prompt", "{a}"], "Line 1 of {rows} is not a JSON object"),
        ('{"a": "\\ud83d\\ude00"}\n{"a": "x', ["--prompt", "{a}"], "(Input data was truncated)"),
        (
            '{"a": "\\ud800"}',
            ["--prompt", "x"],
            "Line 1 of {rows} holds half of a surrogate pair in its column 'a', often half of an",
        ),
        (
            '{"a": 1}\n{"a": 1, "b": {"c": ["\\udc00 and more"]}}',
            ["--prompt", "{a}"],
            "Line 2 of {rows} holds half of a surrogate pair in its column 'b'",
        ),
        (
            '{"\\ud800a": 1}',
            ["--prompt", "x"],
            "Line 1 of {rows} holds half of a surrogate pair in its column 'a'",
        ),
    ],
)
def test_rows_that_cannot_become_requests(
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
        (["--prompt", "x", "--param", "stream"], "--param 'stream' is not NAME=VALUE"),
        (["--prompt", "x", "--param", "model=y"], "--param model is set by --model"),
        (["--prompt", "{a"], "The prompt has a brace too many or too few"),
        (["--prompt", "{}"], "The prompt has braces without the name of a column"),
        (["--prompt", "{a!r}"], "{a!r} is not the name of a column"),
    ],
)
def test_option_with_a_value_of_no_use_is_a_wrong_usage(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"a": 1}')
    assert make(rows, *arguments) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("name", ["rows", "rows/x.jsonl"])
def test_make_of_a_folder_or_of_nothing_is_said_as_for_run(
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


def test_request_that_is_too_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groq_batch_cli.making.HARD_LINE_LIMIT_BYTES", 200)
    path = write_rows(tmp_path / "rows.jsonl", [{"a": "x"}, {"a": "x" * 200}])
    assert make(path, "--prompt", "{a}") == 1
    assert "Row 2 of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Name the prompt with --prompt or --prompt-file."),
        (["--prompt", "x", "--prompt-file", "{file}"], "Give --prompt or --prompt-file, not both."),
        (["--prompt", "x", "--strict"], "--strict is about the --schema"),
    ],
)
def test_wrong_usage(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", ROWS)
    assert make(path, *[one.replace("{file}", str(path)) for one in arguments]) == 2
    assert expected in capsys.readouterr().err


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
    assert f"{out} would be written over {out}, which is read." in capsys.readouterr().err
    assert Path(out).read_text() == '{"a": 1}'


def test_no_rows_make_no_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n")
    assert make(path, "--prompt", "x", "--out", str(tmp_path / "o.jsonl")) == 0
    assert "The file has no rows, so there are no requests" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("{}", "braces without the name"),
        ("{", "a brace too many or too few"),
        ("}", "a brace too many or too few"),
        ('{"a": 1}', '{"a": 1} is not the name of a column.'),
        ("{a!r}", "{a!r} is not the name of a column."),
        ("{a:>3}", "{a:>3} is not the name of a column."),
    ],
)
def test_braces_that_are_no_columns(prompt: str, expected: str) -> None:
    with pytest.raises(CommandError) as raised:
        Template.parse(prompt)
    assert expected in str(raised.value)
    assert "Write {{ and }} for braces of the prompt itself." in str(raised.value)


def test_columns_of_a_prompt_may_have_any_name() -> None:
    template = Template.parse("{Film title} ({a.b[0]}) {Film title}")
    assert template.columns == ["Film title", "a.b[0]"]
    assert template.fill({"Film title": "X", "a.b[0]": 1, "a": 2}) == "X (1) X"


@given(st.text(), st.text())
def test_value_stands_in_the_prompt_as_it_is(text: str, value: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert Template.parse(f"{escaped}{{a}}").fill({"a": value}) == text + value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        ("x", "x"),
        (1, "1"),
        (1.5, "1.5"),
        (True, "true"),
        ({"ü": [None]}, '{"ü": [null]}'),
        (Decimal("1.10"), "1.10"),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01 00:00:00+00:00"),
    ],
)
def test_values_as_text(value: Any, expected: str) -> None:
    assert as_text(value) == expected


# -- schemas ----------------------------------------------------------------------------------


def load_schema(folder: Path, text: str, name: str = "my schema.json") -> AnswerSchema:
    path = folder / name
    path.write_text(text)
    return AnswerSchema.load(path)


def test_name_of_a_schema(tmp_path: Path) -> None:
    assert load_schema(tmp_path, "{}").name == "my_schema"
    assert load_schema(tmp_path, '{"title": "A b"}').name == "A_b"
    wrapped = load_schema(tmp_path, '{"name": "n", "schema": {"type": "object"}}')
    assert (wrapped.name, wrapped.schema) == ("n", {"type": "object"})
    assert "strict" not in wrapped.response_format(strict=False)["json_schema"]


@pytest.mark.parametrize("text", ["[1]", "{", '"x"'])
def test_schema_that_is_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError):
        load_schema(tmp_path, text)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"required": ["good"]}, "in the schema these are not: count, score, topics"),
        ({"additionalProperties": True}, 'needs "additionalProperties": false; the schema has'),
        (
            {
                "properties": {"a": {"type": "array", "items": {"type": "object"}}},
                "required": ["a"],
            },
            "property a has it not",
        ),
        (
            {"$defs": {"d": {"anyOf": [{"properties": {"p": {}}}]}}},
            "in definition d these are not: p",
        ),
    ],
)
def test_schema_that_cannot_be_forced(change: dict[str, Any], expected: str) -> None:
    AnswerSchema("x", REVIEW).check_strict()
    with pytest.raises(CommandError) as raised:
        AnswerSchema("x", {**REVIEW, **change}).check_strict()
    assert expected in str(raised.value)


# -- answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (result("a", "Hi"), ("Hi", "stop", None)),
        (result("a", ""), ("", "stop", None)),
        (b"\xef\xbb\xbf" + result("a", "X").replace(b"X", b"\xff"), ("\ufffd", "stop", None)),
        (result("a", "X").replace(b"X", b"\\ud83d"), ("\ud83d", "stop", None)),
        (result("a", None), (None, "stop", None)),
        (result("a", "cut", finish_reason="length"), ("cut", "length", None)),
        (
            result("a", None, message={"content": None, "tool_calls": [{"id": "t"}]}),
            ('[{"id": "t"}]', "stop", None),
        ),
        (result("a", "x", message=7), (None, "stop", None)),
        (pipeline_row("a", code="missing", message="No."), (None, None, "missing")),
        (pipeline_row(None, code="invalid_json", message="No."), (None, None, "invalid_json")),
        (b'{"custom_id": null}', (None, None, "unreadable_row")),
        (b"nonsense", (None, None, "unreadable_row")),
    ],
)
def test_answer_of_a_row(row: bytes, expected: tuple[Any, ...]) -> None:
    answer = read_answer(row, as_json=False)
    assert (answer.value, answer.finish_reason, answer.error_code) == expected


@pytest.mark.parametrize(
    ("body", "value"),
    [({"text": "Hello"}, "Hello"), ("Hello", "Hello"), ("", ""), ([1, "é"], '[1, "é"]'), (7, "7")],
)
def test_transcription_is_an_answer(body: Any, value: str) -> None:
    row = {"custom_id": "a", "response": {"status_code": 200, "body": body}}
    answer = read_answer(json.dumps(row).encode(), as_json=False)
    assert (answer.value, answer.error_code) == (value, None)


def test_answer_that_is_to_be_json() -> None:
    assert read_answer(result("a", '{"x": 1}'), as_json=True).value == {"x": 1}
    broken = read_answer(result("a", '{"x": '), as_json=True)
    assert (broken.value, broken.error_code) == (None, "answer_not_json")
    cut = read_answer(result("a", '{"x": ', finish_reason="length"), as_json=True)
    assert cut.error_message == "The answer is not the JSON that was asked for: it was cut short."


# -- join -------------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> str:
    return results_file(
        tmp_path,
        result("a", '{"good": true, "score": 0.5, "count": 2, "topics": ["x", "ü"]}'),
        result("b", "no JSON"),
        pipeline_row("c", code="missing", message="No row."),
    )


def test_answers_stand_beside_rows_of_any_format(
    rows_file: Path, results: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["join", str(rows_file), results, "--id", "id"]) == 0
    said = capsys.readouterr()
    joined = [json.loads(one) for one in said.out.split("\n")[:-1]]
    assert [(row["id"], row["text"]) for row in joined] == [(r["id"], r["text"]) for r in ROWS]
    assert [row["answer"] for row in joined][1:] == ["no JSON", None]
    assert [row["error_code"] for row in joined] == [None, None, "missing"]
    assert [row["error_message"] for row in joined] == [None, None, "No row."]
    assert [row["finish_reason"] for row in joined] == ["stop", "stop", None]
    assert said.err == "3 rows, 1 without an answer\n"


def test_answer_with_a_schema_is_data(
    tmp_path: Path, results: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(REVIEW))
    assert run(["join", str(rows), results, "--id", "id", "--schema", str(schema)]) == 0
    joined = [json.loads(one) for one in capsys.readouterr().out.split("\n")[:-1]]
    assert [row["answer"] for row in joined] == [
        {"good": True, "score": 0.5, "count": 2, "topics": ["x", "ü"]},
        None,
        None,
    ]
    assert [row["error_code"] for row in joined] == [None, "answer_not_json", "missing"]


@pytest.mark.parametrize("name", ["out.csv", "out.tsv.gz"])
def test_joined_csv(name: str, rows_file: Path, results: str, tmp_path: Path) -> None:
    out = tmp_path / name
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(REVIEW))
    arguments = ["--id", "id", "--schema", str(schema), "--out", str(out)]
    assert run(["join", str(rows_file), results, *arguments]) == 0
    data = out.read_bytes()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    found = list(csv.reader(io.StringIO(text), delimiter="\t" if "tsv" in name else ","))
    assert found == [
        [
            *["id", "text", "stars", "answer_good", "answer_score", "answer_count"],
            *["answer_topics", "finish_reason", "error_code", "error_message"],
        ],
        ["a", "Great,\nreally", "5", "true", "0.5", "2", '["x", "ü"]', "stop", "", ""],
        ["b", 'He said "ok"', "3", "", "", "", "", "stop", "answer_not_json", found[2][-1]],
        ["c", "ü\u2028{x}", "", "", "", "", "", "", "missing", "No row."],
    ]


def test_joined_parquet(rows_file: Path, results: str, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(REVIEW))
    arguments = ["--id", "id", "--schema", str(schema), "--out", str(out)]
    assert run(["join", str(rows_file), results, *arguments]) == 0
    table = pyarrow.parquet.read_table(out)
    kinds = {field.name: str(field.type) for field in table.schema}
    stars = "string" if rows_file.suffix in (".csv", ".tsv") else "int64"
    assert kinds == {
        "id": "string",
        "text": "string",
        "stars": stars,
        "answer_good": "bool",
        "answer_score": "double",
        "answer_count": "int64",
        "answer_topics": "string",
        "finish_reason": "string",
        "error_code": "string",
        "error_message": "string",
    }
    first, second, third = table.to_pylist()
    assert (first["answer_good"], first["answer_score"], first["answer_count"]) == (True, 0.5, 2)
    assert json.loads(first["answer_topics"]) == ["x", "ü"]
    assert second["answer_good"] is None
    assert third["error_code"] == "missing"


def test_parquet_keeps_the_types_of_parquet(tmp_path: Path) -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [{"when": moment, "price": Decimal("1.10"), "tags": ["a"], "raw": b"\xff"}]
    source = write_rows(tmp_path / "rows.parquet", rows)
    out = tmp_path / "out.parquet"
    found = results_file(tmp_path, result("row-1", "Hi"))
    assert run(["join", str(source), found, "--out", str(out)]) == 0
    before, after = (pyarrow.parquet.read_schema(one) for one in (source, out))
    assert list(after)[:4] == list(before)
    assert pyarrow.parquet.read_table(out).to_pylist()[0]["price"] == Decimal("1.10")


def test_values_that_do_not_fit_the_schema_become_nothing(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": n} for n in range(3)])
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(REVIEW))
    found = results_file(
        tmp_path,
        result("row-1", '{"good": "yes", "score": true, "count": 1.5, "topics": {"a": 1}}'),
        result("row-2", '{"good": false, "score": 3, "count": 1e30, "topics": "x"}'),
        result("row-3", "[1]"),
    )
    out = tmp_path / "out.parquet"
    assert run(["join", str(rows), found, "--schema", str(schema), "--out", str(out)]) == 0
    first, second, third = pyarrow.parquet.read_table(out).to_pylist()
    names = ["answer_good", "answer_score", "answer_count", "answer_topics"]
    assert [first[one] for one in names] == [None, None, None, '{"a": 1}']
    assert [second[one] for one in names] == [False, 3.0, None, "x"]
    assert [third[one] for one in names] == [None] * 4


def test_types_of_jsonl_rows_are_those_that_fit_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_BATCH_ROWS", 2)
    values: list[dict[str, Any]] = [{"n": None}, {}, {"n": 1}, {"n": 1.5, "late": "x"}, {"n": 2}]
    rows = write_rows(tmp_path / "rows.jsonl", [{**one, "none": None} for one in values])
    found = results_file(tmp_path, *[result(f"row-{n}", "Hi") for n in range(1, 6)])
    out = tmp_path / "out.parquet"
    assert run(["join", str(rows), found, "--out", str(out)]) == 0
    table = pyarrow.parquet.read_table(out)
    assert {field.name: str(field.type) for field in table.schema}["none"] == "string"
    assert table.column("n").to_pylist() == [None, None, 1.0, 1.5, 2.0]
    assert table.column("late").to_pylist() == [None, None, None, "x", None]


def test_column_of_different_types(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": 1}, {"a": "x"}])
    found = results_file(tmp_path, result("row-1", "Hi"), result("row-2", "Hi"))
    assert run(["join", str(rows), found, "--out", str(tmp_path / "o.parquet")]) == 1
    assert "Write JSONL or CSV instead." in capsys.readouterr().err
    assert not (tmp_path / "o.parquet").exists()
    assert run(["join", str(rows), found, "--out", str(tmp_path / "o.csv")]) == 0


def test_columns_of_jsonl_rows_are_those_of_all_rows(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": 1}, {"b": {"c": 2}}])
    found = results_file(tmp_path, result("row-1", "x"), result("row-2", "y"))
    out = tmp_path / "out.csv"
    assert run(["join", str(rows), found, "--out", str(out)]) == 0
    assert out.read_text() == (
        'a,b,answer,finish_reason,error_code,error_message\n1,,x,stop,,\n,"{""c"": 2}",y,stop,,\n'
    )


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet"])
def test_answer_with_half_of_an_emoji_can_be_written(name: str, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": 1}])
    results = results_file(tmp_path, result("row-1", "X").replace(b"X", b"Hi \\ud83d"))
    out = tmp_path / name
    assert run(["join", str(rows), results, "--out", str(out)]) == 0
    assert b"Hi ?" in out.read_bytes()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["a", "c", "b"], "Row 2 of {rows} has the id 'b', but row 2 of {results} is of 'c'."),
        (["a", "b"], "{results} ends after 2 rows, but {rows} has more."),
        (["a", "b", "c", "d"], "{rows} ends after 3 rows, but {results} has more."),
        ([], "{results} ends after 0 rows, but {rows} has more."),
    ],
)
def test_results_of_other_rows(
    found: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    results = results_file(tmp_path, *[result(one, "x") for one in found])
    out = tmp_path / "out.jsonl"
    assert run(["join", str(rows), results, "--id", "id", "--out", str(out)]) == 1
    message = expected.replace("{rows}", str(rows)).replace("{results}", results)
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("out", ["rows.csv", "schema.jsonl", "requests.results.jsonl"])
def test_join_never_replaces_what_it_reads(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(Path("rows.csv"), [{"a": "1"}])
    Path("schema.jsonl").write_text("{}")
    results_file(tmp_path, result("row-1", "{}"))
    before = Path(out).read_bytes()
    join = ["join", "rows.csv", "requests.results.jsonl", "--schema", "schema.jsonl"]
    assert run([*join, "--out", str(tmp_path / out)]) == 2
    assert f"would be written over {out}, which is read." in capsys.readouterr().err
    assert Path(out).read_bytes() == before


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet"])
def test_no_column_is_lost(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"answer": 42}])
    results = results_file(tmp_path, result("row-1", "x"))
    out = tmp_path / name
    assert run(["join", str(rows), results, "--out", str(out)]) == 1
    assert "The rows have a column answer already." in capsys.readouterr().err
    assert not out.exists()
    assert run(["join", str(rows), results, "--prefix", "groq_", "--out", str(out)]) == 0


def test_standard_input_can_be_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stdin:
        buffer = io.BytesIO(b"{}")

    monkeypatch.setattr(sys, "stdin", Stdin)
    results = results_file(tmp_path, result("row-1", "x"))
    assert run(["join", "-", "-"]) == 2
    assert run(["join", "-", results, "--out", str(tmp_path / "o.csv")]) == 2
    assert "read twice" in capsys.readouterr().err
    assert run(["join", "-", results]) == 0


# -- formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("-", Format.JSONL),
        ("a.JSONL", Format.JSONL),
        ("a.csv.gz", Format.CSV),
        ("a.pq", Format.PARQUET),
    ],
)
def test_format_of_a_name(name: str, expected: Format) -> None:
    assert format_of(name) is expected


@pytest.mark.parametrize("name", ["a.json", "a", "a.parquet.gz", "a.xlsx"])
def test_name_without_a_format(name: str) -> None:
    with pytest.raises(CommandError):
        format_of(name)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"", "is empty. Its first line has to name the columns."),
        ("a.csv", b"a,a\n", "has two columns named 'a'"),
        ("a.csv", b"a,b\n1,2\n1\n", "Line 3 of {} has 1 values, but there are 2 columns."),
        ("a.csv", b'a\n"x', "is not CSV"),
        ("a.csv", b"a\n\xff\n", "Line 2 of {} is not UTF-8."),
        ("a.jsonl", b'{"a": 1}\n\xff', "Line 2 of {} is not a JSON object"),
        ("a.jsonl.gz", b"plain", "ends in .gz, but it is not gzip"),
        ("a.parquet", b"plain", "cannot be read as Parquet"),
    ],
)
def test_files_that_cannot_be_read(
    name: str, content: bytes, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CommandError) as raised, RowFile(str(path)).rows() as rows:
        list(rows)
    assert expected.replace("{}", str(path)) in str(raised.value)


def test_parquet_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pyarrow.Table.from_pylist([{"text": f"{n}"} for n in range(1000)])
    pyarrow.parquet.write_table(table, path, compression="none", use_dictionary=False)
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\xff" * 400 + data[404:])
    with (
        pytest.raises(CommandError, match=r"rows\.parquet cannot be read as Parquet: .*\.$"),
        RowFile(str(path)).rows() as rows,
    ):
        list(rows)


def test_parquet_without_its_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path / "rows.parquet", ROWS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert make(path, "--prompt", "{text}") == 1
    assert "pip install 'groq-batch[parquet]'" in capsys.readouterr().err


def test_csv_lines_without_values_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\r\n1,2\r\n\r\n3,4")
    with RowFile(str(path)).rows() as rows:
        assert list(rows) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_csv_values_may_be_long(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.csv", [{"a": "x" * 200_000}])
    with RowFile(str(path)).rows() as rows:
        assert [len(row["a"]) for row in rows] == [200_000]


# -- places that are no files --------------------------------------------------------------------


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    taken: list[bytes] = []
    reader = threading.Thread(target=lambda: taken.append(pipe.read_bytes()))
    reader.start()
    with output(pipe) as stream:
        stream.write(b"one\n")
    reader.join(10)
    assert taken == [b"one\n"]
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
