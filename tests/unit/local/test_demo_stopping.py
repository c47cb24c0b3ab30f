"""Nothing runs on at Groq when the demo ends before its job."""

from __future__ import annotations

import io
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from groq_batch.domain.batch import Batch
from groq_batch.groq.errors import NotSentError
from groq_batch_cli.terminal import Terminal
from local.demo import stopping
from local.demo.groq_access import DEFAULT_BASE_URL, GroqAccess
from local.demo.interrupts import Interrupts
from local.demo.stopping import stop_job

ACCESS = GroqAccess(DEFAULT_BASE_URL, "gsk_1", ".env")


class FakeJob:
    """A job that ends after some looks at its report."""

    def __init__(self, *reports: Any, is_started: bool = True, job_id: str | None = "j-1") -> None:
        self.id = job_id
        self.reports = list(reports)
        self.is_started = is_started
        self.stops = 0

    def stop(self) -> bool:
        self.stops += 1
        return self.is_started

    def report(self) -> Any:
        found = self.reports.pop(0) if self.reports else {"status": "running"}
        if isinstance(found, BaseException):
            raise found
        return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the jobs whose batches were cancelled from here."""
    jobs: list[str] = []

    def cancel(_access: GroqAccess, job_id: str) -> list[Batch]:
        jobs.append(job_id)
        return []

    monkeypatch.setattr(stopping, "cancel_batches", cancel)
    monkeypatch.setattr(stopping.time, "sleep", lambda _seconds: None)
    return jobs


def stop(job: FakeJob, interrupts: Interrupts | None = None) -> tuple[bool, str]:
    stream = io.StringIO()
    has_ended = stop_job(
        job,  # type: ignore[arg-type]
        ACCESS,
        terminal=Terminal(stream, stream, {}),
        interrupts=interrupts or Interrupts(),
    )
    return has_ended, stream.getvalue()


def test_job_is_stopped_and_its_report_waited_for(asked: list[str]) -> None:
    job = FakeJob(None, {"status": "running"}, {"status": "cancelled"})
    has_ended, said = stop(job)
    assert has_ended
    assert job.stops == 3
    assert asked == ["j-1"]
    assert said.endswith("Nothing of the job runs at Groq any more.\n")


def test_dead_emulator_does_not_keep_batches_running(asked: list[str]) -> None:
    job = FakeJob(EndpointConnectionError(endpoint_url="http://127.0.0.1:1"))
    has_ended, said = stop(job)
    assert not has_ended
    assert asked == ["j-1"]
    assert "does not answer any more" in said


def test_second_interruption_only_ends_the_waiting(asked: list[str]) -> None:
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupts.handle(2, None)

    class ImpatientJob(FakeJob):
        def report(self) -> Any:
            interrupts.handle(2, None)

    has_ended, said = stop(ImpatientJob(), interrupts)
    assert not has_ended
    assert asked == ["j-1"]
    assert "Not waiting" in said
    interrupts.handle(2, None)  # A third one is left out.


def test_upload_that_was_cut_sent_nothing(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "_START_SECONDS", -1.0)
    has_ended, said = stop(FakeJob(None, is_started=False, job_id=None))
    assert not has_ended
    assert asked == []
    assert said.endswith("Nothing was sent to Groq.\n")


def test_waiting_is_bounded(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_PATIENCE_SECONDS", 0.01)
    has_ended, _ = stop(FakeJob())
    assert not has_ended
    assert asked == ["j-1"]


def test_what_groq_still_winds_down_is_named(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [Batch(id="batch_1", status="cancelling"), Batch(id="batch_2", status="cancelled")]
    monkeypatch.setattr(stopping, "cancel_batches", lambda _access, _job: batches)
    _, said = stop(FakeJob({"status": "cancelled"}))
    assert "Groq is cancelling 1 batch (batch_1)" in said


def test_groq_out_of_reach_is_said(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def cancel(_access: GroqAccess, _job: str) -> list[Batch]:
        raise NotSentError("no network")

    monkeypatch.setattr(stopping, "cancel_batches", cancel)
    _, said = stop(FakeJob({"status": "cancelled"}))
    assert "did not say whether a batch is still running" in said
