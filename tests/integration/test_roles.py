"""What a function's role is for, where no stored event leads there: see ``make test-iam``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from groq_batch.domain import object_keys
from groq_batch.domain.job_id import collector_name
from groq_batch.steps.cancel_job.close import MAX_COLLECTORS
from local.groq_simulator import DEFAULT_KEY, GroqSimulator
from tests.integration.account import JOB, MACHINE, AwsCall, account, stored
from tests.integration.test_handlers_events import Pipeline


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, lambda_context: LambdaContext) -> Iterator[Pipeline]:
    """Yield a job of two shards: its file has three requests."""
    with (
        GroqSimulator(batch_seconds=600.0) as simulator,
        account(
            monkeypatch, lambda_context, GroqBaseUrl=simulator.url, MaxRequestsPerBatch="2"
        ) as made,
    ):
        yield Pipeline(made, simulator)


def test_an_account_error_holds_shards_back_until_the_check_lifts_it(pipeline: Pipeline) -> None:
    """``LiftHalt``: once a batch runs the error is an outage; the other shard is tried again."""
    pipeline.run_until("check_status")
    second = stored("submit_batch/payload")
    second["shard_key"] = second["shard_key"].replace("00001", "00002")
    pipeline.simulator.control.set_keys({})
    assert pipeline.invoke("submit_batch", second)["outcome"] == "deferred"
    account_hold = object_keys.WorkKeys(JOB).account_hold
    assert pipeline.account.keys(account_hold) == [account_hold]
    pipeline.simulator.control.set_keys({DEFAULT_KEY: "paid"})
    assert pipeline.check()["decision"] in ("wait", "submit")
    assert pipeline.account.keys(account_hold) == []
    assert pipeline.invoke("submit_batch", second)["outcome"] == "settled"
    assert len(pipeline.simulator.control.batches()) == 2


def test_every_function_that_calls_groq_reads_the_key_itself(pipeline: Pipeline) -> None:
    """``ReadGroqApiKey``: no function finds it in the memory of another."""
    pipeline.run_until("check_status")
    assert pipeline.account.count("GetSecretValue") == 1
    pipeline.check()
    assert pipeline.account.count("GetSecretValue") == 1
    pipeline.check()
    assert pipeline.account.count("GetSecretValue") == 0


def test_a_job_that_no_execution_could_collect_is_finished_by_the_cancel_function(
    pipeline: Pipeline,
) -> None:
    """``OrderUploads``, ``Deliver``, ``Report``, ``PublishEnd`` and more of its role."""
    pipeline.run_until("check_status")
    name = JOB
    for number in range(1, MAX_COLLECTORS + 1):
        name = collector_name(JOB, number)
        pipeline.account.states.start_execution(stateMachineArn=MACHINE, name=name, input="{}")
        pipeline.account.end_execution(name, "FAILED", "States.Runtime")
    pipeline.account.end_execution(JOB, "FAILED", "States.Runtime")
    event = stored("cancel_job/execution_failed")
    event["detail"] |= {"name": name, "executionArn": pipeline.account.execution_arn(name)}
    assert pipeline.invoke("cancel_job", event) == {"done": "finished without collecting"}
    assert pipeline.account.json("reports/team/requests.jsonl.json")["status"] == "failed"
    rows = pipeline.account.read("output/team/requests.jsonl").splitlines()
    assert len(rows) == 3
    assert [one["detail"]["job_id"] for one in pipeline.account.published()] == [JOB]
    assert pipeline.account.keys(object_keys.OPEN_JOBS_PREFIX) == []
    (record,) = pipeline.account.keys(object_keys.USAGE_PREFIX)
    assert pipeline.account.json(record)["status"] == "failed"


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("DeleteObjects", {"Delete": {"Objects": [{"Key": "output/a.jsonl", "ETag": "abc"}]}}),
        ("DeleteObject", {"Key": "output/a.jsonl", "IfMatch": '"abc"'}),
    ],
)
def test_a_conditional_deletion_asks_for_the_permission_to_read(
    operation: str, parameters: dict[str, Any]
) -> None:
    asked = [action for action, _, _ in AwsCall(operation, parameters).permissions()]
    assert asked == ["s3:DeleteObject", "s3:GetObject"]


def test_a_deletion_without_a_condition_asks_for_no_more() -> None:
    call = AwsCall("DeleteObjects", {"Delete": {"Objects": [{"Key": "work/job/halt.json"}]}})
    assert [action for action, _, _ in call.permissions()] == ["s3:DeleteObject"]
