"""A stack lives on: this release replaces the one before, another stack takes its bucket over."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from groq_batch import __version__
from local.build import Build, build_application
from local.stack import LocalStack
from tests.e2e.conftest import deploy
from tests.e2e.pipeline import Pipeline, request_file, secret_of, wait_until

RELEASE = Path(__file__).parents[1] / "releases" / "1.0.0.zip"
IDS = [f"r-{number}" for number in range(150)]


def build_of_the_release_before(folder: Path) -> Build:
    with zipfile.ZipFile(RELEASE) as archive:
        archive.extractall(folder / "release")
    return build_application(project=folder / "release")


@pytest.fixture
def released(stack: LocalStack, tmp_path: Path) -> Iterator[tuple[Pipeline, Build]]:
    """Yield a stack of the release before, and the build of today, which it does not have yet."""
    today = build_application()
    stack.use_build(build_of_the_release_before(tmp_path))
    try:
        deployed = deploy(stack, "released")
        deployed.simulator.reset()
        yield deployed, today
    finally:
        stack.use_build(today)


def state(stack: Pipeline) -> dict[str, Any]:
    """Return what a deployment changes, as the account shows it."""
    functions = stack.stack.client("lambda")
    function = functions.get_function_configuration(
        FunctionName=stack.function("DownloadResultsFunction")
    )
    machine = stack.states.describe_state_machine(stateMachineArn=stack.state_machine)
    return {
        "code": function["CodeSha256"],
        "attempts": function["Environment"]["Variables"]["MAX_ATTEMPTS"],
        "machine": machine["definition"],
    }


def test_a_job_of_the_release_before_ends_under_this_one(
    released: tuple[Pipeline, Build], name: str
) -> None:
    stack, build = released
    simulator, path = stack.simulator, f"{name}.jsonl"
    simulator.configure(batch_seconds=600)
    # One request has to be sent a second time, which the new version does.
    simulator.add_rule("fail_once", match={"custom_id": IDS[7]}, times=1)
    version = stack.upload(f"input/{path}", request_file(IDS))
    wait_until(lambda: len(simulator.batches()) == 2, 60, lambda: stack.describe(path))
    before = state(stack)
    stack.stack.use_build(build)
    # What stood in force when the job was accepted holds for it: three attempts, shards of 100.
    changed = {"MaxAttempts": "1", "MaxRequestsPerBatch": "10", "CompletionWindow": "48h"}
    stack.stack.deploy(stack.stack_name, {**stack.parameters, **changed})
    after = state(stack)
    assert all(after[what] != before[what] for what in before), after
    for batch in simulator.batches():
        assert batch["status"] in ("validating", "in_progress")
        simulator.change_batch(batch["id"], batch_seconds=0)
    simulator.configure(batch_seconds=0.3)
    report = stack.wait_for_report(path, version=version)
    assert report["status"] == "succeeded"
    assert report["requests"] == {"total": 150, "succeeded": 150, "failed": 0, "invalid": 0}
    assert [row["custom_id"] for row in stack.rows(f"output/{path}")] == IDS
    assert [(one["shard"], one["attempt"]) for one in report["batches"]] == [(1, 1), (2, 1), (1, 2)]
    sent = simulator.requests(report["job_id"])
    assert {one: counts["sent"] for one, counts in sent.items() if counts["sent"] > 1} == {
        IDS[7]: 2
    }
    assert all(counts["succeeded"] == 1 for counts in sent.values())
    assert report["version"] == __version__
    # The next job is one of this release from its first state on.
    report = stack.run(f"{name}-next.jsonl", request_file(IDS[:15]))
    assert report["status"] == "succeeded"
    assert len(report["batches"]) == 2


def test_a_stack_goes_back_to_the_release_before(
    stack: LocalStack, tmp_path: Path, name: str
) -> None:
    """As docs/how-to/update.md says: pause, let the jobs end, deploy the earlier version."""
    back = deploy(stack, "back")
    back.simulator.reset()
    back.simulator.configure(batch_seconds=0.3)
    ended = f"{name}-ended.jsonl"
    assert back.run(ended, request_file(IDS[:5]))["status"] == "succeeded"
    stack.deploy(back.stack_name, {**back.parameters, "Paused": "true"})
    version = back.upload(f"input/{name}-waits.jsonl", request_file(IDS[:3]))
    today = build_application()
    stack.use_build(build_of_the_release_before(tmp_path))
    try:
        stack.deploy(back.stack_name, {**back.parameters, "Paused": "false"})
    finally:
        stack.use_build(today)
    firing = {"trigger": "schedule", "scheduled_time": "2026-03-01T06:00:00Z"}
    # The upload that waited is started, and no job that has ended runs again.
    assert back.invoke("StartJobFunction", firing)["total"] == 1
    report = back.wait_for_report(f"{name}-waits.jsonl", version=version)
    assert (report["status"], report.get("version")) == ("succeeded", None)
    # A key that the later version has used.
    assert back.run(ended, request_file(IDS[:4]))["status"] == "succeeded"
    assert [row["custom_id"] for row in back.rows(f"output/{ended}")] == IDS[:4]


def test_a_deleted_stack_leaves_its_bucket_to_the_next(quiet: Pipeline, name: str) -> None:
    """The last of all tests that use this stack."""
    quiet.simulator.reset()
    quiet.simulator.configure(batch_seconds=0.3)
    quiet.stack.put_secret(secret_of(quiet.parameters), quiet.stack.groq_api_key)
    assert quiet.run(f"{name}.jsonl", request_file(IDS[:3]))["status"] == "succeeded"
    quiet.stack.delete(quiet.stack_name)
    assert len(quiet.rows(f"output/{name}.jsonl")) == 3
    successor = deploy(quiet.stack, "successor", ExistingBucketName=quiet.bucket)
    assert successor.bucket == quiet.bucket
    # Whatever ran on the stack before has run: the records of its jobs are in the bucket.
    firing = {"trigger": "schedule", "scheduled_time": "2026-03-01T06:00:00Z"}
    assert successor.invoke("StartJobFunction", firing) == {"total": 0, "jobs": []}
    report = successor.run(f"{name}-later.jsonl", request_file(IDS[:3]))
    assert report["status"] == "succeeded"
    assert [row["custom_id"] for row in successor.rows(f"output/{name}-later.jsonl")] == IDS[:3]
