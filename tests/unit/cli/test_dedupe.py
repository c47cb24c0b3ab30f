"""``make --dedupe`` and ``join --deduped``: equal requests asked once, every row answered."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch_cli.main import run
from groq_batch_client.dedupe import rows_file
from tests.table_files import csv_rows, json_rows, make, requests_of, result, write_rows

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "blue"},
    {"id": "b", "text": "red"},
    {"id": "c", "text": "blue"},
    {"id": "d", "text": "Blue"},
    {"id": "e", "text": "blue"},
]


def answers_to(requests: Path) -> list[bytes]:
    """Answer requests as Groq would; each answer tells whose it is and what was asked."""
    return [
        result(one["custom_id"], f"{one['custom_id']}:{one['body']['messages'][-1]['content']}")
        for one in requests_of(requests.read_bytes())
    ]


def write(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"".join(line.rstrip(b"\n") + b"\n" for line in lines))


def ask(rows: Path, *arguments: str, results: list[bytes] | None = None) -> tuple[Path, Path]:
    """Make requests of rows, each asked once, and answer them."""
    requests = rows.with_name("q.jsonl")
    assert make(rows, "--prompt", "{text}", "--dedupe", "--out", str(requests), *arguments) == 0
    answered = rows.with_name("q.results.jsonl")
    write(answered, answers_to(requests) if results is None else results)
    return requests, answered


def join(rows: Path, results: Path, deduped: Path | None, *arguments: str) -> int:
    given = [] if deduped is None else ["--deduped", str(deduped)]
    return run(["join", str(rows), str(results), *given, *arguments])


@pytest.fixture(params=["r.jsonl", "r.csv", "r.tsv", "r.parquet"])
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_rows(tmp_path / request.param, ROWS)


def test_equal_requests_are_written_once(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requests, _ = ask(rows, "--id", "id")
    assert [one["custom_id"] for one in requests_of(requests.read_bytes())] == ["a", "b", "d"]
    assert [json.loads(line) for line in rows_file(requests).read_bytes().splitlines()[1:-1]] == [
        1,
        2,
        1,
        3,
        1,
    ]
    told = capsys.readouterr().err
    assert "3 requests in" in told
    assert "2 of 5 rows have the answer of another: 40% of the requests are saved." in told
    assert f"--deduped {rows_file(requests)}" in told


@pytest.mark.parametrize("arguments", [(), ("--id", "id")], ids=["numbered", "with ids"])
@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_every_row_has_the_answer_to_its_request(
    rows: Path, arguments: tuple[str, ...], ending: str
) -> None:
    requests, results = ask(rows, *arguments)
    out = rows.with_name(f"joined.{ending}")
    assert join(rows, results, rows_file(requests), *arguments, "--out", str(out)) == 0
    plain = rows.with_name("joined.check.jsonl")
    assert (
        run(["join", str(rows), str(_one_by_one(rows, arguments)), *arguments, "--out", str(plain)])
        == 0
    )
    assert _answers_in(out) == [_first_of(answer) for answer in _answers_in(plain)]


def _one_by_one(rows: Path, arguments: tuple[str, ...]) -> Path:
    requests = rows.with_name("each.jsonl")
    assert make(rows, "--prompt", "{text}", "--out", str(requests), *arguments) == 0
    results = rows.with_name("each.results.jsonl")
    write(results, answers_to(requests))
    return results


def _first_of(answer: str) -> str:
    """Return the answer to the first row with the same text."""
    owner, text = answer.split(":")
    number = next(n for n, row in enumerate(ROWS, start=1) if row["text"] == text)
    return (
        f"row-{number}:{text}" if owner.startswith("row-") else f"{ROWS[number - 1]['id']}:{text}"
    )


def _answers_in(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        import pyarrow.parquet  # noqa: PLC0415 - not for the other formats

        return list(pyarrow.parquet.read_table(path)["answer"].to_pylist())
    if path.suffix == ".jsonl":
        return [row["answer"] for row in json_rows(path)]
    split = [line.split("\t") for line in path.read_text().splitlines()]
    names, *found = csv_rows(path) if path.suffix == ".csv" else split
    return [cells[names.index("answer")] for cells in found]


def test_packed_requests_have_their_file_of_rows_beside_them(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "r.csv", ROWS)
    requests = tmp_path / "q.jsonl.gz"
    assert make(rows, "--prompt", "{text}", "--dedupe", "--out", str(requests)) == 0
    assert (tmp_path / "q.jsonl.gz.rows").read_bytes().startswith(b'{"deduped":1,"id":null}\n')


def test_rows_without_any_value_are_no_rows(tmp_path: Path) -> None:
    rows = tmp_path / "r.csv"
    rows.write_text("id,text\na,blue\n,\nb,blue\n")
    requests, results = ask(rows, "--id", "id")
    out = tmp_path / "joined.jsonl"
    assert join(rows, results, rows_file(requests), "--id", "id", "--out", str(out)) == 0
    assert [row["answer"] for row in json_rows(out)] == ["a:blue", "a:blue"]


def test_an_id_that_comes_twice_with_one_request_is_one_request(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "r.csv", [ROWS[0], ROWS[1], ROWS[0]])
    requests, results = ask(rows, "--id", "id")
    out = tmp_path / "joined.jsonl"
    assert join(rows, results, rows_file(requests), "--id", "id", "--out", str(out)) == 0
    assert [row["answer"] for row in json_rows(out)] == ["a:blue", "b:red", "a:blue"]


def test_an_id_that_comes_twice_with_other_requests_names_both_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "r.csv", [*ROWS[:3], {"id": "b", "text": "green"}])
    arguments = ("--prompt", "{text}", "--id", "id", "--dedupe", "--out", str(tmp_path / "q.jsonl"))
    assert make(rows, *arguments) == 1
    told = capsys.readouterr().err
    assert "Row 4 of" in told
    assert "in row 2" in told
    assert not [*tmp_path.glob("q.jsonl*")]


def test_no_equal_requests_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requests, results = ask(write_rows(tmp_path / "r.csv", ROWS[:2]))
    assert "No two of 2 rows ask the same." in capsys.readouterr().err
    assert join(tmp_path / "r.csv", results, rows_file(requests)) == 0


def test_table_without_rows(tmp_path: Path) -> None:
    rows = tmp_path / "r.csv"
    rows.write_text("id,text\n")
    requests, results = ask(rows)
    assert join(rows, results, rows_file(requests)) == 0


def test_dedupe_to_standard_output_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(write_rows(tmp_path / "r.csv", ROWS), "--prompt", "{text}", "--dedupe") == 2
    assert "give --out" in capsys.readouterr().err


def test_errors_are_given_to_every_row_too(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "r.csv", ROWS)
    failed = b'{"custom_id":"row-1","response":null,"error":{"code":"missing","message":"No."}}\n'
    requests, results = ask(rows, results=[failed, result("row-2", "R"), result("row-4", "B")])
    out = tmp_path / "joined.jsonl"
    assert join(rows, results, rows_file(requests), "--out", str(out)) == 0
    codes = [row["error_code"] for row in json_rows(out)]
    assert codes == ["missing", None, "missing", None, "missing"]


# -- what does not belong together ---------------------------------------------------------------


def _damaged(path: Path) -> Iterator[tuple[str, bytes]]:
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    yield "empty", b""
    yield "not a complete file", b'{"custom_id": "a"}\n'
    yield "cut at a line", b"".join(lines[:-2])
    yield "cut in a line", data[:-10]
    yield "without a row", b"".join([*lines[:2], *lines[3:]])
    yield "more behind", data + b"1\n"
    yield "a number too high", data.replace(b"\n3\n", b"\n7\n")
    yield "binary", bytes(range(256))


def test_damaged_file_of_rows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "r.csv", ROWS)
    requests, results = ask(rows, "--id", "id")
    out = tmp_path / "joined.csv"
    for name, data in _damaged(rows_file(requests)):
        damaged = tmp_path / "damaged.rows"
        damaged.write_bytes(data)
        capsys.readouterr()
        assert join(rows, results, damaged, "--id", "id", "--out", str(out)) == 1, name
        assert "not a complete file" in capsys.readouterr().err, name
        assert not out.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("fewer rows", "ends after 4 rows"),
        ("more rows", "is for 5 rows, but"),
        ("other order", "or their order does"),
        ("other first", "has the id"),
        ("fewer results", "ends after 2 rows"),
        ("more results", "has more rows than the 3 requests"),
        ("no id", "were made with --id"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    change: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "r.csv", ROWS)
    requests, results = ask(rows, "--id", "id")
    arguments = ["--id", "id"]
    changed = {
        "fewer rows": ROWS[:4],
        "more rows": [*ROWS, ROWS[1]],
        "other order": [ROWS[0], ROWS[1], ROWS[4], ROWS[3], ROWS[2]],
        "other first": [ROWS[1], ROWS[0], *ROWS[2:]],
    }.get(change)
    if changed is not None:
        write_rows(rows, changed)
    found = results.read_bytes().splitlines()
    if change == "fewer results":
        write(results, found[:2])
    elif change == "more results":
        write(results, [*found, result("x", "X")])
    elif change == "no id":
        arguments = []
    out = tmp_path / "joined.csv"
    assert join(rows, results, rows_file(requests), *arguments, "--out", str(out)) == 1
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_join_without_the_file_of_rows_says_that_there_may_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "r.csv", ROWS)
    _, results = ask(rows, "--id", "id")
    assert join(rows, results, None, "--id", "id") == 1
    assert "--deduped" in capsys.readouterr().err


def test_missing_file_of_rows_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_rows(tmp_path / "r.csv", ROWS)
    _, results = ask(rows)
    assert join(rows, results, tmp_path / "none.rows") == 2
    assert "none.rows" in capsys.readouterr().err


# -- any rows ------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.text(max_size=2), st.sampled_from(["", "x", '","method":'])), max_size=30)
)
def test_join_gives_what_it_gives_when_every_row_is_asked(texts: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, "r.jsonl")
        table = [{"id": f"{n}{end}", "text": f"{text}{end}"} for n, (text, end) in enumerate(texts)]
        rows.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in table))
        requests, results = ask(rows, "--id", "id")
        asked = requests_of(requests.read_bytes())
        contents = [one["body"]["messages"][0]["content"] for one in asked]
        assert contents == list(dict.fromkeys(row["text"] for row in table))
        out = Path(folder, "joined.jsonl")
        assert join(rows, results, rows_file(requests), "--id", "id", "--out", str(out)) == 0
        firsts = {row["text"]: row["id"] for row in reversed(table)}
        assert [row["answer"] for row in json_rows(out)] == [
            f"{firsts[row['text']]}:{row['text']}" for row in table
        ]
