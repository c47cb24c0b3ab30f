"""The arithmetic of the model of AWS, and that the pages tell what it says today."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from bench import document, prices, store
from bench.aws_model import assumptions, bursts, counts, latency, upkeep
from bench.aws_model.bill import (
    FILES_OF_A_DAY,
    bill,
    call_seconds,
    init_seconds,
    step_seconds,
    total_usd,
    used,
)
from bench.aws_model.counts import Counted, Size, Step
from bench.aws_model.part import tables
from local import asl

MEMORY = dict.fromkeys(
    (
        "start_job",
        "prepare_input",
        "submit_batch",
        "check_status",
        "download_results",
        "finish_job",
        "cancel_job",
    ),
    1769,
)


def _job(**changes: object) -> Counted:
    """Return a small job that looks twice."""
    job = Counted(
        size=Size(1, 1),
        transitions=20,
        map_runs=0,
        bucket_events=10,
        path=(
            "ReadModels",
            "PrepareInput",
            "SubmitOnlyShard",
            "WaitForBatches",
            "CheckStatus",
            "DownloadOnlyShard",
            "CheckStatus",
            "FinishJob",
        ),
        waits=(5,),
        calls_before_results=2,
        steps=(
            Step("start_job", None, 1, {"s3.PutObject": 2, "states.StartExecution": 1}, (3, 0)),
            Step("check_status", None, 1, {"groq.models": 1}, (0, 1)),
            Step("prepare_input", None, 1, {"s3.GetObject": 4}, (4, 0)),
            Step("submit_batch", None, 1, {"groq.upload": 1, "groq.create": 1}, (0, 2)),
            Step("check_status", "download", 2, {"groq.list_by_ids": 1, "s3.GetObject": 2}, (2, 1)),
            Step("download_results", None, 1, {"groq.content": 1, "s3.PutObject": 2}, (2, 1)),
            Step("finish_job", None, 1, {"s3.PutObject": 4, "events.PutEvents": 1}, (5, 0)),
        ),
    )
    return replace(job, **changes)  # type: ignore[arg-type]


def _usd(job: Counted, name: str, *, alone: bool = True) -> float:
    parts = bill(job, MEMORY, batch_seconds=60.0, alone=alone)
    return next(part.usd for part in parts if part.name == name)


def test_calls_are_added_up_over_all_invocations() -> None:
    job = _job(size_calls={"finish_job": {"s3.PutObject": 3}})
    assert job.calls("check_status") == Counter(
        {"groq.models": 1, "groq.list_by_ids": 2, "s3.GetObject": 4}
    )
    assert job.calls()["s3.PutObject"] == 2 + 2 + 4 + 3
    assert (job.looks, job.invocations) == (2, 8)


def test_step_waits_for_its_calls_and_takes_more_cpu_with_less_memory() -> None:
    calls = {"s3.GetObject": 3, "groq.content": 1}
    step = Step("download_results", None, 1, calls, (2, 1))
    cpu = assumptions.INVOCATION_CPU_SECONDS + 4 * assumptions.CALL_CPU_SECONDS
    waiting = 2 * assumptions.CALL_SECONDS + assumptions.GROQ_CALL_SECONDS
    assert step_seconds(step, 1769) == pytest.approx(cpu + waiting)
    assert step_seconds(step, 512) == pytest.approx(cpu * 1769 / 512 + waiting)
    assert step_seconds(step, 1769) == call_seconds(4, 2, 1, memory_mb=1769)


def test_bill_has_transitions_events_and_maps() -> None:
    assert _usd(_job(), "Step Functions") == pytest.approx(20 * prices.TRANSITION_USD)
    # The upload and the job's own event come on top.
    assert _usd(_job(), "EventBridge") == pytest.approx(12 * prices.EVENT_USD)
    assert _usd(_job(), "X-Ray") == pytest.approx(2 * prices.TRACE_USD)
    more = _usd(_job(map_runs=2), "S3, PUT and LIST") - _usd(_job(), "S3, PUT and LIST")
    assert more == pytest.approx(12 * prices.S3_WRITE_USD)
    assert _usd(_job(map_runs=2), "X-Ray") == pytest.approx(4 * prices.TRACE_USD)


def test_initialisation_is_billed_for_each_cold_start() -> None:
    found = used(_job(waits=(5, 301, 400)), MEMORY, alone=True)
    assert found["check_status"].cold_starts == 3
    assert found["finish_job"].init_seconds == pytest.approx(init_seconds("finish_job", 1769))
    busy = used(_job(), MEMORY, alone=False)
    assert busy["check_status"].cold_starts == pytest.approx(3 * assumptions.COLD_SHARE)


def test_one_request_costs_more_alone_than_on_a_busy_stack() -> None:
    alone = total_usd(bill(_job(), MEMORY, batch_seconds=60.0, alone=True))
    busy = total_usd(bill(_job(), MEMORY, batch_seconds=60.0, alone=False))
    assert 0 < busy < alone


def test_way_ends_after_the_batch_and_looks_as_long_as_it_runs() -> None:
    short = latency.hops(_job(), MEMORY, batch_seconds=1.0, cold=False)
    long = latency.hops(_job(), MEMORY, batch_seconds=60.0, cold=False)
    assert 60 < latency.total_seconds(long) < 90
    assert latency.total_seconds(short) < latency.total_seconds(long)
    waits = {hop.name: hop.seconds for hop in short}["WaitForBatches"]
    assert waits == pytest.approx(5 + assumptions.STATE_SECONDS)


def test_cold_way_adds_each_function_once() -> None:
    cold = latency.hops(_job(), MEMORY, batch_seconds=1.0, cold=True)
    functions = [hop.name for hop in cold if hop.cold_seconds]
    assert functions == [
        "start_job",
        "ReadModels",
        "PrepareInput",
        "SubmitOnlyShard",
        "DownloadOnlyShard",
        "FinishJob",
    ]


# -- bursts ----------------------------------------------------------------------------------------


def test_policies_are_those_of_the_shipped_definition() -> None:
    found = bursts.policies()
    assert set(found) >= {"ReadModels", "PrepareInput", "SubmitBatch", "DownloadShard"}
    retrier = asl.machine()["States"]["CheckStatus"]["Retry"][0]
    assert found["CheckStatus"].attempts == retrier["MaxAttempts"]
    assert found["CheckStatus"].delay(100) == retrier["MaxDelaySeconds"]


def test_burst_below_the_limit_is_not_throttled() -> None:
    found = bursts.burst(_job(), MEMORY, jobs=20, concurrency=50, batch_seconds=60.0)
    assert (found.ended, found.lost, found.throttles) == (20, 0, 0)


def test_burst_above_the_limit_is_throttled_and_ends_all_the_same() -> None:
    found = bursts.burst(_job(), MEMORY, jobs=300, concurrency=2, batch_seconds=60.0)
    assert found.ended + found.lost == 300
    assert found.throttles > 100
    assert found.throttles_usd == pytest.approx(found.throttles * prices.TRANSITION_USD)
    assert found.longest_seconds > found.median_seconds > 60


# -- upkeep and pages ------------------------------------------------------------------------------


def test_upkeep_grows_with_files_and_uploads() -> None:
    sweep = store.load()["sweep"]

    def usd(**load: int) -> float:
        return sum(task.usd for task in upkeep.tasks(sweep, MEMORY, open_jobs=100, **load))

    assert usd(uploads=2_000_000) > usd(uploads=1_000_000) > usd(uploads=1_000)
    assert usd(files_of_a_day=20_000) > usd(files_of_a_day=10_000)


def test_a_line_of_the_index_costs_what_the_bill_says() -> None:
    tasks = upkeep.tasks(store.load()["sweep"], MEMORY, open_jobs=81)
    index = next(task for task in tasks if task.name.startswith("index page"))
    each = index.usd / (30 * FILES_OF_A_DAY)
    assert each == pytest.approx(assumptions.INDEX_USD_OF_A_JOB, rel=0.1)


def test_model_of_shipped_jobs_stays_within_what_they_may_cost_and_take() -> None:
    made = tables()
    small = made["costs"]["1"]["10 min"]
    assert small["alone"] <= 0.0022
    assert small["busy"] * FILES_OF_A_DAY <= 22.0
    assert all(one["alone"] <= 0.045 for one in made["costs"]["1,000,000"].values())
    seconds = {
        name: sum(warm + cold for _, warm, cold in way) for name, way in made["hops"].items()
    }
    assert seconds["warm"] <= 12.0
    assert seconds["cold"] <= 17.0


def test_kept_tables_are_those_that_the_model_makes_today() -> None:
    kept = store.load()["aws"]
    made = json.loads(json.dumps(store.rounded(tables())))
    assert {name: kept[name] for name in made} == made, "make bench ARGS=aws"


def test_pages_tell_what_is_kept() -> None:
    results = store.load()
    runbook = document.OPERATIONS.read_text(encoding="utf-8")
    assert document.with_many_files(runbook, results) == runbook, "make bench ARGS=--page"
    assert document.render(results) == document.DOCUMENT.read_text(encoding="utf-8")


def test_sizes_and_durations_are_those_that_were_counted() -> None:
    found = counts.load()
    assert list(found) == list(counts.SIZES)
    assert all(list(one) == list(counts.DURATIONS) for one in found.values())


def test_output_of_many_full_shards_is_one_multipart_upload() -> None:
    calls = counts.load()["1,000,000"]["12 h"].calls("finish_job")
    assert calls["s3.CreateMultipartUpload"] == calls["s3.CompleteMultipartUpload"] == 1
    assert calls["s3.UploadPartCopy"] == 40
