"""The command line as its users run it: a process of its own, on the deployed stack."""

from __future__ import annotations

import csv
import datetime
import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from local.processes import LOOPBACK, answers_ok
from tests.documents import PROJECT
from tests.e2e.command_line import ROWS, CommandLine
from tests.e2e.pipeline import Pipeline, request_file, request_line, wait_until
from tests.e2e.test_jobs import BAD_LINES
from tests.patience import PATIENCE_SECONDS


def test_from_rows_to_answers(cli: CommandLine, pipeline: Pipeline, name: str) -> None:
    """Make, check, run, see a failure, retry, merge and join."""
    texts = [f"text {number}, ü" for number in range(120)]
    with (cli.folder / "rows.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["key", "text"], *enumerate(texts)])
    requests = f"{name}.jsonl"
    make = ["make", "rows.csv", "--model", "openai/gpt-oss-20b", "--prompt", "Say {text}"]
    cli.run(*make, "--id", "key", "--out", requests)
    out, _ = cli.run("check", requests)
    assert "120 requests, no problems" in out
    refused = {"kind": "http_error", "status": 400, "code": "invalid_request_error"}
    pipeline.simulator.add_rule(refused, match={"custom_id": ["3", "100"]})

    out, err = cli.run("run", requests, "--to", "cli", "--out", "results", status=1)

    assert "120 requests, 2 batches, estimated $" in out
    assert f"{name}.jsonl: partial, 118 of 120 requests answered, 2 not, $0.00" in out
    assert "  not answered: 2 invalid_request_error\n" in out
    assert f"retry cli/{requests}" in out
    assert f"{requests}: waiting\n" in err
    results = f"results/{name}.results.jsonl"
    assert cli.read(results) == pipeline.read(f"output/cli/{requests}")
    assert cli.read(f"results/{name}.failed.jsonl") == pipeline.read(f"failed/cli/{requests}")
    report = pipeline.report(f"cli/{requests}")
    assert report is not None
    assert json.loads(cli.read(f"results/{name}.report.json")) == report

    _, err = cli.run("run", requests, "--to", "cli", "--out", "results", status=1)
    assert f"{requests} has run already, as {report['job_id']}" in err
    sendings = pipeline.simulator.requests(report["job_id"])
    assert sum(counted["succeeded"] for counted in sendings.values()) == 118

    pipeline.simulator.reset()
    _, err = cli.run("retry", requests, "--out", "results", status=1)
    assert "is worth sending again: 2 whose error is final (2 invalid_request_error)" in err
    out, _ = cli.run("retry", requests, "--all", "--out", "results")
    assert f"cli/{name}.retry.jsonl: 2 failed requests of cli/{requests}" in out
    assert "120 rows, 2 new answers" in out
    merged = cli.rows(f"results/{name}.merged.jsonl")
    assert [row["custom_id"] for row in merged] == [str(number) for number in range(120)]
    before = cli.rows(results)
    changed = [old["custom_id"] for old, new in zip(before, merged, strict=True) if old != new]
    assert changed == ["3", "100"]

    join = ["join", "rows.csv", f"results/{name}.merged.jsonl", "--id", "key"]
    cli.run(*join, "--out", "answered.csv")
    with (cli.folder / "answered.csv").open(encoding="utf-8", newline="") as stream:
        answered = list(csv.DictReader(stream))
    assert [row["answer"] for row in answered] == [f"Echo: Say {text}" for text in texts]
    assert {row["error_code"] for row in answered} == {""}

    cli.run("results", f"cli/{requests}", "--out", "again")
    assert cli.read(f"again/{name}.results.jsonl") == cli.read(results)
    retried = f"results/{name}.retry.results.jsonl"
    cli.run("merge", results, retried, "--out", "merged.jsonl")
    assert cli.read("merged.jsonl") == cli.read(f"results/{name}.merged.jsonl")

    out, _ = cli.run("open", f"cli/{requests}", "--print")
    page = Path(out.strip()).read_bytes()
    assert page == pipeline.read(f"reports/cli/{requests}.html")
    assert page == cli.read(f"again/{name}.report.html")
    assert b'<body class="partial">' in page
    assert b"line 4 <code><bdi>3</bdi></code>" in page
    assert b"Say text" not in page

    out, _ = cli.run("jobs", "--json", "--limit", "2")
    assert [json.loads(line)["path"] for line in out.splitlines()] == [
        f"cli/{name}.retry.jsonl",
        f"cli/{requests}",
    ]
    out, _ = cli.run("logs", report["job_id"][:30])
    assert "Job ended status=partial" in out
    assert "Say text" not in out


def test_recurring_file_in_the_middle_of_its_time(
    cli: CommandLine, pipeline: Pipeline, name: str
) -> None:
    """Start a recurring file by hand, find its run by the file's key, and retry what failed."""
    key = f"recurring/{name}.jsonl"
    pipeline.s3.put_object(Bucket=pipeline.bucket, Key=key, Body=request_file(["a", "b", "c"]))
    _, err = cli.run("status", key, status=1)
    assert f"groq-batch start {key}" in err
    gone = {"kind": "http_error", "status": 404, "code": "model_not_found"}
    pipeline.simulator.add_rule(gone, match={"custom_id": ["b"]})
    pipeline.simulator.add_rule("missing", match={"custom_id": ["c"]})

    out, _ = cli.run("start", key, "--out", "nights", status=1)

    path = re.search(rf"^(recurring/{name}/\S+\.jsonl): started as ", out, re.MULTILINE)
    assert path is not None
    assert "  not answered: 1 model_not_found, 1 missing\n" in out
    pipeline.simulator.reset()
    out, _ = cli.run("retry", key, "--out", "nights")
    assert f"retries/{path[1].removesuffix('.jsonl')}.retry.jsonl: 1 failed request of" in out
    assert "skipped: 1 whose error is final (1 model_not_found)" in out
    assert "3 rows, 1 new answers, 1 still without a success" in out
    out, _ = cli.run("jobs", "--under", f"recurring/{name}/", "--json")
    listed = json.loads(out)
    assert (listed["path"], listed["status"]) == (path[1], "partial")
    assert listed["error_code"] == "model_not_found"


@pytest.mark.timeout(900 + ROWS)
def test_rows_keep_their_order_and_types(cli: CommandLine, name: str) -> None:
    """Make, run and join a CSV and a Parquet file of the same rows."""
    columns = {
        "name": [f"name {number}, ü\n2nd" for number in range(ROWS)],
        "number": list(range(ROWS)),
        "share": [number / 7 if number % 5 else None for number in range(ROWS)],
        "is_even": [number % 2 == 0 for number in range(ROWS)],
        "day": [datetime.date(2026, 1, 1) + datetime.timedelta(number) for number in range(ROWS)],
        "tags": [["a"] * (number % 3) for number in range(ROWS)],
    }
    table = pyarrow.table(columns)
    pyarrow.parquet.write_table(table, cli.folder / "rows.parquet", row_group_size=64)
    plain = [column for column in columns if column != "tags"]
    with (cli.folder / "rows.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([plain, *zip(*(columns[one] for one in plain), strict=True)])
    make = ["--model", "openai/gpt-oss-20b", "--prompt", "Say {name} {number}"]
    files = [f"{name}-csv.jsonl", f"{name}-parquet.jsonl"]
    for rows, requests in zip(("rows.csv", "rows.parquet"), files, strict=True):
        cli.run("make", rows, *make, "--out", requests)

    cli.run("run", *files, "--out", ".")
    results = [requests.replace(".jsonl", ".results.jsonl") for requests in files]
    cli.run("join", "rows.csv", results[0], "--out", "answered.csv")
    cli.run("join", "rows.parquet", results[1], "--out", "answered.parquet")

    expected = [f"Echo: Say {columns['name'][n]} {n}" for n in range(ROWS)]
    answered = pyarrow.parquet.read_table(cli.folder / "answered.parquet")
    assert answered.column("answer").to_pylist() == expected
    assert answered.select(list(columns)).equals(table)
    with (cli.folder / "answered.csv").open(encoding="utf-8", newline="") as stream:
        read = list(csv.DictReader(stream))
    with (cli.folder / "rows.csv").open(encoding="utf-8", newline="") as stream:
        assert [{one: row[one] for one in plain} for row in read] == list(csv.DictReader(stream))
    assert [row["answer"] for row in read] == expected


def test_interrupted_and_cancelled(cli: CommandLine, pipeline: Pipeline, name: str) -> None:
    pipeline.simulator.configure(batch_seconds=600)
    (cli.folder / f"{name}.jsonl").write_bytes(request_file(["a", "b"]))
    with cli.start("run", f"{name}.jsonl") as process:
        try:
            assert process.stderr is not None
            assert any("running" in line for line in process.stderr)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE_SECONDS + ROWS / 10)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "continues without this terminal" in err
    assert f"groq-batch status {name}.jsonl --watch" in err
    assert f"groq-batch results {name}.jsonl" in err
    report = pipeline.report(f"{name}.jsonl")
    assert report is not None
    assert report["status"] == "running"
    out, _ = cli.run("status", f"{name}.jsonl")
    assert f"{name}.jsonl: running, 0 of 2 requests done (0 %)" in out
    _, err = cli.run("results", f"{name}.jsonl", status=1)
    assert "has not ended yet" in err

    out, _ = cli.run("cancel", f"{name}.jsonl", "--wait")

    assert f"{name}.jsonl: cancelled, 0 of 2 requests answered" in out
    out, _ = cli.run("status", f"{name}.jsonl", "--json", status=1)
    assert json.loads(out) == pipeline.report(f"{name}.jsonl")


def test_check_finds_what_the_pipeline_finds(
    cli: CommandLine, pipeline: Pipeline, name: str
) -> None:
    lines = [request_line("good-1"), *BAD_LINES.values()]
    data = b"\n".join(lines) + b"\n"
    (cli.folder / f"{name}.jsonl").write_bytes(data)
    out, _ = cli.run("check", "--json", f"{name}.jsonl", status=1)
    found = [
        {field: value for field, value in problem.items() if field != "column"}
        for problem in json.loads(out)["problems"]
    ]
    _, err = cli.run("run", f"{name}.jsonl", status=1)
    assert "Nothing was uploaded. Repair the file, or run the good lines only" in err
    assert pipeline.read(f"input/{name}.jsonl") is None
    assert pipeline.run(f"{name}.jsonl", data)["errors"] == found
    # Whether the event or the start by hand comes first, there is one job.
    out, _ = cli.run("run", f"{name}.jsonl", "--skip-invalid", "--now", "--json", status=1)
    report = json.loads(out)
    assert report == pipeline.report(f"{name}.jsonl")
    assert report["requests"]["succeeded"] == 1
    assert report["requests"]["invalid"] == len(BAD_LINES)


@pytest.fixture
def down(tmp_path: Path) -> Iterator[Callable[[], CommandLine]]:
    """Return the command line for a stack of its own, which ends with the test."""
    cli = CommandLine(
        tmp_path,
        GROQ_BATCH_LOCAL_FOLDER=str(tmp_path / "stack"),
        XDG_STATE_HOME=str(tmp_path / "state"),
    )
    yield lambda: cli
    cli.run("local", "down")


def installed(folder: Path) -> Path:
    """Return the command line as it is when it was installed: without a clone around it."""
    target = folder / "installed"
    shutil.copytree(PROJECT / "cli" / "groq_batch_cli", target / "groq_batch_cli")
    shutil.copytree(PROJECT / "cli" / "groq_batch_client", target / "groq_batch_client")
    shutil.copytree(PROJECT / "functions" / "groq_batch", target / "groq_batch")
    shutil.copy2(target / "groq_batch_cli" / "__main__.py", target / "__main__.py")
    return target


def test_stack_that_is_kept_running(
    down: Callable[[], CommandLine], name: str, tmp_path: Path
) -> None:
    cli = down()
    _, err = cli.run("jobs", "--local", status=1)
    assert "Start one: groq-batch local up" in err
    out, err = cli.run("local", "up", "--batch-seconds", "0.2", "--stack-name", "kept")
    assert "The stack kept runs on this machine" in out
    assert "Deploying the template (sam deploy) ..." in err
    (cli.folder / f"{name}.jsonl").write_bytes(request_file(["a"]))
    out, _ = cli.run("run", f"{name}.jsonl", "--local")
    assert f"{name}.jsonl: succeeded, 1 request answered" in out
    out, _ = cli.run("local", "status")
    address = next(line.split()[-1] for line in out.splitlines() if " AWS " in line)
    port = int(address.rsplit(":", 1)[-1])
    assert answers_ok(port, "/_ministack/health"), address
    assert LOOPBACK in address
    # Another program, that belongs to no clone, in a folder that belongs to none.
    elsewhere = CommandLine(
        tmp_path, program=installed(tmp_path), XDG_STATE_HOME=str(tmp_path / "state")
    )
    out, _ = elsewhere.run("jobs", "--local")
    assert f"{name}.jsonl" in out
    _, err = cli.run("local", "up", "--parameter", "MaxAttempts=5", status=1)
    assert "is running already, with MaxAttempts=3. To restart it" in err
    _, err = cli.run("local", "up", "--parameter", "MaxAttempt=5", status=2)
    assert "The template has no parameter MaxAttempt. Is MaxAttempts meant?" in err
    elsewhere.run("local", "down")
    wait_until(
        lambda: not answers_ok(port, "/_ministack/health"), 10, lambda: "it is still running"
    )
    cli.run("local", "status", status=1)
