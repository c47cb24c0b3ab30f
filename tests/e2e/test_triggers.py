"""What starts a job, and how often: events, the schedule, recurring files, calls by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.pipeline import Pipeline, request_file, wait_until
from tests.patience import PATIENCE_SECONDS

EVENT = Path(__file__).parents[2] / "events" / "start_job" / "s3_object_created.json"


def object_created(pipeline: Pipeline, key: str, version: str) -> dict[str, Any]:
    """Return the event that AWS sends for an upload."""
    event: dict[str, Any] = json.loads(EVENT.read_text(encoding="utf-8"))
    event["detail"]["bucket"]["name"] = pipeline.bucket
    event["detail"]["object"].update({"key": key, "version-id": version})
    return event


def jobs_of(pipeline: Pipeline, name: str) -> list[str]:
    """Return the jobs whose input has this name."""
    return [key for key in pipeline.keys("jobs/") if key.startswith(f"jobs/{name}")]


def test_one_event_delivered_three_times_is_one_job(pipeline: Pipeline, name: str) -> None:
    key = f"input/{name}.jsonl"
    version = pipeline.upload(key, request_file(["a"]))
    event = object_created(pipeline, key, version)
    answers = [pipeline.invoke("StartJobFunction", event) for _ in range(3)]
    report = pipeline.wait_for_report(f"{name}.jsonl")
    assert report["status"] == "succeeded"
    assert {answer["jobs"][0]["job_id"] for answer in answers} == {report["job_id"]}
    assert len(jobs_of(pipeline, name)) == 1
    assert pipeline.simulator.stats()["creates"] == 1


def test_the_newer_upload_of_a_key_stands_whichever_ends_last(
    pipeline: Pipeline, name: str
) -> None:
    # The first upload's batch takes its time; the second one overtakes it.
    pipeline.simulator.add_fate(batch_seconds=8, match={"nth": 1})
    pipeline.upload(f"input/{name}.jsonl", request_file(["old-1", "old-2"]))
    assert pipeline.simulator.wait_calls("create", 1, timeout=PATIENCE_SECONDS)
    older = pipeline.report(f"{name}.jsonl")
    assert older is not None
    newer = pipeline.run(f"{name}.jsonl", request_file(["new"]))
    assert newer["status"] == "succeeded"
    place = f"superseded/{older['job_id']}/{name}.jsonl"
    superseded = pipeline.wait_for_report(place)
    assert superseded["status"] == "succeeded"
    assert superseded["outputs"]["results"] == f"s3://{pipeline.bucket}/output/{place}"
    assert [row["custom_id"] for row in pipeline.rows(f"output/{place}")] == ["old-1", "old-2"]
    assert [row["custom_id"] for row in pipeline.rows(f"output/{name}.jsonl")] == ["new"]
    standing = pipeline.report(f"{name}.jsonl")
    assert standing is not None
    assert standing["job_id"] == newer["job_id"] != older["job_id"]
    assert len(jobs_of(pipeline, name)) == 2


def test_by_hand_and_again(pipeline: Pipeline, name: str) -> None:
    first = pipeline.run(f"{name}.jsonl", request_file(["a"]))
    known = pipeline.start({"key": f"input/{name}.jsonl"})
    assert known["status"] == "exists"
    assert known["job_id"] == first["job_id"]
    again = pipeline.start({"key": f"input/{name}.jsonl", "again": True})
    assert again["status"] == "started"
    second = pipeline.wait_for_report(f"{name}.jsonl", job_id=again["job_id"])
    assert second["status"] == "succeeded"
    assert second["input"]["version_id"] == first["input"]["version_id"]
    assert pipeline.simulator.stats()["creates"] == 2
    missing = pipeline.start({"key": f"input/{name}-missing.jsonl"})
    assert "There is no object" in missing["errorMessage"]


def test_sweep_starts_what_has_no_job_and_each_recurring_file_once(
    scheduled: Pipeline, name: str
) -> None:
    scheduled.upload(f"input/{name}.jsonl", request_file(["a"]))
    scheduled.upload(f"recurring/team/{name}.jsonl", request_file(["b"]))
    firing = {"trigger": "schedule", "scheduled_time": "2026-03-01T06:00:00Z"}
    for _ in range(2):
        scheduled.invoke("StartJobFunction", firing)
    later = scheduled.invoke(
        "StartJobFunction", firing | {"scheduled_time": "2026-03-02T06:00:00Z"}
    )
    assert len([job for job in later["jobs"] if name in job["input"]]) == 1
    paths = [
        f"{name}.jsonl",
        f"recurring/team/{name}/2026-03-01T06-00-00Z.jsonl",
        f"recurring/team/{name}/2026-03-02T06-00-00Z.jsonl",
    ]
    for path in paths:
        assert scheduled.wait_for_report(path)["status"] == "succeeded"
        assert len(scheduled.rows(f"output/{path}")) == 1
    assert len(jobs_of(scheduled, name)) == 3
    started = scheduled.start({"key": f"recurring/team/{name}.jsonl"})
    report = wait_until(
        lambda: next(
            (
                found
                for key in scheduled.keys(f"reports/recurring/team/{name}/")
                if (found := scheduled.report(key.removeprefix("reports/").removesuffix(".json")))
                and found["job_id"] == started["job_id"]
                and found["status"] == "succeeded"
            ),
            None,
        ),
        60,
        lambda: f"no report of {started}",
    )
    assert report["input"]["key"] == f"recurring/team/{name}.jsonl"


def test_names_that_cannot_run_are_answered(pipeline: Pipeline, name: str) -> None:
    long_name = name + "x" * 900
    cases = {
        f"input/{name}.csv": ("unsupported_name", f"{name}.csv"),
        # A folder's marker would be empty.
        f"input/{name}/": ("unsupported_name", f"{name}/"),
        f"input/recurring/{name}.jsonl": ("reserved_path", f"recurring/{name}.jsonl"),
        f"input/superseded/{name}.jsonl": ("reserved_path", f"superseded/{name}.jsonl"),
    }
    for key in cases:
        pipeline.upload(key, request_file(["a"]))
    version = pipeline.upload(f"input/{long_name}.jsonl", request_file(["a"]))
    event = object_created(pipeline, f"input/{long_name}.jsonl", version)
    job = pipeline.invoke("StartJobFunction", event)["jobs"][0]["job_id"]
    for code, path in [*cases.values(), ("key_too_long", job)]:
        report = pipeline.wait_for_report(path)
        assert report["status"] == "rejected"
        assert [error["code"] for error in report["errors"]] == [code]
        assert pipeline.read(f"output/{path}") is None
        assert [row["code"] for row in pipeline.rows(f"invalid/{path}")] == [code]
    assert pipeline.simulator.stats()["calls"].get("upload", 0) == 0
