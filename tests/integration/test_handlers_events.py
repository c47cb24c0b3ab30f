"""Every stored event, given to the handler that it is for.

The events are used as they are stored; only what AWS makes up (the version of an upload) is filled
in. So each of them can be given to a deployed function, too.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch import __version__
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch.domain.times import timestamp
from groq_batch.records.model_listing import ModelListing
from groq_batch.records.stored import from_record, to_record
from groq_batch.steps.cancel_job import close
from groq_batch.steps.cancel_job.close import CollectPlan
from groq_batch.steps.check_status.decision import Decision
from groq_batch.steps.prepare_input.prepare import Preparation
from groq_batch.steps.read_models import ModelsOutcome
from groq_batch.telemetry.log import logger
from local.groq_simulator import GroqSimulator
from tests.infrastructure.stack import machine
from tests.integration.account import (
    BUCKET,
    EVENTS,
    JOB,
    KEY,
    MACHINE,
    UPLOAD,
    Account,
    account,
    stored,
)
from tests.integration.simulator_api import request_line
from tests.samples import job_request

IDS = ["id-7f3a-1", "id-7f3a-2", "id-7f3a-3"]
SECRET_PROMPT = "the prompt that no log may hold"


REQUESTS = b"".join(request_line(one, SECRET_PROMPT) for one in IDS)


@dataclasses.dataclass
class Pipeline:
    """The account with a simulator of Groq, and the steps of one job."""

    account: Account
    simulator: GroqSimulator

    def invoke(self, folder: str, event: Mapping[str, Any]) -> dict[str, Any]:
        return self.account.invoke(folder, event)

    def begin(self, *, age_seconds: float = 0.0, **options: str) -> None:
        """Upload a file and record its job, as the start function does, under the stored id."""
        version = self.account.upload(KEY, REQUESTS, **options)
        started = datetime.fromtimestamp(time.time() - age_seconds, UTC)
        record = job_request(
            JOB, bucket=BUCKET, key=KEY, version_id=version, started_at=timestamp(started)
        )
        for key in (object_keys.open_job_key(JOB), object_keys.job_key(JOB)):
            self.account.s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(to_record(record)))
        self.account.states.start_execution(
            stateMachineArn=MACHINE, name=JOB, input=json.dumps(record.execution_input())
        )

    def step(self, folder: str, **changes: Any) -> dict[str, Any]:
        """Invoke a step with its stored payload."""
        return self.invoke(folder, stored(f"{folder}/payload") | changes)

    def prepare(self) -> dict[str, Any]:
        return self.step("prepare_input")

    def submit(self) -> dict[str, Any]:
        return self.step("submit_batch")

    def check(self, **changes: Any) -> dict[str, Any]:
        return self.step("check_status", **changes)

    def check_until(self, decision: str) -> dict[str, Any]:
        """Check until the batches have ended; they take a moment."""
        for _ in range(200):
            answer = self.check()
            if answer["decision"] != "wait":
                assert answer["decision"] == decision
                return answer
            time.sleep(0.02)
        raise AssertionError(f"never {decision}")

    def run_until(self, step: str) -> None:
        """Run the steps of the job that come before one."""
        steps: dict[str, Callable[[], Any]] = {
            "prepare_input": self.begin,
            "submit_batch": self.prepare,
            "check_status": self.submit,
            "download_results": lambda: self.check_until("download"),
            "finish_job": lambda: self.step("download_results"),
            "closed": lambda: self.step("finish_job"),
        }
        for name, run in steps.items():
            run()
            if name == step:
                return


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, lambda_context: LambdaContext) -> Iterator[Pipeline]:
    with (
        GroqSimulator(batch_seconds=0.02, cancel_seconds=0.02) as simulator,
        account(monkeypatch, lambda_context, GroqBaseUrl=simulator.url) as made,
    ):
        yield Pipeline(made, simulator)


# -- starting ------------------------------------------------------------------------------------


def upload_of(event: dict[str, Any], pipeline: Pipeline, data: bytes = b"hello\n") -> str:
    """Upload what an event tells of, fill its version in, and return the version."""
    described = event["detail"]["object"]
    version = pipeline.account.upload(described["key"], data)
    if "version-id" in described:
        described["version-id"] = version
    return version


def started_once(pipeline: Pipeline, event: dict[str, Any]) -> dict[str, Any]:
    """Deliver an event twice; returns the record of the one job that it starts."""
    first, second = (pipeline.invoke("start_job", event) for _ in range(2))
    assert first["total"] == second["total"] == 1
    (job,), (same,) = first["jobs"], second["jobs"]
    assert job["job_id"] == same["job_id"]
    assert list(pipeline.account.executions()) == [job["job_id"]]
    record = pipeline.account.json(object_keys.job_key(job["job_id"]))
    assert job["input"] == f"s3://{BUCKET}/{record['key']}"
    assert job["report"] == f"s3://{BUCKET}/reports/{record['path']}.json"
    return record


def s3_object_created(pipeline: Pipeline) -> None:
    event = stored("start_job/s3_object_created")
    version = upload_of(event, pipeline)
    record = started_once(pipeline, event)
    assert (record["key"], record["version_id"]) == (KEY, version)
    assert pipeline.account.executions() == {
        record["job_id"]: {"mode": "run", "job_id": record["job_id"], "bucket": BUCKET}
    }


def s3_object_created_odd_key(pipeline: Pipeline) -> None:
    event = stored("start_job/s3_object_created_odd_key")
    key = event["detail"]["object"]["key"]
    assert all(part in key for part in (" ", "+", "%", '"', "'", "ü", "東"))
    version = upload_of(event, pipeline)
    record = started_once(pipeline, event)
    assert (record["key"], record["version_id"]) == (key, version)
    assert record["path"] == key.removeprefix("input/")


def s3_object_created_without_version(pipeline: Pipeline) -> None:
    event = stored("start_job/s3_object_created_without_version")
    version = upload_of(event, pipeline)
    (job,) = pipeline.invoke("start_job", event)["jobs"]
    assert pipeline.account.json(object_keys.job_key(job["job_id"]))["version_id"] == version
    # The version behind the event has its job now, so a second delivery finds nothing to start.
    pipeline.invoke("start_job", event)
    assert list(pipeline.account.executions()) == [job["job_id"]]


def schedule(pipeline: Pipeline) -> None:
    pipeline.account.upload(KEY, REQUESTS)
    pipeline.account.upload("recurring/team/daily.jsonl.gz", b"")
    answer = pipeline.invoke("start_job", stored("start_job/schedule"))
    paths = {
        pipeline.account.json(object_keys.job_key(one["job_id"]))["path"] for one in answer["jobs"]
    }
    assert paths == {"team/requests.jsonl", "recurring/team/daily/2026-03-01T06-00-00Z.jsonl.gz"}
    again = pipeline.invoke("start_job", stored("start_job/schedule"))
    assert again == {"total": 0, "jobs": []}
    assert len(pipeline.account.executions()) == 2


def schedule_placeholder(pipeline: Pipeline) -> None:
    pipeline.account.upload("recurring/daily.jsonl", REQUESTS)
    before = datetime.now(UTC).replace(second=0, microsecond=0)
    (job,) = pipeline.invoke("start_job", stored("start_job/schedule_placeholder"))["jobs"]
    path = pipeline.account.json(object_keys.job_key(job["job_id"]))["path"]
    text = path.removeprefix("recurring/daily/").removesuffix(".jsonl")
    fired_at = datetime.strptime(text, "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
    assert before <= fired_at <= datetime.now(UTC)
    assert fired_at.second == 0


def manual(pipeline: Pipeline) -> None:
    version = pipeline.account.upload(KEY, REQUESTS)
    job = pipeline.invoke("start_job", stored("start_job/manual"))
    assert job["status"] == "started"
    assert pipeline.account.json(object_keys.job_key(job["job_id"]))["version_id"] == version
    known = pipeline.invoke("start_job", stored("start_job/manual"))
    assert (known["job_id"], known["status"]) == (job["job_id"], "exists")


def manual_again(pipeline: Pipeline) -> None:
    pipeline.account.upload(KEY, REQUESTS)
    first = pipeline.invoke("start_job", stored("start_job/manual"))
    again = pipeline.invoke("start_job", stored("start_job/manual_again"))
    assert again["status"] == "started"
    assert again["job_id"] != first["job_id"]
    assert set(pipeline.account.executions()) == {first["job_id"], again["job_id"]}


def manual_recurring(pipeline: Pipeline) -> None:
    pipeline.account.upload(stored("start_job/manual_recurring")["key"], REQUESTS)
    job = pipeline.invoke("start_job", stored("start_job/manual_recurring"))
    assert job["status"] == "started"
    record = pipeline.account.json(object_keys.job_key(job["job_id"]))
    assert record["path"].startswith("recurring/team/daily/20")
    assert record["path"].endswith("Z.jsonl")


# -- the steps of a job --------------------------------------------------------------------------


def read_models(pipeline: Pipeline) -> None:
    pipeline.begin()
    answer = pipeline.invoke("check_status", stored("check_status/read_models"))
    assert set(answer) == {field.name for field in dataclasses.fields(ModelsOutcome)}
    assert (answer["outcome"], answer["asked"]) == ("done", 1)
    listing = from_record(pipeline.account.json(object_keys.WorkKeys(JOB).models), ModelListing)
    assert "openai/gpt-oss-20b" in (listing.models or {})
    assert pipeline.account.json("reports/team/requests.jsonl.json")["status"] == "running"
    # The first list stands.
    pipeline.invoke("check_status", stored("check_status/read_models"))
    assert pipeline.simulator.control.stats()["calls"] == {"models": 1}
    assert pipeline.prepare()["accepted"] is True
    report = pipeline.account.json("reports/team/requests.jsonl.json")
    assert report["prices"] == {"source": "groq", "date": listing.day}


def doctor(pipeline: Pipeline) -> None:
    """No job is needed, and nothing of the account is told but what its lists are like."""
    question = stored("check_status/doctor")
    assert pipeline.invoke("check_status", question) == {
        "version": __version__,
        "models": "yes",
        "batches": "yes",
        "batches_listed": 0,
        "has_next_page": False,
        "order": None,
    }
    assert pipeline.simulator.control.stats()["calls"] == {"models": 1, "list": 1}
    assert pipeline.account.keys("") == []

    pipeline.simulator.control.add_foreign_batches(3, {"secret": SECRET_PROMPT})
    pipeline.simulator.control.configure(page_size=2)
    answer = pipeline.invoke("check_status", question)
    assert (answer["batches_listed"], answer["has_next_page"]) == (2, True)
    assert SECRET_PROMPT not in json.dumps(answer)

    pipeline.simulator.control.set_keys({"another-key": "paid"})
    answer = pipeline.invoke("check_status", question)
    assert (answer["models"], answer["batches"]) == ("invalid_api_key", "invalid_api_key")


def doctor_bucket(pipeline: Pipeline) -> None:
    """The writes that jobs rely on are tried out, with the role of this function."""
    assert pipeline.invoke("check_status", stored("check_status/doctor_bucket")) == {
        "version": __version__,
        "conditional_writes": "yes",
        "conditional_deletes": "yes",
        "multipart_uploads": "yes",
        "is_removed": True,
    }
    assert pipeline.account.keys("") == []
    assert pipeline.simulator.control.stats()["calls"] == {}
    tried = {call.operation for call in pipeline.account.calls}
    assert {"UploadPart", "UploadPartCopy", "CompleteMultipartUpload"} <= tried


def prepare_input(pipeline: Pipeline) -> None:
    pipeline.begin()
    answer = pipeline.prepare()
    assert set(answer) == {field.name for field in dataclasses.fields(Preparation)}
    assert answer["accepted"] is True
    shard_key = stored("submit_batch/payload")["shard_key"]
    assert shard_key.startswith(answer["shards_prefix"])
    assert pipeline.account.keys(answer["shards_prefix"]) == [shard_key]
    assert pipeline.account.read(shard_key) == REQUESTS
    report = pipeline.account.json("reports/team/requests.jsonl.json")
    assert (report["status"], report["requests"]["total"]) == ("running", 3)
    assert pipeline.prepare() == answer
    assert pipeline.simulator.control.calls() == []


def prepare_input_task(pipeline: Pipeline) -> None:
    """A file of several ranges: the tasks of each phase are done before the next is asked for."""
    event = stored("prepare_input/range_task")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAX_BYTES_PER_RANGE", str(len(REQUESTS) // len(IDS)))
        pipeline.begin()
        answer = pipeline.prepare()
        assert event["task_key"].startswith(answer["tasks_prefix"])
        while answer["tasks_prefix"]:
            for task_key in pipeline.account.keys(answer["tasks_prefix"]):
                task = event | {"task_key": task_key}
                assert pipeline.invoke("prepare_input", task) == {}
            answer = pipeline.prepare()
    assert answer["accepted"] is True
    shards = pipeline.account.keys(answer["shards_prefix"])
    assert shards[0] == stored("submit_batch/payload")["shard_key"]
    assert b"".join(map(pipeline.account.read, shards)) == REQUESTS


def submit_batch(pipeline: Pipeline) -> None:
    pipeline.run_until("submit_batch")
    answer = pipeline.submit()
    assert answer["outcome"] == "settled"
    assert pipeline.submit() == answer
    (batch,) = pipeline.simulator.control.batches()
    assert batch["metadata"] == object_keys.batch_metadata(JOB, 1, 1)
    assert pipeline.simulator.control.stats()["creates"] == 1


def check_status(pipeline: Pipeline) -> None:
    pipeline.simulator.control.configure(batch_seconds=600.0)
    pipeline.run_until("check_status")
    answer = pipeline.check()
    assert set(answer) == {field.name for field in dataclasses.fields(Decision)}
    assert answer["decision"] == "wait"
    assert answer["wait_seconds"] >= 1
    assert answer["polls"] == stored("check_status/payload")["polls"] + 1
    (batch,) = pipeline.account.json("reports/team/requests.jsonl.json")["batches"]
    assert batch["id"] == pipeline.simulator.control.batches()[0]["id"]


def download_results(pipeline: Pipeline) -> None:
    pipeline.run_until("download_results")
    answer = pipeline.step("download_results")
    assert answer["outcome"] == "settled"
    rows = pipeline.account.read(object_keys.WorkKeys(JOB).results(1, 1)).splitlines()
    assert [json.loads(row)["custom_id"] for row in rows] == IDS
    assert pipeline.check_until("finish")["attempt"] == 1


def answer_requests(pipeline: Pipeline) -> None:
    """The deadline passes before anything is sent; all of the file is asked by ordinary calls."""
    pipeline.begin(age_seconds=120.0, batch_deadline="1m", deadline_max_usd="1")
    pipeline.prepare()
    assert pipeline.submit()["outcome"] == "settled"
    pipeline.check_until("download")
    pipeline.step("download_results")
    assert pipeline.check()["attempt"] == stored("answer_requests/payload")["attempt"] == 2
    assert pipeline.check(attempt=2)["decision"] == "answer"
    answer = pipeline.step("answer_requests")
    assert answer == {"outcome": "settled", "wait_seconds": 1}
    assert pipeline.simulator.control.stats()["ordinary_answers"] == len(IDS)
    assert pipeline.check(attempt=2)["decision"] == "download"
    pipeline.step("download_results", shard_key=object_keys.WorkKeys(JOB).shard(2, 1))
    assert pipeline.check(attempt=2)["decision"] == "finish"
    pipeline.step("finish_job")
    report = pipeline.account.json("reports/team/requests.jsonl.json")
    assert report["status"] == "succeeded"
    assert report["on_demand"]["succeeded"] == len(IDS)
    # What is only kept until a job has ended is gone: shards, rows of calls, results.
    work = object_keys.WorkKeys(JOB)
    assert [key for prefix in work.bulk for key in pipeline.account.keys(prefix)] == []


def finish_job(pipeline: Pipeline) -> None:
    pipeline.run_until("finish_job")
    answer = pipeline.step("finish_job")
    assert answer["outcome"] == "done"
    output = pipeline.account.read("output/team/requests.jsonl")
    rows = [json.loads(row) for row in output.splitlines()]
    assert [row["custom_id"] for row in rows] == IDS
    assert [row["response"]["status_code"] for row in rows] == [200] * 3
    report = pipeline.account.json("reports/team/requests.jsonl.json")
    assert report["status"] == "succeeded"
    (event,) = pipeline.account.published()
    assert event["detail-type"] == "Batch Job Ended"
    assert event["detail"]["job_id"] == JOB
    for told in (report, event["detail"]):
        assert (told["folder"], told["version"]) == ("team", __version__)
    assert pipeline.account.keys("work/open/") == []
    for prefix in object_keys.WorkKeys(JOB).bulk:
        assert pipeline.account.keys(prefix) == []
    assert pipeline.simulator.control.stats()["files"] == []
    # A job that has ended is left alone by every step that comes late.
    assert pipeline.step("finish_job")["outcome"] == "done"
    assert pipeline.submit()["outcome"] == "settled"
    assert pipeline.check()["decision"] == "closed"
    assert pipeline.prepare()["accepted"] is False
    assert len(pipeline.account.published()) == 1


def cancel_job_from_state_machine(pipeline: Pipeline) -> None:
    pipeline.simulator.control.configure(batch_seconds=600.0)
    pipeline.run_until("check_status")
    plan = pipeline.invoke("cancel_job", stored("cancel_job/from_state_machine"))
    assert set(plan) == {field.name for field in dataclasses.fields(CollectPlan)}
    assert (plan["mode"], plan["job_id"], plan["accepted"]) == ("collect", JOB, True)
    assert stored("submit_batch/payload")["shard_key"].startswith(plan["shards_prefix"])
    (batch,) = pipeline.simulator.control.batches()
    assert batch["status"] in ("cancelling", "cancelled")
    # The machine goes on by itself: no other execution is started.
    assert list(pipeline.account.executions()) == [JOB]


# -- ends of executions --------------------------------------------------------------------------


def closes(pipeline: Pipeline, event: dict[str, Any], reason: str) -> None:
    """Deliver the end of the job's execution twice; it is collected once, for a reason."""
    first = pipeline.invoke("cancel_job", event)
    assert first == {"done": f"collecting as {JOB}-c1"}
    pipeline.invoke("cancel_job", event)
    executions = pipeline.account.executions()
    assert set(executions) == {JOB, f"{JOB}-c1"}
    plan = executions[f"{JOB}-c1"]
    assert set(plan) == {field.name for field in dataclasses.fields(CollectPlan)}
    assert (plan["mode"], plan["job_id"], plan["bucket"]) == ("collect", JOB, BUCKET)
    assert pipeline.account.json(object_keys.WorkKeys(JOB).stopped)["code"] == reason
    (batch,) = pipeline.simulator.control.batches()
    assert batch["status"] in ("cancelling", "cancelled")


def run_for_long(pipeline: Pipeline) -> None:
    pipeline.simulator.control.configure(batch_seconds=600.0)
    pipeline.run_until("check_status")


def execution_aborted(pipeline: Pipeline) -> None:
    run_for_long(pipeline)
    pipeline.account.states.stop_execution(executionArn=Account.execution_arn(JOB))
    closes(pipeline, stored("cancel_job/execution_aborted"), "cancelled")


def execution_failed(pipeline: Pipeline) -> None:
    run_for_long(pipeline)
    event = stored("cancel_job/execution_failed")
    # Such an end leaves out the input; the names alone have to do.
    assert event["detail"]["input"] is None
    pipeline.account.end_execution(JOB, "FAILED", event["detail"]["error"])
    closes(pipeline, event, "internal_error")
    assert "States.Runtime" in pipeline.account.json(object_keys.WorkKeys(JOB).stopped)["message"]


def execution_timed_out(pipeline: Pipeline) -> None:
    run_for_long(pipeline)
    pipeline.account.end_execution(JOB, "TIMED_OUT")
    closes(pipeline, stored("cancel_job/execution_timed_out"), "timed_out")


def reconcile(pipeline: Pipeline) -> None:
    pipeline.simulator.control.configure(batch_seconds=600.0)
    pipeline.begin(age_seconds=3_600)
    pipeline.prepare()
    pipeline.submit()
    running = pipeline.invoke("cancel_job", stored("cancel_job/reconcile"))
    assert running == {"jobs": {JOB: "is RUNNING"}}
    pipeline.account.end_execution(JOB, "ABORTED")
    closed = pipeline.invoke("cancel_job", stored("cancel_job/reconcile"))
    assert closed == {"jobs": {JOB: f"collecting as {JOB}-c1"}}
    assert set(pipeline.account.executions()) == {JOB, f"{JOB}-c1"}


SCENARIOS: dict[str, Callable[[Pipeline], None]] = {
    "answer_requests/payload": answer_requests,
    "cancel_job/execution_aborted": execution_aborted,
    "cancel_job/execution_failed": execution_failed,
    "cancel_job/execution_timed_out": execution_timed_out,
    "cancel_job/from_state_machine": cancel_job_from_state_machine,
    "cancel_job/reconcile": reconcile,
    "check_status/doctor": doctor,
    "check_status/doctor_bucket": doctor_bucket,
    "check_status/payload": check_status,
    "check_status/read_models": read_models,
    "download_results/payload": download_results,
    "finish_job/payload": finish_job,
    "prepare_input/payload": prepare_input,
    "prepare_input/range_task": prepare_input_task,
    "start_job/manual": manual,
    "start_job/manual_again": manual_again,
    "start_job/manual_recurring": manual_recurring,
    "start_job/s3_object_created": s3_object_created,
    "start_job/s3_object_created_odd_key": s3_object_created_odd_key,
    "start_job/s3_object_created_without_version": s3_object_created_without_version,
    "start_job/schedule": schedule,
    "start_job/schedule_placeholder": schedule_placeholder,
    "submit_batch/payload": submit_batch,
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_event(pipeline: Pipeline, name: str) -> None:
    SCENARIOS[name](pipeline)


def test_every_stored_event_is_tried() -> None:
    assert set(SCENARIOS) == {
        path.relative_to(EVENTS).with_suffix("").as_posix() for path in EVENTS.rglob("*.json")
    }


# -- events that are for somebody else -----------------------------------------------------------


def test_stored_events_belong_together() -> None:
    """The steps' payloads are those of the job that the stored upload starts."""
    described = UPLOAD["object"]
    assert (
        upload_job_id(bucket=BUCKET, key=described["key"], version_id=described["version-id"])
        == JOB
    )
    for path in EVENTS.rglob("*.json"):
        event = json.loads(path.read_text("utf-8"))
        assert event.get("job_id", JOB) == JOB
        assert event.get("state_machine_arn", MACHINE) == MACHINE
        shard_key = event.get("shard_key", object_keys.WorkKeys(JOB).shard(1, 1))
        assert shard_key == object_keys.WorkKeys(JOB).shard(1, 1)
        detail = event.get("detail", {})
        assert detail.get("bucket", {}).get("name", BUCKET) == BUCKET
        assert detail.get("name", JOB) == JOB


def test_end_of_a_child_of_a_map_is_not_the_jobs(pipeline: Pipeline) -> None:
    run_for_long(pipeline)
    event = stored("cancel_job/execution_failed")
    child = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
    event["detail"]["stateMachineArn"] = f"{MACHINE}/Submit"
    event["detail"]["name"] = child
    event["detail"]["executionArn"] = f"{Account.execution_arn(JOB)}/Submit:{child}"
    assert "child" in pipeline.invoke("cancel_job", event)["done"]
    assert list(pipeline.account.executions()) == [JOB]


def test_late_event_of_an_execution_that_runs_again_is_ignored(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events come late and out of order, so the execution itself is asked, more than once."""
    run_for_long(pipeline)
    event = stored("cancel_job/execution_failed")
    monkeypatch.setattr(close, "_DESCRIBE_PAUSES", (0.01, 0.01))
    assert "RUNNING" in pipeline.invoke("cancel_job", event)["done"]
    assert pipeline.simulator.control.batches()[0]["status"] != "cancelling"
    assert list(pipeline.account.executions()) == [JOB]


# -- firings of any size -------------------------------------------------------------------------


def test_firing_takes_its_time_from_lambda(
    pipeline: Pipeline, lambda_context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.account.upload(KEY, REQUESTS)
    pipeline.account.upload("recurring/daily.jsonl", REQUESTS)
    with monkeypatch.context() as patch:
        patch.setattr(type(lambda_context), "get_remaining_time_in_millis", lambda _: 20_000)
        answer = pipeline.invoke("start_job", stored("start_job/schedule"))
    assert [job["input"] for job in answer["jobs"]] == [f"s3://{BUCKET}/recurring/daily.jsonl"]
    answer = pipeline.invoke("start_job", stored("start_job/schedule"))
    assert [job["input"] for job in answer["jobs"]] == [f"s3://{BUCKET}/{KEY}"]


def test_answer_of_a_firing_counts_all_jobs_and_lists_what_lambda_passes_on(
    pipeline: Pipeline,
) -> None:
    for number in range(120):
        pipeline.account.upload(f"input/{number:03d}/{'x' * 800}.jsonl", REQUESTS)
    answer = pipeline.invoke("start_job", stored("start_job/schedule"))
    assert answer["total"] == 120
    assert 0 < len(answer["jobs"]) < 120
    assert len(json.dumps(answer)) < 256 * 1024


# -- what the machine passes on ------------------------------------------------------------------


def test_every_answer_is_small_enough_for_a_state() -> None:
    """Names and counts only: a list would grow with the job beyond Step Functions' 256 KiB."""
    for kind in (CollectPlan, Decision, Preparation):
        for field in dataclasses.fields(kind):
            small = ("str", "int", "bool", "NextStep", str, int, bool)
            assert field.type in small, (kind, field.name)


def test_steps_take_the_payloads_of_the_machine(pipeline: Pipeline) -> None:
    """Numbers may come back from a JSONata expression as 1.0 or as text."""
    pipeline.run_until("submit_batch")
    assert pipeline.submit() == pipeline.step("submit_batch", tries=1.0)
    assert isinstance(pipeline.check(attempt=1.0)["attempt"], int)
    assert (
        machine()["States"]["CheckStatus"]["Arguments"]["Payload"].keys()
        == stored("check_status/payload").keys()
    )


# -- logs ----------------------------------------------------------------------------------------


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return what the functions write to their log."""
    stream = io.StringIO()
    for handler in logging.getLogger("groq-batch").handlers:
        monkeypatch.setattr(handler, "stream", stream)
    logger.setLevel("INFO")
    return stream


def log_entries(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def metric_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    written = map(json.loads, capsys.readouterr().out.splitlines())
    return [line for line in written if "_aws" in line]


STEPS = {
    "Prepared the input": {"job_id"},
    "Uploaded a shard": {"job_id", "shard", "attempt"},
    "Created a batch": {"job_id", "shard", "attempt"},
    "Checked the batches": {"job_id", "attempt"},
    "Collected a shard": {"job_id", "shard", "attempt"},
    "Job ended": {"job_id"},
}
"""What an operator wants to see of a job, and what each line tells about itself."""


def test_every_step_of_a_job_has_its_line(pipeline: Pipeline, log: io.StringIO) -> None:
    pipeline.run_until("closed")
    entries = log_entries(log)
    assert list(dict.fromkeys(entry["message"] for entry in entries)) == list(STEPS)
    for entry in entries:
        assert entry["level"] == "INFO"
        assert entry["job_id"] == JOB
        about = {name for name in ("job_id", "shard", "attempt") if name in entry}
        assert about == STEPS[entry["message"]], entry
        assert {entry.get("shard", 1), entry.get("attempt", 1)} == {1}
    ended = entries[-1]
    assert (ended["status"], ended["key"], ended["requests"]["succeeded"]) == ("succeeded", KEY, 3)
    assert ended["cost_usd"] > 0
    assert "code" not in ended or ended["code"] is None


def test_log_holds_no_content(
    pipeline: Pipeline, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.setLevel("DEBUG")
    pipeline.run_until("closed")
    everything = log.getvalue() + capsys.readouterr().out
    for word in (SECRET_PROMPT, "gsk_", *IDS):
        assert word not in everything


def test_log_of_a_failed_call_leaves_out_what_the_api_says(
    pipeline: Pipeline, log: io.StringIO
) -> None:
    """An API may quote what it was sent."""
    pipeline.simulator.control.add_fault(
        "create", status=400, body={"error": {"message": SECRET_PROMPT, "type": "invalid"}}
    )
    pipeline.run_until("check_status")
    (warning,) = [one for one in log_entries(log) if one["level"] == "WARN"]
    assert warning["message"] == "A shard was not submitted"
    assert (warning["kind"], warning["status"]) == ("RequestRefusedError", 400)
    assert SECRET_PROMPT not in log.getvalue()


def test_a_job_that_fails_says_why_in_one_word(
    pipeline: Pipeline, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.simulator.control.set_keys({})
    pipeline.run_until("submit_batch")
    pipeline.submit()
    pipeline.check_until("download")
    pipeline.step("download_results")
    pipeline.check_until("finish")
    pipeline.step("finish_job")
    ended = log_entries(log)[-1]
    assert (ended["message"], ended["status"]) == ("Job ended", "failed")
    assert ended["code"] == "invalid_api_key"
    # That nothing was sent tells nothing of how requests are answered.
    (counted,) = [one for one in metric_lines(capsys) if "JobsFailed" in one]
    assert counted["RequestsFailed"] == [3]
    assert "RequestFailureShare" not in counted


def test_a_stack_that_logs_warnings_only_tells_of_jobs_that_did_not_succeed(
    pipeline: Pipeline, log: io.StringIO
) -> None:
    logger.setLevel("WARNING")
    pipeline.run_until("closed")
    assert log_entries(log) == []
    pipeline.account.upload("input/rejected.jsonl", b"no JSON\n")
    started = pipeline.invoke("start_job", {"key": "input/rejected.jsonl"})["job_id"]
    for step in ("prepare_input", "finish_job"):
        pipeline.step(step, job_id=started)
    (ended,) = log_entries(log)
    assert (ended["message"], ended["level"]) == ("Job ended", "WARN")
    assert (ended["status"], ended["job_id"]) == ("rejected", started)


def test_keys_of_objects_make_no_lines_of_their_own(
    pipeline: Pipeline, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    key = 'input/a\n{"level":"ERROR","message":"forged"}\n\u2028.jsonl'
    pipeline.account.upload(key, REQUESTS)
    pipeline.invoke("start_job", {"key": key})
    # Lambda ends a log line at 0x0A alone.
    written = log.getvalue() + capsys.readouterr().out
    lines = written.removesuffix("\n").split("\n")
    assert len(lines) == 2
    for line in lines:
        assert json.loads(line)["level"] == "INFO"
    assert json.loads(lines[0])["key"] == key


def test_reconciler_names_the_job_on_every_line_about_one(
    pipeline: Pipeline, log: io.StringIO
) -> None:
    run_for_long(pipeline)
    marker = pipeline.account.json(object_keys.open_job_key(JOB))
    marker["started_at"] = timestamp(datetime.fromtimestamp(time.time() - 3600, UTC))
    pipeline.account.s3.put_object(
        Bucket=BUCKET, Key=object_keys.open_job_key(JOB), Body=json.dumps(marker)
    )
    pipeline.account.end_execution(JOB, "ABORTED")
    log.truncate(0)
    log.seek(0)
    pipeline.simulator.control.add_fault("cancel", status=503)
    pipeline.invoke("cancel_job", stored("cancel_job/reconcile"))
    warning, collecting, summary = log_entries(log)
    assert warning["message"] == "A batch could not be cancelled yet"
    assert collecting["message"] == "Collecting the paid results"
    assert warning["job_id"] == collecting["job_id"] == JOB
    assert (summary["message"], summary["jobs"]) == ("Reconciled the open jobs", 1)
    assert "job_id" not in summary


# -- metrics -------------------------------------------------------------------------------------


def published(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Return the sum of every metric."""
    sums: dict[str, float] = {}
    for line in lines:
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
            name = metric["Name"]
            sums[name] = sums.get(name, 0.0) + sum(line[name])
    return sums


def test_metrics_of_a_job(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.run_until("closed")
    # A step that comes once more counts nothing again.
    pipeline.step("finish_job")
    lines = metric_lines(capsys)
    assert {line["job_id"] for line in lines} == {JOB}
    sums = published(lines)
    report = pipeline.account.json("reports/team/requests.jsonl.json")
    assert (sums["JobsSucceeded"], sums["JobsFailed"]) == (1, 0)
    assert (sums["Requests"], sums["RequestsFailed"], sums["RequestsInvalid"]) == (3, 0, 0)
    assert sums["PromptTokens"] == report["usage"]["prompt_tokens"] > 0
    assert sums["CompletionTokens"] == report["usage"]["completion_tokens"] > 0
    assert sums["CostUsd"] == report["cost_usd"]["actual"] > 0
    assert sums["JobSeconds"] == report["timing"]["seconds"]
    assert sums["Attempts"] == 1
    assert sums["StatusChecks"] >= 1
    assert sums["DetectionLagSeconds"] >= 0
    assert sum("BatchSeconds" in line for line in lines) == 1
    assert {"AccountErrors", "RateLimits"} & set(sums) == set()
    assert sums["GroqErrors"] == 0


def test_metrics_of_a_start(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.account.upload(KEY, REQUESTS)
    for _ in range(2):
        pipeline.invoke("start_job", stored("start_job/manual"))
    assert published(metric_lines(capsys)) == {"JobsStarted": 1}


def test_metrics_of_an_account_that_is_refused(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.run_until("submit_batch")
    pipeline.simulator.control.set_keys({})
    pipeline.submit()
    (line,) = metric_lines(capsys)
    assert published([line]) == {"AccountErrors": 1}
    assert (line["job_id"], line["shard"], line["attempt"]) == (JOB, 1, 1)


@pytest.mark.parametrize(("hours", "overdue"), [(1, 0), (24.5, 0), (25.5, 1)])
def test_metrics_of_open_jobs(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str], hours: float, overdue: int
) -> None:
    pipeline.simulator.control.configure(batch_seconds=600.0)
    pipeline.begin(age_seconds=hours * 3600)
    pipeline.account.age(object_keys.open_job_key(JOB), hours * 3600)
    pipeline.prepare()
    pipeline.invoke("cancel_job", stored("cancel_job/reconcile"))
    sums = published(metric_lines(capsys))
    assert (sums["OpenJobs"], sums["JobsOverdue"]) == (1, overdue)
    assert sums["OldestJobSeconds"] == pytest.approx(hours * 3600, abs=60)


def test_window_of_the_upload_decides_when_its_job_is_overdue(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.begin(age_seconds=30 * 3600)
    pipeline.account.upload(KEY, REQUESTS, completion_window="2d")
    record = pipeline.account.json(object_keys.job_key(JOB))
    version = pipeline.account.s3.head_object(Bucket=BUCKET, Key=KEY)["VersionId"]
    for key in (object_keys.job_key(JOB), object_keys.open_job_key(JOB)):
        body = json.dumps(record | {"version_id": version})
        pipeline.account.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    pipeline.account.age(object_keys.open_job_key(JOB), 30 * 3600)
    pipeline.prepare()
    pipeline.invoke("cancel_job", stored("cancel_job/reconcile"))
    assert published(metric_lines(capsys))["JobsOverdue"] == 0


def test_usage_record_that_stands_is_looked_at_by_whoever_comes_second(pipeline: Pipeline) -> None:
    """``RecordUsage``, ``SeeDeliverables``: HEAD needs both, and is asked after a conflict."""
    pipeline.run_until("finish_job")
    pipeline.step("finish_job")
    keys = pipeline.account.keys(object_keys.USAGE_PREFIX)
    pipeline.account.s3.delete_object(Bucket=BUCKET, Key=object_keys.WorkKeys(JOB).closed)
    pipeline.step("finish_job")
    assert pipeline.account.keys(object_keys.USAGE_PREFIX) == keys


def test_reconciler_reads_usage_records_and_makes_the_index(pipeline: Pipeline) -> None:
    """``RecordUsage`` and ``SeeDeliverables`` of the cancel function."""
    pipeline.run_until("finish_job")
    pipeline.step("finish_job")
    pipeline.invoke("cancel_job", stored("cancel_job/reconcile"))
    page = pipeline.account.read(object_keys.INDEX_KEY).decode()
    assert "0 running, 1 ended" in page
    assert "requests.jsonl" in page
