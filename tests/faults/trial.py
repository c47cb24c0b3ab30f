"""Tries one scenario on the deployed stack and says what was seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.pipeline import Pipeline, request_line, wait_until
from tests.faults.scenario import Scenario, Trial
from tests.samples import MODEL

_ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass(slots=True)
class Seen:
    """What came of a scenario.

    Attributes:
        status: The report's status.
        batches: Batches created at Groq.
        rows: Rows delivered.
        succeeded: Rows with an answer.
        paid_twice: Requests that succeeded more than once at Groq.
        problems: What differs from what was expected; empty when all is well.
    """

    status: str = "-"
    batches: int = 0
    rows: int = 0
    succeeded: int = 0
    paid_twice: int = 0
    problems: list[str] = field(default_factory=list)

    def expect(self, what: str, expected: object, found: object) -> None:
        """Note a difference."""
        if expected != found:
            self.problems.append(f"{what}: expected {expected}, found {found}")


def try_scenario(pipeline: Pipeline, scenario: Scenario) -> Seen:
    """Run the job of a scenario to its end and look at everything it left."""
    seen = Seen()
    try:
        _try(Trial(pipeline, scenario.name), scenario, seen)
    except AssertionError as error:
        seen.problems.append(str(error)[:2000] or "the scenario did not come about")
    return seen


def _try(trial: Trial, scenario: Scenario, seen: Seen) -> None:
    pipeline = trial.pipeline
    ids = [f"r-{number}" for number in range(scenario.requests)]
    scenario.arrange(trial)
    models = (MODEL, scenario.other_model or MODEL)
    lines = (request_line(one, model=models[n % 2]) + b"\n" for n, one in enumerate(ids))
    called_before = trial.simulator.stats()["ordinary_answers"] if scenario.alone else 0
    version = pipeline.upload(trial.key, b"".join(lines), **scenario.options)
    scenario.act(trial)
    report = _final_report(trial, version, scenario.seconds)
    job = report["job_id"]
    if report["outputs"]["results"] is None:
        seen.status = report["status"]
        seen.problems.append(f"no results: {report['errors'][:1]}")
        return
    rows = pipeline.rows(report["outputs"]["results"].removeprefix(f"s3://{pipeline.bucket}/"))
    wait_until(lambda: not _left_at_groq(trial, job), 60, lambda: str(_left_at_groq(trial, job)))
    batches = [one for one in trial.my_batches() if one["metadata"]["job"] == job]
    seen.status, seen.batches, seen.rows = report["status"], len(batches), len(rows)
    seen.succeeded = sum((row["response"] or {}).get("status_code") == 200 for row in rows)
    counted = trial.simulator.requests(job)
    seen.paid_twice = sum(one["succeeded"] > 1 for one in counted.values())
    seen.expect("status", scenario.status, seen.status)
    seen.expect("rows in order", True, [row["custom_id"] for row in rows] == ids)
    seen.expect("batches", scenario.batches, seen.batches)
    seen.expect("succeeded", scenario.succeeded, seen.succeeded)
    seen.expect("succeeded in the report", seen.succeeded, report["requests"]["succeeded"])
    seen.expect("paid twice", 0, seen.paid_twice)
    doubled = Counter((one["metadata"]["shard"], one["metadata"]["attempt"]) for one in batches)
    seen.expect("shard attempts with two batches", [], [k for k, n in doubled.items() if n > 1])
    if scenario.alone:
        called = trial.simulator.stats()["ordinary_answers"] - called_before
        told = (report["on_demand"] or {"succeeded": 0})["succeeded"]
        seen.expect("answers of ordinary calls", scenario.calls, told)
        seen.expect("ordinary calls that were paid", told, called)
        in_batches = sum(one["succeeded"] for one in counted.values())
        seen.expect("answers that were paid", seen.succeeded, in_batches + called)
    if scenario.first_error is not None:
        seen.expect("first error", scenario.first_error, report["errors"][0]["code"])


def _final_report(trial: Trial, version: str, seconds: float) -> dict[str, Any]:
    """Wait for the report of the trial's first job, also where a newer upload has superseded it."""
    pipeline = trial.pipeline

    def find() -> dict[str, Any] | None:
        superseded = [
            key.removeprefix("reports/").removesuffix(".json")
            for key in pipeline.keys(f"reports/superseded/{trial.name}-")
        ]
        for path in (trial.path, *superseded):
            report = pipeline.report(path)
            if (
                report is not None
                and report["status"] != "running"
                and report["input"]["version_id"] == version
            ):
                return report
        return None

    found: dict[str, Any] = wait_until(
        find, seconds, lambda: f"no final report: {pipeline.describe(trial.path)}"
    )
    return found


def _left_at_groq(trial: Trial, job: str) -> list[str]:
    """Return the job's batches that have not ended and its input files that still stand."""
    left = [one["id"] for one in trial.my_batches() if one["status"] not in _ENDED]
    files = trial.simulator.stats()["files"]
    return left + [one["id"] for one in files if one["filename"].startswith(f"{job}-")]
