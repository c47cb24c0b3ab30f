"""Finding, listing and following jobs, over a bucket that keeps S3's rules."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from groq_batch import layout
from groq_batch.jobs import JobRequest
from groq_batch.storage import Storage
from groq_batch_cli import job_view
from groq_batch_cli.endings import end_line, problem_lines
from groq_batch_cli.errors import CommandError, NoSuchJobError
from groq_batch_cli.following import Followed, Follower, pause_seconds
from groq_batch_cli.job_list import list_jobs
from groq_batch_cli.job_lookup import FoundJob, find_job
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.verbs.status import status_lines
from tests.fakes.s3 import FakeS3

BUCKET = "bucket"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_report(
    job_id: str = "job-1", status: str = "running", *, version_id: str | None = None, **changes: Any
) -> dict[str, Any]:
    report: dict[str, Any] = {
        "schema_version": 1,
        "job_id": job_id,
        "status": status,
        "input": {"bucket": BUCKET, "key": "input/x.jsonl", "version_id": version_id},
        "requests": {"total": 10, "succeeded": 0, "failed": 0, "invalid": 0},
        "progress": {"completed": 0, "total": 10},
        "batches": [],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        "cost_usd": {"estimated": 2.0, "actual": None},
        "timing": {
            "started_at": "2026-03-01T11:00:00.000Z",
            "submitted_at": None,
            "finished_at": None,
            "seconds": None,
        },
        "errors": [],
        "errors_total": 0,
        "outputs": {"results": None, "failed": None, "invalid": None},
    }
    for name, value in changes.items():
        report[name] = {**report[name], **value} if isinstance(value, dict) else value
    return report


def a_batch(status: str = "in_progress", attempt: int = 1, **counts: int) -> dict[str, Any]:
    return {
        "id": f"batch_{attempt}",
        "shard": 1,
        "attempt": attempt,
        "status": status,
        "requests": 10,
        "succeeded": 0,
        "failed": 0,
        **counts,
    }


def fatal(code: str, message: str = "Do this.") -> dict[str, Any]:
    return {"line": None, "custom_id": None, "code": code, "message": message}


class Bucket:
    """A bucket with jobs in it."""

    def __init__(self) -> None:
        self.now = NOON.timestamp()
        self.fake = FakeS3(BUCKET, clock=lambda: self.now, page_size=3)
        self.storage = Storage(s3=self.fake.client(), bucket=BUCKET)

    def upload(self, path: str, data: bytes = b"{}") -> str:
        """Upload a file; returns the name that its job will have."""
        key = layout.INPUT_PREFIX + path
        self.storage.put_bytes(key, data)
        head = self.storage.head(key)
        assert head is not None
        assert head.version_id is not None
        self.version = head.version_id
        return layout.upload_job_id(bucket=BUCKET, key=key, version_id=head.version_id)

    def record(self, job_id: str, path: str, *, is_open: bool = False) -> JobRequest:
        """Record that a job was started; time goes on."""
        self.now += 60
        request = JobRequest(
            job_id=job_id,
            bucket=BUCKET,
            key=layout.INPUT_PREFIX + path,
            version_id="v",
            path=path,
            started_at="2026-03-01T11:00:00.000Z",
            claimed_by="",
        )
        self.storage.put_json(layout.job_key(job_id), request.to_json())
        if is_open:
            self.storage.put_json(layout.open_job_key(job_id), request.to_json())
        return request

    def report(self, path: str, report: dict[str, Any]) -> None:
        self.storage.put_json(layout.delivery_keys(path).report, report)

    def run(self, path: str, status: str = "succeeded") -> str:
        """Upload a file, and let its job come to a status."""
        job_id = self.upload(path)
        self.record(job_id, path, is_open=status == "running")
        self.report(path, make_report(job_id, status, version_id=self.version))
        return job_id

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
    bucket.record(second, "x.jsonl")
    found = bucket.find("x.jsonl")
    assert (found.job_id, found.status) == (second, "starting")
    # The report of the older job still stands there; it has been looked for under its own name.
    assert bucket.find(first).status == "succeeded"


def test_run_again_of_an_upload_counts(bucket: Bucket) -> None:
    bucket.upload("x.jsonl")
    again = layout.again_job_id(
        bucket=BUCKET, key="input/x.jsonl", version_id=bucket.version, run="r"
    )
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


# -- listing ----------------------------------------------------------------------------------


def listed(bucket: Bucket, status: str | None = None) -> list[tuple[str, str]]:
    return [(one.job.path, one.status) for one in list_jobs(bucket.storage, status=status)]


def test_jobs_are_listed_newest_first(bucket: Bucket) -> None:
    for number in range(40):
        bucket.run(f"{number}.jsonl", "running" if number == 5 else "succeeded")
    bucket.record(bucket.upload("new.jsonl"), "new.jsonl", is_open=True)
    found = listed(bucket)
    assert len(found) == 41
    assert found[:2] == [("new.jsonl", "starting"), ("39.jsonl", "succeeded")]
    assert found[-1] == ("0.jsonl", "succeeded")
    assert listed(bucket, "running") == [("new.jsonl", "starting"), ("5.jsonl", "running")]
    assert listed(bucket, "failed") == []


def test_job_whose_report_is_gone_was_replaced(bucket: Bucket) -> None:
    bucket.run("x.jsonl")
    bucket.run("x.jsonl")
    assert listed(bucket) == [("x.jsonl", "succeeded"), ("x.jsonl", "replaced")]
    assert listed(bucket, "replaced") == [("x.jsonl", "replaced")]


def test_running_jobs_are_found_without_reading_the_others(bucket: Bucket) -> None:
    for number in range(10):
        bucket.run(f"{number}.jsonl")
    bucket.run("x.jsonl", "running")
    reads: list[str] = []

    def count(call: Any, act: Callable[[], Any]) -> Any:
        if call.operation == "get_object":
            reads.append(call.arguments["Key"])
        return act()

    storage = Storage(s3=bucket.fake.client(count), bucket=BUCKET)
    assert [one.job.path for one in list_jobs(storage, status="running")] == ["x.jsonl"]
    assert len(reads) == 2


# -- words ------------------------------------------------------------------------------------


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
            "1 of 10 requests answered until then",
        ),
        (make_report(status="failed", errors=[fatal("x")]), "Do this."),
        (make_report(status="failed"), "the report names no reason"),
        (make_report(progress={"total": 0}), "the file is being checked"),
        (make_report(progress={"completed": 5}), "5 of 10 requests done (50 %)"),
    ],
)
def test_headline(report: dict[str, Any], expected: str) -> None:
    assert job_view.headline(report) == expected


def test_only_a_job_with_batches_waits_for_groq() -> None:
    report = make_report(errors=[fatal("invalid_api_key")])
    assert job_view.reason(report) is None
    assert job_view.reason({**report, "batches": [a_batch()]}) == "Do this."


def test_time_left() -> None:
    progress = job_view.Progress(40, 100)
    assert job_view.time_left(progress, 2.0) == "30 s left"
    assert job_view.time_left(progress, 0.0) == ""
    assert job_view.time_left(progress, 1000.0) == ""
    assert job_view.time_left(job_view.Progress(100, 100), 2.0) == ""


class Pipe(io.StringIO):
    encoding = "utf-8"


class Tty(Pipe):
    def isatty(self) -> bool:
        return True


def a_terminal(kind: type[Pipe] = Pipe) -> tuple[Terminal, Pipe, Pipe]:
    out, err = kind(), kind()
    return Terminal(out, err, {"NO_COLOR": "1", "COLUMNS": "200"}), out, err


def test_end_of_a_job() -> None:
    terminal, _, _ = a_terminal()
    report = make_report(status="succeeded", cost_usd={"actual": 1.5}, timing={"seconds": 75.2})
    assert end_line("x", report, terminal) == (
        "x: succeeded, 10 requests answered, $1.50, 1 min 15 s"
    )


def test_problems_of_a_rejected_file() -> None:
    errors = [fatal("empty_file", "No\x1b request.")]
    errors += [{**fatal("invalid_url"), "line": n, "custom_id": "a"} for n in range(1, 20)]
    lines = list(problem_lines(make_report(errors=errors, errors_total=500)))
    assert lines[0] == "  the file: empty_file No request."
    assert lines[1] == "  line 1: invalid_url Do this."
    assert len(lines) == 11
    assert lines[-1] == "  and 490 more"


def test_status_of_a_running_job() -> None:
    terminal, _, _ = a_terminal()
    report = make_report(
        progress={"completed": 4}, batches=[a_batch(succeeded=3, failed=1)], errors=[fatal("x")]
    )
    job = FoundJob(path="x.jsonl", job_id="job-1", report=report)
    assert list(status_lines(job, terminal, NOON)) == [
        "x.jsonl: running, 4 of 10 requests done (40 %)",
        "  waits: Do this.",
        "  job       job-1",
        "  requests  10: 4 outcomes so far",
        "  cost      ~$0.8000 of ~$2.00",
        "  time      1 h 0 min",
        "  attempt 1  10 sent in 1 batch  3 answered  1 failed  1 in progress",
    ]


def test_status_of_a_job_that_has_ended() -> None:
    terminal, _, _ = a_terminal()
    report = make_report(
        status="partial",
        requests={"succeeded": 8, "failed": 1, "invalid": 1},
        usage={"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11},
        outputs={"results": "s3://bucket/output/x.jsonl"},
        errors=[{**fatal("invalid_url"), "line": 3}],
        errors_total=2,
        timing={"seconds": 1.0},
    )
    job = FoundJob(path="x.jsonl", job_id="job-1", report=report)
    assert list(status_lines(job, terminal, NOON)) == [
        "x.jsonl: partial, 8 of 10 requests answered, 2 not, 1 s",
        "  job       job-1",
        "  requests  10: 8 answered, 1 failed, 1 invalid",
        "  tokens    5 in, 6 out",
        "  time      1 s",
        "  results   s3://bucket/output/x.jsonl",
        "  line 3: invalid_url Do this.",
        "  and 1 more",
    ]


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


def follow(story: Story, jobs: list[Followed], terminal: Terminal, **options: Any) -> list[str]:
    ended: list[str] = []
    follower = Follower(
        story.bucket.storage,
        terminal,
        clock=lambda: story.bucket.now,
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
        reported(batches=[a_batch()], progress={"completed": 2}),
        reported(batches=[a_batch()], progress={"completed": 6}, errors=[fatal("x")]),
        reported(batches=[a_batch("completed")], progress={"completed": 10}),
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
        "x.jsonl: running, 2 of 10 requests (20 %), 1.2/min, 6 min 40 s left, ~$0.4000 of ~$2.00",
        "Warning: x.jsonl waits: Do this.",
        "x.jsonl goes on",
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
    line = "x.jsonl  running     ███░░░░░░░░░░░░░   20 %  2/10  1.2/min  6 min"
    assert any(one.startswith(line) for one in shown)
    assert shown[-1] == ""


def test_rate_and_time_left(bucket: Bucket) -> None:
    job = Followed("x", FoundJob(path="x.jsonl", job_id="j"))
    for now, done in [(0.0, 0), (50.0, 100), (100.0, 200), (200.0, 1200)]:
        report = make_report(progress={"completed": done, "total": 2000}, batches=[a_batch()])
        job.take(FoundJob(path="x.jsonl", job_id="j", report=report), now)
    assert job.rate() == 10.0
    assert job.words() == [
        "1,200 of 2,000 requests (60 %)",
        "10/s",
        "1 min 20 s left",
        "~$1.20 of ~$2.00",
    ]


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

    def start(one: Followed) -> None:
        told.append(one.name)

    nothing: list[Callable[[], object]] = [lambda: None] * 5
    story = Story(
        bucket,
        *nothing,
        lambda: bucket.report("x.jsonl", make_report(job_id, "succeeded")),
        lambda: bucket.record(job_id, "x.jsonl"),
    )
    terminal, _, _ = a_terminal()
    job = Followed("x", FoundJob(path="x.jsonl", job_id=job_id))
    follow(story, [job], terminal, on_silence=start, silence_seconds=20)
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
    terminal, _, _ = a_terminal()
    assert follow(story, jobs, terminal) == ["b.jsonl", "a.jsonl"]


def test_job_that_is_overtaken_is_followed_to_where_it_delivers(bucket: Bucket) -> None:
    job_id = bucket.upload("x.jsonl")
    bucket.record(job_id, "x.jsonl", is_open=True)
    bucket.report("x.jsonl", make_report(job_id))
    aside = layout.superseded_path(job_id, "x.jsonl")

    def overtake() -> None:
        bucket.report("x.jsonl", make_report("another"))
        bucket.report(aside, make_report(job_id, "succeeded"))

    job = Followed("x", FoundJob(path="x.jsonl", job_id=job_id))
    terminal, _, _ = a_terminal()
    assert follow(Story(bucket, overtake), [job], terminal) == ["x"]
    assert job.job.path == aside


def test_pauses_grow_with_the_time() -> None:
    assert [pause_seconds(seconds) for seconds in (0, 20, 100, 10_000)] == [1, 1, 5, 10]
