"""Find the job that a user means."""

from __future__ import annotations

import pytest

from groq_batch.domain.job_id import again_job_id
from groq_batch_cli.errors import CommandError, NoSuchJobError
from tests.unit.cli.job_bucket import (
    BUCKET,
    Bucket,
    make_report,
)


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
