"""What a scenario of the fault table is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from local.groq_simulator import SimulatorControl
from tests.e2e.pipeline import Pipeline, wait_until

REQUESTS = 200
"""Request lines of a scenario's file: one shard, unless the scenario says otherwise."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One running trial of a scenario.

    Attributes:
        pipeline: The deployed stack.
        name: Name of the input file, without ending; the job's name begins with it.
    """

    pipeline: Pipeline
    name: str

    @property
    def simulator(self) -> SimulatorControl:
        """The Groq simulator."""
        return self.pipeline.simulator

    @property
    def key(self) -> str:
        """The input's key."""
        return f"input/{self.name}.jsonl"

    @property
    def path(self) -> str:
        """The path that the deliverables mirror."""
        return f"{self.name}.jsonl"

    @property
    def batches(self) -> dict[str, Any]:
        """Matches the batches of this trial's jobs alone."""
        return {"metadata": {"job": f"{self.name}-[0-9a-f]{{20}}"}}

    @property
    def upload(self) -> dict[str, Any]:
        """Matches the uploads of this trial's jobs alone."""
        return {"filename": f"^{self.name}-[0-9a-f]{{20}}-"}

    def fault(self, route: str, **fault: Any) -> None:
        """Let calls of this trial's jobs go wrong (uploads and creates)."""
        match = self.upload if route in ("upload", "content") else self.batches
        self.simulator.add_fault(route, match=match, **fault)

    def fate(self, *, times: int | None = 1, **fate: Any) -> None:
        """Give batches of this trial's jobs a fate."""
        self.simulator.add_fate(match=self.batches, times=times, **fate)

    def rule(
        self, outcome: str | dict[str, Any], *, times: int | None = None, **match: Any
    ) -> None:
        """Give requests of this trial's jobs an outcome; ``fraction=0.1`` chooses a tenth."""
        self.simulator.add_rule(outcome, match={**self.batches, **match}, times=times)

    def add_foreign_batches(self, count: int) -> None:
        """Add batches of somebody else to the account."""
        self.simulator.add_foreign_batches(count, {"job": "of somebody else"})

    def my_batches(self) -> list[dict[str, Any]]:
        """Return the batches of this trial's jobs."""
        return [
            batch
            for batch in self.simulator.batches()
            if (batch.get("metadata") or {}).get("job", "").startswith(f"{self.name}-")
        ]

    def wait_for_batches(self, count: int = 1) -> None:
        """Wait until so many batches of this trial exist."""
        wait_until(lambda: len(self.my_batches()) >= count, 120, lambda: f"{self.name}: no batch")

    def wait_until_done(self, count: int) -> None:
        """Wait until so many requests of this trial have an outcome at Groq."""

        def done() -> bool:
            counts = [batch["request_counts"] for batch in self.my_batches()]
            return sum(one["completed"] + one["failed"] for one in counts) >= count

        wait_until(done, 120, lambda: f"{self.name}: {count} requests were never done")

    def job_id(self) -> str:
        """Return the trial's job, as soon as it has a report."""
        report = wait_until(
            lambda: self.pipeline.report(self.path), 60, lambda: f"{self.name}: no report"
        )
        return str(report["job_id"])

    def stop(self) -> None:
        """Stop the job's execution, as a user does."""
        self.pipeline.states.stop_execution(executionArn=self.pipeline.execution_arn(self.job_id()))


def _nothing(_: Trial) -> None:
    """Arrange nothing, do nothing."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault, and what is expected of the job that meets it.

    Attributes:
        name: Name of its input file.
        fault: What goes wrong, for the table.
        arrange: Prepares the simulator before the upload.
        group: Heading in the table.
        act: Does something while the job runs.
        status: Expected status of the report.
        batches: Expected batches created at Groq, over all attempts.
        succeeded: Expected requests with a success.
        requests: Request lines of the file.
        other_model: The model of every second of them, where it is not the same for all.
        alone: Whether it must not run beside others, because the fault meets them as well.
        first_error: Expected code of the report's first error, where it matters.
        calls: Expected requests that ordinary calls answer; needs ``alone``.
        options: Options of the upload, as metadata.
        seconds: Longest time that it may take.
    """

    name: str
    fault: str
    arrange: Callable[[Trial], None] = _nothing
    _: KW_ONLY
    group: str
    status: str = "succeeded"
    batches: int = 1
    succeeded: int = REQUESTS
    requests: int = REQUESTS
    other_model: str = ""
    act: Callable[[Trial], None] = _nothing
    alone: bool = False
    first_error: str | None = None
    calls: int = 0
    options: dict[str, str] = field(default_factory=dict)
    seconds: float = 240
