"""The Python client against moto; what the pipeline would do is done by a double of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow
import pytest
from moto import mock_aws

import groq_batch_client as client
from groq_batch_client import GroqBatch, Job, progress
from groq_batch_client.stack import StackAddress
from tests.integration.aws_session import shared_session
from tests.integration.client_world import ClientWorld, final_row, request_dicts

MODEL = "openai/gpt-oss-20b"
ASK = {"prompt": "Say {text}", "model": MODEL}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClientWorld]:
    with mock_aws():
        made = ClientWorld(tmp_path)
        made.patch(monkeypatch)
        monkeypatch.setattr(StackAddress, "session", lambda _: shared_session())
        yield made


@pytest.fixture
def batch(world: ClientWorld) -> GroqBatch:
    return GroqBatch()


def frame_of(kind: str, **columns: list[Any]) -> Any:
    make = {"pandas": pandas.DataFrame, "polars": polars.DataFrame, "pyarrow": pyarrow.table}
    return make[kind](columns)


def written(rows: polars.DataFrame, ending: str) -> str:
    """Write a file of rows; return its path."""
    path = Path(f"rows.{ending}")
    match ending:
        case "csv":
            rows.write_csv(path)
        case "tsv":
            rows.write_csv(path, separator="\t")
        case "jsonl":
            rows.write_ndjson(path)
        case _:
            rows.write_parquet(path)
    return str(path)


# -- submit --------------------------------------------------------------------------------------


def test_submit_requests_uploads_them_and_answers_come_in_order(
    world: ClientWorld, batch: GroqBatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = batch.submit(request_dicts("x", "y"), max_job_cost_usd=0.1, check_models=False)
    lines = "".join(
        json.dumps(one, separators=(",", ":")) + "\n" for one in request_dicts("x", "y")
    )
    digest = hashlib.sha256(lines.encode()).hexdigest()
    assert job.path == f"frames/{digest[:16]}.jsonl"
    metadata = world.metadata(f"input/{job.path}")
    assert len(metadata.pop("groq-batch-digest")) == 64
    assert metadata == {"max-job-cost-usd": "0.1", "check-models": "false"}
    assert job.wait()["status"] == "succeeded" == job.status
    assert list(job.answers()) == [("a", "Answer to x"), ("b", "Answer to y")]
    assert [row["custom_id"] for row in job.rows()] == ["a", "b"]
    assert job.to_frame().to_dict(as_series=False) == {
        "custom_id": ["a", "b"],
        "answer": ["Answer to x", "Answer to y"],
        "error_code": [None, None],
    }
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


@pytest.mark.parametrize(
    ("to", "path"),
    [(None, "x.jsonl"), ("team/", "team/x.jsonl"), ("team/y.jsonl", "team/y.jsonl")],
)
def test_submit_file_goes_where_it_is_told_as_it_is(
    to: str | None, path: str, world: ClientWorld, batch: GroqBatch
) -> None:
    data = b"".join(json.dumps(one).encode() + b"\r\n" for one in request_dicts("x"))
    Path("x.jsonl").write_bytes(data)
    assert batch.submit(Path("x.jsonl"), to=to).path == path
    assert world.read(f"input/{path}") == data


def test_submit_requests_to_a_compressed_path_compresses_them(
    world: ClientWorld, batch: GroqBatch
) -> None:
    job = batch.submit(request_dicts("x"), to="team/x.jsonl.gz")
    assert list(job.answers()) == [("a", "Answer to x")]
    assert batch.submit(request_dicts("x"), to="team/x.jsonl.gz").path == job.path
    assert world.uploads == ["input/team/x.jsonl.gz"]


def test_submit_same_requests_again_gives_the_job_that_there_is(
    world: ClientWorld, batch: GroqBatch
) -> None:
    world.is_running = True
    first = batch.submit(request_dicts("x"), to="x.jsonl")
    second = GroqBatch().submit(request_dicts("x"), to="x.jsonl")
    assert (first.status, second.status) == ("running", "running")
    world.finish("x.jsonl")
    third = GroqBatch().submit(request_dicts("x"), to="x.jsonl", max_attempts=2)
    assert third.status == "succeeded"
    assert world.uploads == ["input/x.jsonl"]
    batch.submit(request_dicts("x"), to="x.jsonl", again=True)
    batch.submit(request_dicts("other"), to="x.jsonl")
    assert world.uploads == ["input/x.jsonl"] * 3


def test_submit_before_the_job_has_started_gives_the_upload(
    world: ClientWorld, batch: GroqBatch
) -> None:
    world.starts_jobs = False
    assert batch.submit(request_dicts("x"), to="x.jsonl").status == "starting"
    job = batch.submit(request_dicts("x"), to="x.jsonl")
    assert world.uploads == ["input/x.jsonl"]
    world.finish("x.jsonl")
    assert job.status == "succeeded"


def test_submit_of_what_was_answered_and_tidied_away_pays_nothing_and_still_has_rows(
    world: ClientWorld, batch: GroqBatch
) -> None:
    batch.submit(request_dicts("x"), to="x.jsonl")
    world.storage.delete(["reports/x.jsonl.json", "output/x.jsonl"])
    job = GroqBatch().submit(request_dicts("x"), to="x.jsonl")
    assert job.wait()["status"] == "succeeded"
    assert list(job.answers()) == [("a", "Answer to x")]
    versions = list(world.storage.versions("reports/"))
    for version in sorted(versions, key=lambda one: not one.is_delete_marker):
        world.s3.delete_object(Bucket=world.bucket, Key=version.key, VersionId=version.version_id)
    job = GroqBatch().submit(request_dicts("x"), to="x.jsonl")
    for ask in (job.wait, job.rows, lambda: job.status):
        with pytest.raises(client.JobNotFound, match=r"has no report of x-.* any more"):
            ask()
    assert world.uploads == ["input/x.jsonl"]


def test_job_that_was_overtaken_still_has_its_own_rows(
    world: ClientWorld, batch: GroqBatch
) -> None:
    first = batch.submit(request_dicts("x"), to="x.jsonl")
    second = batch.submit(request_dicts("y"), to="x.jsonl")
    assert list(second.answers()) == [("a", "Answer to y")]
    assert list(first.answers()) == [("a", "Answer to x")]


def test_submit_of_what_ended_without_any_answer_uploads_it_once_more(
    world: ClientWorld, batch: GroqBatch
) -> None:
    world.answer = lambda _: None
    assert batch.submit(request_dicts("x"), to="x.jsonl").wait()["status"] == "partial"
    world.answer = lambda _: "Yes"
    assert list(batch.submit(request_dicts("x"), to="x.jsonl").answers()) == [("a", "Yes")]
    assert world.uploads == ["input/x.jsonl"] * 2


def test_submit_of_what_runs_with_other_options_raises(
    world: ClientWorld, batch: GroqBatch
) -> None:
    world.is_running = True
    batch.submit(request_dicts("x"), to="x.jsonl", completion_window="48h")
    batch.submit(request_dicts("x"), to="x.jsonl", completion_window="48h", max_attempts=3)
    with pytest.raises(client.JobConflict, match=r"x\.jsonl is running with other options"):
        batch.submit(request_dicts("x"), to="x.jsonl", completion_window="72h")
    for options in ({}, {"completion_window": "48h", "canary_requests": 5}):
        with pytest.raises(client.JobConflict):
            batch.submit(request_dicts("x"), to="x.jsonl", **options)
    assert world.uploads == ["input/x.jsonl"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"windw": "24h"}, "There is no option 'windw'; there are batch_deadline, canary_"),
        ({"max_attempts": 11}, "max_attempts is '11'; allowed is a whole number from 1 to 10."),
        ({"max_attempts": True}, "max_attempts must be a whole number, not True."),
        ({"max_attempts": 2.5}, "max_attempts must be a whole number, not 2.5."),
        ({"completion_window": "8d"}, "completion_window is '8d'; allowed is hours or days"),
        ({"completion_window": 24}, "completion_window must be a text such as '24h' or '7d'"),
        ({"on_invalid_line": "drop"}, "on_invalid_line is 'drop'; allowed is reject or skip."),
        ({"max_job_cost_usd": -1}, "max_job_cost_usd is '-1'; allowed is a number of US dollars"),
        ({"max_job_cost_usd": float("nan")}, "max_job_cost_usd must be a number of US dollars"),
        ({"check_models": 1}, "check_models must be True or False, not 1."),
        ({"canary_requests": 10_001}, "canary_requests is '10001'; allowed is"),
        ({"canary_max_failed_percent": 101}, "canary_max_failed_percent is '101'; allowed is"),
        ({"batch_deadline": "31d"}, "batch_deadline is '31d'; allowed is"),
        ({"deadline_max_usd": "much"}, "deadline_max_usd is 'much'; allowed is"),
        ({"retry_invalid_output": "yes"}, "retry_invalid_output is 'yes'; allowed is"),
        ({"completion_window": "7d", "max_attempts": 10}, "deploy the stack with WorkRetention"),
    ],
)
def test_submit_with_a_bad_option_raises_before_anything_is_uploaded(
    options: dict[str, Any], expected: str, world: ClientWorld, batch: GroqBatch
) -> None:
    with pytest.raises(client.OptionError) as caught:
        batch.submit(request_dicts("x"), **options)
    assert str(caught.value).startswith(expected) or expected in str(caught.value)
    assert world.uploads == []


@pytest.mark.parametrize(
    ("source", "arguments", "kind", "expected"),
    [
        ([], {}, "RequestsError", "There are no requests to submit."),
        ([{"a": {1, 2}}], {}, "RequestsError", "Request 1 cannot be written as JSON"),
        ([{"a": float("nan")}], {}, "RequestsError", "Request 1 cannot be written as JSON"),
        ([{}, "x"], {}, "RequestsError", "Request 2 is a str, not a dict."),
        ({"custom_id": "a"}, {}, "WrongArgumentError", "dict is nothing to submit. Give a file"),
        (7, {}, "WrongArgumentError", "int is nothing to submit."),
        ("nowhere.jsonl", {}, "RequestsError", "nowhere.jsonl does not exist"),
        ("nowhere.csv", ASK, "RequestsError", "nowhere.csv does not exist"),
        ("rows.csv", {}, "WrongArgumentError", "rows.csv is a table, not a request file."),
        ("rows.csv", {"prompt": "{x}"}, "WrongArgumentError", "from rows, give model=."),
        ("rows.csv", {"prompt": "x", "model": "m"}, "WrongArgumentError", "same_prompt=True"),
        ("rows.csv", {"prompt": "{y}", "model": "m"}, "TableError", "there is no column 'y'"),
        ("rows.csv", {"prompt": "{x}", "model": "m", "id": "y"}, "TableError", "no column 'y'"),
        (
            "rows.csv",
            {"prompt": "{x}", "model": "m", "params": {"model": "n"}},
            "WrongArgumentError",
            "params has 'model'",
        ),
        (
            [{}],
            ASK,
            "WrongArgumentError",
            "build requests from a data frame or a file of rows, not from a list.",
        ),
        ([{}], {"to": "recurring/x.jsonl"}, "WrongArgumentError", "recurring"),
        ([{}], {"to": "s3://b/x.jsonl"}, "WrongArgumentError", "is a URI"),
        (polars.LazyFrame({"text": ["a"]}), ASK, "WrongArgumentError", "LazyFrame has no rows"),
        (polars.DataFrame({"text": []}), ASK, "RequestsError", "There are no requests to submit."),
        (pandas.DataFrame({"text": ["a"]}), {}, "WrongArgumentError", "give prompt= and model="),
        (
            pandas.DataFrame({"text": ["a", {"b": 1}]}),
            ASK,
            "TableError",
            "The column 'text' of the frame cannot be read as an Arrow type",
        ),
        (
            pandas.DataFrame({"text": ["a", "b"], "id": ["1", "1"]}),
            {**ASK, "id": "id"},
            "TableError",
            "The ids come from the column 'id' (id=).",
        ),
    ],
)
def test_submit_of_what_cannot_be_used_raises_before_anything_is_uploaded(
    source: Any,
    arguments: dict[str, Any],
    kind: str,
    expected: str,
    world: ClientWorld,
    batch: GroqBatch,
) -> None:
    Path("rows.csv").write_text("x\n1\n")
    with pytest.raises(client.GroqBatchError) as caught:
        batch.submit(source, **arguments)
    assert type(caught.value).__name__ == kind
    assert expected in str(caught.value)
    assert world.uploads == []


# -- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_run_gives_the_frame_that_came_in_with_answers_beside_it(
    kind: str, world: ClientWorld, batch: GroqBatch
) -> None:
    frame = frame_of(kind, text=["x", "y", "z"], n=[2**60 + 1, 2, 3], flag=[True, None, False])
    world.answer = lambda request: None if request["custom_id"] == "row-2" else "Yes"
    answered = batch.run(frame, **ASK)
    assert type(answered) is type(frame)
    columns = answered.column_names if kind == "pyarrow" else list(answered.columns)
    assert columns == [
        *("text", "n", "flag", "answer", "tool_calls"),
        *("finish_reason", "error_code", "error_message"),
    ]
    found = answered if kind == "pyarrow" else pyarrow.table(answered)
    assert found.column("answer").to_pylist() == ["Yes", None, "Yes"]
    assert found.column("error_code").to_pylist() == [None, "missing", None]
    assert found.column("n").to_pylist() == [2**60 + 1, 2, 3]
    assert found.column("flag").to_pylist() == [True, None, False]
    if kind == "pandas":
        own = answered[["text", "n", "flag"]]
        pandas.testing.assert_frame_equal(own, frame)
    elif kind == "polars":
        assert answered.select("text", "n", "flag").equals(frame)
    else:
        assert answered.select(["text", "n", "flag"]).equals(frame)


def test_run_of_pandas_keeps_index_types_and_columns_that_arrow_cannot_hold(
    batch: GroqBatch,
) -> None:
    frame = pandas.DataFrame(
        {
            "text": pandas.Categorical(["x", "y"]),
            "anything": [{1, 2}, object],
            7: [1.5, None],
        },
        index=pandas.Index(["one", 2], name="mixed"),
    )
    answered = batch.run(frame, prompt="{text} {7}", model=MODEL)
    assert list(answered["answer"]) == ["Answer to x 1.5", "Answer to y "]
    pandas.testing.assert_frame_equal(answered[["text", "anything", 7]], frame)


def test_run_with_ids_and_schema_gives_columns_of_its_properties(
    world: ClientWorld, batch: GroqBatch
) -> None:
    schema = {
        "type": "object",
        "properties": {
            "score": {"type": "integer"},
            "good": {"type": "boolean"},
            "why": {"type": "string"},
        },
    }
    answers = {"p": '{"score": 9007199254740993, "good": true, "why": "ok"}', "q": "not JSON"}
    world.answer = lambda request: answers[request["custom_id"]]
    frame = pandas.DataFrame({"text": ["x", "y"], "name": ["p", "q"]})
    how = {"id": "name", "schema": schema, "params": {"max_completion_tokens": 9}, **ASK}
    answered = batch.run(frame, prefix="groq_", **how)
    assert answered["groq_answer_score"].tolist() == [9007199254740993, pandas.NA]
    assert str(answered["groq_answer_score"].dtype) == "Int64"
    assert str(answered["groq_answer_good"].dtype) == "boolean"
    assert answered["groq_answer_why"].tolist()[0] == "ok"
    assert answered["groq_answer"].tolist()[1] == "not JSON"
    assert answered["groq_error_code"].isna().tolist() == [True, False]
    body = world.requests(world.uploads[0].removeprefix("input/"))[0]["body"]
    assert body["max_completion_tokens"] == 9
    assert body["response_format"]["json_schema"]["schema"] == schema


def test_job_found_after_a_restart_knows_ids_and_schema(
    world: ClientWorld, batch: GroqBatch
) -> None:
    schema = {"type": "object", "properties": {"score": {"type": "integer"}}}
    world.answer = lambda _: '{"score": 1}'
    frame = polars.DataFrame({"text": ["x"], "Id é": ["p"]})
    path = batch.submit(frame, id="Id é", schema=schema, **ASK).path
    again = GroqBatch().job(path, frame).to_frame()
    assert again["answer_score"].to_list() == [1]
    assert GroqBatch().job(path).to_frame().columns == ["custom_id", "answer", "error_code"]
    assert GroqBatch().job(f"s3://{world.bucket}/output/{path}").path == path
    report = batch.job(path).report()
    assert report is not None
    assert batch.job(report["job_id"]).path == path


def test_frame_of_other_rows_is_refused(batch: GroqBatch) -> None:
    frame = polars.DataFrame({"text": ["x", "y"]})
    path = batch.submit(frame, **ASK).path
    with pytest.raises(client.TableError, match=r"more\. Join the rows"):
        batch.job(path, polars.DataFrame({"text": ["x", "y", "z"]})).to_frame()
    with pytest.raises(client.TableError, match="with the same id="):
        batch.job(path, frame, id="text").to_frame()
    taken = batch.submit(frame.with_columns(answer=polars.lit("old")), **ASK)
    with pytest.raises(client.TableError, match=r"already has the column 'answer'.*prefix="):
        taken.to_frame()
    assert taken.to_frame(prefix="groq_").columns[:3] == ["text", "answer", "groq_answer"]


@pytest.mark.parametrize("ending", [None, "csv", "jsonl", "parquet"])
def test_run_with_a_column_of_a_new_name_pays_for_nothing(
    ending: str | None, world: ClientWorld, batch: GroqBatch
) -> None:
    source: Any = polars.DataFrame({"text": ["x"], "error_code": ["old"]})
    if ending is not None:
        source = written(source, ending)
    with pytest.raises(client.TableError, match=r"already has the column 'error_code'.*prefix="):
        batch.run(source, **ASK)
    with pytest.raises(client.TableError, match="answer_score"):
        batch.run(
            pandas.DataFrame({"text": ["x"], "answer_score": [1]}),
            schema={"type": "object", "properties": {"score": {"type": "integer"}}},
            **ASK,
        )
    assert world.uploads == []


def test_run_of_a_stream_of_arrow_reads_it_once(batch: GroqBatch) -> None:
    table = pyarrow.table({"text": ["x", "y"]})
    stream = pyarrow.RecordBatchReader.from_batches(table.schema, table.to_batches())
    answered = batch.run(stream, **ASK)
    assert answered.column("text").to_pylist() == ["x", "y"]
    assert answered.column("error_code").to_pylist() == [None, None]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_run_of_a_file_of_rows_gives_a_frame_of_polars(ending: str, batch: GroqBatch) -> None:
    path = written(polars.DataFrame({"text": ["x", "y"], "code": ["001", "2"]}), ending)
    answered = batch.run(path, **ASK)
    assert answered.select("text", "code", "answer").rows() == [
        ("x", "001", "Answer to Say x"),
        ("y", "2", "Answer to Say y"),
    ]


class Killed(BaseException):
    """The end of a kernel."""


@pytest.mark.parametrize("comes_back", [False, True], ids=["before", "after"])
def test_run_that_is_killed_at_any_call_and_run_again_pays_nothing_twice(
    comes_back: bool, world: ClientWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let each run die at a later call of AWS, before the call or once it has had its effect."""
    call, left, depth = world.call, 0, 0

    def dying(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        nonlocal left, depth
        # The pipeline's own calls are none of the program's.
        left -= depth == 0
        dies = depth == 0 and left == 0
        if dies and not comes_back:
            raise Killed
        depth += 1
        try:
            return call(client, operation, parameters)
        finally:
            depth -= 1
            if dies:
                raise Killed

    monkeypatch.setattr(world, "call", dying)
    lives = 0
    has_ended = False
    while not has_ended:
        lives += 1
        rows = polars.DataFrame({"text": [f"{lives} x", f"{lives} y"]})
        world.uploads.clear()
        left = lives
        try:
            GroqBatch().run(rows, **ASK)
            has_ended = True
        except Killed:
            pass
        left = -1
        answered = GroqBatch().run(rows, **ASK)
        assert answered["answer"].to_list() == [f"Answer to Say {lives} {one}" for one in "xy"]
        assert len(world.uploads) == 1
    assert lives > 7


def test_frames_of_many_rows_are_read_in_parts(world: ClientWorld, batch: GroqBatch) -> None:
    frame = polars.DataFrame({"text": [str(n) for n in range(5000)]})
    answered = batch.run(frame, **ASK)
    assert answered["answer"].to_list() == [f"Answer to Say {n}" for n in range(5000)]


# -- the job -------------------------------------------------------------------------------------


def test_job_that_runs_has_no_rows_yet(world: ClientWorld, batch: GroqBatch) -> None:
    world.is_running = True
    job = batch.submit(request_dicts("x", "y"), to="x.jsonl")
    for ask in (job.rows, job.answers, job.to_frame, job.retry):
        with pytest.raises(client.NotEnded, match=r"x\.jsonl has not ended yet \(0 of 2 requests"):
            ask()
    with pytest.raises(client.WaitTimeout, match="has not ended within 0 s") as caught:
        job.wait(timeout=0.01)
    assert caught.value.report is not None
    assert caught.value.report["status"] == "running"


def test_job_that_was_rejected_has_no_rows(world: ClientWorld, batch: GroqBatch) -> None:
    world.is_running = True
    job = batch.submit(request_dicts("x"), to="x.jsonl")
    world.reject("x.jsonl")
    assert job.wait()["status"] == "rejected"
    for ask in (job.rows, job.answers, job.to_frame, job.retry):
        with pytest.raises(client.JobRejected, match=r"first on line 2.*No such URL") as caught:
            ask()
        assert caught.value.report["status"] == "rejected"


def test_rows_that_are_fewer_than_the_report_says_are_an_error(
    world: ClientWorld, batch: GroqBatch
) -> None:
    job = batch.submit(request_dicts("x", "y"), to="x.jsonl")
    metadata = world.metadata("output/x.jsonl")
    world.storage.put_bytes("output/x.jsonl", b"{}\n", metadata=metadata)
    with pytest.raises(client.BrokenDownloadError, match="came with 1 row instead of 2"):
        list(job.rows())


def test_job_that_does_not_exist(world: ClientWorld, batch: GroqBatch) -> None:
    with pytest.raises(client.JobNotFound, match=r"There is no job of team/x\.jsonl in s3://"):
        batch.job("team/x.jsonl")
    batch.submit(request_dicts("x"), to="x.jsonl")
    with pytest.raises(client.WrongArgumentError, match="list has no rows"):
        batch.job("x.jsonl", [1])


def test_cancel_stops_the_execution(world: ClientWorld, batch: GroqBatch) -> None:
    world.is_running = True
    job = batch.submit(request_dicts("x"), to="x.jsonl")
    with pytest.raises(client.StackNeeded, match=r"GroqBatch\(stack=…\)"):
        GroqBatch(bucket=world.bucket).job("x.jsonl").cancel()
    job.cancel()
    (execution,) = world.states.list_executions(stateMachineArn=world.machine)["executions"]
    assert execution["status"] == "ABORTED"
    with pytest.raises(client.JobError, match="has ended already"):
        job.cancel()


def test_retry_leaves_out_what_would_fail_again_and_says_how_many(
    world: ClientWorld, batch: GroqBatch
) -> None:
    frame = polars.DataFrame({"text": ["x", "y", "z"]})
    world.answer = lambda one: {
        "row-1": "One",
        "row-2": None,
        "row-3": final_row("row-3"),
    }[one["custom_id"]]
    job = batch.submit(frame, to="x.jsonl", **ASK)
    world.answer = lambda _: "Again"
    retry = job.retry(max_attempts=2)
    assert (retry.path, retry.left_out) == ("x.retry.jsonl", 1)
    assert list(retry.answers()) == [("row-2", "Again")]
    assert retry.to_frame()["answer"].to_list() == ["One", "Again", None]
    assert job.retry().path == "x.retry.jsonl"
    assert len(world.uploads) == 2
    rest = job.retry(all=True)
    assert (rest.path, rest.left_out) == ("x.retry-2.jsonl", 0)
    assert rest.to_frame()["answer"].to_list() == ["One", "Again", "Again"]
    with pytest.raises(client.JobError, match=r"Nothing of x\.retry\.jsonl has failed"):
        retry.retry()


def test_retry_of_nothing_but_final_errors_says_so(world: ClientWorld, batch: GroqBatch) -> None:
    world.answer = lambda one: final_row(one["custom_id"])
    job = batch.submit(request_dicts("x"), to="x.jsonl")
    with pytest.raises(client.JobError, match=r"1 whose error is final .*retry\(all=True\)"):
        job.retry()


def test_wait_starts_an_upload_whose_event_was_lost(
    world: ClientWorld,
    batch: GroqBatch,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.starts_jobs = False
    job = batch.submit(request_dicts("x"), to="x.jsonl")
    monkeypatch.setattr("groq_batch_client.job.SILENCE_SECONDS", 0.0)
    with pytest.raises(client.WaitTimeout):
        job.wait(timeout=0.01)
    assert world.payloads == [{"key": "input/x.jsonl"}]
    world.start_error = "No such role."
    with pytest.raises(client.WaitTimeout):
        job.wait(timeout=0.01)
    assert len(world.payloads) == 2
    assert capsys.readouterr() == ("", "")
    world.deploy("groq-batch", TriggerMode="schedule")
    with pytest.raises(client.WaitTimeout):
        job.wait(timeout=0.01)
    assert len(world.payloads) == 2


# -- reaching AWS --------------------------------------------------------------------------------


def test_stack_that_does_not_exist_is_told_in_the_words_of_python(world: ClientWorld) -> None:
    with pytest.raises(client.StackError, match=r"no stack nope in us-east-1\. Name yours with st"):
        GroqBatch("nope").submit(request_dicts("x"))
    with pytest.raises(client.WrongArgumentError, match="Give stack= or bucket=, not both"):
        GroqBatch("a", bucket="b")


def test_errors_of_aws_are_of_the_one_tree(world: ClientWorld, batch: GroqBatch) -> None:
    world.denied = "HeadObject"
    with pytest.raises(client.AwsError, match=r"AWS denies HeadObject .*with profile=\."):
        batch.submit(request_dicts("x"))


def test_bucket_alone_is_enough_but_for_cancel(world: ClientWorld) -> None:
    world.stacks.clear()
    job = GroqBatch(bucket=world.bucket).submit(request_dicts("x"), to="x.jsonl")
    assert isinstance(job, Job)
    assert list(job.answers()) == [("a", "Answer to x")]


# -- progress ------------------------------------------------------------------------------------


def test_progress_is_shown_when_asked_for_and_removed(
    world: ClientWorld, batch: GroqBatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.is_running = True
    job = batch.submit(request_dicts("x", "y"), to="x.jsonl")
    with pytest.raises(client.WaitTimeout):
        job.wait(timeout=0.01, progress=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert "x.jsonl" in said.err
    assert "0/2" in said.err
    assert said.err.endswith("\r\x1b[K")


def test_progress_in_a_notebook_is_a_bar_of_html(
    world: ClientWorld, batch: GroqBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, given: Any) -> None:
            shown.append(given.data)

    monkeypatch.setattr(progress, "_is_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: Handle())
    world.is_running = True
    job = batch.submit(request_dicts("x", "y"), to="<x>.jsonl")
    with pytest.raises(client.WaitTimeout):
        job.wait(timeout=0.01)
    assert '<progress value="0" max="2">' in shown[0]
    assert "&lt;x&gt;.jsonl" in shown[0]
    assert shown[-1] == ""
