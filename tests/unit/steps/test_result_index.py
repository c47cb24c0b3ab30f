"""The index of a batch's result files: whose row is where, and which one of two counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from groq_batch.steps.download_results.result_index import ResultIndex


def row(custom_id: str, *, status: int = 200, text: str = "a") -> bytes:
    body = {"choices": [{"message": {"content": text}}], "usage": None}
    response = {"status_code": status, "body": body if status == 200 else {"error": {"code": "x"}}}
    return json.dumps({"custom_id": custom_id, "response": response, "error": None}).encode()


@pytest.fixture
def index() -> Iterator[ResultIndex]:
    """Return an index that is closed at the end."""
    found = ResultIndex()
    yield found
    found.close()


def add(index: ResultIndex, folder: Path, *lines: bytes) -> None:
    file = index.keep((folder / str(len(list(folder.iterdir())))).open("w+b"))
    file.write(b"\n".join(lines))
    index.add(file)


def test_result_index_finds_rows_in_any_file_and_order(index: ResultIndex, tmp_path: Path) -> None:
    add(index, tmp_path, row("b"), row("a"))
    add(index, tmp_path, row("c", status=400))
    assert [index.read(name) for name in "abc"] == [row("a"), row("b"), row("c", status=400)]
    assert index.read("d") is None
    assert (index.rows, index.repeated, index.unreadable) == (3, 0, 0)


@pytest.mark.parametrize("success_comes_first", [True, False])
def test_result_index_of_two_rows_keeps_a_success(
    index: ResultIndex, tmp_path: Path, *, success_comes_first: bool
) -> None:
    good, bad = row("a", text="good"), row("a", status=500)
    add(index, tmp_path, *((good, bad) if success_comes_first else (bad, good)), row("b"))
    assert index.read("a") == good
    assert index.read("b") == row("b")
    assert index.repeated == 1


def test_result_index_of_two_similar_rows_keeps_the_first(
    index: ResultIndex, tmp_path: Path
) -> None:
    add(index, tmp_path, row("a", text="first"), row("b", status=500))
    add(index, tmp_path, row("a", text="second"), row("b", status=429))
    assert index.read("a") == row("a", text="first")
    assert index.read("b") == row("b", status=500)
    assert index.repeated == 2


def test_result_index_counts_lines_that_are_not_rows(index: ResultIndex, tmp_path: Path) -> None:
    add(index, tmp_path, b"", b"  ", b"{", b"[1]", b'{"custom_id": 1}', row("a") + b"\r", b"")
    assert index.read("a") == row("a")
    assert (index.rows, index.unreadable) == (4, 3)


def test_result_index_finds_rows_that_need_a_lenient_reader(
    index: ResultIndex, tmp_path: Path
) -> None:
    not_strict = row("a").replace(b'"usage": null', b'"usage": NaN')
    half_pair = row("x").replace(b'"x"', b'"\\ud800"')
    add(index, tmp_path, b"\xef\xbb\xbf" + not_strict, half_pair)
    assert index.read("a") == not_strict
    assert index.read("\ud800") == half_pair
    assert index.unreadable == 0
