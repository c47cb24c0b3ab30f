"""Two stacks beside each other in one account and region run the same file."""

from __future__ import annotations

from typing import Any

from groq_batch.domain import object_keys
from tests.e2e.pipeline import Pipeline, request_file

IDS = [f"r-{number}" for number in range(150)]


def resources(stack: Pipeline) -> dict[str, str]:
    """Return the physical id of everything in a stack, by logical id."""
    client = stack.stack.client("cloudformation")
    found = client.describe_stack_resources(StackName=stack.stack_name)["StackResources"]
    return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}


def test_nothing_is_shared(pipeline: Pipeline, quiet: Pipeline) -> None:
    one, other = resources(pipeline), resources(quiet)
    assert set(one) <= set(other)
    assert not set(one.values()) & set(other.values())


def test_the_same_file_runs_once_on_each(pipeline: Pipeline, quiet: Pipeline, name: str) -> None:
    simulator, data = pipeline.simulator, request_file(IDS)
    path, stacks = f"{name}.jsonl", (pipeline, quiet)
    quiet.stack.put_secret(quiet.parameters["GroqApiKeySecretName"], quiet.stack.groq_api_key)
    simulator.configure(batch_seconds=1.5)
    versions = [one.upload(f"input/{path}", data) for one in stacks]
    reports: list[dict[str, Any]] = [
        one.wait_for_report(path, version=version)
        for one, version in zip(stacks, versions, strict=True)
    ]
    assert reports[0]["job_id"] != reports[1]["job_id"]
    batches = {one["id"]: one["metadata"]["job"] for one in simulator.batches()}
    for stack, report in zip(stacks, reports, strict=True):
        job = report["job_id"]
        assert report["status"] == "succeeded"
        assert report["outputs"]["results"] == f"s3://{stack.bucket}/output/{path}"
        assert [row["custom_id"] for row in stack.rows(f"output/{path}")] == IDS
        # Each job knows its own two batches and no other, and each of its requests was sent once.
        assert {batch["id"] for batch in report["batches"]} == {
            batch for batch, of in batches.items() if of == job
        }
        assert len(report["batches"]) == 2
        assert simulator.requests(job) == {one: {"sent": 1, "succeeded": 1} for one in IDS}
    assert len(batches) == 4
    assert simulator.stats()["files"] == []
    for stack, mine, other in zip(stacks, reports, reversed(reports), strict=True):
        jobs = [key for key in stack.keys("jobs/") if name in key]
        assert jobs == [object_keys.job_key(mine["job_id"])]
        assert stack.keys(object_keys.WorkKeys(other["job_id"]).prefix) == []
        executions = {execution for execution in stack.executions() if name in execution}
        assert executions == {mine["job_id"]}
