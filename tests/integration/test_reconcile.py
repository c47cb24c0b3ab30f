"""What the reconciler asks about open jobs, and that none is forgotten.

Over doubles of S3 and Step Functions that keep AWS's rules and count calls.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError

from groq_batch import bootstrap
from groq_batch.bucket.storage import JOB_METADATA
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch.domain.shard import Shard
from groq_batch.domain.times import timestamp
from groq_batch.records import stored
from groq_batch.records.job import JobRecord
from groq_batch.records.usage import UsageRecord
from groq_batch.settings import Settings
from groq_batch.steps.cancel_job.close import JobCloser, UnknownJobError
from groq_batch.steps.cancel_job.reconcile import MARGIN_SECONDS, ReconcileError, Reconciler
from tests.fakes.account import BUCKET, FakeAccount, throttling
from tests.fakes.calls import Call, instead, plain_wire
from tests.fakes.event_bridge import FakeEventBridge
from tests.fakes.s3 import refusing
from tests.fakes.step_functions import FakeStepFunctions
from tests.harness.world import DEFAULT_ENVIRONMENT
from tests.index_samples import usage_record
from tests.samples import job_request

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()
HOUR = 3_600


class Account(FakeAccount):
    """An account with open jobs, their executions and the reconciler.

    Attributes:
        described: The executions that were asked about.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.described: list[str] = []

    def _wire(self, call: Call, act: Callable[[], Any]) -> Any:
        if call.operation == "describe_execution":
            self.described.append(call.target)
        return super()._wire(call, act)

    def open_job(self, number: int, *, execution: str | None = "RUNNING") -> str:
        """Start a job now; returns its id."""
        key = f"input/{number:05d}.jsonl"
        job_id = upload_job_id(bucket=BUCKET, key=key, version_id="v")
        started = timestamp(datetime.fromtimestamp(self.now, UTC))
        request = job_request(job_id, key=key, started_at=started)
        self.write(object_keys.open_job_key(job_id), stored.to_record(request))
        self.write(object_keys.job_key(job_id), stored.to_record(request))
        if execution is not None:
            self.start(job_id)
            self.end(job_id, execution)
        return job_id

    def start(self, name: str) -> None:
        self.machine.start_execution(
            stateMachineArn=self.machine.machine_arn, name=name, input="{}"
        )

    def end(self, name: str, status: str = "FAILED") -> None:
        self.machine.executions[self.machine.arn(name)].change(status, None, self.now)

    def status(self, name: str) -> str | None:
        found = self.machine.executions.get(self.machine.arn(name))
        return found.status if found else None

    # -- the function ----------------------------------------------------------------------------

    @property
    def _closer(self) -> JobCloser:
        return JobCloser(
            storage=self.bucket.storage(self._wire),
            client=None,  # type: ignore[arg-type]  # Nothing was sent to Groq.
            states=self.machine.client(self._wire),
            events=FakeEventBridge().client(),
            settings=Settings.from_env(DEFAULT_ENVIRONMENT),
            clock=lambda: self.now,
            sleep=self.wait,
        )

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def reconcile(self, *, looks: int | None = None) -> dict[str, str]:
        """Reconcile, with time for so many looks."""
        reconciler = Reconciler(
            storage=self.bucket.storage(self._wire),
            states=self.machine.client(self._wire),
            closer=self._closer,
            settings=Settings.from_env(DEFAULT_ENVIRONMENT),
            time_left=lambda: (
                600.0 if looks is None or len(self.described) < looks else MARGIN_SECONDS / 2
            ),
            clock=lambda: self.now,
        )
        return reconciler.run(self.machine.machine_arn)

    def tell_end(self, name: str, status: str = "FAILED") -> str:
        """Deliver the event of an execution's end."""
        self.end(name, status)
        return self.tell(name)

    def tell(self, name: str, redrives: int = 0) -> str:
        """Deliver the event of an end that came after so many redrives."""
        return self._closer.on_status_change(
            {
                "stateMachineArn": self.machine.machine_arn,
                "name": name,
                "executionArn": self.machine.arn(name),
                "redriveCount": redrives,
            }
        )


@pytest.fixture
def account() -> Account:
    return Account()


def published(capsys: pytest.CaptureFixture[str]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        for metric in line.get("_aws", {}).get("CloudWatchMetrics", [{}])[0].get("Metrics", []):
            values.setdefault(metric["Name"], []).extend(line[metric["Name"]])
    return values


# -- how much is asked ---------------------------------------------------------------------------


def test_ten_thousand_running_jobs_are_twenty_calls(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(10_000):
        account.open_job(number)
    account.reconcile()
    account.now += HOUR
    account.calls.clear()
    published(capsys)
    done = account.reconcile()
    # Besides these the page of all jobs: two days of usage records, a hundred jobs, three objects.
    assert account.calls.pop("list_objects_v2") == 10 + 2
    assert account.calls.pop("get_object") == 2 * 100 + 1
    assert account.calls == {"list_executions": 10, "head_object": 1, "put_object": 1}
    assert set(done.values()) == {"is RUNNING"}
    # An answer that Lambda can pass on, whatever their number.
    assert len(json.dumps(done)) < 256 * 1024
    sums = published(capsys)
    assert (sums["OpenJobs"], sums["OldestJobSeconds"]) == ([10_000], [HOUR])


def test_a_job_that_does_not_run_is_asked_about_once(account: Account) -> None:
    jobs = [account.open_job(number) for number in range(5)]
    account.end(jobs[3], "ABORTED")
    account.now += HOUR
    done = account.reconcile()
    assert done[jobs[3]] == f"collecting as {jobs[3]}-c1"
    assert account.described == [jobs[3]]
    assert account.status(f"{jobs[3]}-c1") == "RUNNING"


def test_a_job_that_the_list_does_not_show_yet_is_not_closed(account: Account) -> None:
    """The list of executions is eventually consistent."""
    job = account.open_job(0)
    account.now += HOUR

    def hide(call: Call, act: Callable[[], Any]) -> Any:
        is_list = call.operation == "list_executions"
        execution = account.machine.executions[account.machine.arn(job)]
        execution.status = "HIDDEN" if is_list else "RUNNING"
        return act()

    account.trouble = hide
    assert account.reconcile() == {job: "is RUNNING"}
    assert account.described == [job]
    assert account.bucket.read(object_keys.WorkKeys(job).stopped) is None


def test_a_fresh_job_is_left_alone(account: Account) -> None:
    job = account.open_job(0, execution=None)
    account.now += 60
    assert account.reconcile() == {job: "is fresh"}
    account.now += 300
    assert account.reconcile() == {job: "started"}
    assert account.described == [job]
    assert account.status(job) == "RUNNING"


# -- collecting executions -----------------------------------------------------------------------


def test_end_of_a_collecting_execution_is_found_with_one_question(account: Account) -> None:
    job = account.open_job(0)
    account.now += HOUR
    assert account.tell_end(job) == f"collecting as {job}-c1"
    for number in (1, 2):
        account.end(f"{job}-c{number}")
        account.described.clear()
        assert account.reconcile() == {job: f"collecting as {job}-c{number + 1}"}
        assert account.described == [f"{job}-c{number}"]
    assert account.reconcile() == {job: "is RUNNING"}
    account.end(f"{job}-c3")
    assert account.reconcile() == {job: "finished without collecting"}


def test_collecting_execution_whose_start_did_not_come_about_is_started(account: Account) -> None:
    job = account.open_job(0)
    account.now += HOUR
    account.trouble = throttling("start_execution")
    with pytest.raises(ClientError):
        account.tell_end(job)
    account.trouble = plain_wire
    account.described.clear()
    assert account.reconcile() == {job: f"collecting as {job}-c1"}
    assert account.described == [f"{job}-c1"]
    assert account.status(f"{job}-c1") == "RUNNING"


def test_event_of_an_earlier_end_that_comes_late_changes_nothing(account: Account) -> None:
    job = account.open_job(0)
    account.tell_end(job)
    account.tell_end(f"{job}-c1")
    assert account.status(f"{job}-c2") == "RUNNING"
    # The first end is told once more.
    account.tell_end(job)
    account.now += HOUR
    account.end(f"{job}-c2")
    account.described.clear()
    assert account.reconcile() == {job: f"collecting as {job}-c3"}
    assert account.described == [f"{job}-c2"]


def test_collecting_executions_of_an_earlier_version_are_found_one_by_one(account: Account) -> None:
    """It did not write down which it had started."""
    job = account.open_job(0, execution="FAILED")
    for number in (1, 2):
        account.start(f"{job}-c{number}")
        account.end(f"{job}-c{number}")
    account.now += HOUR
    for _ in range(3):
        account.reconcile()
    assert account.described == [job, f"{job}-c1", f"{job}-c2"]
    assert account.status(f"{job}-c3") == "RUNNING"


# -- what goes wrong -----------------------------------------------------------------------------


def test_jobs_late_in_the_order_of_names_are_looked_at_when_time_ends(account: Account) -> None:
    jobs = [account.open_job(number, execution="ABORTED") for number in range(25)]
    account.now += HOUR
    for run in range(1, 4):
        account.reconcile(looks=run * 10)
    assert sorted(account.described) == sorted(jobs)
    assert {account.status(f"{job}-c1") for job in jobs} == {"RUNNING"}


def test_jobs_that_fail_again_and_again_do_not_hold_up_the_others(account: Account) -> None:
    jobs = sorted(account.open_job(number, execution="ABORTED") for number in range(25))
    account.now += HOUR

    def fail(call: Call, act: Callable[[], Any]) -> Any:
        if call.target in jobs[:10]:
            return throttling("describe_execution")(call, act)
        return act()

    account.trouble = fail
    for run in range(1, 5):
        with contextlib.suppress(ReconcileError):
            account.reconcile(looks=run * 10)
    assert {account.status(f"{job}-c1") for job in jobs[10:]} == {"RUNNING"}
    assert {account.status(f"{job}-c1") for job in jobs[:10]} == {None}


def test_a_job_that_cannot_be_looked_at_is_told(account: Account) -> None:
    jobs = [account.open_job(number, execution="ABORTED") for number in range(3)]
    account.now += HOUR
    account.upload(object_keys.open_job_key(jobs[1]), b"no JSON")
    account.now += HOUR
    with pytest.raises(ReconcileError, match=rf"^1 open jobs .*{jobs[1]}"):
        account.reconcile()
    assert account.status(f"{jobs[0]}-c1") == account.status(f"{jobs[2]}-c1") == "RUNNING"


@pytest.mark.parametrize("operation", ["list_executions", "describe_execution"])
def test_metrics_are_published_whatever_step_functions_answers(
    account: Account, capsys: pytest.CaptureFixture[str], operation: str
) -> None:
    for number in range(3):
        account.open_job(number, execution="ABORTED")
    account.now += 26 * HOUR
    account.trouble = throttling(operation)
    with pytest.raises((ClientError, ReconcileError)):
        account.reconcile()
    sums = published(capsys)
    assert (sums["OpenJobs"], sums["JobsOverdue"]) == ([3], [3])
    assert sums["OldestJobSeconds"] == [26 * HOUR]


def test_a_record_that_cannot_be_read_does_not_hide_how_many_are_overdue(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [account.open_job(number) for number in range(3)]
    account.upload(object_keys.WorkKeys(jobs[0]).job_record, b"no JSON")
    account.now += 26 * HOUR
    account.reconcile()
    assert published(capsys)["JobsOverdue"] == [3]


@pytest.mark.parametrize(("hours", "overdue"), [(26, [1]), (48, [1]), (50, [2])])
def test_job_with_a_canary_is_overdue_one_window_later(
    account: Account, capsys: pytest.CaptureFixture[str], hours: int, overdue: list[int]
) -> None:
    account.open_job(0)
    job = account.open_job(1)
    record = JobRecord(
        accepted=True,
        options=replace(Settings.from_env(DEFAULT_ENVIRONMENT).default_options, canary_requests=2),
        shards=tuple(Shard(number=n, requests=2, bytes=9, skipped=0) for n in (1, 2)),
        has_canary=True,
    )
    account.write(object_keys.WorkKeys(job).job_record, record.to_json())
    account.now += hours * HOUR
    account.reconcile()
    assert published(capsys)["JobsOverdue"] == overdue


def test_throttling_of_step_functions_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its quota is refilled by the second, and others of the account use it too."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    bootstrap.reset()
    states = bootstrap.states()
    tries: list[str] = []

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        tries.append(str(request.url))
        body = b'{"__type": "ThrottlingException", "message": "Rate exceeded"}'
        status = 400
        if len(tries) == 9:
            status, body = 200, b'{"status": "RUNNING"}'
        headers = {"Content-Type": "application/x-amz-json-1.0"}
        return AWSResponse(str(request.url), status, headers, Body(body))

    states.meta.events.register("before-send.sfn", answer)
    arn = FakeStepFunctions().arn("a")
    assert states.describe_execution(executionArn=arn)["status"] == "RUNNING"
    bootstrap.reset()


class Body(io.BytesIO):
    """A body as urllib3 hands it out."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()


# -- executions without a job --------------------------------------------------------------------

STRANGER = "requests-0123456789abcdef0123"


def test_end_of_a_jobs_execution_without_its_record_is_an_error(account: Account) -> None:
    """The stack was given another bucket while the job waited: what was paid for is not lost."""
    account.start(STRANGER)
    with pytest.raises(UnknownJobError, match=rf"{STRANGER}.*bucket {BUCKET}.*another bucket\?"):
        account.tell_end(STRANGER)
    account.start(f"{STRANGER}-c1")
    with pytest.raises(UnknownJobError):
        account.tell_end(f"{STRANGER}-c1", "TIMED_OUT")
    assert account.bucket.keys() == []


@pytest.mark.parametrize(
    "name", ["test", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "My_Run-0123456789abcdef0123"]
)
def test_end_of_an_execution_that_somebody_started_by_hand_is_ignored(
    account: Account, name: str
) -> None:
    account.start(name)
    assert account.tell_end(name) == "ignored: not a job"


def test_end_of_a_job_whose_record_was_removed_after_it_is_no_error(account: Account) -> None:
    job = account.open_job(0)
    account.write(object_keys.WorkKeys(job).closed, {})
    account.remove(object_keys.job_key(job), object_keys.open_job_key(job))
    assert account.tell_end(job) == "was closed, and its record is gone"


def test_record_that_was_removed_too_early_is_written_again(account: Account) -> None:
    job = account.open_job(0)
    record = account.record(job)
    account.remove(object_keys.job_key(job))
    assert account.tell_end(job) == f"collecting as {job}-c1"
    assert account.record(job) == record


# -- the page of all jobs ------------------------------------------------------------------------


def index_of(account: Account) -> str:
    data = account.bucket.read(object_keys.INDEX_KEY)
    assert data is not None
    return data.decode()


def end_of_job(account: Account, number: int, **fields: Any) -> UsageRecord:
    ended = datetime.fromtimestamp(account.now, UTC)
    given = {"started_at": timestamp(ended), "finished_at": timestamp(ended), **fields}
    record = usage_record(number, **given)
    assert record.write(account.bucket.storage())
    return record


def test_every_run_makes_the_page_of_all_jobs(account: Account) -> None:
    account.open_job(7)
    for number in range(10_000, 10_003):
        end_of_job(account, number)
    account.now += HOUR
    account.reconcile()
    page = index_of(account)
    assert "1 running, 3 ended" in page
    assert "00007.jsonl" in page
    assert "requests-10001.jsonl" in page
    account.now += 900
    end_of_job(account, 10_003)
    account.reconcile()
    assert "1 running, 4 ended" in index_of(account)
    assert "1 Mar 2026, 13:15 UTC" in index_of(account)


def test_page_of_all_jobs_shows_the_oldest_hundred_of_those_that_run(account: Account) -> None:
    for number in range(150):
        account.open_job(number)
        account.now += 1
    account.now += HOUR
    account.reconcile()
    page = index_of(account)
    assert "00099.jsonl" in page
    assert "00100.jsonl" not in page
    assert "The 100 longest-running jobs of 150." in page


def test_job_that_has_its_usage_record_is_not_shown_as_running(account: Account) -> None:
    job = account.open_job(7)
    end_of_job(account, 1, job_id=job)
    account.now += HOUR
    account.reconcile()
    assert "0 running, 1 ended" in index_of(account)


def test_page_that_cannot_be_made_keeps_no_job_from_being_closed(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    job = account.open_job(0)
    account.end(job, "ABORTED")
    account.now += HOUR
    account.trouble = refusing("get_object", 403, "AccessDenied", object_keys.USAGE_SUMS_KEY)
    assert account.reconcile() == {job: f"collecting as {job}-c1"}
    assert account.bucket.read(object_keys.INDEX_KEY) is None
    assert published(capsys)["ReportPagesFailed"] == [1]


def test_page_is_made_when_step_functions_cannot_be_asked(account: Account) -> None:
    account.open_job(7)
    account.trouble = throttling("list_executions")
    with pytest.raises(ClientError):
        account.reconcile()
    assert "1 running, 0 ended" in index_of(account)


def test_run_that_was_thought_dead_replaces_no_later_page(account: Account) -> None:
    account.reconcile()
    later = index_of(account)
    account.now -= 900
    end_of_job(account, 1)
    account.reconcile()
    assert index_of(account) == later


def test_page_that_an_upload_named_index_had_is_replaced(account: Account) -> None:
    account.upload(object_keys.INDEX_KEY, b"old", **{JOB_METADATA: "index-1"})
    account.reconcile()
    assert "All jobs" in index_of(account)


@pytest.mark.parametrize("target", [object_keys.USAGE_SUMS_KEY, object_keys.INDEX_KEY])
def test_two_runs_at_the_same_time_make_one_right_page(account: Account, target: str) -> None:
    for number in range(3):
        end_of_job(account, number)
    met: list[bool] = []

    def meet(act: Callable[[], Any]) -> Any:
        if not met:
            met.append(True)
            account.reconcile()
        return act()

    account.trouble = instead(meet, "put_object", target)
    account.reconcile()
    assert met
    account.reconcile()
    assert "0 running, 3 ended" in index_of(account)


# -- descriptions that are older than the event --------------------------------------------------


def test_end_that_step_functions_tells_late_is_waited_for(account: Account) -> None:
    job = account.open_job(1)
    account.wait(3600.0)
    account.machine.lag_seconds = 5.0
    assert account.tell_end(job, "ABORTED") == f"collecting as {job}-c1"


def test_execution_that_step_functions_shows_late_is_waited_for(account: Account) -> None:
    """It was stopped at once: the end is reported before a description shows the start."""
    account.machine.lag_seconds = 5.0
    job = account.open_job(1, execution="ABORTED")
    assert account.tell(job) == f"collecting as {job}-c1"


def test_end_that_step_functions_does_not_tell_is_left_to_the_reconciler(account: Account) -> None:
    job = account.open_job(1)
    account.wait(3600.0)
    account.machine.lag_seconds = 50.0
    assert account.tell_end(job, "ABORTED") == "ignored: the execution is RUNNING"
    account.wait(60.0)
    assert account.reconcile() == {job: f"collecting as {job}-c1"}


def test_end_of_an_execution_redriven_since_is_ignored_at_once(account: Account) -> None:
    job = account.open_job(1)
    account.end(job, "FAILED")
    account.end(job, "RUNNING")
    before = account.now
    assert account.tell(job) == "ignored: the execution is RUNNING"
    assert account.now == before
    # Its second end is another matter.
    account.end(job, "FAILED")
    assert account.tell(job, redrives=1) == f"collecting as {job}-c1"
