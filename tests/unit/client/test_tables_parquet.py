"""Every Arrow type that Parquet holds, through ``make`` and ``join`` to each format."""

from __future__ import annotations

import json
import uuid
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groq_batch_cli.main import run
from groq_batch_client.tables.arrow_values import objects_of, texts_of
from tests.table_files import (
    csv_rows,
    json_rows,
    make,
    prompts,
    result,
    write_column,
    write_results,
)

NS = 1_700_000_000_123_456_789
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
FAR = 253_402_300_800_000_000
"""The year 10000, in microseconds."""


def _views(view: Any, width: Any) -> Any:
    return view.from_arrays(
        pa.array([0, 1, 1], width),
        pa.array([1, 0, 1], width),
        pa.array([1, 2], pa.int8()),
        mask=pa.array([False, True, False]),
    )


def _extension(kind: Any, storage: Any) -> Any:
    return pa.ExtensionArray.from_storage(kind, storage)


INTEGERS = [
    (kind, [None, low, high])
    for kind, low, high in (
        (pa.int8(), -(2**7), 2**7 - 1),
        (pa.int16(), -(2**15), 2**15 - 1),
        (pa.int32(), -(2**31), 2**31 - 1),
        (pa.int64(), -(2**63), 2**63 - 1),
        (pa.uint8(), 0, 2**8 - 1),
        (pa.uint16(), 0, 2**16 - 1),
        (pa.uint32(), 0, 2**32 - 1),
        (pa.uint64(), 0, 2**64 - 1),
    )
]

CASES: list[tuple[str, Any, list[Any], list[str] | None]] = [
    # Name, column, JSON values, texts (None: texts as they are, null as nothing, others as JSON).
    ("null", pa.nulls(2), [None, None], ["", ""]),
    ("bool", pa.array([True, None, False]), [True, None, False], ["true", "", "false"]),
    *(
        (str(kind), pa.array(values, kind), values, ["", *map(str, values[1:])])
        for kind, values in INTEGERS
    ),
    (
        "float16",
        pa.array([0.1, None, 1.5, 65472, -65472], pa.float32()).cast(pa.float16()),
        [0.1, None, 1.5, 65470.0, -65470.0],
        ["0.1", "", "1.5", "65470.0", "-65470.0"],
    ),
    (
        "float32",
        pa.array([0.1, None, float("nan"), float("-inf")], pa.float32()),
        [0.1, None, None, None],
        ["0.1", "", "", ""],
    ),
    (
        "float64",
        pa.array([0.1, None, float("nan"), float("inf"), 3.0]),
        [0.1, None, None, None, 3.0],
        ["0.1", "", "", "", "3.0"],
    ),
    *(
        (str(kind), pa.array([Decimal("1.10"), None], kind), [1.1, None], ["1.10", ""])
        for kind in (
            pa.decimal32(5, 2),
            pa.decimal64(12, 2),
            pa.decimal128(20, 2),
            pa.decimal256(50, 2),
        )
    ),
    (
        "decimals of many digits",
        pa.array([Decimal("0E-9"), Decimal("0.000000001")], pa.decimal128(38, 9)),
        [0.0, 1e-9],
        ["0.000000000", "0.000000001"],
    ),
    *(
        (str(kind), pa.array(["ü", None, "NA"], kind), ["ü", None, "NA"], ["ü", "", "NA"])
        for kind in (pa.string(), pa.large_string(), pa.string_view())
    ),
    *(
        (str(kind), pa.array(["Grüße".encode(), None], kind), ["Grüße", None], ["Grüße", ""])
        for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(7))
    ),
    *(
        (str(kind), pa.array([date(2024, 2, 29), None], kind), ["2024-02-29", None], None)
        for kind in (pa.date32(), pa.date64())
    ),
    # Arrow's own cast writes nonsense beyond the year 32767.
    (
        "date32, far",
        pa.array([2**31 - 1, None, 0, -(2**31)], pa.date32()),
        ["5881580-07-11", None, "1970-01-01", "-5877641-06-23"],
        None,
    ),
    (
        "timestamp[us], far",
        pa.array([2**63 - 1, None, 5, -(2**63)], pa.timestamp("us")),
        [
            "294247-01-10T04:00:54.775807",
            None,
            "1970-01-01T00:00:00.000005",
            "-290308-12-21T19:59:05.224192",
        ],
        None,
    ),
    (
        "timestamp[ms, Europe/Berlin], far",
        pa.array([2**62, None, 5], pa.timestamp("ms", "Europe/Berlin")),
        ["146140482-04-24T15:36:27.904Z", None, "1970-01-01T01:00:00.005+01:00"],
        None,
    ),
    # Parquet has no seconds; they are stored as milliseconds.
    ("time32[s]", pa.array([time(1, 2, 3), None], pa.time32("s")), ["01:02:03.000", None], None),
    ("time32[ms]", pa.array([1], pa.time32("ms")), ["00:00:00.001"], None),
    ("time64[us]", pa.array([1], pa.time64("us")), ["00:00:00.000001"], None),
    ("time64[ns]", pa.array([1], pa.time64("ns")), ["00:00:00.000000001"], None),
    ("timestamp[s]", pa.array([0], pa.timestamp("s")), ["1970-01-01T00:00:00.000"], None),
    ("timestamp[ms]", pa.array([1], pa.timestamp("ms")), ["1970-01-01T00:00:00.001"], None),
    ("timestamp[us]", pa.array([FAR], pa.timestamp("us")), ["10000-01-01T00:00:00.000000"], None),
    (
        "timestamp[ns]",
        pa.array([NS, None], pa.timestamp("ns")),
        ["2023-11-14T22:13:20.123456789", None],
        None,
    ),
    (
        "timestamp[ns, UTC]",
        pa.array([NS], pa.timestamp("ns", "UTC")),
        ["2023-11-14T22:13:20.123456789Z"],
        None,
    ),
    (
        "timestamp[us, Europe/Berlin]",
        pa.array([0], pa.timestamp("us", "Europe/Berlin")),
        ["1970-01-01T01:00:00.000000+01:00"],
        None,
    ),
    (
        "timestamp[us, +05:30]",
        pa.array([0], pa.timestamp("us", "+05:30")),
        ["1970-01-01T05:30:00.000000+05:30"],
        None,
    ),
    (
        "timestamp with a zone that is unknown",
        pa.array([0], pa.timestamp("us", "Mars/Olympus")),
        ["1970-01-01T00:00:00.000000Z"],
        None,
    ),
    ("duration[s]", pa.array([-5, None], pa.duration("s")), ["PT-5S", None], None),
    ("duration[ms]", pa.array([1500], pa.duration("ms")), ["PT1.5S"], None),
    ("duration[us]", pa.array([1], pa.duration("us")), ["PT0.000001S"], None),
    ("duration[ns]", pa.array([1], pa.duration("ns")), ["PT0.000000001S"], None),
    *(
        (str(kind), pa.array([[1, None], None, []], kind), [[1, None], None, []], None)
        for kind in (pa.list_(pa.int8()), pa.large_list(pa.int8()))
    ),
    (
        "list[2]",
        pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
        [[1, 2], None, [3, 4]],
        None,
    ),
    ("list_view", _views(pa.ListViewArray, pa.int32()), [[1], None, [2]], None),
    ("large_list_view", _views(pa.LargeListViewArray, pa.int64()), [[1], None, [2]], None),
    (
        "struct",
        pa.array([{"a": 1, "b": None}, None, {"a": None, "b": "ü"}]),
        [{"a": 1, "b": None}, None, {"a": None, "b": "ü"}],
        ['{"a":1,"b":null}', "", '{"a":null,"b":"ü"}'],
    ),
    (
        "map",
        pa.array([[("k", 1), ("l", 2)], None, []], pa.map_(pa.string(), pa.int8())),
        [{"k": 1, "l": 2}, None, {}],
        None,
    ),
    (
        "map with a key twice",
        pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int8())),
        [[["k", 1], ["k", 2]]],
        None,
    ),
    (
        "map with keys of numbers",
        pa.array([[(1, b"x")]], pa.map_(pa.int8(), pa.binary())),
        [{"1": "x"}],
        None,
    ),
    (
        "dictionary",
        pa.array(["x", None, "y", "x"]).dictionary_encode(),
        ["x", None, "y", "x"],
        ["x", "", "y", "x"],
    ),
    (
        "dictionary of numbers",
        pa.array([7, None, 7]).dictionary_encode(),
        [7, None, 7],
        ["7", "", "7"],
    ),
    (
        "uuid",
        _extension(pa.uuid(), pa.array([UUID.bytes, None], pa.binary(16))),
        [str(UUID), None],
        None,
    ),
    (
        "bool8",
        _extension(pa.bool8(), pa.array([1, 0, None], pa.int8())),
        [True, False, None],
        ["true", "false", ""],
    ),
    ("json", _extension(pa.json_(), pa.array(['{"a": 1}', None])), ['{"a": 1}', None], None),
    (
        "tensor",
        _extension(
            pa.fixed_shape_tensor(pa.int8(), [2]), pa.array([[1, 2]], pa.list_(pa.int8(), 2))
        ),
        [[1, 2]],
        None,
    ),
    (
        "struct of everything",
        pa.array(
            [{"when": NS, "parts": [{"f": 0.1, "raw": b"x"}, None]}, None],
            pa.struct(
                {
                    "when": pa.timestamp("ns"),
                    "parts": pa.list_(pa.struct({"f": pa.float32(), "raw": pa.binary()})),
                }
            ),
        ),
        [{"when": "2023-11-14T22:13:20.123456789", "parts": [{"f": 0.1, "raw": "x"}, None]}, None],
        None,
    ),
    (
        "list of spans",
        pa.array([[1, None], None], pa.list_(pa.duration("s"))),
        [["PT1S", None], None],
        None,
    ),
]


def expected_texts(values: list[Any], texts: list[str] | None) -> list[str]:
    if texts is not None:
        return texts
    return [
        ""
        if one is None
        else one
        if isinstance(one, str)
        else json.dumps(one, separators=(",", ":"))
        for one in values
    ]


@pytest.mark.parametrize(
    ("column", "values", "texts"), [one[1:] for one in CASES], ids=[one[0] for one in CASES]
)
def test_column_of_any_type_passes_through_make_and_join(
    column: Any, values: list[Any], texts: list[str] | None, tmp_path: Path
) -> None:
    rows = write_column(tmp_path / "rows.parquet", column)
    results = write_results(tmp_path, *[result(f"id-{n}", "Hi") for n in range(len(column))])
    expected = expected_texts(values, texts)

    assert prompts(rows, tmp_path / "requests.jsonl", "{value}!", "--id", "id") == [
        f"{one}!" for one in expected
    ]

    for name in ("out.csv", "out.jsonl", "out.parquet"):
        arguments = ["--id", "id", "--out", str(tmp_path / name)]
        assert run(["join", str(rows), results, *arguments]) == 0
    assert [row[1] for row in csv_rows(tmp_path / "out.csv")[1:]] == expected
    assert [row["value"] for row in json_rows(tmp_path / "out.jsonl")] == values
    before, after = (pq.ParquetFile(one).read() for one in (rows, tmp_path / "out.parquet"))
    assert after.schema.field("value") == before.schema.field("value")
    assert after.column("answer").to_pylist() == ["Hi"] * len(column)
    same = after.column("value").combine_chunks(), before.column("value").combine_chunks()
    assert str(same[0]) == str(same[1])


@pytest.mark.parametrize("column", [one[1] for one in CASES], ids=[one[0] for one in CASES])
def test_part_of_a_column_is_read_from_its_place(column: Any) -> None:
    twice = pa.concat_arrays([column, column])
    size = len(column)
    for read in (objects_of, texts_of):
        whole = read(column, "c")
        assert read(twice.slice(size), "c") == whole
        assert read(twice.slice(1, size), "c") == [*whole, *whole][1 : size + 1]
        assert read(twice.slice(1, 0), "c") == []


def test_objects_with_two_fields_of_one_name_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = pa.struct([pa.field("a", pa.int8()), pa.field("a", pa.int8())])
    column = pa.StructArray.from_arrays([pa.array([1], pa.int8())] * 2, fields=list(kind))
    rows = write_column(tmp_path / "rows.parquet", column)
    assert make(rows, "--prompt", "{value}") == 1
    assert "The column 'value' has objects with two fields named 'a'." in capsys.readouterr().err


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"ok", b"\xff"]),
        pa.array([b"ok", b"\xff\xfe"], pa.large_binary()),
        pa.array([b"\xff" * 4], pa.binary(4)),
        pa.array([[b"\xff"]]),
        pa.array([{"inner": b"\xff"}]),
    ],
    ids=["binary", "large_binary", "fixed", "list", "struct"],
)
def test_bytes_that_are_no_text_are_named_and_pass_untouched_into_parquet(
    column: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_column(tmp_path / "rows.parquet", column)
    results = write_results(tmp_path, *[result(f"id-{n}", "Hi") for n in range(len(column))])
    before = sorted(tmp_path.iterdir())
    assert make(rows, "--prompt", "{value}", "--out", str(tmp_path / "o.jsonl")) == 1
    assert "The column 'value' holds bytes that are not UTF-8." in capsys.readouterr().err
    for name in ("out.csv", "out.tsv", "out.jsonl"):
        join = ["join", str(rows), results, "--id", "id", "--out", str(tmp_path / name)]
        assert run(join) == 1
        assert "The column 'value' holds bytes that are not UTF-8." in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
    # A column that no prompt uses is none of make's business.
    assert prompts(rows, tmp_path / "o.jsonl", "{id}")[0] == "id-0"
    out = tmp_path / "out.parquet"
    assert run(["join", str(rows), results, "--id", "id", "--out", str(out)]) == 0
    assert pq.read_table(out).column("value").to_pylist() == column.to_pylist()


def test_number_that_is_missing_is_no_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_column(tmp_path / "rows.parquet", pa.array([1.0, float("nan")]))
    assert make(rows, "--prompt", "{id}", "--id", "value") == 1
    assert "Row 2 of" in (said := capsys.readouterr().err)
    assert "The column 'value' (--id) is empty." in said


def test_two_columns_of_one_name_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.parquet"
    table = pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"])], names=["a", "a"])
    pq.write_table(table, rows)
    results = write_results(tmp_path, result("row-1", "Hi"))
    assert make(rows, "--prompt", "{a}") == 1
    assert run(["join", str(rows), results]) == 1
    assert capsys.readouterr().err.count(f"{rows} has two columns named 'a'. Rename one.") == 2


def test_metadata_of_the_file_and_its_columns_are_kept(tmp_path: Path) -> None:
    field = pa.field("a", pa.string(), nullable=False, metadata={"unit": "m"})
    schema = pa.schema([field], metadata={"huggingface": '{"info": {}}', "pandas": "{}"})
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table([["x"]], schema=schema), rows)
    results = write_results(tmp_path, result("row-1", "Hi"))
    out = tmp_path / "out.parquet"
    assert run(["join", str(rows), results, "--out", str(out)]) == 0
    found = pq.read_schema(out)
    assert found.metadata == schema.metadata
    assert found.field("a").equals(field, check_metadata=False)
    assert not found.field("a").nullable
    assert (found.field("a").metadata or {})[b"unit"] == b"m"


def test_column_with_a_dot_is_not_a_field_of_another(tmp_path: Path) -> None:
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": [{"b": "field"}], "a.b": ["column"]}), rows)
    assert prompts(rows, tmp_path / "o.jsonl", "{a.b}") == ["column"]
    assert prompts(rows, tmp_path / "p.jsonl", "{a.b} {a}") == ['column {"b":"field"}']


def test_only_the_needed_columns_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": ["1"], "image": [b"\xff" * 1000], "text": ["x"]}), rows)
    read: list[Any] = []
    whole = pq.ParquetFile.iter_batches

    def noted(self: Any, **arguments: Any) -> Any:
        read.append(arguments["columns"])
        return whole(self, **arguments)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noted)
    assert prompts(rows, tmp_path / "o.jsonl", "{text}", "--id", "id") == ["x"]
    assert read == [["id", "text"]]


def test_rows_without_columns_of_the_prompt_are_counted(tmp_path: Path) -> None:
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": ["x", "y"]}), rows)
    assert prompts(rows, tmp_path / "o.jsonl", "Tell a joke", "--same-prompt") == [
        "Tell a joke",
        "Tell a joke",
    ]


def test_file_of_no_rows_is_joined_with_no_results(tmp_path: Path) -> None:
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": pa.array([], pa.int8())}), rows)
    results = write_results(tmp_path)
    for name in ("out.parquet", "out.csv", "out.jsonl"):
        assert run(["join", str(rows), results, "--out", str(tmp_path / name)]) == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0
    assert len(csv_rows(tmp_path / "out.csv")) == 1
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_dates_beyond_the_years_of_old_writers_are_right(tmp_path: Path) -> None:
    rows = tmp_path / "rows.parquet"
    table = pa.table({"value": pa.array([FAR], pa.timestamp("us"))})
    pq.write_table(table, rows, use_deprecated_int96_timestamps=True)
    assert prompts(rows, tmp_path / "o.jsonl") == ["10000-01-01T00:00:00.000000"]


def test_damaged_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.parquet"
    table = pa.table({"text": [f"{n}" for n in range(1000)]})
    pq.write_table(table, rows, compression="none", use_dictionary=False)
    data = rows.read_bytes()
    rows.write_bytes(data[:4] + b"\xff" * 400 + data[404:])
    assert make(rows, "--prompt", "{text}") == 1
    assert f"{rows} cannot be read as Parquet: " in capsys.readouterr().err


def test_rows_of_several_groups_stay_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groq_batch_client.tables.parquet._BATCH_BYTES", 64)
    values = [f"{n}" * 10 for n in range(100)]
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"value": values}), rows, row_group_size=7)
    assert prompts(rows, tmp_path / "o.jsonl") == values
    results = write_results(tmp_path, *[result(f"row-{n}", f"{n}") for n in range(1, 101)])
    out = tmp_path / "out.parquet"
    assert run(["join", str(rows), results, "--out", str(out)]) == 0
    table = pq.read_table(out)
    assert table.column("value").to_pylist() == values
    assert table.column("answer").to_pylist() == [f"{n}" for n in range(1, 101)]
    assert pq.ParquetFile(out).num_row_groups > 1
