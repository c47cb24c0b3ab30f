"""Asking for the account's models, over sockets: how often, how long, and what is kept of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.reason import Reason
from groq_batch.groq.calls import Timeouts
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import AccountError, NotSentError
from groq_batch.records import stored
from groq_batch.records.job import Stop
from groq_batch.records.model_listing import ModelListing
from groq_batch.steps import read_models
from groq_batch.steps.read_models import ModelsOutcome, read_account_models
from local.groq_simulator import DEFAULT_KEY, GroqSimulator
from tests.fakes.s3 import FakeS3
from tests.samples import job_request

REQUEST = job_request()
KEYS = object_keys.WorkKeys(REQUEST.job_id)
NOW = 1_796_000_000.0
NO_LIST = ModelListing(at="2026-11-30T00:53:20.000Z")

Key = Callable[..., str]


def key(*, refresh: bool = False) -> str:
    """Hand out the simulator's key."""
    return DEFAULT_KEY


@dataclass
class Job:
    """A job whose models are asked for."""

    url: str
    s3: FakeS3 = field(default_factory=lambda: FakeS3("bucket"))
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.storage.put_json(object_keys.job_key(REQUEST.job_id), stored.to_record(REQUEST))

    @property
    def storage(self) -> Storage:
        return self.s3.storage()

    def ask(self, asked: int = 0, *, api_key: Key = key) -> ModelsOutcome:
        timeouts = Timeouts(connect=10.0, read=10.0, pause=0.0)
        client = GroqClient(base_url=self.url, api_key=api_key, timeouts=timeouts)
        return read_account_models(
            storage=self.storage,
            client=client,
            job_id=REQUEST.job_id,
            asked=asked,
            clock=lambda: NOW,
            sleep=self.pauses.append,
        )

    @property
    def listing(self) -> ModelListing | None:
        return ModelListing.load(self.storage, KEYS)

    def report(self) -> Any:
        data = self.s3.read("reports/a.jsonl.json")
        return data and json.loads(data)


@pytest.fixture
def simulator() -> Iterator[GroqSimulator]:
    with GroqSimulator() as running:
        yield running


@pytest.fixture
def job(simulator: GroqSimulator) -> Job:
    return Job(simulator.url)


def calls(simulator: GroqSimulator) -> int:
    return int(simulator.control.stats()["calls"].get("models", 0))


def test_the_list_is_kept(simulator: GroqSimulator, job: Job) -> None:
    assert job.ask() == ModelsOutcome(outcome="done", asked=1)
    listing = job.listing
    assert listing is not None
    assert listing.models is not None
    assert listing.models["whisper-large-v3"].takes == ("audio",)
    assert listing.refusal is None
    assert listing.day == "2026-11-30"
    assert job.pauses == []


def test_it_is_asked_for_once(simulator: GroqSimulator, job: Job) -> None:
    job.ask()
    simulator.control.configure(models={"acme/new": {}})
    before = job.listing
    job.ask()
    assert (job.listing, calls(simulator)) == (before, 1)


def test_nothing_is_asked_for_a_job_that_was_stopped(simulator: GroqSimulator, job: Job) -> None:
    Stop(status="cancelled", code="cancelled", message="Stopped.", at="").write(job.storage, KEYS)
    assert job.ask().outcome == "done"
    assert (calls(simulator), job.listing, job.report()) == (0, None, None)


def test_nothing_is_asked_for_a_job_that_has_ended(simulator: GroqSimulator, job: Job) -> None:
    job.storage.put_bytes(KEYS.closed, b"")
    assert job.ask().outcome == "done"
    assert (calls(simulator), job.listing, job.report()) == (0, None, None)


def test_a_job_that_was_never_started_is_an_error(job: Job) -> None:
    job.storage.delete([object_keys.job_key(REQUEST.job_id)])
    with pytest.raises(ValueError, match="There is no job"):
        job.ask()


class TestRepetitions:
    @pytest.mark.parametrize("status", [429, 498, 500, 503])
    def test_once_more_when_a_retry_after_fits(
        self, simulator: GroqSimulator, job: Job, status: int
    ) -> None:
        headers = {"Retry-After": "9"}
        simulator.control.add_fault("models", status=status, headers=headers, times=1)
        job.ask()
        assert (job.pauses, calls(simulator)) == ([9.0], 2)
        assert job.listing is not None
        assert job.listing.models is not None

    def test_not_twice_more(self, simulator: GroqSimulator, job: Job) -> None:
        headers = {"Retry-After": "1"}
        simulator.control.add_fault("models", status=429, headers=headers, times=None)
        assert job.ask().outcome == "done"
        assert (job.pauses, calls(simulator)) == ([1.0], 2)
        assert job.listing == NO_LIST

    @pytest.mark.parametrize(
        ("status", "headers"),
        [
            (429, {"Retry-After": "10"}),
            (429, {"Retry-After": "3600"}),
            (429, {}),
            (500, {}),
            (404, {"Retry-After": "1"}),
            (403, {"Retry-After": "1"}),
            (400, {"Retry-After": "1"}),
        ],
    )
    def test_not_otherwise(
        self, simulator: GroqSimulator, job: Job, status: int, headers: dict[str, str]
    ) -> None:
        simulator.control.add_fault("models", status=status, headers=headers, times=None)
        assert job.ask().outcome == "done"
        assert (job.pauses, calls(simulator)) == ([], 1)
        assert job.listing == NO_LIST

    def test_a_network_front_is_not_asked_again(self, simulator: GroqSimulator, job: Job) -> None:
        simulator.control.add_fault("models", status=403, body="<html>no</html>", times=None)
        job.ask()
        assert calls(simulator) == 1

    def test_where_nobody_listens_a_second_time_is_tried(self) -> None:
        job = Job("http://127.0.0.1:9/openai/v1")
        assert job.ask().outcome == "done"
        assert job.pauses == [0.5]
        assert job.listing is not None

    def test_secrets_manager_out_of_reach_is_no_reason_to_end_the_job(self, job: Job) -> None:
        def unreachable(*, refresh: bool = False) -> str:
            raise NotSentError("The call to Secrets Manager failed (no answer).")

        assert job.ask(api_key=unreachable).outcome == "done"
        assert job.listing is not None
        assert (job.listing.models, job.listing.refusal) == (None, None)

    def test_a_late_answer_is_none(
        self, simulator: GroqSimulator, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(read_models, "ASK_SECONDS", 0.3)
        simulator.control.add_fault("models", hold_before="gate", times=None)
        assert job.ask().outcome == "done"
        simulator.control.release("gate")
        assert job.listing is not None
        assert job.listing.models is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            (401, "invalid_api_key", "invalid_api_key"),
            (403, "not_available_for_plan", "plan_required"),
            (400, "blocked_api_access", "spend_limit"),
            (400, "spend_limit_reached", "spend_limit"),
        ],
    )
    def test_of_the_account_end_the_job(
        self, simulator: GroqSimulator, job: Job, status: int, code: str, expected: str
    ) -> None:
        body = {"error": {"message": "No.", "code": code}}
        simulator.control.add_fault("models", status=status, body=body, times=None)
        assert job.ask() == ModelsOutcome(outcome="done", asked=1)
        assert job.listing is not None
        assert job.listing.refusal is not None
        assert job.listing.refusal.code == expected
        assert len(str(job.listing.refusal.message)) > 20
        assert calls(simulator) == 1

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (403, {"error": {"message": "Forbidden"}}),
            (403, {"error": {"message": "No.", "code": "organization_restricted"}}),
            (403, {"error": {"message": "No.", "code": "model_permission_blocked_org"}}),
            (404, {"error": {"message": "No.", "code": "unknown_url"}}),
            (307, ""),
        ],
    )
    def test_of_another_kind_do_not(
        self, simulator: GroqSimulator, job: Job, status: int, body: Any
    ) -> None:
        simulator.control.add_fault("models", status=status, body=body, times=None)
        assert job.ask().outcome == "done"
        assert job.listing == NO_LIST

    def test_a_key_that_was_replaced_is_read_again(
        self, simulator: GroqSimulator, job: Job
    ) -> None:
        simulator.control.set_keys({"gsk_new": "paid"})

        def replaced(*, refresh: bool = False) -> str:
            return "gsk_new" if refresh else DEFAULT_KEY

        job.ask(api_key=replaced)
        assert job.listing is not None
        assert job.listing.models is not None

    def test_an_unreadable_secret_is_read_again_for_some_seconds(self, job: Job) -> None:
        def unreadable(*, refresh: bool = False) -> str:
            raise AccountError("It cannot be read.", code="secret_unreadable")

        outcomes = [job.ask(asked, api_key=unreadable) for asked in range(4)]
        assert outcomes == [
            ModelsOutcome(outcome="wait", wait_seconds=5, asked=1),
            ModelsOutcome(outcome="wait", wait_seconds=10, asked=2),
            ModelsOutcome(outcome="wait", wait_seconds=25, asked=3),
            ModelsOutcome(outcome="done", asked=4),
        ]
        assert job.listing is not None
        assert job.listing.refusal == Reason("secret_unreadable", "It cannot be read.")

    def test_a_missing_secret_is_not(self, job: Job) -> None:
        def missing(*, refresh: bool = False) -> str:
            raise AccountError("There is none.", code="secret_missing")

        assert job.ask(api_key=missing).outcome == "done"
        assert job.listing is not None
        assert job.listing.refusal is not None
        assert job.listing.refusal.code == "secret_missing"

    def test_the_key_stands_nowhere(
        self, simulator: GroqSimulator, job: Job, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        body = {"error": {"message": f"Bearer {DEFAULT_KEY}", "code": "invalid_api_key"}}
        simulator.control.add_fault("models", status=401, body=body, times=None)
        job.ask()
        stored = b"".join(job.s3.read(name) or b"" for name in job.s3.keys(""))
        assert DEFAULT_KEY.encode() not in stored
        assert DEFAULT_KEY not in caplog.text


class TestRunningReport:
    def test_it_stands_before_the_models_are_asked_for(
        self, simulator: GroqSimulator, job: Job
    ) -> None:
        seen = []

        def watching(*, refresh: bool = False) -> str:
            seen.append(job.report())
            return DEFAULT_KEY

        job.ask(api_key=watching)
        assert seen[0]["status"] == "running"
        assert (seen[0]["job_id"], seen[0]["prices"]) == (REQUEST.job_id, None)

    def test_that_of_another_job_stays(self, job: Job) -> None:
        other = json.dumps({"job_id": "other", "status": "succeeded"}).encode()
        job.s3.client().put_object(Bucket="bucket", Key="reports/a.jsonl.json", Body=other)
        job.ask()
        assert job.report()["job_id"] == "other"

    def test_a_lock_on_it_keeps_no_list_from_coming(
        self, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from groq_batch.bucket.s3_errors import (  # noqa: PLC0415
            UnwritableObjectError,
        )

        put = Storage.put_json

        def locked(self: Storage, name: str, *arguments: Any, **named: Any) -> Any:
            if name.startswith("reports/"):
                raise UnwritableObjectError(name)
            return put(self, name, *arguments, **named)

        monkeypatch.setattr(Storage, "put_json", locked)
        assert job.ask().outcome == "done"
        assert job.listing is not None
        assert job.report() is None
