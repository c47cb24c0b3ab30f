"""What starts a job, and that nothing starts it twice.

Over doubles of S3 and Step Functions that keep AWS's rules, count calls and fail where a test wants
them to. ``test_handlers_events.py`` runs the same through boto3.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch.steps.start_job.one_job import StartedJob
from groq_batch.steps.start_job.start import InvocationError, JobStarter
from tests.fakes.account import BUCKET, FakeAccount, throttling
from tests.fakes.calls import Call, plain_wire
from tests.fakes.s3 import refusing
from tests.patience import PATIENCE_SECONDS

KEY = "input/team/requests.jsonl"
SCHEDULED = {"trigger": "schedule", "scheduled_time": "2026-03-01T06:00:00Z"}
EVENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "events" / "start_job" / "s3_object_created.json").read_text(
        "utf-8"
    )
)


class CrashError(Exception):
    """The invocation ends here, as if Lambda had ended it."""


class Account(FakeAccount):
    """An account with the start function."""

    _invocations = 0

    def invoke(
        self,
        event: Mapping[str, Any],
        *,
        invocation: str | None = None,
        time_left: Callable[[], float] = lambda: math.inf,
    ) -> list[StartedJob]:
        """Invoke the start function's use case as an invocation of its own."""
        with self._lock:
            self._invocations += 1
            name = invocation or f"invocation-{self._invocations}"
        starter = JobStarter(
            storage=self.bucket.storage(self._wire),
            states=self.machine.client(self._wire),
            state_machine_arn=self.machine.machine_arn,
            invocation=name,
            time_left=time_left,
            clock=lambda: self.now,
        )
        return starter.handle(event).jobs

    # -- what came of it -------------------------------------------------------------------------

    @property
    def executions(self) -> list[str]:
        return sorted(record.name for record in self.machine.executions.values())

    @property
    def jobs(self) -> list[str]:
        return [key.removeprefix("jobs/") for key in self.bucket.keys("jobs/")]

    def close(self, job_id: str) -> None:
        """Let a job come to its end, as the finishing step leaves it."""
        self.remove(object_keys.open_job_key(job_id))
        self.machine.executions[self.machine.arn(job_id)].change("SUCCEEDED", None, self.now)


@pytest.fixture
def account() -> Account:
    return Account()


def created(key: str, version: str | None, *, etag: str | None = None) -> dict[str, Any]:
    """Return the event of an upload."""
    event: dict[str, Any] = json.loads(json.dumps(EVENT))
    event["detail"]["bucket"]["name"] = BUCKET
    described = event["detail"]["object"]
    described["key"] = key
    del described["version-id"]
    if version is not None:
        described["version-id"] = version
    if etag is not None:
        described["etag"] = etag
    return event


# -- uploads -------------------------------------------------------------------------------------


def test_three_deliveries_are_one_job(account: Account) -> None:
    event = created(KEY, account.upload(KEY))
    first = account.invoke(event)
    later = [account.invoke(event) for _ in range(2)]
    (job,) = first
    assert job.status == "started"
    assert [(one.job_id, one.status) for (one,) in later] == [(job.job_id, "exists")] * 2
    assert account.executions == account.jobs == [job.job_id]


def test_deliveries_at_the_same_time_are_one_job(account: Account) -> None:
    event = created(KEY, account.upload(KEY))
    together = threading.Barrier(8, timeout=PATIENCE_SECONDS)

    def meet(call: Call, act: Callable[[], Any]) -> Any:
        """Let all of them find that there is no job yet before the first records it."""
        if call.operation == "get_object" and call.target.startswith("jobs/"):
            try:
                return act()
            finally:
                if not account.jobs:
                    together.wait()
        return act()

    account.trouble = meet
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(account.invoke, [event] * 8))
    assert sorted(one.status for (one,) in answers) == ["exists"] * 7 + ["started"]
    assert len({one.job_id for (one,) in answers}) == 1
    assert account.executions == account.jobs
    assert len(account.jobs) == 1
    record = account.record(account.jobs[0])
    # All executions that were asked for had one input, so that Step Functions took them as one.
    assert account.machine.executions[account.machine.arn(account.jobs[0])].input == json.dumps(
        {"bucket": BUCKET, "job_id": record["job_id"], "mode": "run"}, sort_keys=True
    )


def test_event_and_sweep_are_one_job(account: Account) -> None:
    version = account.upload(KEY)
    account.invoke(created(KEY, version))
    assert account.invoke(SCHEDULED) == []
    other = account.upload("input/b.jsonl")
    (swept,) = account.invoke(SCHEDULED)
    (late,) = account.invoke(created("input/b.jsonl", other))
    assert (late.job_id, late.status) == (swept.job_id, "exists")
    assert len(account.executions) == 2


def test_the_same_key_again_is_a_new_job(account: Account) -> None:
    jobs = [account.invoke(created(KEY, account.upload(KEY)))[0].job_id for _ in range(2)]
    assert len(set(jobs)) == 2
    assert account.executions == sorted(jobs)
    versions = [account.record(job)["version_id"] for job in jobs]
    assert len(set(versions)) == 2


def test_upload_started_for_a_version_that_was_replaced_meanwhile(account: Account) -> None:
    older = account.upload(KEY, b"1")
    account.upload(KEY, b"2")
    (job,) = account.invoke(created(KEY, older))
    assert account.record(job.job_id)["version_id"] == older


def test_job_ids_fit_execution_names_and_say_what_they_are(account: Account) -> None:
    for key in ("input/" + "x" * 800 + ".jsonl", "input/ü 東京.jsonl", "input/!.jsonl.gz"):
        (job,) = account.invoke(created(key, account.upload(key)))
        assert len(job.job_id) <= 64
        assert set(job.job_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    (job,) = account.invoke(created("input/My File.jsonl", account.upload("input/My File.jsonl")))
    assert job.job_id.startswith("my-file-")


@pytest.mark.parametrize(
    "key",
    [
        "input/a b.jsonl",
        "input/a+b.jsonl",
        "input/a%20b.jsonl",
        "input/\"quoted\" 'twice'.jsonl",
        "input/ü/東京/😀.jsonl.gz",
        "input/a&b=c?d#e.jsonl",
        "input//a.jsonl",
        "input/../a.jsonl",
        "input/line\nbreak.jsonl",
    ],
)
def test_keys_are_taken_as_they_are(account: Account, key: str) -> None:
    version = account.upload(key)
    (job,) = account.invoke(created(key, version))
    assert account.record(job.job_id)["key"] == key
    assert account.record(job.job_id)["version_id"] == version
    assert job.input == f"s3://{BUCKET}/{key}"
    assert account.invoke(SCHEDULED) == []


@pytest.mark.parametrize("key", ["input/", "input/folder/", "recurring/", "recurring/folder/"])
def test_folders_that_consoles_make_are_no_jobs(account: Account, key: str) -> None:
    assert account.invoke(created(key, account.upload(key, b""))) == []
    assert account.invoke(SCHEDULED) == []
    assert account.jobs == []


def test_a_folder_with_content_is_answered(account: Account) -> None:
    key = "input/folder/"
    event = created(key, account.upload(key, b"{}"))
    (job,) = account.invoke(event)
    assert job.report == f"s3://{BUCKET}/reports/folder/.json"
    assert account.invoke(SCHEDULED) == []


@pytest.mark.parametrize("key", ["input/a.csv", "input/.jsonl", "input/recurring/a.jsonl"])
def test_uploads_that_cannot_run_get_a_job_that_says_so(account: Account, key: str) -> None:
    (job,) = account.invoke(created(key, account.upload(key)))
    assert job.report == f"s3://{BUCKET}/reports/{key.removeprefix('input/')}.json"
    assert account.executions == [job.job_id]


def test_a_key_that_is_too_long_has_its_report_under_the_job(account: Account) -> None:
    key = "input/" + "ü" * 450 + ".jsonl"
    (job,) = account.invoke(created(key, account.upload(key)))
    assert job.report == f"s3://{BUCKET}/reports/{job.job_id}.json"
    fits = "input/" + "x" * 888 + ".jsonl"
    assert len(fits) == 900
    (job,) = account.invoke(created(fits, account.upload(fits)))
    assert job.report == f"s3://{BUCKET}/reports/{fits.removeprefix('input/')}.json"


def test_recurring_files_are_not_started_by_their_upload(account: Account) -> None:
    key = "recurring/daily.jsonl"
    assert account.invoke(created(key, account.upload(key))) == []
    # Under a name that never runs they are, so that somebody is told.
    misnamed = "recurring/daily.txt"
    (job,) = account.invoke(created(misnamed, account.upload(misnamed)))
    assert account.executions == [job.job_id]


def test_event_of_another_bucket_is_refused(account: Account) -> None:
    event = created(KEY, account.upload(KEY))
    event["detail"]["bucket"]["name"] = "other"
    with pytest.raises(InvocationError, match="other"):
        account.invoke(event)
    assert account.jobs == []


# -- events without a version --------------------------------------------------------------------


def test_event_without_a_version_finds_it_by_the_etag(account: Account) -> None:
    account.upload(KEY, b"1")
    wanted = account.upload(KEY, b"2")
    account.upload(KEY, b"3")
    etag = account.bucket.client().head_object(Bucket=BUCKET, Key=KEY, VersionId=wanted)["ETag"]
    (job,) = account.invoke(created(KEY, None, etag=etag.strip('"')))
    assert account.record(job.job_id)["version_id"] == wanted


def test_event_with_an_empty_version_is_one_without(account: Account) -> None:
    version = account.upload(KEY, b"1")
    etag = account.bucket.client().head_object(Bucket=BUCKET, Key=KEY)["ETag"].strip('"')
    (job,) = account.invoke(created(KEY, "", etag=etag))
    assert account.record(job.job_id)["version_id"] == version
    account.invoke(SCHEDULED)
    assert len(account.executions) == 1


def test_event_without_a_version_of_the_same_bytes_uploaded_twice(account: Account) -> None:
    versions = {account.upload(KEY, b"same"), account.upload(KEY, b"same")}
    etag = account.bucket.client().head_object(Bucket=BUCKET, Key=KEY)["ETag"].strip('"')
    jobs = [account.invoke(created(KEY, None, etag=etag)) for _ in range(3)]
    started = {account.record(one.job_id)["version_id"] for answer in jobs for one in answer}
    assert started == versions
    assert len(account.executions) == 2


def test_event_without_a_version_of_an_object_that_is_gone(account: Account) -> None:
    assert account.invoke(created(KEY, None)) == []
    account.upload(KEY)
    account.remove(KEY)
    assert account.invoke(created(KEY, None, etag="0" * 32)) == []
    assert account.jobs == []


def test_bucket_whose_versioning_has_not_begun() -> None:
    """For some minutes after its creation a bucket may still make objects without versions."""
    account = Account(versioned=False)
    account.upload(KEY)
    etag = account.bucket.client().head_object(Bucket=BUCKET, Key=KEY)["ETag"].strip('"')
    (job,) = account.invoke(created(KEY, None, etag=etag))
    assert account.record(job.job_id)["version_id"] is None


def test_uploads_of_a_key_without_versions_by_event_sweep_and_hand() -> None:
    account = Account(versioned=False)
    account.upload(KEY, b"1")
    account.invoke(SCHEDULED)
    account.upload(KEY, b"2")
    etag = account.bucket.client().head_object(Bucket=BUCKET, Key=KEY)["ETag"].strip('"')
    (job,) = account.invoke(created(KEY, "null", etag=etag))
    assert account.record(job.job_id)["etag"] == etag
    account.invoke(SCHEDULED)
    account.invoke({"key": KEY})
    account.invoke(created(KEY, None, etag=etag))
    assert len(account.executions) == 2


# -- the schedule --------------------------------------------------------------------------------


def test_sweep_starts_every_upload_without_a_job(account: Account) -> None:
    account.invoke(created("input/a.jsonl", account.upload("input/a.jsonl")))
    for key in ("input/b.jsonl", "input/team/c.jsonl.gz", "input/d.csv"):
        account.upload(key)
    started = account.invoke(SCHEDULED)
    assert {one.input.removeprefix(f"s3://{BUCKET}/") for one in started} == {
        "input/b.jsonl",
        "input/team/c.jsonl.gz",
        "input/d.csv",
    }
    assert {one.status for one in started} == {"started"}
    assert account.invoke(SCHEDULED) == []
    assert len(account.executions) == 4


def test_sweep_leaves_deleted_uploads_alone(account: Account) -> None:
    account.upload(KEY)
    account.remove(KEY)
    assert account.invoke(SCHEDULED) == []


def test_sweep_takes_the_upload_whose_newer_one_was_started_first(account: Account) -> None:
    older = account.upload(KEY, b"1")
    newer = account.upload(KEY, b"2")
    account.invoke(created(KEY, newer))
    (swept,) = account.invoke(SCHEDULED)
    assert account.record(swept.job_id)["version_id"] == older


def test_nothing_runs_again_though_its_outputs_were_tidied_away(account: Account) -> None:
    (job,) = account.invoke(created(KEY, account.upload(KEY)))
    account.bucket.client().put_object(Bucket=BUCKET, Key="reports/x.json", Body=b"{}")
    account.close(job.job_id)
    account.remove("reports/x.json")
    # A year later neither the name of the execution nor anything under work/ is known any more.
    account.now += 365 * 86_400
    account.machine.executions.clear()
    assert account.invoke(SCHEDULED) == []
    (again,) = account.invoke({"key": KEY})
    assert again.status == "exists"
    (late,) = account.invoke(created(KEY, account.record(job.job_id)["version_id"]))
    assert late.status == "exists"
    assert account.executions == []


def test_sweep_over_settled_uploads_only_lists(account: Account) -> None:
    """5,000 uploads that have their jobs cost a list call for each thousand, not one each."""
    client = account.bucket.client()
    for number in range(5_000):
        key = f"input/{number:05d}.jsonl"
        version = client.put_object(Bucket=BUCKET, Key=key, Body=b"")["VersionId"]
        job = upload_job_id(bucket=BUCKET, key=key, version_id=version)
        client.put_object(Bucket=BUCKET, Key=object_keys.job_key(job), Body=b"{}")
    account.invoke(SCHEDULED)
    account.now += 9 * 86_400
    account.invoke(SCHEDULED)
    account.now += 3_600
    account.calls.clear()
    assert account.invoke(SCHEDULED) == []
    assert account.calls == {"list_object_versions": 6, "get_object": 1, "put_object": 1}
    # One that is new among them costs a few calls of its own.
    account.calls.clear()
    account.upload("input/02500-new.jsonl")
    assert len(account.invoke(SCHEDULED)) == 1
    assert account.calls.total() <= 15
    assert account.calls["start_execution"] == 1


def test_sweep_is_not_held_up_by_one_that_cannot_be_started(account: Account) -> None:
    for number in range(300):
        account.upload(f"input/{number:03d}.jsonl")
    account.trouble = throttling("start_execution", "007-")
    with pytest.raises(ClientError, match="ThrottlingException"):
        account.invoke(SCHEDULED)
    # The invocation has failed, so that it is repeated and counted; all the others run.
    assert len(account.executions) == 299
    assert len(account.jobs) == 300


# -- recurring files -----------------------------------------------------------------------------


def paths(account: Account, jobs: list[StartedJob]) -> list[str]:
    return sorted(account.record(one.job_id)["path"] for one in jobs)


def test_recurring_files_run_once_for_each_scheduled_time(account: Account) -> None:
    for key in ("recurring/daily.jsonl", "recurring/team/all.jsonl.gz"):
        account.upload(key)
    expected = [
        "recurring/daily/2026-03-01T06-00-00Z.jsonl",
        "recurring/team/all/2026-03-01T06-00-00Z.jsonl.gz",
    ]
    assert paths(account, account.invoke(SCHEDULED)) == expected
    for _ in range(2):
        assert account.invoke(SCHEDULED) == []
    # The same moment written in another way is the same firing.
    assert account.invoke(SCHEDULED | {"scheduled_time": "2026-03-01T07:00:00+01:00"}) == []
    later = account.invoke(SCHEDULED | {"scheduled_time": "2026-03-01T07:00:00Z"})
    assert len(later) == 2
    assert len(account.executions) == 4


def test_a_firing_that_is_delivered_twice_is_one_job_though_the_file_changed(
    account: Account,
) -> None:
    first = account.upload("recurring/daily.jsonl", b"1")
    (job,) = account.invoke(SCHEDULED)
    account.upload("recurring/daily.jsonl", b"2")
    assert account.invoke(SCHEDULED) == []
    assert account.record(job.job_id)["version_id"] == first


def test_a_firing_takes_the_newest_version_and_no_deleted_file(account: Account) -> None:
    account.upload("recurring/a.jsonl", b"1")
    newest = account.upload("recurring/a.jsonl", b"2")
    account.upload("recurring/b.jsonl")
    account.remove("recurring/b.jsonl")
    (job,) = account.invoke(SCHEDULED)
    assert account.record(job.job_id)["version_id"] == newest


def test_two_firings_at_the_same_time_are_one_job(account: Account) -> None:
    account.upload("recurring/daily.jsonl")
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(account.invoke, [SCHEDULED] * 4))
    assert len(account.executions) == len(account.jobs) == 1


@pytest.mark.parametrize("text", ["<aws.scheduler.scheduled-time>", ""])
def test_a_time_that_was_not_filled_in_is_now_to_the_minute(account: Account, text: str) -> None:
    account.upload("recurring/daily.jsonl")
    started = account.invoke(SCHEDULED | {"scheduled_time": text})
    assert paths(account, started) == ["recurring/daily/2026-03-01T12-00-00Z.jsonl"]
    account.now += 20
    assert account.invoke(SCHEDULED | {"scheduled_time": text}) == []


def test_a_time_that_is_none_is_refused(account: Account) -> None:
    account.upload("recurring/daily.jsonl")
    with pytest.raises(InvocationError, match="scheduled_time must be a time such as"):
        account.invoke(SCHEDULED | {"scheduled_time": "tomorrow"})
    assert account.jobs == []


# -- by hand -------------------------------------------------------------------------------------


def test_by_hand_starts_the_newest_version(account: Account) -> None:
    account.upload(KEY, b"1")
    newest = account.upload(KEY, b"2")
    (job,) = account.invoke({"key": KEY})
    assert job.status == "started"
    assert account.record(job.job_id)["version_id"] == newest
    (known,) = account.invoke({"key": KEY})
    assert (known.job_id, known.status) == (job.job_id, "exists")
    # The event of the upload comes after all: it is the same job.
    (late,) = account.invoke(created(KEY, newest))
    assert (late.job_id, late.status) == (job.job_id, "exists")
    assert account.executions == [job.job_id]


def test_by_hand_again_is_one_more_job_each_time(account: Account) -> None:
    version = account.upload(KEY)
    jobs = [account.invoke({"key": KEY})[0]]
    jobs += [account.invoke({"key": KEY, "again": True})[0] for _ in range(2)]
    assert {one.status for one in jobs} == {"started"}
    assert account.executions == sorted({one.job_id for one in jobs})
    assert len(account.executions) == 3
    assert {account.record(one.job_id)["version_id"] for one in jobs} == {version}
    assert {one.report for one in jobs} == {jobs[0].report}
    # The sweep knows the upload's own job.
    assert account.invoke(SCHEDULED) == []


def test_again_of_an_upload_without_a_job_starts_the_job_that_it_would_have_had(
    account: Account,
) -> None:
    version = account.upload(KEY)
    by_hand = [account.invoke({"key": KEY, "again": True}, invocation="the-same")[0]]
    # Lambda repeats it; then come its event, which was late, and the schedule.
    by_hand += account.invoke({"key": KEY, "again": True}, invocation="the-same")
    late = [*account.invoke(created(KEY, version)), *account.invoke(SCHEDULED)]
    assert by_hand[0].status == "started"
    assert {job.job_id for job in (*by_hand, *late)} == {by_hand[0].job_id}
    assert len(account.executions) == 1
    (again,) = account.invoke({"key": KEY, "again": True})
    assert again.job_id != by_hand[0].job_id


def test_again_that_lambda_repeats_is_one_job(account: Account) -> None:
    """A repeated invocation has the identifier of the first one."""
    account.upload(KEY)
    answers = []
    for _ in range(2):
        answers += account.invoke({"key": KEY, "again": True}, invocation="the-same")
        account.now += 60
    assert answers[0].job_id == answers[1].job_id
    assert [one.status for one in answers] == ["started", "exists"]
    assert len(account.executions) == 1


@pytest.mark.parametrize("again", ["true", 1, None, False])
def test_only_true_means_again(account: Account, again: Any) -> None:
    account.upload(KEY)
    account.invoke({"key": KEY})
    assert account.invoke({"key": KEY, "again": again})[0].status == "exists"
    assert len(account.executions) == 1


def test_every_way_of_starting_records_the_size_of_the_input(account: Account) -> None:
    """A job that ends before its input is read has it in its report."""
    event = created(KEY, account.upload(KEY, b"1"))
    event["detail"]["object"]["size"] = 1
    account.upload("input/by-hand.jsonl", b"22")
    account.upload("input/swept.jsonl", b"333")
    account.upload("recurring/daily.jsonl", b"4444")
    account.upload("recurring/misnamed.txt", b"55555")
    started = [*account.invoke(event), *account.invoke({"key": "input/by-hand.jsonl"})]
    started += account.invoke({"key": "input/by-hand.jsonl", "again": True})
    started += account.invoke({"key": "recurring/daily.jsonl"})
    started += account.invoke(SCHEDULED)
    sizes = [account.record(one.job_id)["input_bytes"] for one in started]
    assert sizes[:4] == [1, 2, 2, 4]
    assert sorted(sizes[4:]) == [3, 4, 5]


def test_recurring_by_hand_fires_now(account: Account) -> None:
    account.upload("recurring/team/daily.jsonl")
    started = account.invoke({"key": "recurring/team/daily.jsonl"})
    assert paths(account, started) == ["recurring/team/daily/2026-03-01T12-00-37Z.jsonl"]
    account.now += 60
    later = account.invoke({"key": "recurring/team/daily.jsonl"})
    assert paths(account, later) == ["recurring/team/daily/2026-03-01T12-01-37Z.jsonl"]
    assert len(account.executions) == 2


def test_by_hand_without_the_object(account: Account) -> None:
    account.upload("input/team/requests.jsonl.gz")
    with pytest.raises(InvocationError, match=r"There is no object s3://bucket/input/team"):
        account.invoke({"key": KEY})
    account.upload(KEY)
    account.remove(KEY)
    with pytest.raises(InvocationError, match="There is no object"):
        account.invoke({"key": KEY})
    assert account.jobs == []


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({}, "found the fields none"),
        ({"keys": [KEY]}, "found the fields keys"),
        ({"key": 7}, "found the fields key"),
        ({"key": "output/a.jsonl"}, "must begin with input/ or recurring/"),
        ({"trigger": "reconcile"}, "found the fields trigger"),
        ([KEY], "found a value of type list"),
        (None, "found a value of type NoneType"),
    ],
)
def test_other_events_are_refused_with_a_sentence(
    account: Account, event: Any, sentence: str
) -> None:
    with pytest.raises(InvocationError, match=sentence):
        account.invoke(event)
    assert account.calls.total() == 0


# -- crashes -------------------------------------------------------------------------------------


def crash_points() -> Iterator[tuple[str, bool]]:
    """Yield every call that an upload's start makes, before and after it reached AWS."""
    account = Account()
    calls: list[str] = []

    def note(call: Call, act: Callable[[], Any]) -> Any:
        calls.append(str(call).split("-")[0])
        return act()

    version = account.upload(KEY)
    account.trouble = note
    account.invoke(created(KEY, version))
    for name in dict.fromkeys(calls):
        yield name, False
        yield name, True


@pytest.mark.parametrize(("place", "after"), list(crash_points()))
def test_a_start_that_breaks_off_anywhere_heals(account: Account, place: str, after: bool) -> None:
    event = created(KEY, account.upload(KEY))
    crashed = []

    def crash(call: Call, act: Callable[[], Any]) -> Any:
        if str(call).split("-")[0] == place and not crashed:
            crashed.append(call)
            if after:
                with contextlib.suppress(ClientError):
                    act()
            raise CrashError(str(call))
        return act()

    account.trouble = crash
    with pytest.raises(CrashError):
        account.invoke(event)
    (job,) = account.invoke(event)
    assert account.executions == account.jobs == [job.job_id]
    # Once more changes nothing.
    account.invoke(event)
    assert account.executions == [job.job_id]


def test_crash_points_are_the_calls_that_count() -> None:
    places = {place for place, _ in crash_points()}
    assert {"states.start_execution requests", "s3.put_object jobs/requests"} <= places
    assert "s3.put_object work/open/requests" in places


def test_a_recorded_job_is_marked_as_open_before_it_is_recorded(account: Account) -> None:
    """So the reconciler finds a job whose start broke off between the record and the execution."""
    event = created(KEY, account.upload(KEY))
    account.trouble = throttling("start_execution")
    with pytest.raises(ClientError):
        account.invoke(event)
    (job_id,) = account.jobs
    assert account.bucket.keys("work/open/") == [object_keys.open_job_key(job_id)]
    assert account.json(object_keys.open_job_key(job_id)) == account.record(job_id)


@pytest.mark.parametrize("code", ["ThrottlingException", "ServiceUnavailable", "InternalFailure"])
def test_trouble_of_step_functions_fails_the_invocation_and_heals_with_the_next(
    account: Account, code: str
) -> None:
    event = created(KEY, account.upload(KEY))
    account.trouble = refusing("start_execution", 500, code)
    with pytest.raises(ClientError, match=code):
        account.invoke(event)
    account.trouble = plain_wire
    (job,) = account.invoke(event)
    assert account.executions == [job.job_id]


def test_a_job_that_has_ended_is_not_started_once_more(account: Account) -> None:
    event = created(KEY, account.upload(KEY))
    (job,) = account.invoke(event)
    account.close(job.job_id)
    account.calls.clear()
    (late,) = account.invoke(event)
    assert late.status == "exists"
    assert account.calls["start_execution"] == 0


def test_a_lost_answer_of_the_start_is_no_second_execution(account: Account) -> None:
    event = created(KEY, account.upload(KEY))
    lost = []

    def lose(call: Call, act: Callable[[], Any]) -> Any:
        answer = act()
        if call.operation == "start_execution" and not lost:
            lost.append(answer)
            # The SDK repeats the call; Step Functions has the execution already.
            return act()
        return answer

    account.trouble = lose
    (job,) = account.invoke(event)
    assert lost
    assert account.executions == [job.job_id]


def test_start_whose_record_nobody_could_write_starts_nothing(account: Account) -> None:
    """Without its record the job would be started again by a sweep months later."""
    account.upload("input/a.jsonl")

    account.trouble = refusing("put_object", 409, "ConditionalRequestConflict", "jobs/")
    with pytest.raises(ConflictError):
        account.invoke({"key": "input/a.jsonl"})
    assert account.executions == []
    account.trouble = plain_wire
    account.invoke({"key": "input/a.jsonl"})
    assert account.executions == account.jobs
