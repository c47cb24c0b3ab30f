"""Frames and options of the Python client, without a bucket."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb
import pandas
import polars
import pyarrow
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.job_options import _OPTIONS
from groq_batch_client import options
from groq_batch_client.errors import TableError, WrongArgumentError
from groq_batch_client.frames import FrameTable, frame_of, is_frame
from groq_batch_client.options import METADATA_NAMES, options_as_metadata, plain_amount
from groq_batch_client.submissions import schema_of

PROJECT = Path(__file__).parents[3]

VALUES: dict[str, tuple[Any, str]] = {
    "text": ("ü", "ü"),
    "integer": (2**60 + 1, "1152921504606846977"),
    "number": (0.1, "0.1"),
    "flag": (True, "true"),
    "date": (datetime.date(2026, 3, 1), "2026-03-01"),
    "time": (
        datetime.datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=datetime.UTC),
        "2026-03-01T12:00:00.000005Z",
    ),
    "amount": (Decimal("1.50"), "1.50"),
    "list": ([1, None], "[1,null]"),
    "object": ({"a": "b"}, '{"a":"b"}'),
    "nothing": (None, ""),
}


def texts(frame: Any, name: str) -> list[str]:
    with FrameTable(frame).open([name]) as table:
        return [text for batch in table.batches for text in batch.texts(name)]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("kind", [polars.DataFrame, pandas.DataFrame, pyarrow.table])
def test_column_of_a_frame_has_the_texts_of_its_own_type(kind: Any, name: str) -> None:
    value, expected = VALUES[name]
    assert texts(kind({"x": [value], name: [value]}), name) == [expected]


def test_column_of_a_reader_and_of_a_batch_is_read_once_and_kept() -> None:
    batch = pyarrow.record_batch({"a": ["x", "y"]})
    reader = pyarrow.RecordBatchReader.from_batches(batch.schema, [batch, batch])
    for source, expected in ((batch, ["x", "y"]), (reader, ["x", "y"] * 2)):
        table = FrameTable(source)
        assert texts(table.frame, "a") == texts(table.frame, "a") == expected


def test_relation_of_duckdb_is_a_frame_that_comes_back_as_an_arrow_table() -> None:
    table = FrameTable(duckdb.sql("SELECT 'x' AS a, DATE '2026-03-01' AS b"))
    assert texts(table.frame, "b") == ["2026-03-01"]
    found = table.with_columns({"answer": pyarrow.chunked_array([["y"]])})
    assert found.column_names == ["a", "b", "answer"]


def test_categories_and_dictionaries_have_the_texts_of_their_values() -> None:
    assert texts(pandas.DataFrame({"a": pandas.Categorical(["x", None, "x"])}), "a") == [
        *("x", "", "x")
    ]
    series = polars.Series("a", ["x", None], dtype=polars.Categorical)
    assert texts(polars.DataFrame([series]), "a") == ["x", ""]


def test_dicts_and_lists_of_pandas_keep_their_own_keys_and_numbers() -> None:
    rows = [{"b": 1}, {"a": [1.5, "x", None]}, None, {"b": 2**63, "c": {}}]
    expected = ['{"b":1}', '{"a":[1.5,"x",null]}', "", '{"b":9223372036854775808,"c":{}}']
    assert texts(pandas.DataFrame({"a": rows}), "a") == expected
    assert texts(pandas.DataFrame({"a": [[1], [0.5, "x"]]}), "a") == ["[1]", '[0.5,"x"]']
    # Other values than those of JSON have the texts of their Arrow type.
    day = datetime.date(2026, 3, 1)
    assert texts(pandas.DataFrame({"a": [{"d": day}]}), "a") == ['{"d":"2026-03-01"}']
    assert texts(pandas.DataFrame({"a": [[Decimal("1.50")]]}), "a") == ["[1.50]"]


def test_period_of_pandas_has_its_name_and_not_the_number_that_stores_it() -> None:
    months = pandas.Series(pandas.PeriodIndex(["2026-03", None, "1969-12"], freq="M"))
    assert texts(pandas.DataFrame({"a": months}), "a") == ["2026-03", "", "1969-12"]


@pytest.mark.parametrize(
    ("frame", "column"),
    [
        (pandas.DataFrame({"a": ["x", 1, {}]}), "a"),
        (pandas.DataFrame({"a": [object()]}), "a"),
        (polars.DataFrame({"a": [object()]}), "a"),
        (polars.DataFrame({"a": ["x"]}), "b"),
    ],
)
def test_column_that_cannot_be_read_is_named(frame: Any, column: str) -> None:
    with pytest.raises(TableError, match=f"'{column}'"):
        texts(frame, column)


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(TableError, match="two columns named 'a'"):
        FrameTable(pandas.DataFrame([["x", "y"]], columns=["a", "a"]))


def test_what_is_a_frame() -> None:
    frames = [pandas.DataFrame(), polars.DataFrame(), pyarrow.table({}), polars.LazyFrame()]
    assert all(is_frame(one) for one in frames)
    assert not any(is_frame(one) for one in ("x", [], {}, iter(()), pandas, b"x"))
    with pytest.raises(WrongArgumentError, match=r"\.collect\(\)"):
        FrameTable(polars.LazyFrame())


class OwnFrame(pandas.DataFrame):
    """A frame of a library on top of pandas, as GeoDataFrame is."""


def test_frame_of_a_derived_class_comes_back_as_one_of_its_library() -> None:
    frame = OwnFrame({"a": ["x"]})
    assert is_frame(frame)
    assert texts(frame, "a") == ["x"]
    answer = pyarrow.chunked_array([["y"]])
    assert isinstance(FrameTable(frame).with_columns({"answer": answer}), pandas.DataFrame)


def test_arrow_array_without_a_name_is_no_frame() -> None:
    with pytest.raises(WrongArgumentError, match="ChunkedArray has no columns with names"):
        FrameTable(pyarrow.chunked_array([["x"]]))


def test_columns_are_put_beside_those_of_a_frame_with_columns_of_two_levels() -> None:
    frame = pandas.DataFrame(
        [[1, "x"]], columns=pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)])
    )
    added = FrameTable(frame).with_columns({"answer": pyarrow.chunked_array([["y"]])})
    assert added[("answer", "")].tolist() == ["y"]
    assert list(frame.columns) == [("a", 1), ("b", 2)]


def test_frame_of_rows_is_of_polars_else_of_pandas_else_of_arrow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = pyarrow.table({"n": [2**60 + 1, None], "flag": [True, None], "text": ["001", None]})
    assert isinstance(frame_of(table), polars.DataFrame)
    installed = {"pandas"}
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: name if name in installed else None
    )
    found = frame_of(table)
    assert found["n"].tolist() == [2**60 + 1, pandas.NA]
    assert found["flag"].tolist() == [True, pandas.NA]
    assert found["text"].tolist()[0] == "001"
    installed.clear()
    assert frame_of(table) is table


def test_frames_need_no_library_but_their_own() -> None:
    code = """
import sys
sys.modules.update(dict.fromkeys(["pandas", "polars", "numpy"]))
import pyarrow
import pydantic
from groq_batch_client.frames import FrameTable
with FrameTable(pyarrow.table({"a": ["x"]})).open(["a"]) as table:
    print([batch.texts("a") for batch in table.batches])
"""
    environ = {"PYTHONPATH": f"{PROJECT / 'cli'}:{PROJECT / 'functions'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, check=True
    )
    assert done.stdout == b"[['x']]\n"


def test_client_is_imported_without_frames_and_the_command_line() -> None:
    code = """
import sys
sys.modules.update(dict.fromkeys(["pandas", "polars", "numpy", "pyarrow", "click"]))
import groq_batch_client
assert not any(name.startswith("boto") for name in sys.modules)
from groq_batch_client import *
print(GroqBatch(bucket="b"))
"""
    environ = {"PYTHONPATH": f"{PROJECT / 'cli'}:{PROJECT / 'functions'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, check=True
    )
    assert done.stdout == b"GroqBatch(bucket='b')\n"


# -- options -------------------------------------------------------------------------------------


def test_every_option_of_the_pipeline_is_one_of_the_client() -> None:
    assert set(_OPTIONS) <= METADATA_NAMES
    assert set(options._WRITERS) == set(options.Options.__annotations__)


def test_options_are_written_as_the_pipeline_reads_them() -> None:
    given = {
        "completion_window": "7d",
        "on_invalid_line": "skip",
        "max_attempts": 4,
        "max_job_cost_usd": 0.000001,
        "check_models": False,
        "canary_requests": 100,
        "canary_max_failed_percent": 0,
        "batch_deadline": "6h",
        "deadline_max_usd": Decimal("2.50"),
        "retry_invalid_output": True,
    }
    assert options_as_metadata(given) == {
        "completion-window": "7d",
        "on-invalid-line": "skip",
        "max-attempts": "4",
        "max-job-cost-usd": "0.000001",
        "check-models": "false",
        "canary-requests": "100",
        "canary-max-failed-percent": "0",
        "batch-deadline": "6h",
        "deadline-max-usd": "2.5",
        "retry-invalid-output": "true",
    }
    assert options_as_metadata({"max_attempts": None}) == {}


@given(st.decimals(min_value=0, max_value=10**6, places=9))
def test_amount_is_written_without_an_exponent(amount: Decimal) -> None:
    written = plain_amount(float(amount))
    assert float(written) == float(amount)
    assert "e" not in written.lower()


# -- schemas -------------------------------------------------------------------------------------


class Mood(pydantic.BaseModel):
    label: Literal["good", "bad"]


def test_schema_is_taken_as_itself_from_a_file_and_from_a_model_of_pydantic(tmp_path: Path) -> None:
    plain = Mood.model_json_schema()
    file = tmp_path / "Mood.json"
    file.write_text(json.dumps(plain))
    found = [schema_of(one) for one in (plain, str(file), file, Mood)]
    assert [one.schema if one else None for one in found] == [plain] * 4
    assert {one.name if one else None for one in found} == {"Mood"}
    assert schema_of(None) is None
    with pytest.raises(TableError, match="schema= is not a valid JSON schema"):
        schema_of({"type": "nothing"})
    with pytest.raises(TableError, match=r"nowhere\.json: No such file"):
        schema_of("nowhere.json")
    with pytest.raises(TableError, match=": Is a directory"):
        schema_of(tmp_path)
