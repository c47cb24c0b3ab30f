"""Jobs that are stopped or fail: nothing runs on at Groq, what was paid for is delivered."""

from __future__ import annotations

from typing import Any

from tests.e2e.pipeline import Pipeline, request_file, wait_until
from tests.patience import PATIENCE_SECONDS


def assert_nothing_left(pipeline: Pipeline, report: dict[str, Any]) -> None:
    """Assert that no batch runs and no file stands at Groq, and that the counts add up."""
    counts = report["requests"]
    assert counts["total"] == counts["succeeded"] + counts["failed"] + counts["invalid"]

    def left() -> list[str]:
        stats = pipeline.simulator.stats()
        running = [
            batch["id"]
            for batch in pipeline.simulator.batches()
            if batch["status"] not in ("completed", "failed", "expired", "cancelled")
        ]
        return running + list(stats["files"])

    wait_until(lambda: not left(), 30, lambda: f"left at Groq: {left()}")
    assert pipeline.simulator.stats()["paid_twice"] == []


def wait_for_batches(pipeline: Pipeline, count: int) -> None:
    assert pipeline.simulator.wait_calls("create", count, timeout=PATIENCE_SECONDS)


def test_stop_while_batches_run(pipeline: Pipeline, name: str) -> None:
    pipeline.simulator.add_fate(end="stuck", done=0.5)
    path = f"{name}.jsonl"
    pipeline.upload(f"input/{path}", request_file(f"r-{number}" for number in range(250)))
    wait_for_batches(pipeline, 3)
    job = wait_until(lambda: pipeline.report(path), 30, lambda: "no report")["job_id"]
    pipeline.states.stop_execution(executionArn=pipeline.execution_arn(job))
    report = pipeline.wait_for_report(path)
    assert report["status"] == "cancelled"
    assert report["errors"][0]["code"] == "cancelled"
    rows = pipeline.rows(f"output/{path}")
    assert [row["custom_id"] for row in rows] == [f"r-{number}" for number in range(250)]
    assert 0 < report["requests"]["succeeded"] < 250
    answered = sum((row["response"] or {}).get("status_code") == 200 for row in rows)
    assert answered == report["requests"]["succeeded"]
    assert pipeline.simulator.stats()["creates"] == 3
    assert_nothing_left(pipeline, report)


def test_stop_while_an_upload_to_groq_is_under_way(pipeline: Pipeline, name: str) -> None:
    pipeline.simulator.add_fault("upload", hold_before="gate", times=1)
    path = f"{name}.jsonl"
    pipeline.upload(f"input/{path}", request_file(["a", "b"]))
    assert pipeline.simulator.wait_held("gate", 1, timeout=PATIENCE_SECONDS)
    job = wait_until(lambda: pipeline.report(path), 30, lambda: "no report")["job_id"]
    pipeline.states.stop_execution(executionArn=pipeline.execution_arn(job))
    wait_until(
        lambda: f"work/{job}/stopped.json" in pipeline.keys(f"work/{job}/"),
        30,
        lambda: "no fence",
    )
    pipeline.simulator.release("gate")
    report = pipeline.wait_for_report(path)
    assert report["status"] == "cancelled"
    assert [row["error"]["code"] for row in pipeline.rows(f"output/{path}")] == ["not_sent"] * 2
    assert pipeline.simulator.stats()["creates"] == 0
    assert_nothing_left(pipeline, report)


def test_a_lost_event_is_made_up_for(pipeline: Pipeline, name: str) -> None:
    pipeline.simulator.add_fate(end="stuck", done=0.5)
    events = pipeline.stack.client("events")
    rule = pipeline.resource("CancelJobFunctionExecutionEnded")
    events.disable_rule(Name=rule)
    try:
        path = f"{name}.jsonl"
        pipeline.upload(f"input/{path}", request_file(["a", "b", "c", "d"]))
        wait_for_batches(pipeline, 1)
        job = wait_until(lambda: pipeline.report(path), 30, lambda: "no report")["job_id"]
        pipeline.states.stop_execution(executionArn=pipeline.execution_arn(job))
        pipeline.age_open_job(job, minutes=10)
        request = {"trigger": "reconcile", "state_machine_arn": pipeline.state_machine}
        pipeline.invoke("CancelJobFunction", request)
        report = pipeline.wait_for_report(path)
    finally:
        events.enable_rule(Name=rule)
    assert report["status"] == "cancelled"
    assert_nothing_left(pipeline, report)
    # The report comes first, then the job is closed.
    wait_until(lambda: not pipeline.keys(f"work/open/{job}"), 30, lambda: "the job was not closed")
    # By then it has its usage record, and the next look shows it among all jobs.
    assert [key for key in pipeline.keys("usage/") if key.endswith(f"/{job}.json")]
    pipeline.invoke("CancelJobFunction", request)
    index = (pipeline.read("reports/index.html") or b"").decode()
    assert f"<b>{path}</b>" in index
