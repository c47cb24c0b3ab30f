"""``groq-batch status``, ``results`` and ``open`` of a job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groq_batch.bucket.storage import JOB_METADATA
from groq_batch_cli.main import run
from groq_batch_cli.verbs import status
from tests.integration.cli_world import (
    Said,
    World,
    bad_row,
    good_row,
)


def test_results_of_a_replaced_job_are_fetched_by_its_name(world: World, capsys: Said) -> None:
    jobs = []
    for hour, text in ((10, "first"), (11, "second")):
        world.upload("x.jsonl", "a", "--again")
        row = good_row("a", text)
        jobs.append(world.end("x.jsonl", "succeeded", results=[row], hour=hour))
    assert run(["results", jobs[0].job_id, "--out", "older"]) == 0
    assert run(["results", "x.jsonl", "--out", "newer"]) == 0
    assert Path("older/x.results.jsonl").read_bytes() == good_row("a", "first")
    assert json.loads(Path("older/x.report.json").read_text())["job_id"] == jobs[0].job_id
    assert Path("newer/x.results.jsonl").read_bytes() == good_row("a", "second")
    capsys.readouterr()
    assert run(["status", jobs[0].job_id]) == 0
    assert f"groq-batch results {jobs[0].job_id}" in capsys.readouterr().out
    assert run(["retry", jobs[0].job_id]) == 1
    assert f"A newer run of x.jsonl has replaced {jobs[0].job_id}" in capsys.readouterr().err


def test_status_says_why_a_job_is_partial(world: World, capsys: Said) -> None:
    world.run_to_partial()
    assert run(["status", "x.jsonl"]) == 1
    said = capsys.readouterr().out
    assert "  1 error by code:\n    1  missing  No.\n" in said


def test_status(world: World, capsys: Said) -> None:
    world.upload()
    assert run(["status", "x.jsonl"]) == 0
    assert capsys.readouterr().out == "x.jsonl: uploaded; its job has not started yet\n"
    assert run(["status", "x.jsonl", "--json"]) == 1
    world.start("x.jsonl")
    assert run(["status", "x.jsonl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "running"
    job = world.end("x.jsonl", "partial", results=[bad_row("a")])
    assert run(["status", job.job_id, "--watch"]) == 1
    assert "x.jsonl: partial, 0 of 1 request answered, 1 not" in capsys.readouterr().out


def test_status_says_what_to_do_about_an_upload_that_stays_without_a_job(
    world: World, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.upload()
    sentence = status._not_started

    def then_it_starts_after_all(name: str) -> str:
        world.start("x.jsonl")
        world.succeed()
        return sentence(name)

    monkeypatch.setattr(status, "_SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(status, "_not_started", then_it_starts_after_all)
    assert run(["status", "x.jsonl", "--watch"]) == 0
    assert "x.jsonl: no job has started for this upload yet." in capsys.readouterr().err


def test_results_of_a_job_that_has_not_ended(world: World, capsys: Said) -> None:
    world.upload()
    world.start("x.jsonl")
    assert run(["results", "x.jsonl"]) == 1
    assert "x.jsonl has not ended yet (0 of 2 requests done (0 %))." in capsys.readouterr().err


def test_results_of_several_jobs(world: World) -> None:
    for name in ("x.jsonl", "y.jsonl"):
        world.run_to_success(name)
    world.storage.put_bytes("reports/x.jsonl.html", b"<html>")
    assert run(["results", "x.jsonl", "y.jsonl", "--out", "deep/er"]) == 0
    assert sorted(path.name for path in Path("deep/er").iterdir()) == [
        "x.report.html",
        "x.report.json",
        "x.results.jsonl",
        "y.report.json",
        "y.results.jsonl",
    ]


@pytest.mark.parametrize("arguments", [["--print"], []])
def test_page_of_a_job_in_a_pipe(arguments: list[str], world: World, capsys: Said) -> None:
    job = world.run_to_success()
    world.storage.put_bytes("reports/x.jsonl.html", b"<html>", metadata={JOB_METADATA: job.job_id})
    capsys.readouterr()
    assert run(["open", "x.jsonl", *arguments]) == 0
    out, err = capsys.readouterr()
    page = Path(out.removesuffix("\n"))
    assert (page.name, page.read_bytes(), err) == ("x.report.html", b"<html>", "")


def test_page_of_a_job_in_the_browser(
    world: World, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run_to_success()
    world.storage.put_bytes("reports/x.jsonl.html", b"<html>")
    capsys.readouterr()
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["open", "x.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert [f"Opened {address.removeprefix('file://')}\n" for address in opened] == [err]
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    assert run(["open", "x.jsonl"]) == 0
    assert capsys.readouterr().out.endswith("x.report.html\n")


def test_page_that_is_not_there(world: World, capsys: Said) -> None:
    world.upload()
    assert run(["open", "x.jsonl"]) == 1
    assert "x.jsonl has no job yet, so there is no report." in capsys.readouterr().err
    world.succeed()
    assert run(["open", "x.jsonl"]) == 1
    assert "has no page at present" in capsys.readouterr().err
    world.storage.put_bytes("reports/x.jsonl.html", b"", metadata={JOB_METADATA: "another"})
    assert run(["open", "x.jsonl"]) == 1
    assert "a newer job has replaced it" in capsys.readouterr().err


def test_results_that_were_replaced(world: World, capsys: Said) -> None:
    world.run_to_success()
    world.storage.put_bytes("output/x.jsonl", b"", metadata={JOB_METADATA: "another"})
    assert run(["results", "x.jsonl"]) == 1
    assert "have been replaced by those of a newer upload" in capsys.readouterr().err
    assert not Path("x.results.jsonl").exists()


def test_results_that_were_deleted_are_read_from_their_older_version(
    world: World, capsys: Said
) -> None:
    world.run_to_success()
    world.storage.delete(["output/x.jsonl"])
    assert run(["results", "x.jsonl"]) == 0
    assert Path("x.results.jsonl").read_bytes() == good_row("a")
    versions = world.s3.list_object_versions(Bucket=world.bucket, Prefix="output/x.jsonl")
    for one in (*versions["Versions"], *versions["DeleteMarkers"]):
        world.s3.delete_object(Bucket=world.bucket, Key=one["Key"], VersionId=one["VersionId"])
    Path("x.results.jsonl").unlink()
    assert run(["results", "x.jsonl"]) == 1
    assert (
        "output/x.jsonl no longer exists, and the bucket has no older version of it from the job "
    ) in (said := capsys.readouterr().err)
    assert "To run the file again, and pay again: groq-batch start x.jsonl --again" in said
    assert not Path("x.results.jsonl").exists()


def test_folder_that_cannot_be_made(world: World, capsys: Said) -> None:
    world.run_to_success()
    assert run(["results", "x.jsonl", "--out", "x.jsonl/results"]) == 1
    assert "x.jsonl/results: Not a directory." in capsys.readouterr().err
