"""Follow jobs, on a terminal and into a pipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from groq_batch.domain import object_keys
from groq_batch_cli.job_progress import Follower
from groq_batch_cli.terminal import Terminal
from groq_batch_client.follow import Followed, pause_seconds
from groq_batch_client.found_jobs import FoundJob
from tests.unit.cli.job_bucket import (
    Bucket,
    Tty,
    a_batch,
    a_terminal,
    fatal,
    make_report,
)


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
