"""The results of retries in the place of what had failed, and the names of retries."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.input_key import check_key
from groq_batch.domain.result_row import pipeline_row
from groq_batch_cli.main import run
from groq_batch_client.errors import JobError
from groq_batch_client.merge import NamedRows, merge
from groq_batch_client.retries import parent_path, retry_path


def good(custom_id: str, text: str = "Hi") -> bytes:
    body = {"choices": [{"message": {"content": text}}]}
    row = {"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}
    return json.dumps(row).encode()


def bad(custom_id: str | None, code: str = "missing") -> bytes:
    return pipeline_row(custom_id, code=code, message="No.").rstrip(b"\n")


def refused(custom_id: str) -> bytes:
    row = {"custom_id": custom_id, "response": {"status_code": 400, "body": {}}, "error": None}
    return json.dumps(row).encode()


def merged(*layers: list[bytes]) -> tuple[list[bytes], str]:
    original, *others = [NamedRows(f"file {n}", rows) for n, rows in enumerate(layers, 1)]
    rows, counts = merge(original, others)
    found = list(rows)
    return found, counts.text


@pytest.mark.parametrize(
    ("path", "number", "expected"),
    [
        ("recurring/evals/T.jsonl", 1, "retries/recurring/evals/T.retry.jsonl"),
        ("superseded/x-1/team/x.jsonl.gz", 2, "retries/superseded/x-1/team/x.retry-2.jsonl.gz"),
        (
            "retries/recurring/evals/T.retry.jsonl",
            1,
            "retries/recurring/evals/T.retry.retry.jsonl",
        ),
        ("retries/mine.jsonl", 1, "retries/mine.retry.jsonl"),
    ],
)
def test_retry_path_of_a_job_whose_folder_takes_no_uploads(
    path: str, number: int, expected: str
) -> None:
    assert retry_path(path, number) == expected
    assert parent_path(expected) == path
    assert check_key(f"input/{expected}") is None


def test_failed_rows_are_replaced_in_order() -> None:
    rows, text = merged(
        [good("a"), bad("b"), good("c"), refused("d"), bad(None, "invalid_json"), good("e")],
        [good("b", "new"), bad("d", "still"), bad(None, "invalid_json")],
    )
    assert rows == [
        good("a"),
        good("b", "new"),
        good("c"),
        bad("d", "still"),
        bad(None, "invalid_json"),
        good("e"),
    ]
    assert text == "6 rows, 1 new answers, 2 still without a success"


def test_retry_of_a_retry() -> None:
    rows, text = merged([bad("a"), bad("b"), good("c")], [good("a"), bad("b")], [good("b")])
    assert rows == [good("a"), good("b"), good("c")]
    assert text == "3 rows, 2 new answers"


@pytest.mark.parametrize(
    ("retried", "expected"),
    [
        ([good("b")], "Row 1 of file 1, without a success, is of a, but row 1 of file 2 is of b."),
        ([bad(None)], "is of a, but row 1 of file 2 is of no custom_id."),
        ([], "file 2 has fewer rows than file 1 has failures: row 1 of file 1 (a) has none."),
        (
            [good("a"), good("z")],
            "file 2 has more rows than file 1 has failures: row 2 (z) is left",
        ),
        ([b"nonsense"], "is of a, but row 1 of file 2 is of no custom_id."),
    ],
)
def test_results_that_do_not_belong_together(retried: list[bytes], expected: str) -> None:
    with pytest.raises(JobError) as raised:
        merged([bad("a"), good("c")], retried)
    assert expected in str(raised.value)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=50))
def test_every_row_stays_in_its_place(fates: list[tuple[bool, bool]]) -> None:
    first = [good(f"{n}") if once else bad(f"{n}") for n, (once, _) in enumerate(fates)]
    second = [
        good(f"{n}") if again else bad(f"{n}", "again")
        for n, (once, again) in enumerate(fates)
        if not once
    ]
    rows, _ = merged(first, second)
    assert [json.loads(row)["custom_id"] for row in rows] == [f"{n}" for n in range(len(fates))]
    assert sum(b"200" in row for row in rows) == sum(once or again for once, again in fates)


def test_merge_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, retried = tmp_path / "a.results.jsonl.gz", tmp_path / "a.retry.results.jsonl"
    results.write_bytes(gzip.compress(b"\n".join([good("a"), bad("b"), b""])))
    retried.write_bytes(good("b") + b"\n")
    out = tmp_path / "merged.jsonl"
    assert run(["merge", str(results), str(retried), "--out", str(out)]) == 0
    assert out.read_bytes() == good("a") + b"\n" + good("b") + b"\n"
    assert capsys.readouterr().err == "2 rows, 1 new answers\n"


def test_merge_says_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, retried = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    results.write_bytes(bad("b") + b"\n")
    retried.write_bytes(bad("b") + b"\n")
    assert run(["merge", str(results), str(retried)]) == 1
    said = capsys.readouterr()
    assert said.out == bad("b").decode() + "\n"
    assert "1 still without a success" in said.err


def test_failed_merge_leaves_no_file(tmp_path: Path) -> None:
    results = tmp_path / "a.jsonl"
    results.write_bytes(bad("b") + b"\n")
    other = tmp_path / "b.jsonl"
    other.write_bytes(b"")
    out = tmp_path / "out.jsonl"
    out.write_bytes(b"before")
    assert run(["merge", str(results), str(other), "--out", str(out)]) == 1
    assert out.read_bytes() == b"before"
    assert sorted(tmp_path.iterdir()) == [results, other, out]


def test_merge_never_replaces_what_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_bytes(bad("b") + b"\n")
    Path("b.jsonl").write_bytes(good("b") + b"\n")
    Path("link.jsonl").symlink_to("a.jsonl")
    Path("hard.jsonl").hardlink_to("b.jsonl")
    for out in ("a.jsonl", "b.jsonl", str(tmp_path / "a.jsonl"), "link.jsonl", "hard.jsonl"):
        assert run(["merge", "a.jsonl", "b.jsonl", "--out", out]) == 2
        read = "b.jsonl" if out in ("b.jsonl", "hard.jsonl") else "a.jsonl"
        assert f"--out {out} would overwrite the input file {read}." in (capsys.readouterr().err)
    assert run(["merge", "link.jsonl", "b.jsonl", "--out", "a.jsonl"]) == 2
    assert Path("a.jsonl").read_bytes() == bad("b") + b"\n"
    assert Path("b.jsonl").read_bytes() == good("b") + b"\n"
    assert run(["merge", "a.jsonl", "b.jsonl", "--out", "c.jsonl"]) == 0
    assert run(["merge", "a.jsonl", "b.jsonl", "--out", "c.jsonl"]) == 0, "the same once more"


@pytest.mark.parametrize(
    ("path", "first", "second"),
    [
        ("team/x.jsonl", "team/x.retry.jsonl", "team/x.retry-2.jsonl"),
        ("x.jsonl.gz", "x.retry.jsonl.gz", "x.retry-2.jsonl.gz"),
        ("x.retry-2.jsonl", "x.retry-2.retry.jsonl", "x.retry-2.retry-2.jsonl"),
    ],
)
def test_names_of_retries(path: str, first: str, second: str) -> None:
    assert retry_path(path, 1) == first
    assert retry_path(path, 2) == second
    assert parent_path(first) == parent_path(second) == path


@pytest.mark.parametrize("path", ["x.jsonl", "retry.jsonl", ".retry.jsonl", "x.retry-a.jsonl"])
def test_other_names_are_no_retries(path: str) -> None:
    assert parent_path(path) is None
