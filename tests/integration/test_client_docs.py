"""The examples in the docstrings of the client are run, and give what they say."""

from __future__ import annotations

import doctest
import inspect
import json
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.parquet
import pytest

from groq_batch_client import GroqBatch, Job
from tests import documents
from tests.integration.cli_world import bad_row
from tests.integration.client_world import ClientWorld, request_dicts, row
from tests.integration.test_client import world

__all__ = ["world"]

ITEMS = [
    (f"{kind.__name__}.{name}" if name else kind.__name__, inspect.getdoc(member) or "")
    for kind in (GroqBatch, Job)
    for name, member in [("", kind), *inspect.getmembers(kind)]
    if not name.startswith("_")
]


@pytest.mark.parametrize(("name", "text"), ITEMS, ids=[name for name, _ in ITEMS])
def test_every_public_docstring_has_an_example_that_runs(
    name: str, text: str, world: ClientWorld
) -> None:
    batch = GroqBatch()
    requests = list(request_dicts("Hello", "Bye"))
    Path("requests.jsonl").write_text("".join(json.dumps(one) + "\n" for one in requests))
    names: dict[str, Any] = {
        "GroqBatch": GroqBatch,
        "batch": batch,
        "frame": pandas.DataFrame({"text": ["Great!"]}),
        "pandas": pandas,
        "pyarrow": pyarrow,
        "requests": requests,
    }
    if name.startswith("Job."):
        names["job"] = batch.submit(requests, to="team/greetings.jsonl")
    if name == "GroqBatch.job":
        batch.submit("requests.jsonl", to="team/")
    test = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    assert test.examples
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def python_blocks(page: str) -> list[documents.Block]:
    """Return the blocks of Python of a guide."""
    file = documents.PROJECT / "docs" / "how-to" / page
    return [block for block in documents.blocks(file) if block.language == "python"]


def run_block(block: documents.Block, names: dict[str, Any]) -> None:
    """Run a block where it stands, with what the blocks before have left."""
    exec(compile(block.text, block.place, "exec"), names)


def test_the_guide_for_python_runs_as_it_is_printed(
    world: ClientWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("reviews.csv").write_text('review_id,text\n001,"Great, really!"\n2,\n')
    lines = [json.dumps(one) + "\n" for one in request_dicts("Hello", "Bye")]
    Path("requests.jsonl").write_text("".join(lines))
    names: dict[str, Any] = {}
    rows, submit, later = python_blocks("use-from-python.md")
    run_block(rows, names)
    answered = pandas.read_parquet("answered.parquet")
    assert answered["review_id"].tolist() == ["001", "2"]
    assert answered["answer"][0] == "Answer to Is this review positive? Great, really!"
    run_block(rows, names)
    assert len(world.uploads) == 1
    world.answer = lambda one: "Yes" if one["custom_id"] == "a" else None
    run_block(submit, names)
    world.answer = lambda _: "Now"
    run_block(later, names)
    assert names["texts"] == {"a": "Yes", "b": None}
    assert list(names["job"].answers()) == [("b", "Now")]
    assert capsys.readouterr().out.splitlines() == [
        "team/requests.jsonl",
        "team/requests.retry.jsonl leaves out 0",
    ]
    world.is_running = True
    names["batch"].submit("requests.jsonl", to="team/", again=True)
    world.reject("team/requests.jsonl")
    with pytest.raises(SystemExit, match=r"was rejected.*invalid/ folder"):
        run_block(later, names)


def test_the_guide_for_results_loses_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = {"status_code": 400, "body": {"error": {"message": "No."}}}
    rows = [
        json.loads(row("001", "yes\u2028no")),
        {"id": "r", "custom_id": "9007199254740993", "response": refused, "error": None},
        json.loads(bad_row("x")),
    ]
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in rows]
    Path("requests.results.jsonl").write_text("".join(lines), encoding="utf-8")
    texts = {"id": ["001", ""], "answer": ["NA", "1e5"]}
    pandas.DataFrame(texts).to_csv("answered.csv", index=False)
    typed = pyarrow.table({"id": ["001", None], "n": [2**60 + 1, None]})
    pyarrow.parquet.write_table(typed, "answered.parquet")
    *readers, csv, parquet = python_blocks("read-results.md")
    assert len(readers) == 3
    for block in readers:
        names: dict[str, Any] = {}
        run_block(block, names)
        found = pyarrow.table(names["answers"]).to_pylist()
        assert [one["custom_id"] for one in found] == ["001", "9007199254740993", "x"]
        assert [one["status"] for one in found] == [200, 400, None]
        assert [one["answer"] for one in found] == ["yes\u2028no", None, None]
    for block, expected in ((csv, texts), (parquet, typed.to_pydict())):
        names = {}
        run_block(block, names)
        assert pyarrow.table(names["with_pandas"]).to_pydict() == expected
        assert pyarrow.table(names["with_polars"]).to_pydict() == expected
        assert pyarrow.table(names["with_duckdb"]).to_pydict() == expected
