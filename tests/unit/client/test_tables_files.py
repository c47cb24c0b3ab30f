"""Tables in files: what a name tells, what a file really is, CSV and TSV, compression."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import os
import sys
import tempfile
import threading
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groq_batch_cli.main import run
from groq_batch_client.errors import TableError, WrongArgumentError
from groq_batch_client.output import output
from groq_batch_client.tables.formats import (
    Compression,
    FileKind,
    Format,
    advice_for_table,
    kind_of,
)
from groq_batch_client.tables.names import quoted
from groq_batch_client.tables.table import TableFile
from tests.table_files import (
    ADDED,
    csv_rows,
    json_rows,
    make,
    prompts,
    requests_of,
    result,
    write_results,
    write_rows,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("-", FileKind(Format.JSONL, Compression.NONE)),
        ("a.JSONL", FileKind(Format.JSONL, Compression.NONE)),
        ("a.ndjson.Zst", FileKind(Format.JSONL, Compression.ZSTD)),
        ("rows.CSV.GZ", FileKind(Format.CSV, Compression.GZIP)),
        ("a.b.tsv", FileKind(Format.TSV, Compression.NONE)),
        ("a.PQ", FileKind(Format.PARQUET, Compression.NONE)),
    ],
)
def test_name_tells_format_and_compression(name: str, expected: FileKind) -> None:
    assert kind_of(name) == expected


@pytest.mark.parametrize("name", ["a.json", "a", "a.parquet.gz", "a.xlsx", "a.gz", "csv"])
def test_name_that_tells_no_format_is_wrong(name: str) -> None:
    with pytest.raises(WrongArgumentError):
        kind_of(name)


def test_name_of_no_format_is_a_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    assert make(tmp_path / "rows.xlsx", "--prompt", "{a}") == 2
    assert "must end in one of .jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl.gz", None),
        ("a.txt", None),
        ("b/my rows.csv", "groq-batch make 'b/my rows.csv' --model MODEL"),
        ("a.csv.gz", "groq-batch make a.csv.gz --model MODEL"),
        ("a.tsv", "groq-batch make a.tsv --model MODEL"),
        ("a.PARQUET", "--out a.jsonl"),
        ("a.xlsx", "Save it as CSV, then turn its rows into requests: groq-batch make a.csv"),
    ],
)
def test_table_in_the_place_of_requests_is_advised_on(name: str, expected: str | None) -> None:
    advice = advice_for_table(name)
    assert advice is None if expected is None else expected in str(advice)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text", "'text'"),
        ("te\u200bxt", "'te\\u200bxt'"),
        ("id\u00a0", "'id\\xa0'"),
        ("\ufefftext", "'\\ufefftext'"),
        ("a b ", "'a b '"),
        ("x" * 100, f"'{'x' * 80}…'"),
    ],
)
def test_names_that_look_the_same_are_shown_apart(name: str, expected: str) -> None:
    assert quoted(name) == expected


# -- files that are something else ---------------------------------------------------------------


def packed(data: bytes) -> bytes:
    """Compress without the time, so that a test has the same name in every process."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"", "is empty. Its first line must name the columns."),
        ("a.csv", b"\na,b\n1,2\n", "{} begins with a blank line. The first line must name"),
        ("a.csv", b"a,a\n", "has two columns named 'a'"),
        ("a.csv", b"a,b,,\n1,2,,\n", "two columns without a name, columns 3 and 4. Name them or"),
        (
            "a.csv",
            b"a,b\n1,2,,\n",
            "4 values, but there are 2 columns. The values beyond are empty",
        ),
        ("a.csv", b"a,b\n1,2\n1\n", "Line 3 of {} has 1 value, but there are 2 columns."),
        ("a.csv", b'a,b\n"1\n",2\n\n1,2,3\n', "Line 5 of {} has 3 values, but there are 2 col"),
        ("a.csv", b'a\n"x', "Line 2 of {} is not CSV: a double quote opens a value that is never"),
        (
            "a.csv",
            b'a,b\n"1\n",2\n\n3,"4\n5,6\n7,8\n',
            "Line 5 of {} is not CSV: a double quote opens a value that is never closed.",
        ),
        ("a.csv", b'a\n"x"y\n', "Line 2 of {} is not CSV: "),
        ("a.csv", b'a\n"x \\"y\\""\n', "Within a quoted value, write a double quote twice"),
        ("a.csv", b"a,b\r1,2\r", "is not CSV: it has a carriage return (CR) outside of quotes."),
        ("a.csv", b"a\n\xff\n", "Line 2 of {} is not UTF-8. Save the file as UTF-8 (in Excel"),
        ("a.csv", b"a;b\n1;2\n", "{} are separated by ';'. Give groq-batch make and join --sep"),
        ("a.csv", b"a\tb\n1\t2\n", "are separated by tabs. Name the file with .tsv at the end."),
        ("a.csv", b"sep=;\na;b\n", "{} begins with 'sep=;', which tells Excel that ';' sep"),
        ("a.csv", b"sep=;\na;b\n", "Remove this line, and give groq-batch make and join --sep"),
        (
            "a.csv",
            b"\xef\xbb\xbfSEP=;\na;b\n",
            "{} begins with 'SEP=;', which tells Excel that ';'",
        ),
        ("a.csv", b"sep=,\na,b\n", "that ',' separates the columns. Remove this line."),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "{} is UTF-16, not UTF-8. Save it as UTF-8."),
        ("a.jsonl", '{"a": 1}'.encode("utf-16"), "{} is UTF-16, not UTF-8. Save it as UTF-8."),
        ("a.csv", b"a,b\n1,2\n\0\0\0\0", "{} ends in NUL bytes from byte 8 on, as happens"),
        ("a.csv", b"a,b\n1,\0\n1,2\n", "{} holds NUL bytes from byte 6 on, as happens"),
        ("a.jsonl", b'{"a": 1}\n\xff', "Line 2 of {} is not UTF-8."),
        (
            "a.jsonl",
            b'{"a": 1}\n{"a": NaN}',
            "Line 2 of {} holds NaN, which JSON cannot represent.",
        ),
        (
            "a.jsonl",
            b'{"a": [-Infinity]}',
            "Line 1 of {} holds -Infinity, which JSON cannot represent",
        ),
        ("a.jsonl.gz", b"plain", "ends in .gz, but it is not gzip"),
        ("a.jsonl.gz", packed(b'{"a": 1}' * 99)[:-9], "damaged or cut short"),
        ("a.jsonl.gz", packed(packed(b"{}")), "{} is compressed twice. Decompress it"),
        ("a.jsonl", packed(b"{}"), "{} is compressed with gzip. Name it with .gz at the"),
        ("a.csv", b"\x28\xb5\x2f\xfd", "{} is compressed with zstd. Name it with .zst at the end."),
        ("a.jsonl.zst", b"plain", "ends in .zst, but it is not zstd"),
        ("a.csv", b"PK\x03\x04", "{} is a ZIP archive or an Excel workbook. Save the table as CSV"),
        ("a.csv", bz2.compress(b"id\n1\n"), "{} is compressed with bzip2. Decompress it"),
        ("a.csv", lzma.compress(b"id\n1\n"), "{} is compressed with xz. Decompress it"),
        ("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9), "{} is an old Excel workbook."),
        ("a.csv", b"ARROW1\0\0", "{} is an Arrow (Feather) file. Save the table as Parquet."),
        ("a.csv", b"%PDF-1.7\n", "{} is a PDF document, not a table."),
        ("a.csv", b"\r\n<!DOCTYPE html>\n<html>", "{} is a web page, such as a sign-in or error"),
        ("a.jsonl", b"<html><head>", "{} is a web page, such as a sign-in or error"),
        ("a.csv", b'{"a": "x"}\n', "{} is JSON, not CSV. Write one object on each line, and name"),
        (
            "a.tsv",
            b'\xef\xbb\xbf[\n  {"a": "x"}\n]',
            "{} is JSON, not TSV. Write one object on each",
        ),
        ("a.csv", b"a,b\n1,x\0y\n", "in binary files, in UTF-16 and if a crash"),
        ("a.jsonl", b'[{"a": 1}, {"a": 2}]', "It begins a list. A file of rows has one object on"),
        ("a.jsonl", b'{\n  "a": 1\n}\n', "It begins JSON that spans several lines. jq -c . FILE"),
        ("a.jsonl", b"{'a': 1}", "It has single quotes, as Python prints objects."),
        ("a.csv", b"PAR1", "{} is a Parquet file. Name it with .parquet at the end."),
        ("._a.jsonl", b"\x00\x05\x16\x07\x00\x02", "{} is a macOS companion file"),
        ("a.csv", "id,Grüße\n1,a\n".encode("utf-16-le"), "{} is UTF-16, not UTF-8."),
        ("a.csv", "id,Grüße\n1,a\n".encode("utf-16-be"), "{} is UTF-16, not UTF-8."),
        ("a.csv", "id\n1\n".encode("utf-32"), "{} is UTF-32, not UTF-8."),
        ("a.csv", b"id\n1\n" + bytes(400), "{} ends in NUL bytes from byte 5 on"),
        ("a.tsv", b"id\ttext\r1\ta\r", "Line 1 of {} is not TSV: it has a carriage return (CR)"),
        (
            "a.jsonl",
            b'{"a": 1}\r{"a": 2}\r',
            "It has several objects with a carriage return (CR) between them.",
        ),
        ("a.parquet", b"plain", "cannot be read as Parquet"),
        ("a.parquet", b"", "cannot be read as Parquet"),
    ],
)
def test_file_that_cannot_be_read_is_said_to_be_what_it_is(
    name: str, content: bytes, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TableError) as raised, TableFile(str(path)).open() as table:
        list(table.batches)
    assert expected.replace("{}", str(path)) in str(raised.value)


def test_column_that_only_looks_right_is_shown_with_its_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("id,text\u200b\n1,x\n", encoding="utf-8")
    assert make(rows, "--prompt", "{text}") == 1
    assert "no column 'text'; there are 'id', 'text\\u200b'." in capsys.readouterr().err


# -- CSV and TSV ---------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [";", "|"])
def test_csv_with_another_separator_is_read_and_written_with_it(
    separator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, requests, out = (tmp_path / name for name in ("r.csv", "r.jsonl", "answered.csv"))
    lines = ["\ufeffid;text", '1;"a;b, ""c"""', "2;ü", ";", ""]
    rows.write_bytes("\r\n".join(lines).replace(";", separator).encode())
    option = ["--separator", separator, "--id", "id"]
    assert prompts(rows, requests, "{text}", *option) == [f'a{separator}b, "c"', "ü"]
    results = write_results(tmp_path, result("1", f"yes{separator} no"), result("2", "a, b"))
    assert run(["join", str(rows), results, *option, "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert list(csv.reader(io.StringIO(text, newline=""), delimiter=separator)) == [
        ["id", "text", *ADDED],
        ["1", f'a{separator}b, "c"', f"yes{separator} no", "", "stop", "", ""],
        ["2", "ü", "a, b", "", "stop", "", ""],
    ]
    assert "1 row of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "separator", "status", "expected"),
    [
        ("r.csv", ";", 1, "are separated by commas. Leave out --separator."),
        ("r.csv", "x", 2, "'x' is not one of ',', ';', '|'"),
        ("r.jsonl", ";", 2, "A separator is for CSV, and"),
    ],
)
def test_separator_that_does_not_fit_the_file_is_an_error(
    name: str,
    separator: str,
    status: int,
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = write_rows(tmp_path / name, [{"id": "a", "text": "b"}])
    assert make(rows, "--separator", separator, "--prompt", "{text}") == status
    assert expected in " ".join(capsys.readouterr().err.split())


def test_workbook_is_refused_with_the_format_to_save_it_as(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "r.xlsx"
    rows.write_bytes(b"PK\x03\x04")
    assert make(rows, "--prompt", "{text}") == 2
    assert "Save the table as CSV." in " ".join(capsys.readouterr().err.split())


def test_quotes_in_tsv_are_text(tmp_path: Path) -> None:
    rows = tmp_path / "rows.tsv"
    rows.write_bytes(b'id\ttext\r\n1\t"a\r\n2\tb"\r\n3\tsay "c"\r\n4\t5\'9" tall\r\n')
    assert prompts(rows, tmp_path / "o.jsonl", "{text}") == ['"a', 'b"', 'say "c"', "5'9\" tall"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_rows_without_any_value_are_left_out_of_make_and_join_alike(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / name
    separator = "\t" if name.endswith("tsv") else ","
    rows.write_text("id,text\n1,one\n,\n\n2,two\n,\n".replace(",", separator))
    out = tmp_path / "o.jsonl"
    assert prompts(rows, out, "{text}") == ["one", "two"]
    assert f"2 rows of {rows} without any value were left out" in capsys.readouterr().err
    results = write_results(tmp_path, result("row-1", "x"), result("row-2", "y"))
    assert run(["join", str(rows), results, "--out", str(tmp_path / "joined.jsonl")]) == 0
    assert "2 rows in" in (said := capsys.readouterr().err)
    assert "2 without any value left out" in said
    assert [row["id"] for row in json_rows(tmp_path / "joined.jsonl")] == ["1", "2"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_blank_line_of_a_single_column_counts_as_a_row_without_any_value(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / name
    rows.write_text("text\none\n\ntwo\n")
    assert prompts(rows, tmp_path / "o.jsonl", "{text}") == ["one", "two"]
    assert f"1 row of {rows} without any value was left out" in capsys.readouterr().err


def test_cell_may_be_long(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "a.csv", [{"value": "x" * 1_000_000}])
    assert prompts(rows, tmp_path / "o.jsonl") == ["x" * 1_000_000]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_csv_cells_of_any_text_survive_make_and_join(cells: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows.csv"
        with rows.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("k", "value"), *((f"k{a}", b) for a, b in cells)])
        assert prompts(rows, folder / "o.jsonl") == [value for _, value in cells]
        answers = [result(f"row-{n}", a) for n, (a, _) in enumerate(cells, 1)]
        results = write_results(folder, *answers)
        out = folder / "joined.csv"
        assert run(["join", str(rows), results, "--out", str(out)]) == 0
        assert [row[:3] for row in csv_rows(out)[1:]] == [[f"k{a}", b, a] for a, b in cells]
        # What was written can be read again.
        assert prompts(out, folder / "again.jsonl") == [value for _, value in cells]


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_tsv_cells_of_any_text_survive_make_and_join(texts: list[str]) -> None:
    cells = ["".join(one for one in text if one not in "\t\r\n") for text in texts]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows.tsv"
        lines = ["k\tvalue\tz", *(f"k\t{value}\tz" for value in cells)]
        rows.write_bytes("\n".join(lines).encode())
        assert prompts(rows, folder / "o.jsonl") == cells
        results = write_results(folder, *[result(f"row-{n}", a) for n, a in enumerate(texts, 1)])
        out = folder / "joined.tsv"
        assert run(["join", str(rows), results, "--out", str(out)]) == 0
        found = [one.split("\t") for one in out.read_bytes().decode().split("\n")[1:-1]]
        assert [row[1] for row in found] == cells
        escaped = [
            one.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r") for one in texts
        ]
        assert [row[3] for row in found] == escaped


# -- compression ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["r.csv.zst", "r.JSONL.ZST", "r.tsv.gz", "r.CSV.GZ"])
def test_compressed_tables_are_read_and_written(name: str, tmp_path: Path) -> None:
    rows, out = tmp_path / name, tmp_path / f"out-{name}"
    plain = b'{"value":"x"}\n' if "jsonl" in name.lower() else b"value\nx\n"
    is_gzip = name.lower().endswith(".gz")
    rows.write_bytes(gzip.compress(plain) if is_gzip else zstd(plain))
    results = write_results(tmp_path, result("row-1", "Hi"))
    assert prompts(rows, tmp_path / "o.jsonl") == ["x"]
    assert run(["join", str(rows), results, "--out", str(out)]) == 0
    data = out.read_bytes()
    written = gzip.decompress(data) if is_gzip else unpacked(data)
    assert b"Hi" in written
    assert written.startswith(plain.split(b"\n")[0].rstrip(b"}"))


def zstd(data: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def unpacked(data: bytes) -> bytes:
    with pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd") as stream:
        return bytes(stream.read())


def test_zstd_that_was_cut_short_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(zstd(b'{"a": "%s"}\n' % os.urandom(50_000).hex().encode())[:-20])
    with (
        pytest.raises(TableError, match="damaged or cut short"),
        TableFile(str(path)).open() as table,
    ):
        list(table.batches)


@pytest.mark.parametrize("ending", ["gz", "GZ", "zst", "ZST"])
def test_results_may_be_compressed_whatever_the_case_of_their_name(
    ending: str, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": 1}])
    results = tmp_path / f"results.jsonl.{ending}"
    pack = gzip.compress if ending.lower() == "gz" else zstd
    results.write_bytes(pack(result("row-1", "Hi") + b"\n"))
    out = tmp_path / "o.jsonl"
    assert run(["join", str(rows), str(results), "--out", str(out)]) == 0
    assert json_rows(out)[0]["answer"] == "Hi"


def test_standard_input_is_unpacked(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    class Stdin:
        buffer = io.BytesIO(gzip.compress(b'{"a": 1}\n'))

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert make("-", "--prompt", "{a}") == 0
    assert len(requests_of(capsysbinary.readouterr().out)) == 1


@pytest.mark.parametrize(
    "command", [["make", "-", "--model", "m", "--prompt", "{a}"], ["check", "-"]]
)
def test_standard_input_that_is_closed_is_said(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert run(command) == 1
    assert "Error: Standard input is closed. Name a file." in capsys.readouterr().err


def test_dash_is_standard_output_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = write_rows(tmp_path / "rows.csv", [{"a": "x"}])
    assert make(rows, "--prompt", "{a}", "--out", "-") == 0
    assert len(requests_of(capsysbinary.readouterr().out)) == 1
    results = write_results(tmp_path, result("row-1", "y"))
    assert run(["join", str(rows), results, "--out", "-"]) == 0
    assert b'"answer":"y"' in capsysbinary.readouterr().out
    assert not (tmp_path / "-").exists()


def test_requests_are_written_compressed_as_their_name_says(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": 1}])
    assert make(rows, "--prompt", "{a}", "--out", str(tmp_path / "o.JSONL.GZ")) == 0
    assert len(requests_of(gzip.decompress((tmp_path / "o.JSONL.GZ").read_bytes()))) == 1


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv.zst"])
def test_library_that_is_not_installed_is_named_with_its_extra(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert make(tmp_path / name, "--prompt", "{text}") == 1
    assert "Install it: pip install pyarrow" in capsys.readouterr().err


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
