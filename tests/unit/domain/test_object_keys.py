"""Names of jobs and keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain import object_keys
from groq_batch.domain.job_id import (
    MAX_JOB_ID_LENGTH,
    again_job_id,
    collector_name,
    collector_number,
    firing_job_id,
    job_id,
    job_id_of_execution,
    upload_job_id,
)

KEYS = st.text(min_size=1, max_size=200)


@given(bucket=KEYS, key=KEYS, identity=KEYS)
def test_job_ids_are_execution_names(bucket: str, key: str, identity: str) -> None:
    name = job_id(bucket=bucket, key=key, identity=identity)
    assert re.fullmatch(r"[a-z0-9-]+", name)
    assert len(name) <= MAX_JOB_ID_LENGTH
    assert name == job_id(bucket=bucket, key=key, identity=identity)


@given(bucket=KEYS, key=KEYS, identity=KEYS)
def test_job_ids_are_known_by_their_form(bucket: str, key: str, identity: str) -> None:
    assert object_keys.is_job_id(job_id(bucket=bucket, key=key, identity=identity))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "test",
        "0123456789abcdef0123",
        "-0123456789abcdef0123",
        "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",  # What the console makes up.
        "nightly-2026-03-01",
        "Nightly-0123456789abcdef0123",
        "a_b-0123456789abcdef0123",
        "a-0123456789abcdef0123-c1",
        "a" * 44 + "-0123456789abcdef0123",
    ],
)
def test_other_names_are_not_taken_for_job_ids(name: str) -> None:
    assert not object_keys.is_job_id(name)


@given(bucket=KEYS, key=KEYS, identity=KEYS, number=st.integers(1, 99))
def test_job_of_a_collecting_execution(bucket: str, key: str, identity: str, number: int) -> None:
    job = job_id(bucket=bucket, key=key, identity=identity)
    collector = collector_name(job, number)
    assert len(collector) <= 80
    assert job_id_of_execution(collector) == job_id_of_execution(job) == job
    assert collector_number(collector) == number
    assert collector_number(job) == 0


def test_job_whose_file_ends_like_a_collector() -> None:
    job = job_id(bucket="b", key="input/run-c1.jsonl", identity="v")
    assert job.startswith("run-c1-")
    assert job_id_of_execution(job) == job
    assert collector_number(job) == 0


def test_what_makes_a_job_its_own() -> None:
    upload = upload_job_id(bucket="b", key="k", version_id="v")
    others = {
        upload_job_id(bucket="b", key="k", version_id="w"),
        upload_job_id(bucket="c", key="k", version_id="v"),
        again_job_id(bucket="b", key="k", version_id="v", run="1"),
        again_job_id(bucket="b", key="k", version_id="v", run="2"),
        firing_job_id(bucket="b", key="k", fired_at="v"),
    }
    assert len(others | {upload}) == 6


@pytest.mark.parametrize(
    ("key", "accepted"),
    [
        ("input/a.jsonl", True),
        ("input/a.jsonl.gz", True),
        ("input/a/b c+ü'.jsonl", True),
        *((value, False) for value in ("input/.jsonl", "input/.jsonl.gz", "input/a.json")),
        *((value, False) for value in ("input/a.jsonl.zip", "input/a.gz", "input/a.JSONL")),
        ("input/a.jsonl/", False),
        ("input/folder.jsonl/b.txt", False),
    ],
)
def test_accepted_endings(key: str, accepted: bool) -> None:
    assert object_keys.has_accepted_ending(key) is accepted


def test_paths() -> None:
    assert object_keys.input_path("input/team/a.jsonl") == "team/a.jsonl"
    fired_at = object_keys.format_fired_at(datetime(2026, 3, 1, 2, 3, 4, tzinfo=UTC))
    assert fired_at == "2026-03-01T02-03-04Z"
    assert (
        object_keys.recurring_path("recurring/x/daily.jsonl.gz", fired_at)
        == "recurring/x/daily/2026-03-01T02-03-04Z.jsonl.gz"
    )
    assert object_keys.superseded_path("job", "team/a.jsonl") == "superseded/job/team/a.jsonl"
    keys = object_keys.delivery_keys("team/a.jsonl")
    assert keys.results == "output/team/a.jsonl"
    assert keys.failed == "failed/team/a.jsonl"
    assert keys.invalid == "invalid/team/a.jsonl"
    assert keys.report == "reports/team/a.jsonl.json"


@pytest.mark.parametrize(
    ("key", "folder"),
    [
        ("input/a.jsonl", ""),
        ("input/team/a.jsonl", "team"),
        ("input/team/eu west+1/a.jsonl.gz", "team"),
        ("input/team/", "team"),
        ("input//a.jsonl", ""),
        ("recurring/a.jsonl", ""),
        ("recurring/evals/nightly.jsonl", "evals"),
        ("input/recurring/a.jsonl", "recurring"),
        ("recurring/input/a.jsonl", "input"),
    ],
)
def test_folder_is_the_first_below_input_or_recurring(key: str, folder: str) -> None:
    assert object_keys.folder(key) == folder


def test_longest_accepted_key_leaves_room() -> None:
    key = "input/" + "ä" * ((object_keys.MAX_KEY_BYTES - 6) // 2)
    job = upload_job_id(bucket="b", key=key, version_id="v")
    path = object_keys.superseded_path(job, object_keys.input_path(key))
    assert len(object_keys.delivery_keys(path).report.encode()) <= 1024


def test_shard_keys() -> None:
    keys = object_keys.WorkKeys("job")
    assert object_keys.shard_of_key(keys.shard(3, 12)) == (3, 12)
    assert object_keys.shard_number(keys.summary(1, 12)) == 12
    for stray in ("work/job/shards/attempt-1/", "work/job/shards/attempt-1/x.jsonl"):
        with pytest.raises(ValueError, match="not the key of a shard"):
            object_keys.shard_of_key(stray)
    assert keys.shards(1).endswith("/")
    assert not keys.shards(10).startswith(keys.shards(1))
