"""Finding, listing and following jobs, over a bucket that keeps S3's rules."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch, BatchCounts
from groq_batch.domain.job_id import again_job_id, firing_job_id, upload_job_id
from groq_batch.domain.times import timestamp
from groq_batch.records import stored
from groq_batch.records.all_attempts import load_attempts
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.job import JobRecord, JobRequest
from groq_batch.records.on_demand import OnDemandProgress
from groq_batch.records.submission import Stage
from groq_batch.reports.report import running_report
from groq_batch_cli.ending import end_line, problem_lines
from groq_batch_cli.errors import CommandError, NoSuchJobError
from groq_batch_cli.failures import ErrorCode, ErrorCodes
from groq_batch_cli.job_list import ListedJob, Wanted, list_jobs
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.job_progress import Follower
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.verbs.jobs import _show as show_jobs
from groq_batch_cli.verbs.status import status_lines
from groq_batch_client import job_view
from groq_batch_client.follow import Followed, pause_seconds
from groq_batch_client.found_jobs import FoundJob
from tests.fakes.s3 import FakeS3, client_error
from tests.samples import OPTIONS, job_request

BUCKET = "bucket"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_report(
    job_id: str = "job-1", status: str = "running", *, version_id: str | None = None, **changes: Any
) -> dict[str, Any]:
    begun = "2026-03-01T11:00:00.000Z"
    request = job_request(job_id, path="x.jsonl", version_id=version_id, started_at=begun)
    report: dict[str, Any] = {
        **running_report(request, None),
        "status": status,
        "requests": {"total": 10, "succeeded": 0, "failed": 0, "invalid": 0},
        "progress": {"completed": 0, "total": 10},
        "cost_usd": {"estimated": 2.0, "actual": None},
    }
    for name, value in changes.items():
        report[name] = {**report[name], **value} if isinstance(value, dict) else value
    return report


def a_batch(status: str = "in_progress", attempt: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"batch_{attempt}",
        "shard": 1,
        "attempt": attempt,
        "status": status,
        "requests": 10,
        "succeeded": 0,
        "failed": 0,
        "created_at": "2026-03-01T11:59:00.000Z",
        "ended_at": None,
        **changes,
    }


def fatal(code: str, message: str = "Do this.") -> dict[str, Any]:
    return {"line": None, "custom_id": None, "code": code, "message": message}


class Bucket:
    """A bucket with jobs in it."""

    def __init__(self) -> None:
        self.now = NOON.timestamp()
        self.fake = FakeS3(BUCKET, clock=lambda: self.now, page_size=3)
        self.reads: list[str] = []
        self.denied = ""

        def watch(call: Any, act: Callable[[], Any]) -> Any:
            if call.operation == self.denied:
                raise client_error(call.operation, 403, "AccessDenied", "Access Denied")
            if call.operation == "get_object":
                self.reads.append(call.arguments["Key"])
            return act()

        self.storage = self.fake.storage(watch)

    @property
    def timing(self) -> dict[str, Any]:
        """When the job that was recorded last was started."""
        moment = datetime.fromtimestamp(self.now, UTC)
        return {"started_at": timestamp(moment)}

    def upload(self, path: str, data: bytes = b"{}") -> str:
        """Upload a file; returns the name that its job will have."""
        key = object_keys.INPUT_PREFIX + path
        self.storage.put_bytes(key, data)
        head = self.storage.head(key)
        assert head is not None
        assert head.version_id is not None
        self.version = head.version_id
        return upload_job_id(bucket=BUCKET, key=key, version_id=head.version_id)

    def record(
        self, job_id: str, path: str, *, is_open: bool = False, key: str | None = None
    ) -> JobRequest:
        """Record that a job was started; time goes on."""
        self.now += 60
        key = key or object_keys.INPUT_PREFIX + path
        request = job_request(job_id, key=key, path=path, **self.timing)
        self.storage.put_json(object_keys.job_key(job_id), stored.to_record(request))
        if is_open:
            self.storage.put_json(object_keys.open_job_key(job_id), stored.to_record(request))
        return request

    def report(self, path: str, report: dict[str, Any]) -> None:
        self.storage.put_json(object_keys.delivery_keys(path).report, report)

    def run(self, path: str, status: str = "succeeded") -> str:
        """Upload a file, and let its job come to a status."""
        job_id = self.upload(path)
        self.record(job_id, path, is_open=status == "running")
        report = make_report(job_id, status, version_id=self.version, timing=self.timing)
        self.report(path, report)
        return job_id

    def fire(self, key: str) -> str:
        """Let a recurring file run once; returns the name of the job."""
        fired_at = object_keys.format_fired_at(datetime.fromtimestamp(self.now, UTC))
        job_id = firing_job_id(bucket=BUCKET, key=key, fired_at=fired_at)
        path = object_keys.recurring_path(key, fired_at)
        self.record(job_id, path, key=key)
        self.report(path, make_report(job_id, "succeeded", timing=self.timing))
        return job_id

    def prepared(self, job_id: str, *, good: int, **fields: Any) -> None:
        """Write what the preparation of a job found."""
        numbers = {"total": good, "good": good, "lines": good}
        record = JobRecord(accepted=True, options=OPTIONS, **numbers, **fields)
        self.storage.put_json(object_keys.WorkKeys(job_id).job_record, record.to_json())

    def state(self, job_id: str, attempt: int, counts: dict[str, int]) -> None:
        """Write what is known of the one batch of an attempt."""
        sent = counts.pop("requests")
        batch = Batch(
            id=f"batch_{attempt}",
            status="in_progress",
            counts=BatchCounts(total=sent, **counts),
            created_at=int(NOON.timestamp()) + 3600,
        )
        entry = ShardState(stage=Stage.CREATED, requests=sent, batch=batch)
        state = AttemptState(attempt=attempt, started_at=0.0, entries={1: entry})
        self.storage.put_json(
            object_keys.WorkKeys(job_id).batches(attempt), stored.to_record(state)
        )

    def find(self, text: str) -> FoundJob:
        return find_job(self.storage, text)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


# -- finding ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "team/x.jsonl",
        "./team/x.jsonl",
        "x.jsonl",
        "/home/me/x.jsonl",
        "input/team/x.jsonl",
        "output/team/x.jsonl",
        "failed/team/x.jsonl",
        "invalid/team/x.jsonl",
        "reports/team/x.jsonl.json",
        "reports/team/x.jsonl.html",
        "s3://bucket/input/team/x.jsonl",
        "s3://bucket/output/team/x.jsonl",
        "{job}",
        "{job}-c1",
        "{beginning}",
    ],
)
def test_job_is_found(text: str, bucket: Bucket) -> None:
    bucket.run("other/y.jsonl")
    job_id = bucket.run("team/x.jsonl", "partial")
    text = text.replace("{job}", job_id).replace("{beginning}", job_id[:8])
    found = bucket.find(text)
    assert (found.path, found.job_id, found.status) == ("team/x.jsonl", job_id, "partial")
    assert (found.stem, found.ending) == ("x", ".jsonl")


@pytest.mark.parametrize("text", ["nope.jsonl", "nope", "x-00000000000000000000", "s3://bucket/"])
def test_job_that_is_none(text: str, bucket: Bucket) -> None:
    bucket.run("x.jsonl")
    with pytest.raises(NoSuchJobError, match="`groq-batch jobs` lists the jobs"):
        bucket.find(text)


def test_address_in_another_bucket(bucket: Bucket) -> None:
    with pytest.raises(CommandError, match="not in this stack's bucket, which is bucket"):
        bucket.find("s3://other/input/x.jsonl")


def test_file_of_several_folders_is_not_guessed(bucket: Bucket) -> None:
    bucket.run("a/x.jsonl")
    bucket.run("b/x.jsonl")
    bucket.run("b/X.jsonl")
    with pytest.raises(CommandError, match=r"several files x.jsonl: a/x.jsonl, b/x.jsonl\."):
        bucket.find("x.jsonl")
    assert bucket.find("X.jsonl").path == "b/X.jsonl"


def test_beginning_of_several_jobs_is_not_guessed(bucket: Bucket) -> None:
    names = sorted([bucket.run("a/x.jsonl"), bucket.run("b/x.jsonl")])
    with pytest.raises(CommandError, match=f"begin with x-: {names[0]}, {names[1]}"):
        bucket.find("x-")


def test_file_in_the_root_comes_before_those_in_folders(bucket: Bucket) -> None:
    bucket.run("a/x.jsonl")
    job_id = bucket.run("x.jsonl")
    assert bucket.find("x.jsonl").job_id == job_id


def test_newest_upload_of_a_key_counts(bucket: Bucket) -> None:
    first = bucket.run("x.jsonl")
    second = bucket.upload("x.jsonl", b"{ }")
    found = bucket.find("x.jsonl")
    assert (found.job_id, found.status) == (None, "uploaded")
    bucket.record(second, "x.jsonl", is_open=True)
    found = bucket.find("x.jsonl")
    assert (found.job_id, found.status) == (second, "starting")
    # The report of the older job still stands there; it has been looked for under its own name.
    assert bucket.find(first).status == "succeeded"


def test_run_again_of_an_upload_counts(bucket: Bucket) -> None:
    bucket.upload("x.jsonl")
    again = again_job_id(bucket=BUCKET, key="input/x.jsonl", version_id=bucket.version, run="r")
    bucket.report("x.jsonl", make_report(again, "running", version_id=bucket.version))
    assert bucket.find("x.jsonl").job_id == again


def test_report_stays_when_the_input_is_removed(bucket: Bucket) -> None:
    job_id = bucket.run("x.jsonl")
    bucket.storage.delete(["input/x.jsonl"])
    assert bucket.find("x.jsonl").job_id == job_id


def test_overtaken_job_is_found_where_it_delivered(bucket: Bucket) -> None:
    first = bucket.run("x.jsonl")
    bucket.report(f"superseded/{first}/x.jsonl", make_report(first, "succeeded"))
    bucket.run("x.jsonl", "running")
    found = bucket.find(first)
    assert (found.path, found.status) == (f"superseded/{first}/x.jsonl", "succeeded")


def test_job_rejected_for_its_key_is_found_under_its_own_name(bucket: Bucket) -> None:
    job_id = bucket.upload("recurring/x.jsonl")
    bucket.record(job_id, "recurring/x.jsonl")
    bucket.report(job_id, make_report(job_id, "rejected"))
    assert bucket.find(job_id).path == job_id


def test_firing_of_a_recurring_file_is_found(bucket: Bucket) -> None:
    path = "recurring/daily/2026-03-01T12-00-00Z.jsonl"
    bucket.report(path, make_report("daily-0", "succeeded"))
    assert bucket.find(path).job_id == "daily-0"
    assert bucket.find(f"output/{path}").job_id == "daily-0"


def test_recurring_file_is_found_as_its_newest_firing(bucket: Bucket) -> None:
    # More of them than are looked at when a file is named without its folder.
    firings = [bucket.fire("recurring/evals.jsonl") for _ in range(60)]
    bucket.run("evals.jsonl")
    bucket.run("team/evals.jsonl")
    found = bucket.find("recurring/evals.jsonl")
    assert found.job_id == firings[-1]
    assert found.path.startswith("recurring/evals/2026-03-01T")
    assert bucket.find("s3://bucket/recurring/evals.jsonl").job_id == firings[-1]
    assert bucket.find("evals.jsonl").path == "evals.jsonl"


def test_name_of_a_recurring_file_alone_is_one_file_whatever_its_firings(bucket: Bucket) -> None:
    firings = [bucket.fire("recurring/evals.jsonl") for _ in range(3)]
    assert bucket.find("evals.jsonl").job_id == firings[-1]
    bucket.run("team/evals.jsonl")
    with pytest.raises(CommandError, match=r"evals\.jsonl: recurring/evals\.jsonl, team/evals"):
        bucket.find("evals.jsonl")


def test_recurring_file_that_has_not_run_says_how_to_start_it(bucket: Bucket) -> None:
    bucket.storage.put_bytes("recurring/evals.jsonl", b"{}")
    bucket.run("team/evals.jsonl")
    with pytest.raises(NoSuchJobError, match="to run it now: groq-batch start recurring/evals"):
        bucket.find("recurring/evals.jsonl")
    with pytest.raises(NoSuchJobError, match=r"There is no job of recurring/other\.jsonl"):
        bucket.find("recurring/other.jsonl")


# -- listing ----------------------------------------------------------------------------------


def listing(bucket: Bucket, *, denied: list[str] | None = None, **wanted: Any) -> list[ListedJob]:
    said: list[str] = [] if denied is None else denied
    return list(list_jobs(bucket.storage, Wanted(**wanted), on_denied=said.append))


def listed(bucket: Bucket, status: str | None = None, **wanted: Any) -> list[tuple[str, str]]:
    return [(one.job.path, one.status) for one in listing(bucket, status=status, **wanted)]


def test_jobs_are_listed_newest_first(bucket: Bucket) -> None:
    for number in range(40):
        bucket.run(f"{number}.jsonl", "running" if number == 5 else "succeeded")
    bucket.record(bucket.upload("new.jsonl"), "new.jsonl", is_open=True)
    found = listed(bucket)
    assert len(found) == 41
    assert found[:2] == [("new.jsonl", "starting"), ("39.jsonl", "succeeded")]
    assert found[-1] == ("0.jsonl", "succeeded")
    assert listed(bucket, "running") == [("new.jsonl", "starting"), ("5.jsonl", "running")]
    assert listed(bucket, "starting") == [("new.jsonl", "starting")]
    assert listed(bucket, "failed") == []


def test_jobs_since_a_moment_are_listed_without_reading_the_others(bucket: Bucket) -> None:
    for number in range(10):
        bucket.run(f"{number}.jsonl")
    reads = bucket.reads
    reads.clear()
    since = datetime.fromtimestamp(bucket.now, UTC) - timedelta(seconds=90)
    assert listed(bucket, since=since) == [("9.jsonl", "succeeded"), ("8.jsonl", "succeeded")]
    assert len(reads) == 4


def test_jobs_below_a_folder_are_listed(bucket: Bucket) -> None:
    for path in ("a/x.jsonl", "ab/x.jsonl", "a/b/y.jsonl", "x.jsonl"):
        bucket.run(path)
    assert listed(bucket, under="a/") == [("a/b/y.jsonl", "succeeded"), ("a/x.jsonl", "succeeded")]


def test_replaced_job_is_listed_with_what_it_has_come_to(bucket: Bucket) -> None:
    for cost in (1.0, 2.0, 3.0):
        job_id = bucket.upload("x.jsonl")
        bucket.record(job_id, "x.jsonl")
        for done in (3, 7):
            progress = {"completed": done}
            bucket.report("x.jsonl", make_report(job_id, progress=progress, timing=bucket.timing))
        ended = make_report(job_id, "partial", cost_usd={"actual": cost}, timing=bucket.timing)
        bucket.report("x.jsonl", ended)
    found = listing(bucket)
    assert [one.status for one in found] == ["partial", "replaced", "replaced"]
    reports = [one.job.report for one in found]
    assert [one and one["cost_usd"]["actual"] for one in reports] == [3.0, 2.0, 1.0]
    assert [one and one["status"] for one in reports] == ["partial"] * 3
    assert listed(bucket, "replaced") == [("x.jsonl", "replaced")] * 2


def test_replaced_job_is_found_with_few_reads_among_many_versions(bucket: Bucket) -> None:
    ids = []
    for _ in range(2):
        ids.append(bucket.upload("x.jsonl"))
        bucket.record(ids[-1], "x.jsonl")
        for done in range(100):
            progress = {"completed": done}
            bucket.report("x.jsonl", make_report(ids[-1], progress=progress, timing=bucket.timing))
    bucket.reads.clear()
    found = bucket.find(ids[0])
    assert found.report is not None
    assert found.report["progress"]["completed"] == 99
    assert len(bucket.reads) < 16


def test_replaced_job_whose_report_has_expired_says_so(bucket: Bucket) -> None:
    first = bucket.upload("x.jsonl")
    bucket.record(first, "x.jsonl")
    bucket.run("x.jsonl")
    found = bucket.find(first)
    assert (found.status, found.report, found.is_replaced) == ("replaced", None, True)
    terminal, _, _ = a_terminal()
    assert list(status_lines(found, terminal, NOON)) == [
        "x.jsonl: replaced by a newer run of this file; its report has expired"
    ]


def test_older_versions_that_may_not_be_listed_leave_the_rest_of_the_list(bucket: Bucket) -> None:
    bucket.run("x.jsonl")
    bucket.run("x.jsonl")
    bucket.denied = "list_object_versions"
    denied: list[str] = []
    found = listing(bucket, denied=denied)
    assert [(one.status, one.job.report is None) for one in found] == [
        ("succeeded", False),
        ("replaced", True),
    ]
    assert denied == ["The outcome of replaced jobs is not known: AWS denies ListObjectVersions."]


def test_overtaken_job_that_runs_is_listed_with_its_progress(bucket: Bucket) -> None:
    first = bucket.upload("x.jsonl")
    request = bucket.record(first, "x.jsonl", is_open=True)
    bucket.prepared(first, good=20)
    bucket.state(first, 1, {"requests": 20, "completed": 9, "failed": 2})
    bucket.report("x.jsonl", make_report(first))
    assert request.path == "x.jsonl"
    second = bucket.run("x.jsonl", "running")
    found = listing(bucket, status="running")
    assert [(one.job_id, one.status) for one in found] == [(second, "running"), (first, "running")]
    superseded = found[1].job
    assert superseded.report is not None
    assert superseded.report["progress"] == {"completed": 11, "total": 20}
    assert superseded.report["requests"]["total"] == 20
    terminal, _, _ = a_terminal()
    lines = list(status_lines(superseded, terminal, NOON))
    assert lines[0] == "x.jsonl: running, 11 of 20 requests done (55 %)"
    aside = f"output/superseded/{first}/x.jsonl"
    assert lines[1].endswith(f"this one will deliver to {aside}")


def test_overtaken_job_in_a_later_attempt_counts_what_was_settled_before(bucket: Bucket) -> None:
    job_id = bucket.upload("x.jsonl")
    bucket.record(job_id, "x.jsonl", is_open=True)
    bucket.prepared(job_id, good=20)
    bucket.state(job_id, 1, {"requests": 20, "completed": 15, "failed": 5})
    bucket.state(job_id, 2, {"requests": 5, "completed": 1, "failed": 0})
    bucket.run("x.jsonl", "running")
    report = bucket.find(job_id).report
    assert report is not None
    assert report["progress"] == {"completed": 16, "total": 20}
    assert [(one["attempt"], one["succeeded"]) for one in report["batches"]] == [(1, 15), (2, 1)]
    assert report["timing"]["submitted_at"] == "2026-03-01T13:00:00.000Z"


def test_report_from_work_after_a_deadline_is_that_of_the_stack(bucket: Bucket) -> None:
    job_id = bucket.upload("x.jsonl")
    request = bucket.record(job_id, "x.jsonl", is_open=True)
    bucket.prepared(job_id, good=20, deadline_at=NOON.timestamp())
    bucket.state(job_id, 1, {"requests": 20, "completed": 15, "failed": 5})
    bucket.state(job_id, 2, {"requests": 5, "completed": 0, "failed": 0})
    keys = object_keys.WorkKeys(job_id)
    calls = OnDemandProgress(
        attempt=2, budget_usd=1.0, ask_until=0.0, max_tries=3, requests=5, ended_calls=3,
        succeeded=2, cost_usd=0.25,
    )  # fmt: skip
    calls.begin(bucket.storage, keys)
    bucket.run("x.jsonl", "running")
    report = bucket.find(job_id).report
    states, _ = load_attempts(bucket.storage, keys)
    job = JobRecord.required(bucket.storage, keys)
    expected = running_report(request, job, states=states, calls=calls)
    assert report == {**expected, "version": None}
    assert report["progress"] == {"completed": 18, "total": 20}
    assert report["on_demand"]["cost_usd"] == 0.25


def test_uploads_without_a_job_are_listed_when_asked_for(bucket: Bucket) -> None:
    bucket.run("old.jsonl")
    bucket.now += 60
    waits = bucket.upload("team/x.jsonl")
    bucket.upload("gone.jsonl")
    bucket.storage.delete(["input/gone.jsonl"])
    bucket.storage.put_bytes("input/team/", b"")
    assert listed(bucket) == [("old.jsonl", "succeeded")]
    found = listing(bucket, with_waiting=True)
    assert [(one.job_id, one.job.path, one.status) for one in found] == [
        (waits, "team/x.jsonl", "waiting"),
        (found[1].job_id, "old.jsonl", "succeeded"),
    ]
    assert listed(bucket, "waiting", with_waiting=True) == [("team/x.jsonl", "waiting")]
    assert listed(bucket, "waiting", with_waiting=True, under="other/") == []


def test_uploads_that_may_not_be_listed_leave_the_jobs(bucket: Bucket) -> None:
    bucket.run("x.jsonl")
    bucket.denied = "list_object_versions"
    denied: list[str] = []
    found = listing(bucket, denied=denied, with_waiting=True)
    assert [one.status for one in found] == ["succeeded"]
    assert denied == ["Waiting uploads are not listed: AWS denies ListObjectVersions."]


def test_running_jobs_are_found_without_reading_the_others(bucket: Bucket) -> None:
    for number in range(10):
        bucket.run(f"{number}.jsonl")
    bucket.run("x.jsonl", "running")
    bucket.reads.clear()
    assert listed(bucket, "running") == [("x.jsonl", "running")]
    assert len(bucket.reads) == 2


# -- words ------------------------------------------------------------------------------------


class Pipe(io.StringIO):
    encoding = "utf-8"


class Tty(Pipe):
    def isatty(self) -> bool:
        return True


def a_terminal(kind: type[Pipe] = Pipe) -> tuple[Terminal, Pipe, Pipe]:
    out, err = kind(), kind()
    return Terminal(out, err, {"NO_COLOR": "1", "COLUMNS": "200"}), out, err


def status_of(
    report: dict[str, Any] | None,
    at: datetime = NOON,
    codes: ErrorCodes | None = None,
    **found: Any,
) -> list[str]:
    """Return what ``groq-batch status`` says of a job with a report."""
    job = FoundJob(path="x.jsonl", job_id="job-1", report=report, **found)
    return list(status_lines(job, a_terminal()[0], at, codes))


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (None, "starting"),
        (make_report(progress={"total": 0}), "checking"),
        (make_report(), "sending"),
        (make_report(batches=[a_batch()]), "running"),
        (make_report(batches=[a_batch("completed")]), "collecting"),
        (make_report(batches=[a_batch("completed"), a_batch("in_progress", 2)]), "attempt 2"),
        (make_report(status="partial"), "partial"),
    ],
)
def test_phase(report: dict[str, Any] | None, expected: str) -> None:
    assert job_view.phase(report, has_job=True) == expected


def test_upload_without_a_job_waits() -> None:
    assert job_view.phase(None, has_job=False) == "waiting"


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (None, ""),
        (make_report(progress={"completed": 5}), "~$1.00 of ~$2.00"),
        (make_report(cost_usd={"estimated": None}), ""),
        (make_report(status="succeeded", cost_usd={"actual": 1.5}), "$1.50"),
        (make_report(status="rejected"), ""),
    ],
)
def test_cost(report: dict[str, Any] | None, expected: str) -> None:
    assert job_view.cost_so_far(report) == expected


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (make_report(status="succeeded"), "10 requests answered"),
        (
            make_report(status="partial", requests={"succeeded": 8}),
            "8 of 10 requests answered, 2 not",
        ),
        (make_report(status="rejected", errors_total=3), "3 problems, nothing was sent"),
        (
            make_report(status="cancelled", requests={"succeeded": 1}),
            "1 of 10 requests answered",
        ),
        (make_report(status="failed", errors=[fatal("x")]), "Do this."),
        (make_report(status="failed"), "the report names no reason"),
        (make_report(progress={"total": 0}), "the file is being checked"),
        (make_report(progress={"completed": 5}), "5 of 10 requests done (50 %)"),
    ],
)
def test_headline(report: dict[str, Any], expected: str) -> None:
    assert job_view.headline(report) == expected


@pytest.mark.parametrize(
    ("status", "passed", "failed", "projected", "expected"),
    [
        ("running", None, 0, None, "50 requests, not judged yet"),
        ("cancelled", None, 50, None, "50 requests, not judged"),
        (
            "succeeded",
            True,
            2,
            4.0,
            "passed: 2 of 50 requests failed for good; at its rate the whole file costs $4.00",
        ),
        ("partial", False, 50, None, "failed: 50 of 50 requests failed for good"),
    ],
)
def test_canary_is_told(
    status: str, passed: bool | None, failed: int, projected: float | None, expected: str
) -> None:
    canary = {"requests": 50, "failed": failed, "projected_cost_usd": projected, "passed": passed}
    report = make_report(status=status) | {"canary": canary}
    assert job_view.canary_text(report) == expected
    assert f"  canary    {expected}" in status_of(report)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (0.41, "299 of 300 requests answered by ordinary calls for $0.4100"),
        (None, "299 of 300 requests answered by ordinary calls"),
    ],
)
def test_calls_after_a_deadline_are_told(cost: float | None, expected: str) -> None:
    calls = {"requests": 300, "succeeded": 299, "failed": 1, "cost_usd": cost}
    report = make_report(status="partial") | {"on_demand": calls}
    assert job_view.on_demand_text(report) == expected
    assert f"  deadline  {expected}" in status_of(report)
    none = report | {"on_demand": {**calls, "requests": 0}}
    assert not any("deadline" in line for line in status_of(none))


def test_a_job_that_makes_ordinary_calls_says_so() -> None:
    calls = {"requests": 3, "succeeded": 1, "failed": 0, "cost_usd": 0.0}
    report = make_report(status="running") | {"on_demand": calls}
    report["progress"] = {"completed": 1, "total": 9}
    assert job_view.phase(report, has_job=True) == "ordinary calls"


def test_job_that_a_rule_has_ended_tells_why() -> None:
    report = make_report(status="partial", errors=[fatal("canary_failed")])
    assert status_of(report)[1] == "  Do this."


def test_only_a_job_with_batches_or_calls_waits_for_groq() -> None:
    report = make_report(errors=[fatal("invalid_api_key")])
    assert job_view.reason(report) is None
    assert job_view.reason({**report, "batches": [a_batch()]}) == "Do this."
    # The deadline may pass before anything is sent.
    calls = {"requests": 1, "succeeded": 0, "failed": 1, "cost_usd": 0.0}
    assert job_view.reason({**report, "on_demand": calls}) == "Do this."


def test_list_of_jobs_on_a_narrow_terminal_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal, out, _ = a_terminal(Tty)
    report = make_report(status="partial", requests={"succeeded": 9, "failed": 1})
    job = FoundJob(path="team/questions.jsonl", job_id="questions-0123456789", report=report)
    one = ListedJob(job_id="questions-0123456789", job=job, at=NOON, status="partial")
    show_jobs([one], terminal, NOON)
    assert out.getvalue().splitlines()[1].split()[-1] == "questions-0123456789"


def test_end_of_a_job() -> None:
    terminal, _, _ = a_terminal()
    report = make_report(status="succeeded", cost_usd={"actual": 1.5}, timing={"seconds": 75.2})
    assert end_line("x", report, terminal) == (
        "x: succeeded, 10 requests answered, $1.50, 1 min 15 s"
    )


def test_end_of_a_failed_job_has_the_reason_last() -> None:
    terminal, _, _ = a_terminal()
    errors = [fatal("invalid_api_key", "Groq refuses the key. Store a valid one.")]
    report = make_report(status="failed", errors=errors, timing={"seconds": 2})
    assert end_line("x", report, terminal) == (
        "x: failed, 2 s: Groq refuses the key. Store a valid one."
    )


def test_problems_of_a_rejected_file() -> None:
    errors = [fatal("empty_file", "No\x1b request.")]
    errors += [
        {**fatal("duplicate_custom_id", f"Used on line {n - 1}."), "line": n, "custom_id": "a"}
        for n in range(2, 21)
    ]
    lines = list(problem_lines(make_report(errors=errors, errors_total=500)))
    assert lines[0] == "  the file: empty_file No request."
    assert lines[1] == "  line 2: duplicate_custom_id Used on line 1."
    assert len(lines) == 11
    assert lines[-1] == "  and 490 more"


def test_problem_that_many_lines_have_is_shown_once() -> None:
    errors = [
        {**fatal("unknown_model", "There is none."), "line": n, "custom_id": "a"}
        for n in range(1, 101)
    ]
    errors[3] = {**errors[3], "code": "invalid_body"}
    assert list(problem_lines(make_report(errors=errors, errors_total=200_000))) == [
        "  lines 1, 2, 3, 5, 6 and 94 more: unknown_model There is none.",
        "  line 4: invalid_body There is none.",
        "  and 199,900 more",
    ]


def test_status_of_a_running_job() -> None:
    report = make_report(
        progress={"completed": 4}, batches=[a_batch(succeeded=3, failed=1)], errors=[fatal("x")]
    )
    assert status_of(report) == [
        "x.jsonl: running, 4 of 10 requests done (40 %)",
        "  waits: Do this.",
        "  job       job-1",
        "  requests  10: 4 outcomes so far",
        "  cost      ~$0.8000 of ~$2.00",
        "  time      1 h 0 min",
        "  attempt 1  10 sent in 1 batch  3 answered  1 failed  1 in progress",
    ]


def test_status_of_a_job_that_has_ended() -> None:
    report = make_report(
        status="partial",
        requests={"succeeded": 8, "failed": 1, "invalid": 1},
        usage={"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11},
        outputs={"results": "s3://bucket/output/x.jsonl"},
        errors=[{**fatal("invalid_url"), "line": 3}],
        errors_total=2,
        timing={"seconds": 1.0},
    )
    assert status_of(report) == [
        "x.jsonl: partial, 8 of 10 requests answered, 2 not, 1 s",
        "  job       job-1",
        "  requests  10: 8 answered, 1 failed, 1 invalid",
        "  tokens    5 in, 6 out",
        "  time      1 s",
        "  results   s3://bucket/output/x.jsonl",
        "  line 3: invalid_url Do this.",
        "  and 1 more",
    ]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"invalid_output": 0}, "8 answered, 1 failed"),
        ({"invalid_output": 2}, "8 answered (2 not the JSON asked for), 1 failed"),
        (
            {"invalid_output": 2, "unchecked_output": 1},
            "8 answered (2 not the JSON asked for, 1 not checked against their schema), 1 failed",
        ),
    ],
)
def test_status_tells_answers_of_another_form(counts: dict[str, int], expected: str) -> None:
    report = make_report(
        status="partial",
        requests={"succeeded": 8, "failed": 1, **counts},
        timing={"seconds": 1.0},
    )
    assert f"  requests  10: {expected}" in status_of(report)


def test_status_of_a_running_job_tells_its_pace() -> None:
    report = make_report(
        requests={"total": 100},
        progress={"completed": 40, "total": 100},
        batches=[a_batch(requests=100, succeeded=39, failed=1)],
    )
    soon = status_of(report, NOON + timedelta(seconds=30), reported_at=NOON)
    assert "  pace      40.0/min, ~1 min left" in soon
    later = status_of(report, NOON + timedelta(minutes=10), reported_at=NOON)
    assert "  pace      40.0/min" in later


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("partial", "10: 1 answered, 7 failed, 2 invalid"),
        ("cancelled", "10: 1 answered, 7 not answered, 2 invalid"),
        ("failed", "10: 1 answered, 7 not answered, 2 invalid"),
        ("rejected", "10: 7 not sent, 2 invalid"),
    ],
)
def test_status_calls_requests_without_an_answer_what_they_are(status: str, expected: str) -> None:
    report = make_report(
        status=status,
        requests={"succeeded": 1, "failed": 7, "invalid": 2},
        timing={"seconds": 1.0},
    )
    assert f"  requests  {expected}" in status_of(report)


def test_status_lists_error_codes_with_their_counts() -> None:
    report = make_report(status="partial", timing={"seconds": 1.0})
    codes = ErrorCodes(
        (ErrorCode("context_length_exceeded", 1200, "Too long."), ErrorCode("missing", 3, "")), 1203
    )
    assert status_of(report, codes=codes)[-3:] == [
        "  1,203 errors by code:",
        "    1,200  context_length_exceeded  Too long.",
        "        3  missing",
    ]


def test_status_of_a_replaced_job_says_how_to_fetch_its_results(bucket: Bucket) -> None:
    first = bucket.run("x.jsonl")
    bucket.run("x.jsonl")
    terminal, _, _ = a_terminal()
    lines = list(status_lines(bucket.find(first), terminal, NOON))
    assert lines[0].startswith("x.jsonl: succeeded, 10 requests answered")
    assert lines[1].endswith(f"groq-batch results {first}")


@pytest.mark.parametrize(
    ("report", "why", "code"),
    [
        (None, "", None),
        (make_report(status="succeeded"), "", None),
        (make_report(status="failed", errors=[fatal("invalid_api_key")]), "invalid_api_key", ...),
        (make_report(status="cancelled", errors=[fatal("cancelled")]), "", "cancelled"),
        (make_report(status="rejected", errors=[fatal("empty_file")]), "empty_file", ...),
        (
            make_report(
                status="partial",
                errors=[{**fatal(code), "line": 3} for code in ("a", "b", "b", "c")],
            ),
            "b +2",
            "a",
        ),
        (
            make_report(
                status="partial",
                errors=[fatal("canary_failed"), *[{**fatal("b"), "custom_id": "x"}] * 2],
            ),
            "canary_failed",
            ...,
        ),
        (make_report(errors=[{**fatal("invalid_url"), "line": 3}], batches=[a_batch()]), "", None),
        (
            make_report(errors=[fatal("groq_unavailable")], batches=[a_batch()]),
            "groq_unavailable",
            ...,
        ),
    ],
)
def test_why_of_a_job(report: dict[str, Any] | None, why: str, code: Any) -> None:
    assert job_view.why(report) == why
    assert job_view.first_error_code(report) == (why if code is ... else code)


def test_share_of_a_job_that_has_ended_is_what_was_answered() -> None:
    cancelled = make_report(
        status="cancelled",
        requests={"total": 20_000, "succeeded": 1_333, "failed": 18_667},
        progress={"completed": 20_000, "total": 20_000},
    )
    assert job_view.answered_share(cancelled) == "6 %"
    assert job_view.unanswered(cancelled) == 18_667
    running = make_report(progress={"completed": 5})
    assert job_view.answered_share(running) == "50 %"
    assert job_view.unanswered(running) is None


# -- following --------------------------------------------------------------------------------


class Story:
    """What happens to a job while it is followed: one thing at each pause."""

    def __init__(self, bucket: Bucket, *chapters: Callable[[], object]) -> None:
        self.bucket = bucket
        self._chapters = list(chapters)
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.bucket.now += 10
        self._chapters.pop(0)()


def follow(
    story: Story, jobs: list[Followed], terminal: Terminal | None = None, **options: Any
) -> list[str]:
    """Follow jobs to their ends; returns their names in that order."""
    ended: list[str] = []
    follower = Follower(
        story.bucket.storage,
        terminal or a_terminal()[0],
        clock=lambda: story.bucket.now,
        wall_clock=lambda: story.bucket.now,
        sleep=story.sleep,
        **options,
    )
    follower.follow(jobs, lambda one: ended.append(one.name))
    return ended


def a_story(bucket: Bucket) -> tuple[Story, Followed]:
    job_id = bucket.upload("x.jsonl")

    def reported(status: str = "running", **changes: Any) -> Callable[[], None]:
        return lambda: bucket.report("x.jsonl", make_report(job_id, status, **changes))

    story = Story(
        bucket,
        lambda: bucket.record(job_id, "x.jsonl", is_open=True),
        reported(progress={"total": 0}),
        reported(),
        reported(batches=[a_batch(succeeded=2)], progress={"completed": 2}),
        reported(batches=[a_batch(succeeded=6)], progress={"completed": 6}, errors=[fatal("x")]),
        reported(batches=[a_batch("completed", succeeded=10)], progress={"completed": 10}),
        reported("succeeded", cost_usd={"actual": 1.0}),
    )
    return story, Followed("x.jsonl", FoundJob(path="x.jsonl", job_id=job_id))


def test_pipe_is_told_of_every_phase(bucket: Bucket) -> None:
    story, job = a_story(bucket)
    terminal, out, err = a_terminal()
    assert follow(story, [job], terminal) == ["x.jsonl"]
    assert out.getvalue() == ""
    assert err.getvalue().splitlines() == [
        "x.jsonl: waiting",
        "x.jsonl: starting",
        "x.jsonl: checking",
        "x.jsonl: sending, 10 requests",
        "x.jsonl: running, 2 of 10 requests (20 %), 0.8/min, ~11 min left, ~$0.4000 of ~$2.00",
        "Warning: x.jsonl waits: Do this.",
        "x.jsonl continues",
        "x.jsonl: collecting, 10 of 10 requests (100 %), ~$2.00 of ~$2.00",
    ]
    assert job.job.report is not None
    assert job.job.report["status"] == "succeeded"


def test_terminal_shows_one_line_for_each_job(bucket: Bucket) -> None:
    story, job = a_story(bucket)
    terminal, _, err = a_terminal(Tty)
    follow(story, [job], terminal)
    shown = [one.split("\r")[0] for one in err.getvalue().split("\x1b[K")]
    assert "x.jsonl  waiting" in shown
    assert "x.jsonl  checking" in shown
    line = "x.jsonl  running     ███░░░░░░░░░░░░░   20 %  2/10  0.8/min  ~11 min left"
    assert any(one.startswith(line) for one in shown)
    assert shown[-1] == ""


def test_pipe_is_told_of_the_progress_from_time_to_time(bucket: Bucket) -> None:
    job_id = bucket.upload("x.jsonl")
    bucket.record(job_id, "x.jsonl")

    def done(number: int) -> Callable[[], None]:
        progress = {"completed": number}
        return lambda: bucket.report(
            "x.jsonl", make_report(job_id, batches=[a_batch()], progress=progress)
        )

    end = make_report(job_id, "succeeded")
    done(1)()
    story = Story(bucket, *[done(n) for n in range(2, 10)], lambda: bucket.report("x.jsonl", end))
    terminal, _, err = a_terminal()
    follow(story, [Followed("x", FoundJob(path="x.jsonl", job_id=job_id))], terminal)
    told = [line.split(" of ")[0] for line in err.getvalue().splitlines()]
    assert told == ["x: running, 1", "x: running, 4", "x: running, 7"]


def test_silent_upload_is_told_of_once(bucket: Bucket) -> None:
    job_id = bucket.upload("x.jsonl")
    told: list[str] = []
    nothing: list[Callable[[], object]] = [lambda: None] * 5
    story = Story(
        bucket,
        *nothing,
        lambda: bucket.report("x.jsonl", make_report(job_id, "succeeded")),
        lambda: bucket.record(job_id, "x.jsonl"),
    )
    job = Followed("x", FoundJob(path="x.jsonl", job_id=job_id))
    follow(story, [job], on_silence=lambda one: told.append(one.name), silence_seconds=20)
    assert told == ["x"]


def test_upload_without_a_job_is_followed_until_it_has_one(bucket: Bucket) -> None:
    job_id = bucket.upload("x.jsonl")
    found = bucket.find("x.jsonl")
    assert found.job_id is None
    story = Story(
        bucket,
        lambda: bucket.record(job_id, "x.jsonl"),
        lambda: bucket.report("x.jsonl", make_report(job_id, "succeeded")),
    )
    terminal, _, err = a_terminal()
    assert follow(story, [Followed("x", found)], terminal) == ["x"]
    assert err.getvalue() == "x: waiting\nx: starting\n"


def test_jobs_end_one_after_the_other(bucket: Bucket) -> None:
    names = {path: bucket.upload(path) for path in ("a.jsonl", "b.jsonl")}

    def end(path: str) -> Callable[[], None]:
        def act() -> None:
            bucket.record(names[path], path)
            bucket.report(path, make_report(names[path], "succeeded"))

        return act

    story = Story(bucket, end("b.jsonl"), end("a.jsonl"))
    jobs = [Followed(path, FoundJob(path=path, job_id=name)) for path, name in names.items()]
    assert follow(story, jobs) == ["b.jsonl", "a.jsonl"]


def test_job_that_is_overtaken_is_followed_to_where_it_delivers(bucket: Bucket) -> None:
    job_id = bucket.upload("x.jsonl")
    bucket.record(job_id, "x.jsonl", is_open=True)
    bucket.report("x.jsonl", make_report(job_id))
    aside = object_keys.superseded_path(job_id, "x.jsonl")

    def overtake() -> None:
        bucket.report("x.jsonl", make_report("another"))
        bucket.report(aside, make_report(job_id, "succeeded"))

    job = Followed("x", FoundJob(path="x.jsonl", job_id=job_id))
    assert follow(Story(bucket, overtake), [job]) == ["x"]
    assert job.job.path == aside


def test_pauses_grow_with_the_time() -> None:
    assert [pause_seconds(seconds) for seconds in (0, 20, 100, 10_000)] == [1, 1, 5, 10]
