"""``groq-batch join``: answers back beside the rows."""

from __future__ import annotations

import io
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groq_batch.domain.result_row import pipeline_row
from groq_batch_cli.main import run
from groq_batch_client.answers import read_answer
from groq_batch_client.schemas import AnswerSchema
from tests.table_files import (
    ADDED,
    csv_rows,
    json_rows,
    result,
    result_with,
    write_results,
    write_rows,
    write_schema,
)

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "Great, really", "stars": 5},
    {"id": "b", "text": 'He said "ok"', "stars": 3},
    {"id": "c", "text": "ü\u2028{x}", "stars": None},
]
REVIEW: dict[str, Any] = {
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
GOOD = '{"good": true, "score": 0.5, "count": 2, "topics": ["x", "ü"]}'
PROPERTIES = ["answer_good", "answer_score", "answer_count", "answer_topics"]


@pytest.fixture(params=["r.jsonl", "r.ndjson.gz", "r.csv", "r.csv.gz", "r.tsv", "r.parquet"])
def rows_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write the rows in one of the formats."""
    return write_rows(tmp_path / request.param, ROWS)


@pytest.fixture
def results(tmp_path: Path) -> str:
    return write_results(
        tmp_path,
        result("a", GOOD),
        result("b", "no JSON"),
        pipeline_row("c", code="missing", message="No row."),
    )


def join(rows: Path | str, results: str, *arguments: str) -> int:
    return run(["join", str(rows), results, *arguments])


def join_one(folder: Path, answer: bytes, *arguments: str, name: str = "o.parquet") -> Path:
    """Join a table of one row with its result; returns what was written."""
    rows = write_rows(folder / "rows.jsonl", [{"a": 1}])
    out = folder / name
    assert join(rows, write_results(folder, answer), *arguments, "--out", str(out)) == 0
    return out


# -- answers -------------------------------------------------------------------------------------


def message(**fields: Any) -> bytes:
    return result("a", None, message={"role": "assistant", **fields})


CALLS = [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("row", "value", "reason", "code"),
    [
        (result("a", "Hi"), "Hi", "stop", None),
        (result("a", ""), "", "stop", None),
        (b"\xef\xbb\xbf" + result("a", "X").replace(b"X", b"\xff"), "\ufffd", "stop", None),
        (result("a", "X").replace(b"X", b"\\ud83d"), "?", "stop", None),
        (result("a", "X").replace(b"X", b"a\tb"), "a\tb", "stop", None),
        (result("a", "cut", finish_reason="length"), "cut", "length", None),
        (result("a", None), None, "stop", "no_answer"),
        (result("a", "", finish_reason="length"), "", "length", "no_answer"),
        (result("a", "x", message=7), None, "stop", "no_answer"),
        (result_with("a", {"choices": []}), None, None, "no_answer"),
        (result_with("a", {"choices": None}), None, None, "no_answer"),
        (result_with("a", {}), None, None, "no_answer"),
        (message(content=None, refusal="No."), None, "stop", "refused"),
        (message(content=[{"type": "refusal", "refusal": "No."}]), None, "stop", "refused"),
        (message(content=None, tool_calls=CALLS), None, "stop", None),
        (message(content="Let me see", tool_calls=CALLS), "Let me see", "stop", None),
        (message(content="Hi", refusal=""), "Hi", "stop", None),
        (message(content={"a": 1}), '{"a":1}', "stop", None),
        (message(content=7), "7", "stop", None),
        (
            message(content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            "ab",
            "stop",
            None,
        ),
        (pipeline_row("a", code="missing", message="No."), None, None, "missing"),
        (pipeline_row(None, code="invalid_json", message="No."), None, None, "invalid_json"),
        (b'{"custom_id": null}', None, None, "unreadable_row"),
        (b"nonsense", None, None, "unreadable_row"),
        (result_with("a", {"text": "Hello"}), "Hello", None, None),
        (result_with("a", "Hello"), "Hello", None, None),
        (result_with("a", ""), "", None, None),
        (result_with("a", [1, "é"]), '[1,"é"]', None, None),
        (result_with("a", 7), "7", None, None),
        (result_with("a", {"data": [1]}), '{"data":[1]}', None, None),
    ],
)
def test_answer_of_a_row(row: bytes, value: Any, reason: str | None, code: str | None) -> None:
    answer = read_answer(row)
    assert (answer.value, answer.finish_reason, answer.error_code) == (value, reason, code)


def test_refusal_and_calls_are_kept() -> None:
    assert read_answer(message(content=None, refusal="I will not.")).error_message == "I will not."
    assert read_answer(message(content="Let me see", tool_calls=CALLS)).tool_calls == CALLS


@pytest.mark.parametrize("content", [None, "Let me see"])
def test_read_answer_call_in_the_older_form_is_a_tool_call(content: str | None) -> None:
    call = CALLS[0]["function"]
    answer = read_answer(message(content=content, function_call=call))
    assert (answer.value, answer.error_code) == (content, None)
    assert answer.tool_calls == [{"type": "function", "function": call}]


def test_answer_that_nests_deeper_than_any_parser_follows_is_read() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    row = b'{"custom_id":"a","response":{"status_code":200,"body":{"x":%s}}}' % deep
    answer = read_answer(row)
    assert (answer.custom_id, answer.error_code) == ("a", None)
    asked = read_answer(result("a", deep.decode()), AnswerSchema("x", REVIEW))
    assert (asked.value, asked.error_code) == (deep.decode(), "answer_not_json")


@pytest.mark.parametrize("depth", [101, 300, 600, 900, 2000])
def test_answer_that_nests_too_deeply_to_be_validated_is_kept_as_text(depth: int) -> None:
    text = '{"a": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    answer = read_answer(result("a", text), AnswerSchema("x", {}))
    assert (answer.value, answer.error_code) == (text, "answer_not_json")
    assert "it nests more than 100 levels deep" in str(answer.error_message)


def test_answer_may_nest_and_have_many_brackets() -> None:
    text = json.dumps({"deep": json.loads("[" * 98 + "]" * 98), "wide": [[]] * 500, "t": "[" * 500})
    assert read_answer(result("a", text), AnswerSchema("x", {})).error_code is None


def test_message_about_a_long_answer_is_short() -> None:
    answer = read_answer(result("a", f"[{'1,' * 5000}1]"), AnswerSchema("x", REVIEW))
    assert len(str(answer.error_message)) < 400


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        (GOOD, None, None),
        (f"```json\n{GOOD}\n```", None, None),
        (f"```\n{GOOD}```\n", None, None),
        (f"````JSON5\r\n{GOOD}\r\n````", None, None),
        (f"~~~json\n{GOOD}\n~~~", None, None),
        (f"```json {GOOD}```", None, None),
        (f"```\n{GOOD}\n~~~", "answer_not_json", None),
        (f"```json\n{GOOD}\n``` or\n```\n{GOOD}\n```", "answer_not_json", None),
        (f" {GOOD}\n", None, None),
        (f"Here it is:\n```json\n{GOOD}\n```", "answer_not_json", None),
        ('{"x": ', "answer_not_json", None),
        ("", "answer_not_json", None),
        (json.dumps(GOOD), "answer_not_as_schema", None),
        (f"[{GOOD}]", "answer_not_as_schema", None),
        ("null", "answer_not_as_schema", None),
        (GOOD.replace("0.5", '"0.5"'), "answer_not_as_schema", "score: "),
        (GOOD.replace("2,", "4.5,"), "answer_not_as_schema", "count: "),
        (GOOD.replace("2,", "4.0,"), None, None),
        (GOOD.replace('"count": 2, ', ""), "answer_not_as_schema", '"count"'),
        (GOOD.replace('"x"', "1"), "answer_not_as_schema", "topics.0: "),
        (
            GOOD.replace("0.5", "NaN"),
            "answer_not_as_schema",
            "score is a number that JSON cannot represent",
        ),
        (
            GOOD.replace("0.5", "1e999"),
            "answer_not_as_schema",
            "score is a number that JSON cannot represent",
        ),
    ],
)
def test_answer_that_is_to_fit_a_schema(text: str, code: str | None, named: str | None) -> None:
    answer = read_answer(result("a", text), AnswerSchema("x", REVIEW))
    assert answer.error_code == code
    assert named is None or named in str(answer.error_message)
    assert (answer.error_message is None) == (code is None)


def test_answer_that_was_cut_is_said_to_be() -> None:
    cut = read_answer(result("a", '{"x": ', finish_reason="length"), AnswerSchema("x", REVIEW))
    assert cut.error_message == "The answer is not the JSON that was asked for: it was cut short."


# -- formats -------------------------------------------------------------------------------------


def test_answers_stand_beside_rows_of_any_format(
    rows_file: Path, results: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert join(rows_file, results, "--id", "id") == 0
    said = capsys.readouterr()
    joined = [json.loads(one) for one in said.out.split("\n")[:-1]]
    assert [(row["id"], row["text"]) for row in joined] == [(r["id"], r["text"]) for r in ROWS]
    assert [list(row)[-5:] for row in joined] == [ADDED] * 3
    assert [row["answer"] for row in joined][1:] == ["no JSON", None]
    assert [row["error_code"] for row in joined] == [None, None, "missing"]
    assert [row["error_message"] for row in joined] == [None, None, "No row."]
    assert [row["finish_reason"] for row in joined] == ["stop", "stop", None]
    assert said.err == "3 rows, 1 without an answer\n"


def test_answer_with_a_schema_is_data(tmp_path: Path, results: str) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    out = tmp_path / "out.jsonl"
    schema = write_schema(tmp_path, REVIEW)
    assert join(rows, results, "--id", "id", "--schema", schema, "--out", str(out)) == 0
    joined = json_rows(out)
    assert [row["answer"] for row in joined] == [json.loads(GOOD), "no JSON", None]
    assert [row["error_code"] for row in joined] == [None, "answer_not_json", "missing"]


def test_csv_has_a_column_for_each_property(rows_file: Path, results: str, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    schema = write_schema(tmp_path, REVIEW)
    assert join(rows_file, results, "--id", "id", "--schema", schema, "--out", str(out)) == 0
    found = csv_rows(out)
    why = found[2][-1]
    assert found == [
        ["id", "text", "stars", *PROPERTIES, *ADDED],
        ["a", "Great, really", "5", "true", "0.5", "2", '["x","ü"]', "", "", "stop", "", ""],
        ["b", 'He said "ok"', "3", "", "", "", "", "no JSON", "", "stop", "answer_not_json", why],
        ["c", "ü\u2028{x}", *[""] * 8, "missing", "No row."],
    ]


def test_tsv_has_literal_quotes_and_escaped_line_ends(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.tsv", [{"q": '"a'}, {"q": 'b"'}, {"q": 'say "c"'}])
    found = [result(f"row-{n}", 'one\ttwo\r\n"three"') for n in range(1, 4)]
    out = tmp_path / "out.tsv"
    assert join(rows, write_results(tmp_path, *found), "--out", str(out)) == 0
    assert out.read_text().split("\n") == [
        "\t".join(["q", *ADDED]),
        *(f'{one}\tone\\ttwo\\r\\n"three"\t\tstop\t\t' for one in ('"a', 'b"', 'say "c"')),
        "",
    ]


def test_parquet_has_a_typed_column_for_each_property(
    rows_file: Path, results: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    schema = write_schema(tmp_path, REVIEW)
    assert join(rows_file, results, "--id", "id", "--schema", schema, "--out", str(out)) == 0
    table = pyarrow.parquet.read_table(out)
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "string",
        "text": "string",
        "stars": "string" if ".csv" in rows_file.name or ".tsv" in rows_file.name else "int64",
        "answer_good": "bool",
        "answer_score": "double",
        "answer_count": "int64",
        "answer_topics": "string",
        **dict.fromkeys(ADDED, "string"),
    }
    first, second, third = table.to_pylist()
    assert [first[one] for one in PROPERTIES] == [True, 0.5, 2, '["x","ü"]']
    assert (second["answer_good"], second["answer"]) == (None, "no JSON")
    assert (third["error_code"], third["answer"]) == ("missing", None)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_property_that_the_schema_allows_and_does_not_name_is_kept_in_the_text(
    ending: str, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": 1}, {"a": 2}])
    texts = ['{"label": "x", "why": "short"}', '{"label": "y"}']
    found = [result(f"row-{n}", text) for n, text in enumerate(texts, 1)]
    schema = write_schema(tmp_path, {"type": "object", "properties": {"label": {}}})
    out = tmp_path / f"out.{ending}"
    assert join(rows, write_results(tmp_path, *found), "--schema", schema, "--out", str(out)) == 0
    if ending == "csv":
        header, *lines = csv_rows(out)
        joined = [dict(zip(header, line, strict=True)) for line in lines]
    else:
        joined = pyarrow.parquet.read_table(out).to_pylist()
    assert [row["answer_label"] for row in joined] == ["x", "y"]
    assert [row["answer"] or None for row in joined] == [texts[0], None]
    assert [row["error_code"] or None for row in joined] == [None, None]


def test_values_that_do_not_fit_the_schema_are_kept_as_text(tmp_path: Path) -> None:
    texts = [
        '{"good": "yes", "score": true, "count": 1.5, "topics": {"a": 1}}',
        '{"good": false, "score": 3, "count": 1e30, "topics": ["x"]}',
        "[1]",
        '{"good": true, "score": Infinity, "count": 1, "topics": []}',
    ]
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": n} for n in range(len(texts))])
    found = [result(f"row-{n}", text) for n, text in enumerate(texts, 1)]
    schema = write_schema(tmp_path, REVIEW)
    out = tmp_path / "out.parquet"
    assert join(rows, write_results(tmp_path, *found), "--schema", schema, "--out", str(out)) == 0
    joined = pyarrow.parquet.read_table(out).to_pylist()
    assert [[row[one] for one in PROPERTIES] for row in joined] == [
        [None, None, None, '{"a":1}'],
        [False, 3.0, None, '["x"]'],
        [None] * 4,
        [True, None, 1, "[]"],
    ]
    assert [row["answer"] for row in joined] == texts
    assert {row["error_code"] for row in joined} == {"answer_not_as_schema"}
    assert (
        "count is too large a number for a column of its kind (integer)"
        in joined[1]["error_message"]
    )
    numbers = [one for row in joined for one in row.values() if isinstance(one, float)]
    assert all(map(math.isfinite, numbers))
    as_json = tmp_path / "out.jsonl"
    arguments = ["--schema", schema, "--out", str(as_json)]
    assert join(rows, str(tmp_path / "requests.results.jsonl"), *arguments) == 0
    assert json_rows(as_json)[3]["answer"] == {
        "good": True,
        "score": None,
        "count": 1,
        "topics": [],
    }


@pytest.mark.parametrize(
    ("kind", "number", "expected", "code"),
    [
        ("integer", "9223372036854775807", 9223372036854775807, None),
        ("integer", "9223372036854775808", None, "answer_not_as_schema"),
        ("integer", "-1e19", None, "answer_not_as_schema"),
        ("integer", "4.0", 4, None),
        ("number", f"1{'0' * 400}", None, "answer_not_as_schema"),
    ],
    ids=["largest", "too large", "too small", "without a fraction", "beyond all columns"],
)
def test_number_is_in_its_column_or_its_text_is_kept(
    kind: str, number: str, expected: int | None, code: str | None, tmp_path: Path
) -> None:
    schema = write_schema(tmp_path, {"properties": {"n": {"type": kind}}})
    text = f'{{"n": {number}}}'
    out = join_one(tmp_path, result("row-1", text), "--schema", schema)
    (row,) = pyarrow.parquet.read_table(out).to_pylist()
    assert (row["answer_n"], row["error_code"]) == (expected, code)
    assert row["answer"] == (None if code is None else text)


def test_calls_of_tools_have_a_column_of_their_own(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": 1}, {"a": 2}])
    both = message(content="Let me see", tool_calls=CALLS).replace(b'"a"', b'"row-1"', 1)
    found = write_results(tmp_path, both, result("row-2", "Hi"))
    assert join(rows, found, "--out", str(tmp_path / "o.jsonl")) == 0
    assert [row["tool_calls"] for row in json_rows(tmp_path / "o.jsonl")] == [CALLS, None]
    for name in ("o.csv", "o.parquet"):
        assert join(rows, found, "--out", str(tmp_path / name)) == 0
    assert json.loads(csv_rows(tmp_path / "o.csv")[1][2]) == CALLS
    calls = pyarrow.parquet.read_table(tmp_path / "o.parquet").column("tool_calls").to_pylist()
    assert json.loads(calls[0]) == CALLS
    assert calls[1] is None


def test_property_named_as_another_column_stays_its_own(tmp_path: Path) -> None:
    schema = write_schema(tmp_path, {"properties": {"answer": {"type": "string"}}})
    row = result("row-1", '{"answer": "x"}')
    out = join_one(tmp_path, row, "--schema", schema, name="o.csv")
    assert csv_rows(out) == [
        ["a", "answer_answer", *ADDED],
        ["1", "x", "", "", "stop", "", ""],
    ]


def test_csv_cell_with_a_carriage_return_is_quoted(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.csv", [{"a": "one\rtwo"}])
    out = tmp_path / "o.csv"
    assert join(rows, write_results(tmp_path, result("row-1", "x\ry")), "--out", str(out)) == 0
    assert csv_rows(out)[1][:2] == ["one\rtwo", "x\ry"]
    assert b'"one\rtwo","x\ry"' in out.read_bytes()


@pytest.mark.parametrize(
    "row",
    [
        result("row-1", "X"),
        message(content=None, tool_calls=[{"id": "X", "nested": [[1]] * 9}]).replace(
            b'"a"', b'"row-1"', 1
        ),
    ],
    ids=["text", "tool call"],
)
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.tsv", "out.parquet"])
def test_answer_with_half_of_an_emoji_can_be_written(name: str, row: bytes, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": 1}])
    found = write_results(tmp_path, row.replace(b"X", b"Hi \\ud83d"))
    assert join(rows, found, "--out", str(tmp_path / name)) == 0
    assert b"Hi ?" in (tmp_path / name).read_bytes()


# -- JSON rows in other formats ------------------------------------------------------------------


def parquet_column(tmp_path: Path, values: list[str]) -> Any:
    """Join rows with these JSON values, "" for none, and return their column from Parquet."""
    rows = tmp_path / "rows.jsonl"
    lines = ["{}" if one == "" else f'{{"v": {one}}}' for one in values]
    rows.write_text("\n".join(lines) + "\n")
    found = [result(f"row-{n}", "Hi") for n in range(1, len(values) + 1)]
    out = tmp_path / "o.parquet"
    assert join(rows, write_results(tmp_path, *found), "--out", str(out)) == 0
    return pyarrow.parquet.read_table(out).column("v")


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["null", "", "1", "1.5", "2"], "double", [None, None, 1.0, 1.5, 2.0]),
        (["null", "null"], "string", [None, None]),
        (["1", '"x"', "null"], "string", ["1", "x", None]),
        (["{}", "null"], "string", ["{}", None]),
        (['{"a": {}}'], "string", ['{"a": {}}']),
        (["[]", "[]"], "string", ["[]", "[]"]),
        (['{"a": []}', '{"a": null}'], "string", ['{"a": []}', '{"a": null}']),
        (["18446744073709551615", "1"], "string", ["18446744073709551615", "1"]),
        (["18446744073709551616"], "string", ["18446744073709551616"]),
        (["9007199254740993", "0.5"], "string", ["9007199254740993", "0.5"]),
        (["1e400"], "string", ["1e400"]),
        (["true", "false"], "bool", [True, False]),
        (["0.5", "true", "1"], "string", ["0.5", "true", "1"]),
        (["[0.5, true]"], "string", ["[0.5, true]"]),
        (
            ['{"a": [0.5]}', '{"a": [true, null]}'],
            "string",
            ['{"a": [0.5]}', '{"a": [true, null]}'],
        ),
        (['{"a": 0.5, "b": true}'], None, [{"a": 0.5, "b": True}]),
        (["[1]", "[null, 2]"], "list<element: int64>", [[1], [None, 2]]),
        (['{"a": 1}', '{"b": "x"}'], None, [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
        (["[[1], [1, 2]]"], None, [[[1], [1, 2]]]),
        (["[1, [2]]"], "string", ["[1, [2]]"]),
        *(
            ([text], "string", [text])
            for text in ("[" * depth + "1" + "]" * depth for depth in (40, 300, 700))
        ),
    ],
)
def test_json_values_get_a_type_that_holds_them_all_or_stay_json(
    values: list[str], kind: str | None, expected: list[Any], tmp_path: Path
) -> None:
    column = parquet_column(tmp_path, values)
    assert kind is None or str(column.type) == kind
    assert column.to_pylist() == expected


@pytest.mark.parametrize("late", ["1.5", '"x"', "{}", "18446744073709551615", "-1", "[]"])
def test_type_is_that_of_all_rows_wherever_they_stand(late: str, tmp_path: Path) -> None:
    values = ["1"] * 2048 + [late]
    column = parquet_column(tmp_path, values)
    last = column.to_pylist()[-1]
    assert last == (last if isinstance(last, str) and last == late.strip('"') else json.loads(late))


def test_columns_of_jsonl_rows_are_those_of_all_rows(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": 1}, {"b": {"c": 2}}])
    found = write_results(tmp_path, result("row-1", "x"), result("row-2", "y"))
    out = tmp_path / "out.csv"
    assert join(rows, found, "--out", str(out)) == 0
    assert csv_rows(out) == [
        ["a", "b", *ADDED],
        ["1", "", "x", "", "stop", "", ""],
        ["", '{"c": 2}', "y", "", "stop", "", ""],
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ['{"n": 1.10, "big": 123456789012345678901234,  "e": 1e400}', '{"a":"\\u00fc"}'],
        ["{}", "{ }"],
        ["{" + " " * 20 + "}"],
        ['{"":1}', "{\t}", '{ "a" : {} }'],
    ],
)
def test_json_rows_keep_their_bytes(lines: list[str], tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes("\r\n".join(lines).encode())
    found = [result(f"row-{n}", "Hi") for n in range(1, len(lines) + 1)]
    out = tmp_path / "out.jsonl"
    assert join(rows, write_results(tmp_path, *found), "--out", str(out)) == 0
    for line, written in zip(lines, out.read_text().splitlines(), strict=True):
        assert written.startswith(line[:-1])
        assert json.loads(written)["answer"] == "Hi"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["a", "b", "ü", "", "a.b", 'q"', "\u2028"])


@settings(deadline=None, max_examples=80)
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=4), min_size=1, max_size=4), st.booleans())
def test_any_json_rows_survive_in_every_format(
    rows: list[dict[str, Any]], ascii_only: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "rows.jsonl"
        lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
        path.write_bytes("\n".join(lines).encode())
        found = write_results(folder, *[result(f"row-{n}", "Hi") for n in range(1, len(rows) + 1)])
        for ending in ("jsonl", "csv", "parquet"):
            assert join(path, found, "--out", str(folder / f"o.{ending}")) == 0
        joined = json_rows(folder / "o.jsonl")
        assert [{k: v for k, v in row.items() if k not in ADDED} for row in joined] == rows
        header, *cells = csv_rows(folder / "o.csv")
        table = pyarrow.parquet.read_table(folder / "o.parquet")
        assert table.column_names == header
        assert len(cells) == len(rows)
        for place, row in enumerate(rows):
            for column, key in enumerate(header[: -len(ADDED)]):
                value = row.get(key)
                text = cells[place][column]
                stored = table.column(column)[place].as_py()
                if value is None:
                    assert (text, stored) == ("", None)
                elif isinstance(value, str):
                    assert (text, stored) == (value, value)
                else:
                    assert json.loads(text) == value
                    assert same(json.loads(stored) if isinstance(stored, str) else stored, value)


def same(stored: Any, value: Any) -> bool:
    """Tell whether a value is stored; a key that other rows have is null."""
    if isinstance(value, dict) and isinstance(stored, dict):
        return all(same(stored[key], value.get(key)) for key in {*stored, *value})
    if isinstance(value, list) and isinstance(stored, list):
        return len(stored) == len(value) and all(map(same, stored, value))
    return bool(stored == value)


# -- what cannot be joined -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        '{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {}}',
        '{"line": 1, "custom_id": "a", "code": "invalid_url", "message": "x"}',
    ],
    ids=["requests", "problems"],
)
def test_file_that_holds_no_results_is_refused(
    row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS[:1])
    other = tmp_path / "requests.jsonl"
    other.write_text(row + "\n")
    out = tmp_path / "out.jsonl"
    assert join(rows, str(other), "--id", "id", "--out", str(out)) == 1
    assert f"{other} holds no results" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["a", "c", "b"], "Row 2 of {rows} has the id 'b', but row 2 of {results} is of 'c'."),
        (["a", "b\u00a0", "c"], "has the id 'b', but row 2 of {results} is of 'b\\xa0'."),
        (["a", "b"], "{results} ends after 2 rows, but {rows} has more."),
        (["a", "b", "c", "d"], "{rows} ends after 3 rows, but {results} has more."),
        (["a"], "{results} ends after 1 row, but {rows} has more."),
        ([], "{results} ends after 0 rows, but {rows} has more."),
    ],
)
def test_results_of_other_rows_are_refused(
    found: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    results = write_results(tmp_path, *[result(one, "x") for one in found])
    out = tmp_path / "out.jsonl"
    assert join(rows, results, "--id", "id", "--out", str(out)) == 1
    said = expected.replace("{rows}", str(rows)).replace("{results}", results)
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_row_without_an_owner_is_that_of_no_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": 1}])
    assert join(rows, write_results(tmp_path, b"nonsense")) == 1
    assert (
        "is of no custom_id. It is not a JSON object, as in a file that" in capsys.readouterr().err
    )


@pytest.mark.parametrize("out", ["rows.csv", "schema.json", "requests.results.jsonl"])
def test_join_never_replaces_what_it_reads(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(Path("rows.csv"), [{"a": "1"}])
    write_schema(Path(), {})
    write_results(Path(), result("row-1", "{}"))
    before = Path(out).read_bytes()
    arguments = ["--schema", "schema.json", "--out", str(tmp_path / out)]
    assert join("rows.csv", "requests.results.jsonl", *arguments) == 2
    assert f"would overwrite the input file {out}." in capsys.readouterr().err
    assert Path(out).read_bytes() == before


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.tsv", "out.parquet"])
def test_no_column_is_lost(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"answer": 42}])
    results = write_results(tmp_path, result("row-1", "x"))
    out = tmp_path / name
    assert join(rows, results, "--out", str(out)) == 1
    assert "The rows already have a column 'answer'." in capsys.readouterr().err
    assert not out.exists()
    assert join(rows, results, "--prefix", "groq_", "--out", str(out)) == 0


def test_standard_input_can_be_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stdin:
        buffer = io.BytesIO(b"{}")

    monkeypatch.setattr(sys, "stdin", Stdin)
    results = write_results(tmp_path, result("row-1", "x"))
    assert join("-", "-") == 2
    assert join("-", results, "--out", str(tmp_path / "o.csv")) == 2
    assert "requires reading the rows twice" in capsys.readouterr().err
    assert join("-", results) == 0


def test_half_written_file_is_never_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.csv", [{"a": f"{n}"} for n in range(5000)])
    found = [result(f"row-{n}", "x" * 100) for n in range(1, 5000)]
    results = write_results(tmp_path, *found)
    for name in ("o.csv", "o.tsv.gz", "o.parquet", "o.jsonl.zst"):
        assert join(rows, results, "--out", str(tmp_path / name)) == 1
        assert "ends after 4,999 rows" in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["requests.results.jsonl", "rows.csv"]
