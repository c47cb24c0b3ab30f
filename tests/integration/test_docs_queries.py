"""The how-tos for other tools: their queries, their DAG and their state machine are run."""

from __future__ import annotations

import functools
import json
import re
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
from cfnlint.api import ManualArgs, lint
from jsonata import Jsonata
from moto import mock_aws

from groq_batch.domain import object_keys
from groq_batch.domain.json_data import to_json_data
from groq_batch.domain.times import timestamp
from groq_batch.records.usage import UsageOfModel, UsageRecord
from local import asl_check
from tests import documents
from tests.documents import PROJECT
from tests.index_samples import usage_record
from tests.report_samples import report

HOW_TO = PROJECT / "docs" / "how-to"
TEXT = "2026-11-29 “quoted”, \u2028 U+2028, 漢字🙂\n0012"


def blocks(page: str, language: str) -> list[str]:
    found = documents.blocks(HOW_TO / page)
    return [block.text for block in found if block.language == language]


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """Lay a bucket out in a folder."""

    def put(key: str, text: str) -> None:
        file = tmp_path / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    now = datetime.now(UTC)
    chosen: list[dict[str, Any]] = [
        {"folder": "a", "actual_usd": 1.5},
        {"folder": "a", "actual_usd": None, "status": "failed", "error_code": "invalid_api_key"},
        {"folder": "", "actual_usd": 2.25, "status": "partial", "error_code": "batch_expired"},
        {"folder": "b", "actual_usd": 0.0, "status": "rejected", "models": []},
    ]
    for number, given in enumerate(chosen):
        ended = timestamp(now - timedelta(days=number))
        record = usage_record(number, **given, started_at=ended, finished_at=ended)
        put(record.object_key, json.dumps(to_json_data(record), ensure_ascii=False))
    rows = [
        _row("one", {"status_code": 200, "body": {"choices": [{"message": {"content": TEXT}}]}}),
        _row("two", {"status_code": 400, "body": {"error": {"code": "too_long"}}}),
        _row("three", None, {"code": "not_sent", "message": "No."}),
        _row("four", {"status_code": 200, "body": "the text of an audio file"}),
    ]
    put("output/team/requests.jsonl", "".join(row + "\n" for row in rows))
    for status in ("partial", "rejected"):
        put(f"reports/team/{status}.jsonl.json", json.dumps(report(status)))
        put(f"reports/team/{status}.jsonl.html", "<!DOCTYPE html>\n<p>{}</p>\n")
    put(object_keys.INDEX_KEY, "<!DOCTYPE html>\n")
    return tmp_path


def _row(custom_id: str, response: Any, error: Any = None) -> str:
    row = {"id": None, "custom_id": custom_id, "response": response, "error": error}
    return json.dumps(row, ensure_ascii=False)


# -- DuckDB ---------------------------------------------------------------------------------------


def test_queries_of_the_page_for_duckdb_answer_from_the_bucket(bucket: Path) -> None:
    setup, view, *queries = blocks("query-with-duckdb.md", "sql")
    assert "TYPE s3" in setup  # It needs AWS, and the network.
    database = duckdb.connect()
    database.execute(view.replace("s3://BUCKET", str(bucket)))
    answers = [
        database.execute(query.replace("s3://BUCKET", str(bucket))).fetchall() for query in queries
    ]
    by_folder, by_model, failed, results, reports = answers
    assert by_folder == [("", 1, 45_000, 2.25, 0), ("a", 2, 90_000, 1.5, 1), ("b", 1, 45_000, 0, 0)]
    assert by_model == [("openai/gpt-oss-20b", 135_000, 134_964, 33_000_000, 3.75)]
    codes = [(row[2], row[3]) for row in failed]
    assert codes == [
        ("failed", "invalid_api_key"),
        ("partial", "batch_expired"),
        ("rejected", None),
    ]
    assert results == [
        ("one", 200, TEXT, None),
        ("two", 400, None, "too_long"),
        ("three", None, None, "not_sent"),
        ("four", 200, None, None),
    ]
    assert sorted(row[1] for row in reports) == ["partial", "rejected"]


def test_view_for_duckdb_has_every_field_of_a_usage_record() -> None:
    view = blocks("query-with-duckdb.md", "sql")[1]
    names = re.findall(r"(?:^|[,{])\s*(\w+): '", view, re.MULTILINE)
    assert names == [field.name for field in fields(UsageRecord)]


def test_query_for_the_data_of_one_person_finds_the_files(bucket: Path) -> None:
    (query,) = blocks("delete-personal-data.md", "sql")
    upload = bucket / "input" / "other" / "requests.jsonl"
    upload.parent.mkdir(parents=True)
    upload.write_text(json.dumps({"custom_id": "customer-4711", "body": {}}) + "\n", "utf-8")
    found = duckdb.connect().execute(query.replace("s3://BUCKET", str(bucket))).fetchall()
    assert found == [(str(upload),)]


# -- Athena ---------------------------------------------------------------------------------------

TYPES = {"str": "string", "int": "bigint", "float": "double"}


def athena(kind: str) -> list[str]:
    found = blocks("query-with-athena.md", "sql")
    return [text for text in found if text.startswith(kind)]


def athena_type(annotation: str) -> str:
    return TYPES[annotation.split(" ", maxsplit=1)[0]]


def test_table_for_athena_has_every_field_of_a_usage_record() -> None:
    table = athena("CREATE EXTERNAL TABLE groq_batch_usage")[0]
    columns = dict(re.findall(r"^  (\w+) (\w+),?$", table, re.MULTILINE))
    wanted = {field.name: field.type for field in fields(UsageRecord) if field.name != "models"}
    assert columns == {name: athena_type(str(kind)) for name, kind in wanted.items()}
    assert list(columns) == list(wanted)
    (models,) = re.findall(r"models array<struct<(.*)>>", table)
    assert models == ",".join(
        f"{field.name}:{athena_type(str(field.type))}" for field in fields(UsageOfModel)
    )
    location = "'storage.location.template' = 's3://BUCKET/" + object_keys.usage_day_prefix(
        "${date}"
    )
    assert location in table
    assert len(re.findall(r"'projection\.", table)) == 4


def test_queries_of_the_page_for_athena_answer_from_the_bucket(bucket: Path) -> None:
    """DuckDB runs what it has in common with Trino; the rest is put into its words here."""
    database = duckdb.connect()
    database.execute(
        "CREATE MACRO json_extract_scalar(text, path) AS json_extract_string(text, path)"
    )
    view = blocks("query-with-duckdb.md", "sql")[1].replace("s3://BUCKET", str(bucket))
    typed = re.sub("'TIMESTAMP'", "'VARCHAR'", view)
    database.execute(typed.replace("VIEW usage", "VIEW groq_batch_usage"))
    for table in athena("CREATE EXTERNAL TABLE")[1:]:
        (name,) = re.findall(r"TABLE (\w+) \(line string\)", table)
        (location,) = re.findall(r"LOCATION 's3://BUCKET/(\w+/)'", table)
        files = [file for file in (bucket / location).rglob("*") if file.is_file()]
        lines = [
            (f"s3://BUCKET/{file.relative_to(bucket)}", line)
            for file in files
            for line in file.read_text().split("\n")
            if line
        ]
        database.execute(f'CREATE TABLE {name} ("$path" VARCHAR, line VARCHAR)')
        database.executemany(f"INSERT INTO {name} VALUES (?, ?)", lines)
    answers = []
    for query in [*athena("CREATE OR REPLACE VIEW"), *athena("SELECT")]:
        unnested = re.sub(
            r"CROSS JOIN UNNEST\(models\) AS t (\(.*\))",
            r", LATERAL (SELECT UNNEST(models, max_depth := 2)) AS t \1",
            query,
        )
        recent = unnested.replace(
            "2026-11-01", f"{datetime.now(UTC) - timedelta(days=20):%Y-%m-%d}"
        )
        answers.append(database.execute(recent).fetchall())
    _, by_folder, by_model, results, reports = answers
    assert by_folder == [("", 1, 45_000, 2.25, 0), ("a", 2, 90_000, 1.5, 1), ("b", 1, 45_000, 0, 0)]
    assert by_model == [("openai/gpt-oss-20b", 135_000, 134_964, 3.75)]
    assert results == [
        ("one", TEXT, None),
        ("two", None, "too_long"),
        ("three", None, "not_sent"),
        ("four", None, None),
    ]
    assert sorted(row[1] for row in reports) == ["partial", "rejected"]


# -- Airflow --------------------------------------------------------------------------------------


class Dag:
    """Runs a DAG's tasks when they are asked for, instead of where Airflow would."""

    def __init__(self) -> None:
        self.tasks: dict[str, Callable[..., Any]] = {}
        self.sensors: dict[str, dict[str, Any]] = {}

    def module(self) -> types.ModuleType:
        made = types.ModuleType("airflow.sdk")
        made.dag = lambda **_: lambda function: function  # type: ignore[attr-defined]
        made.task = self  # type: ignore[attr-defined]
        return made

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.tasks[function.__name__] = function
        return lambda *_, **__: self

    def sensor(self, **options: Any) -> Callable[..., Any]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            self.sensors[function.__name__] = options
            return self(function)

        return decorate

    def __rshift__(self, other: Dag) -> Dag:
        return other


@pytest.fixture
def dag(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dag]:
    made = Dag()
    monkeypatch.setitem(sys.modules, "airflow", types.ModuleType("airflow"))
    monkeypatch.setitem(sys.modules, "airflow.sdk", made.module())
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="bucket")
        (code,) = blocks("run-from-airflow.md", "python")
        exec(compile(code.replace('"BUCKET"', '"bucket"'), "dag.py", "exec"), {})
        yield made


def test_dag_for_airflow_uploads_once_and_waits_for_the_end(dag: Dag) -> None:
    s3 = boto3.client("s3")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    path = dag.tasks["upload"]("manual__2026-11-29T00:00:00+00:00")
    assert path == "airflow/reviews/manual__2026-11-29T00_00_00_00_00.jsonl"
    assert dag.tasks["upload"]("manual__2026-11-29T00:00:00+00:00") == path
    assert len(s3.list_object_versions(Bucket="bucket")["Versions"]) == 1
    lines = s3.get_object(Bucket="bucket", Key=f"input/{path}")["Body"].read().splitlines()
    assert [json.loads(line)["custom_id"] for line in lines] == ["review-0", "review-1"]
    assert dag.tasks["has_ended"](path) is False

    def tell(**fields: Any) -> None:
        body = json.dumps(fields).encode()
        s3.put_object(Bucket="bucket", Key=f"reports/{path}.json", Body=body)

    tell(status="running")
    assert dag.tasks["has_ended"](path) is False
    tell(status="partial", outputs={"results": "s3://bucket/output/x"})
    assert dag.tasks["has_ended"](path) is True
    assert dag.tasks["results"](path) == "s3://bucket/output/x"
    tell(status="rejected", outputs={"results": None}, errors=[{"message": "Line 3 is bad."}])
    with pytest.raises(RuntimeError, match=r"rejected: Line 3 is bad\."):
        dag.tasks["results"](path)
    assert dag.sensors["has_ended"]["mode"] == "reschedule"


# -- Step Functions -------------------------------------------------------------------------------


@functools.cache
def parent() -> dict[str, Any]:
    machine: dict[str, Any] = json.loads(blocks("run-from-step-functions.md", "json")[0])
    return machine


def evaluate(value: Any, variables: dict[str, Any]) -> Any:
    """Evaluate what stands in a field as Step Functions does with JSONata."""
    if isinstance(value, dict):
        return {name: evaluate(one, variables) for name, one in value.items()}
    if isinstance(value, str) and value.startswith("{%"):
        expression = Jsonata(value.removeprefix("{%").removesuffix("%}"))
        for name, one in variables.items():
            expression.assign(name, one)
        return expression.evaluate(None)
    return value


def run_parent(answers: dict[str, Callable[[dict[str, Any]], Any]]) -> tuple[str, Any, int]:
    """Run the parent; returns its last state, what that says, and how often it has waited."""
    machine, waits = parent(), 0
    variables: dict[str, Any] = {"states": {"input": {"key": "input/team/x.jsonl"}}}
    name = machine["StartAt"]
    while waits < 100:
        state = machine["States"][name]
        if state["Type"] == "Task":
            arguments = evaluate(state["Arguments"], variables)
            try:
                result = answers[name](arguments)
            except KeyError:
                (caught,) = state["Catch"]
                assert caught["ErrorEquals"] == ["S3.NoSuchKeyException"]
                name = caught["Next"]
                continue
            seen = {**variables, "states": {**variables["states"], "result": result}}
            variables.update(evaluate(state["Assign"], seen))
        elif state["Type"] == "Choice":
            chosen = [one for one in state["Choices"] if evaluate(one["Condition"], variables)]
            name = chosen[0]["Next"] if chosen else state["Default"]
            continue
        elif state["Type"] == "Wait":
            waits += 1
        else:
            said = state.get("Output") or state["Cause"]
            return name, evaluate(said, variables), waits
        name = state["Next"]
    raise AssertionError("it waits for ever")


def body_of(job_id: str, status: str) -> str:
    made = {**report(status), "job_id": job_id}
    made["input"] |= {"key": 'input/"status":"failed".jsonl'}
    return json.dumps(made, separators=(",", ":"))[:512]


def test_parent_for_step_functions_is_accepted() -> None:
    properties = {"RoleArn": "arn:aws:iam::123456789012:role/r", "Definition": parent()}
    resource = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    template = json.dumps({"Resources": {"Parent": resource}})
    assert lint(template, config=ManualArgs(regions=["us-east-1"])) == []
    assert asl_check.check_machine(parent()) == []


def test_template_for_another_account_is_accepted() -> None:
    (template,) = blocks("run-from-another-account.md", "yaml")
    assert lint(template, config=ManualArgs(regions=["us-east-1"])) == []


@pytest.mark.parametrize(
    ("told", "end", "waits"),
    [
        (["running", "running", "succeeded"], "GoOn", 3),
        (["succeeded"], "GoOn", 1),
        (["running", "partial"], "GoOn", 2),
        (["rejected"], "JobFailed", 1),
        (["cancelled"], "JobFailed", 1),
        ([None, None, "other", "running", "succeeded"], "GoOn", 5),
        (["other"] * 40, "Overtaken", 31),
    ],
)
def test_parent_for_step_functions_goes_on_when_the_job_has_ended(
    told: list[str | None], end: str, waits: int
) -> None:
    statuses = iter(told)

    def start(arguments: dict[str, Any]) -> Any:
        assert arguments["Payload"] == {"key": "input/team/x.jsonl"}
        answer = {"job_id": "x-1", "report": "s3://BUCKET/reports/team/x.jsonl.json"}
        return {"Payload": answer}

    def read(arguments: dict[str, Any]) -> Any:
        assert arguments["Key"] == "reports/team/x.jsonl.json"
        status = next(statuses)
        if status is None:
            raise KeyError
        is_other = status == "other"
        return {"Body": body_of("w-1" if is_other else "x-1", "succeeded" if is_other else status)}

    name, said, waited = run_parent({"StartJob": start, "ReadReport": read})
    assert (name, waited) == (end, waits)
    if name == "GoOn":
        assert said["job_id"] == "x-1"
    if name == "JobFailed":
        assert said == f"The job ended as {told[-1]}; see reports/team/x.jsonl.json"
