"""The usage record of a job: what it says, and that it is written once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain.cost import ModelUsage, ModelUsages
from groq_batch.domain.json_data import from_json_data, to_json_data
from groq_batch.domain.object_keys import WorkKeys
from groq_batch.domain.prices import Prices, TokenPrice
from groq_batch.records.end import End
from groq_batch.records.shard_result import ShardResult
from groq_batch.records.stored import from_record, to_record
from groq_batch.records.usage import UsageOfModel, UsageRecord, usage_by_model
from groq_batch.steps.finish_job import finish
from tests.fakes.calls import Call
from tests.fakes.s3 import FakeS3, client_error, refusing
from tests.index_samples import usage_record
from tests.report_samples import report

FIELDS = [
    "job_id", "key", "folder", "status", "error_code", "started_at", "finished_at", "requests",
    "succeeded", "failed", "invalid", "batches", "prompt_tokens", "completion_tokens",
    "estimated_usd", "actual_usd", "on_demand_usd", "bytes", "version", "models",
]  # fmt: skip
PRICES = Prices("table", "2026-11-29", {"a": TokenPrice(0.001, 0.002)})


DENIED = refusing("put_object", 403, "AccessDenied")


def test_usage_record_of_a_report_has_these_fields_in_one_line() -> None:
    made = report("partial")
    bucket = FakeS3()
    assert UsageRecord.of_report(made, []).write(bucket.storage())
    day = made["timing"]["finished_at"][:10]
    data = bucket.read(f"usage/date={day}/{made['job_id']}.json")
    assert data is not None
    assert b"\n" not in data
    assert list(json.loads(data)) == FIELDS
    said = json.loads(data)
    assert said["requests"] == made["requests"]["total"]
    assert said["error_code"] == made["errors"][0]["code"]
    assert said["batches"] == len(made["batches"])
    assert said["bytes"] == made["input"]["bytes"]
    assert said["on_demand_usd"] == 0


@pytest.mark.parametrize(
    ("key", "folder"),
    [
        ("input/x.jsonl", ""),
        ("input/team/x.jsonl", "team"),
        ("input/team/sub/x.jsonl", "team"),
        ("recurring/nightly.jsonl", ""),
        ("recurring/team/nightly.jsonl", "team"),
    ],
)
def test_usage_record_of_an_input_has_its_first_folder(key: str, folder: str) -> None:
    made = report("succeeded")
    made["input"] = {**made["input"], "key": key}
    assert UsageRecord.of_report(made, []).folder == folder


def test_usage_record_of_a_job_with_a_tail_has_what_its_calls_cost() -> None:
    made = report("partial") | {"on_demand": {"requests": 2, "cost_usd": 0.25}}
    assert UsageRecord.of_report(made, []).on_demand_usd == 0.25


def test_usage_record_of_a_report_of_version_1_has_no_version() -> None:
    made = report("succeeded", errors=[], errors_total=0)
    for name in ("version", "folder", "on_demand"):
        made.pop(name, None)
    record = UsageRecord.of_report(made, [])
    assert (record.version, record.error_code) == (None, None)


def test_usage_record_that_stands_is_not_written_again(storage: Storage) -> None:
    first, second = usage_record(1), usage_record(1, requests=7)
    assert first.write(storage)
    assert second.write(storage)
    found = storage.get_json(first.object_key)
    assert found is not None
    assert from_json_data(found.value, UsageRecord) == first


def test_usage_record_that_s3_denies_holds_nothing_up() -> None:
    assert not usage_record().write(FakeS3().storage(DENIED))


def test_usage_record_that_s3_denies_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(finish.logger, "warning", lambda text, **_: said.append(text))
    finish._record_usage(FakeS3().storage(), usage_record())
    assert said == []
    finish._record_usage(FakeS3().storage(DENIED), usage_record())
    assert said == ["The usage record could not be written"]


def test_usage_record_asked_for_once_more_by_s3_is_written() -> None:
    bucket, tried = FakeS3(), []

    def conflict_once(call: Call, act: Any) -> Any:
        if call.operation == "put_object" and not tried:
            tried.append(call)
            raise client_error("PutObject", 409, "ConditionalRequestConflict", "no")
        return act()

    assert usage_record().write(bucket.storage(conflict_once))
    assert bucket.read(usage_record().object_key) is not None


def test_usage_record_that_s3_never_takes_is_an_error() -> None:
    conflict = refusing("put_object", 409, "ConditionalRequestConflict")
    with pytest.raises(ConflictError):
        usage_record().write(FakeS3().storage(conflict))


def test_usage_record_of_a_later_version_is_read() -> None:
    data = {**to_json_data(usage_record()), "later": 1}
    data["models"] = [{**data["models"][0], "later": 1}]
    assert from_json_data(data, UsageRecord) == usage_record()


# -- by model ------------------------------------------------------------------------------------


def test_usage_by_model_counts_each_request_once_over_all_attempts() -> None:
    first = ShardResult(attempt=1, number=1, by_model={"a": [3, 1], "b": [2, 2]})
    second = ShardResult(attempt=2, number=1, by_model={"a": [3, 2], "b": [2, 2]})
    first.answers = ModelUsages({"a": ModelUsage(1, 10, 20), "b": ModelUsage(2, 5, 5)})
    second.answers = ModelUsages({"a": ModelUsage(1, 30, 40)})
    assert usage_by_model([first, second], PRICES) == [
        UsageOfModel(
            model="a", requests=3, succeeded=2, prompt_tokens=40, completion_tokens=60,
            usd=pytest.approx(0.16),
        ),
        UsageOfModel(
            model="b", requests=2, succeeded=2, prompt_tokens=5, completion_tokens=5, usd=None,
        ),
    ]  # fmt: skip


def test_usage_by_model_counts_ordinary_calls_at_their_own_price() -> None:
    in_batch = ShardResult(attempt=1, number=1, by_model={"a": [2, 1], "b": [1, 0]})
    in_batch.answers.merge({"a": ModelUsage(1, 10, 20)})
    called = ShardResult(attempt=2, number=1, by_model={"a": [2, 2], "b": [1, 1]}, on_demand=True)
    called.answers.merge({"a": ModelUsage(1, 10, 20), "b": ModelUsage(1, 1, 1)})
    a, b = usage_by_model([in_batch, called], PRICES)
    assert (a.requests, a.succeeded, a.prompt_tokens, a.completion_tokens) == (2, 2, 20, 40)
    assert a.usd == pytest.approx(0.05 + 2 * 0.05)
    assert b.usd is None


def test_usage_by_model_of_a_model_that_has_not_answered_costs_nothing() -> None:
    summary = ShardResult(attempt=1, number=1, by_model={"a": [3, 0]})
    (model,) = usage_by_model([summary], PRICES)
    assert (model.requests, model.succeeded, model.usd) == (3, 0, 0.0)


def test_usage_by_model_of_summaries_of_version_1_counts_the_answers() -> None:
    old = from_record({"attempt": 1, "number": 1, "usage": {"a": [10, 20, 30]}}, ShardResult)
    answered = ShardResult(attempt=1, number=2)
    answered.answers = ModelUsages({"a": ModelUsage(4, 1, 1)})
    (model,) = usage_by_model([old, answered], PRICES)
    assert (model.prompt_tokens, model.completion_tokens) == (11, 21)
    assert (model.requests, model.succeeded) == (4, 4)


def test_shard_summary_reads_what_it_has_written_by_model() -> None:
    summary = ShardResult(attempt=1, number=1)
    summary.count_line("a", succeeded=True)
    summary.count_line("a", succeeded=False)
    data = json.loads(json.dumps(to_record(summary)))
    assert from_record(data, ShardResult).by_model == {"a": [2, 1]}
    del data["by_model"]
    assert from_record(data, ShardResult).by_model == {}


def test_shard_summary_of_many_made_up_models_stays_small() -> None:
    summary = ShardResult(attempt=1, number=1)
    for number in range(3000):
        summary.count_line(f"model-{number}", succeeded=False)
    assert len(summary.by_model) <= 1001
    assert sum(counts[0] for counts in summary.by_model.values()) == 3000


def test_end_written_by_version_1_names_no_models(storage: Storage) -> None:
    keys = WorkKeys("job-1")
    storage.put_json(keys.end, {"schema_version": 1, "stands": True, "report": {}})
    found = End.load(storage, keys)
    assert found is not None
    assert found.value.models is None
