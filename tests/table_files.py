"""Tables, results and schemas in files, as the tests of ``make`` and ``join`` use them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from groq_batch.request_file.line_checks import LineChecker
from groq_batch.request_file.request_rules import CheckedRequest
from groq_batch_cli.main import run

MODEL = "openai/gpt-oss-20b"
ADDED = ["answer", "tool_calls", "finish_reason", "error_code", "error_message"]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows in the format that the name tells; no value is an empty cell in CSV and TSV."""
    ending = path.name.removesuffix(".gz").rsplit(".", 1)[1]
    if ending == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    if ending == "tsv":
        lines = [list(rows[0]), *([cell(one) for one in row.values()] for row in rows)]
        data = "".join("\t".join(line) + "\r\n" for line in lines).encode("utf-8-sig")
    elif ending == "csv":
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(rows[0])
        writer.writerows([cell(one) for one in row.values()] for row in rows)
        data = text.getvalue().encode("utf-8-sig")
    else:
        data = b"\n\n".join(json.dumps(row).encode() for row in rows)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def write_column(path: Path, values: Any) -> Path:
    """Write a Parquet file with one column ``value`` behind one of ids."""
    ids = [f"id-{place}" for place in range(len(values))]
    pyarrow.parquet.write_table(pyarrow.table({"id": ids, "value": values}), path)
    return path


def result(custom_id: str, content: Any, **choice: Any) -> bytes:
    choices = [{"message": {"content": content}, "finish_reason": "stop", **choice}]
    return result_with(custom_id, {"model": MODEL, "choices": choices})


def result_with(custom_id: str, body: Any) -> bytes:
    row = {"id": "x", "custom_id": custom_id, "response": {"status_code": 200, "body": body}}
    return json.dumps({**row, "error": None}).encode()


def write_results(folder: Path, *rows: bytes) -> str:
    path = folder / "requests.results.jsonl"
    path.write_bytes(b"".join(row.rstrip(b"\n") + b"\n" for row in rows))
    return str(path)


def write_schema(folder: Path, schema: Any) -> str:
    path = folder / "schema.json"
    path.write_text(json.dumps(schema))
    return str(path)


def make(rows: Path | str, *arguments: str) -> int:
    return run(["make", str(rows), "--model", MODEL, *arguments])


def requests_of(data: bytes) -> list[dict[str, Any]]:
    """Return requests, after the pipeline's own checks of them."""
    checker = LineChecker()
    lines = data.split(b"\n")
    assert lines.pop() == b""
    assert all(isinstance(checker.check(n, one), CheckedRequest) for n, one in enumerate(lines, 1))
    return [json.loads(one) for one in lines]


def prompts(rows: Path, out: Path, prompt: str = "{value}", *arguments: str) -> list[str]:
    """Make requests and return the users' messages in them."""
    assert make(rows, "--prompt", prompt, "--out", str(out), *arguments) == 0
    made = requests_of(out.read_bytes())
    return [one["body"]["messages"][-1]["content"] for one in made]


def json_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(one, parse_constant=_refuse) for one in path.read_bytes().splitlines()]


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def csv_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream, strict=True))
