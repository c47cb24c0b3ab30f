"""What a firing of the schedule looks at, how far it comes, and what it costs.

Over the doubles of ``test_start_job.py``, with small pages, so that a listing has many of them.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch.steps.start_job.one_job import StartedJob
from groq_batch.steps.start_job.start import JobStarter
from groq_batch.steps.start_job.sweep import MARGIN_SECONDS
from local.listed_bucket import ListedBucket
from tests.fakes.account import BUCKET, NOON, throttling
from tests.fakes.calls import Call, plain_wire
from tests.integration.test_start_job import SCHEDULED, Account

PAGE = 10
DAY = 86_400
HOUR = 3_600


class SweptAccount(Account):
    """An account whose listings have small pages, and that counts what sweeps are made of.

    Attributes:
        pages: Where the pages of ``input/`` began that were listed, as they came.
        asked: How many records were asked for.
    """

    def __init__(self, page_size: int = PAGE) -> None:
        super().__init__()
        self.bucket.page_size = page_size
        self.pages: list[str | None] = []
        self.asked = 0

    def _wire(self, call: Call, act: Callable[[], Any]) -> Any:
        if call.operation == "list_object_versions" and call.target == object_keys.INPUT_PREFIX:
            self.pages.append(call.arguments.get("KeyMarker"))
        self.asked += call.operation == "head_object" and call.target.startswith("jobs/")
        return super()._wire(call, act)

    def sweep(
        self, *, pages: float = math.inf, scheduled_time: str = "2026-03-01T06:00:00Z"
    ) -> list[StartedJob]:
        """Let the schedule fire, with time for so many pages of ``input/``."""
        last = len(self.pages) + pages
        return self.invoke(
            SCHEDULED | {"scheduled_time": scheduled_time},
            time_left=lambda: 600.0 if len(self.pages) < last else MARGIN_SECONDS / 2,
        )

    def asked_by_a_sweep(self) -> int:
        """Sweep, and return how many records were asked for."""
        before = self.asked
        self.sweep()
        return self.asked - before

    @property
    def state(self) -> dict[str, Any]:
        """What sweeps have written down."""
        return self.json(object_keys.SWEEP_KEY)

    @property
    def keys_started(self) -> list[str]:
        """The keys of all jobs."""
        return sorted(self.record(job)["key"] for job in self.jobs)


@pytest.fixture
def account() -> SweptAccount:
    return SweptAccount()


def upload_many(account: SweptAccount, count: int, name: str = "{:03d}") -> None:
    for number in range(count):
        account.upload(f"input/{name.format(number)}.jsonl")


# -- time ----------------------------------------------------------------------------------------


def test_sweep_whose_time_ends_has_run_the_recurring_files_and_goes_on(
    account: SweptAccount,
) -> None:
    account.upload("recurring/daily.jsonl")
    upload_many(account, 50)
    started = account.sweep(pages=2)
    assert len(started) == 1 + 2 * PAGE
    assert "recurring/daily.jsonl" in account.keys_started
    account.pages.clear()
    started = account.sweep(scheduled_time="2026-03-01T07:00:00Z")
    assert len(started) == 1 + 3 * PAGE
    # From where it ended to the end, and then round: what came meanwhile may stand anywhere.
    assert account.pages[:4] == ["input/019.jsonl", "input/029.jsonl", "input/039.jsonl", None]
    assert len(account.jobs) == 52
    assert account.state["position"] is None


def test_complete_sweeps_make_no_list_of_jobs(account: SweptAccount) -> None:
    upload_many(account, 25)
    for _ in range(3):
        account.sweep()
    assert account.calls["list_objects_v2"] == 0
    assert len(account.jobs) == 25


def test_a_firing_goes_round_to_what_came_behind_it(account: SweptAccount) -> None:
    """With a schedule alone, what waits for the next firing may wait for a day."""
    upload_many(account, 50)
    account.sweep(pages=3)
    account.now += HOUR
    for key in ("input/000-late.jsonl", "input/045-late.jsonl"):
        account.upload(key)
    account.pages.clear()
    account.sweep()
    assert {"input/000-late.jsonl", "input/045-late.jsonl"} <= set(account.keys_started)
    assert len(account.jobs) == 52
    # Each page once: not beyond where this firing began.
    assert account.pages == [
        *("input/029.jsonl", "input/039.jsonl", "input/048.jsonl"),
        *(None, "input/008.jsonl", "input/018.jsonl", "input/028.jsonl"),
    ]
    assert account.state["complete_at"] == "2026-03-01T13:00:37.000Z"


def test_a_firing_without_time_changes_nothing(account: SweptAccount) -> None:
    account.upload("recurring/daily.jsonl")
    upload_many(account, 50)
    account.sweep(pages=2)
    before = account.state
    (job,) = account.sweep(pages=0, scheduled_time="2026-03-01T07:00:00Z")
    assert account.record(job.job_id)["key"] == "recurring/daily.jsonl"
    assert account.state == before


def test_every_firing_comes_further_until_all_is_done(account: SweptAccount) -> None:
    upload_many(account, 95)
    firings = 0
    while len(account.jobs) < 95:
        account.sweep(pages=1)
        firings += 1
        assert firings <= 10
    assert firings == 10


def test_sweep_that_s3_breaks_off_keeps_what_it_has_done(account: SweptAccount) -> None:
    upload_many(account, 50)

    def break_off(call: Call, act: Callable[[], Any]) -> Any:
        if call.arguments.get("KeyMarker") == "input/029.jsonl":
            raise slow_down()
        return act()

    account.trouble = break_off
    with pytest.raises(ClientError, match="SlowDown"):
        account.sweep()
    account.trouble = plain_wire
    account.pages.clear()
    account.sweep()
    assert account.pages[0] == "input/029.jsonl"
    assert len(account.jobs) == 50


def slow_down() -> ClientError:
    answer: Any = {
        "Error": {"Code": "SlowDown", "Message": "Please reduce your request rate."},
        "ResponseMetadata": {"HTTPStatusCode": 503},
    }
    return ClientError(answer, "ListObjectVersions")


# -- what is asked for ---------------------------------------------------------------------------


def test_only_uploads_younger_than_the_last_complete_sweep_are_asked_for(
    account: SweptAccount,
) -> None:
    upload_many(account, 12)
    assert account.asked_by_a_sweep() == 12
    account.now += 3 * DAY
    upload_many(account, 5, "later-{}")
    assert account.asked_by_a_sweep() == 17
    # That sweep began three days later, so that the first are not looked at from now on.
    account.now += 6 * DAY
    assert account.asked_by_a_sweep() == 17
    account.now += 5 * DAY
    assert account.asked_by_a_sweep() == 5
    assert account.asked_by_a_sweep() == 0
    assert len(account.jobs) == 17


def test_multipart_upload_is_started_though_it_is_dated_by_its_beginning(
    account: SweptAccount,
) -> None:
    client = account.bucket.client()
    key = "input/large.jsonl"
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    for _ in range(7):
        account.now += DAY - 60
        account.sweep()
    complete(client, key, upload)
    (job,) = account.sweep()
    assert account.record(job.job_id)["key"] == key


def test_upload_during_a_sweep_is_found_by_the_next_one(account: SweptAccount) -> None:
    """A sweep vouches for what stood in the bucket when it began, not when it ended."""
    upload_many(account, 30)
    account.now += 9 * DAY
    missed: list[str] = []

    def upload_behind(call: Call, act: Callable[[], Any]) -> Any:
        answer = act()
        if call.arguments.get("KeyMarker") == "input/019.jsonl" and not missed:
            account.now += HOUR
            missed.append(account.upload("input/000-behind.jsonl"))
        return answer

    account.trouble = upload_behind
    account.sweep()
    assert "input/000-behind.jsonl" not in account.keys_started
    account.trouble = plain_wire
    account.now += 8 * DAY - 60
    account.sweep()
    assert "input/000-behind.jsonl" in account.keys_started


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"complete_at": 7}', b'"text"'])
def test_without_a_readable_state_every_record_is_asked_for(
    account: SweptAccount, content: bytes | None
) -> None:
    upload_many(account, 12)
    account.sweep()
    account.now += 30 * DAY
    account.sweep()
    assert account.asked_by_a_sweep() == 0
    client = account.bucket.client()
    if content is None:
        account.remove(object_keys.SWEEP_KEY)
    else:
        client.put_object(Bucket=BUCKET, Key=object_keys.SWEEP_KEY, Body=content)
    assert account.asked_by_a_sweep() == 12
    # It is written anew, so that this costs time once.
    assert account.asked_by_a_sweep() == 0
    assert len(account.executions) == 12


def test_a_state_of_the_future_hides_nothing(account: SweptAccount) -> None:
    account.now += 400 * DAY
    account.sweep()
    account.now -= 300 * DAY
    upload_many(account, 3)
    assert len(account.sweep()) == 3


# -- what cannot be started ----------------------------------------------------------------------


def test_upload_that_cannot_be_started_is_asked_for_until_it_can(account: SweptAccount) -> None:
    account.upload("recurring/daily.jsonl")
    upload_many(account, 30)
    account.trouble = throttling("put_object", "jobs/007-")
    for _ in range(3):
        with pytest.raises(ClientError, match="ThrottlingException"):
            account.sweep()
        assert len(account.executions) == 30
        account.now += 20 * DAY
    account.trouble = plain_wire
    (job,) = account.sweep()
    assert account.record(job.job_id)["key"] == "input/007.jsonl"
    assert account.asked_by_a_sweep() == 1  # The recurring file's alone.


def test_upload_that_cannot_be_started_is_not_lost_by_a_sweep_of_several_firings(
    account: SweptAccount,
) -> None:
    upload_many(account, 50)
    account.trouble = throttling("put_object", "jobs/007-")
    with pytest.raises(ClientError):
        account.sweep(pages=2)
    account.trouble = plain_wire
    account.now += HOUR
    # Goes on, and ends before it comes round to the one that failed.
    account.sweep(pages=3)
    assert len(account.executions) == 49
    account.now += 20 * DAY
    (job,) = account.sweep()
    assert account.record(job.job_id)["key"] == "input/007.jsonl"


def test_failure_in_what_a_firing_takes_up_is_not_forgotten_when_it_comes_round(
    account: SweptAccount,
) -> None:
    upload_many(account, 50)
    account.sweep(pages=3)
    account.trouble = throttling("put_object", "jobs/042-")
    account.now += 20 * DAY
    with pytest.raises(ClientError):
        account.sweep()
    account.trouble = plain_wire
    (job,) = account.sweep()
    assert account.record(job.job_id)["key"] == "input/042.jsonl"


# -- versions ------------------------------------------------------------------------------------


def test_sweep_goes_on_within_the_versions_of_one_key(account: SweptAccount) -> None:
    """A key that is uploaded every minute has more versions than a firing can list."""
    for _ in range(45):
        account.upload("input/a.jsonl")
    account.upload("input/b.jsonl")
    for count in (20, 40, 46):
        account.sweep(pages=2)
        assert len(account.jobs) == count


def test_a_firing_comes_round_to_all_new_versions_of_the_key_it_went_on_with(
    account: SweptAccount,
) -> None:
    for _ in range(45):
        account.upload("input/a.jsonl")
    account.sweep(pages=2)
    for _ in range(25):
        account.upload("input/a.jsonl")
    account.sweep()
    assert len(account.jobs) == 70


def test_key_that_is_deleted_between_two_firings_is_left_alone(account: SweptAccount) -> None:
    for _ in range(30):
        account.upload("input/a.jsonl")
    account.upload("input/b.jsonl")
    account.sweep(pages=1)
    assert len(account.jobs) == 10
    account.remove("input/a.jsonl")
    account.sweep()
    assert account.keys_started == ["input/a.jsonl"] * 10 + ["input/b.jsonl"]


def test_sweep_begins_anew_when_s3_does_not_know_where_it_ended(account: SweptAccount) -> None:
    upload_many(account, 30)
    account.sweep(pages=1)
    position = account.state["position"]
    account.bucket.remove_version(position["key"], position["version_id"])
    account.upload("input/000-new.jsonl")
    account.sweep()
    assert len(account.jobs) == 31
    assert account.state["position"] is None


# -- two firings at once -------------------------------------------------------------------------


def test_two_firings_at_the_same_time_start_each_upload_once(account: SweptAccount) -> None:
    upload_many(account, 40)
    beside: list[int] = []

    def fire_beside(call: Call, act: Callable[[], Any]) -> Any:
        if call.arguments.get("KeyMarker") == "input/019.jsonl" and not beside:
            beside.append(0)
            account.now += 60
            beside[0] = len(account.sweep())
        return act()

    account.trouble = fire_beside
    started = account.sweep()
    assert (len(started), beside) == (20, [20])
    assert len(account.executions) == len(account.jobs) == 40
    # The one that ended first has written down what it knows; the other leaves that alone.
    assert account.state["complete_at"] == "2026-03-01T12:01:37.000Z"


def test_firing_that_is_cut_does_not_set_back_one_that_ended(account: SweptAccount) -> None:
    upload_many(account, 40)
    beside: list[bool] = []

    def fire_beside(call: Call, act: Callable[[], Any]) -> Any:
        if call.arguments.get("KeyMarker") == "input/009.jsonl" and not beside:
            beside.append(True)
            account.sweep()
        return act()

    account.trouble = fire_beside
    account.sweep(pages=7)
    assert account.state["position"] is None
    assert account.state["complete_at"] is not None


# -- anything at any time ------------------------------------------------------------------------

_KEYS = st.sampled_from([f"input/{name}.jsonl" for name in "abcdef"])
_ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("upload"), _KEYS),
        st.tuples(st.just("begin"), _KEYS),
        st.tuples(st.just("complete"), st.integers(0, 3)),
        st.tuples(st.just("remove"), _KEYS),
        st.tuples(st.just("wait"), st.integers(1, 60)),
        st.tuples(st.just("sweep"), st.integers(0, 4)),
    ),
    max_size=40,
)


@given(actions=_ACTIONS)
@settings(max_examples=100, deadline=None)
def test_whatever_happens_every_upload_that_stands_gets_its_job(
    actions: list[tuple[str, Any]],
) -> None:
    """Uploads, removals and firings of any length, in any order, over weeks."""
    account = SweptAccount(page_size=2)
    client = account.bucket.client()
    storage = Storage(s3=client, bucket=BUCKET)
    begun: list[tuple[str, str, float]] = []
    removed: set[str] = set()
    for action, value in actions:
        if action == "upload":
            account.upload(value)
        elif action == "begin":
            upload = client.create_multipart_upload(Bucket=BUCKET, Key=value)["UploadId"]
            begun.append((value, upload, account.now))
        elif action == "complete" and value < len(begun):
            key, upload, moment = begun.pop(value)
            if account.now - moment < 7 * DAY:
                complete(client, key, upload)
        elif action == "remove":
            removed |= {one.version_id for one in storage.versions(value)}
            account.remove(value)
        elif action == "wait":
            account.now += value * 4 * HOUR
        elif action == "sweep":
            account.sweep(pages=value)
    for _ in range(2):
        account.sweep()
    wanted = {
        upload_job_id(bucket=BUCKET, key=one.key, version_id=one.version_id)
        for one in storage.versions("input/")
        if not one.is_delete_marker and one.version_id not in removed
    }
    assert wanted <= set(account.jobs)
    assert len(account.executions) == len(account.jobs)


def complete(client: Any, key: str, upload: str) -> None:
    part = client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=b"{}")
    client.complete_multipart_upload(
        Bucket=BUCKET,
        Key=key,
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )


# -- what it costs -------------------------------------------------------------------------------


def test_sweep_of_known_uploads_costs_little_more_than_their_list() -> None:
    """A call for a thousand, and for each hardly more work than botocore has with the answer."""
    uploads = 20_000
    bucket = ListedBucket(uploads, modified_at=NOON - 30 * DAY)
    bucket.objects[object_keys.SWEEP_KEY] = json.dumps(
        {"complete_at": "2026-03-01T11:00:00Z", "begun_at": None, "position": None}
    ).encode()
    starter = JobStarter(
        storage=Storage(s3=bucket.client(), bucket=BUCKET),
        states=None,
        state_machine_arn="",
        invocation="a",
        clock=lambda: NOON,
    )
    pages = (
        bucket.client()
        .get_paginator("list_object_versions")
        .paginate(Bucket=BUCKET, Prefix="input/")
    )
    next(iter(pages))
    bucket.calls.clear()
    swept = cpu_seconds(lambda: starter.handle(SCHEDULED))
    assert bucket.calls == {"ListObjectVersions": 21, "GetObject": 1, "PutObject": 1}
    listed = cpu_seconds(lambda: deque(pages, maxlen=0))
    assert swept < 1.6 * listed


def cpu_seconds(run: Callable[[], object]) -> float:
    """Return the seconds of a core that something takes."""
    begun = time.process_time()
    run()
    return time.process_time() - begun
