"""``groq-batch run``: what is uploaded, what is refused, what has run already, and following."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from groq_batch_cli.main import run
from groq_batch_client import uploads
from tests.integration.cli_world import (
    REQUEST,
    Chapters,
    Said,
    World,
    bad_row,
    follow,
    good_row,
    request_line,
)


def test_upload(world: World, capsys: Said) -> None:
    path = world.file("x y.jsonl", *[request_line(f"{n}") for n in range(5)])
    arguments = ["--to", "team", "--window", "7d", "--max-attempts", "2", "--max-cost", "1.5"]
    arguments += ["--canary", "50", "--canary-max-failed-percent", "10", "--deadline", "6h"]
    arguments += ["--deadline-max-usd", "5", "--retry-invalid-output"]
    assert run(["run", path, "--no-wait", "--skip-invalid", *arguments]) == 0
    metadata = world.metadata("input/team/x y.jsonl")
    assert len(metadata.pop(uploads.DIGEST_METADATA)) == 64
    assert metadata == {
        "completion-window": "7d",
        "on-invalid-line": "skip",
        "max-attempts": "2",
        "max-job-cost-usd": "1.5",
        "canary-requests": "50",
        "canary-max-failed-percent": "10",
        "batch-deadline": "6h",
        "deadline-max-usd": "5",
        "retry-invalid-output": "true",
    }
    assert world.read("input/team/x y.jsonl") == Path(path).read_bytes()
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: 5 requests, 3 batches, estimated $0.000002",
        f"x y.jsonl: uploaded as s3://{world.bucket}/input/team/x y.jsonl",
        "  follow it: groq-batch status 'team/x y.jsonl' --watch",
        "  fetch its results: groq-batch results 'team/x y.jsonl'",
    ]


def test_large_file_is_uploaded_in_parts_as_it_is(world: World) -> None:
    body = {**cast("dict[str, Any]", REQUEST["body"]), "x": "y" * 10**6}
    path = world.file("x.jsonl", *[request_line(f"{n}", body=body) for n in range(20)])
    assert run(["run", path, "--no-wait"]) == 0
    assert world.read("input/x.jsonl") == Path(path).read_bytes()


@pytest.mark.parametrize(
    ("lines", "arguments", "expected", "advice"),
    [
        (
            [request_line("a"), b"1\n"],
            [],
            ":2:1: not_an_object",
            " Repair the files, or run the good lines only: --skip-invalid",
        ),
        ([b"1\n"], ["--skip-invalid"], ":1:1: not_an_object", " Repair the files."),
        ([], [], ": empty_file", " Repair the files."),
        ([request_line("a")], ["--max-cost", "0.000000001"], ": too_expensive", ""),
    ],
)
def test_file_that_would_be_rejected_is_not_uploaded(
    lines: list[bytes],
    arguments: list[str],
    expected: str,
    advice: str,
    world: World,
    capsys: Said,
) -> None:
    path = world.file("x.jsonl", *lines)
    good = world.file("good.jsonl", request_line("a"))
    assert run(["run", path, good, "--no-wait", *arguments]) == 1
    said = capsys.readouterr()
    assert f"{path}{expected}" in said.out
    assert said.err == f"Error: Nothing was uploaded.{advice}\n"
    assert list(world.storage.objects("")) == []


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("recurring/a", "input/recurring/ and input/superseded/ are reserved"),
        ("x" * 900, "The key is longer than 900 bytes"),
        ("../../etc", "'../../etc' has the part '..'"),
    ],
)
def test_folder_that_uploads_may_not_have_is_a_wrong_usage(
    to: str, expected: str, world: World, capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--no-wait", "--to", to]) == 2
    assert expected in capsys.readouterr().err
    assert list(world.storage.objects("")) == []


def test_limits_and_options_are_those_of_the_stack(world: World, capsys: Said) -> None:
    world.deploy("lenient", OnInvalidLine="skip", MaxJobCostUsd="0.0000001")
    path = world.file("x.jsonl", request_line("a"), b"1\n")
    assert run(["run", path, "--no-wait", "--stack-name", "lenient"]) == 1
    said = capsys.readouterr()
    assert "is above the cap of 0.0000001 USD. Split the file, or deploy" in said.out
    assert said.err == "Error: Nothing was uploaded.\n"
    # No upload lifts the stack's cap.
    assert run(["run", path, "--no-wait", "--stack-name", "lenient", "--max-cost", "0"]) == 1
    capsys.readouterr()
    world.deploy("uncapped", OnInvalidLine="skip")
    assert run(["run", path, "--no-wait", "--stack-name", "uncapped"]) == 0
    said = capsys.readouterr().out
    assert f"{path}: 1 request (1 bad line skipped), 1 batch" in said
    assert "status x.jsonl --watch --stack-name uncapped" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--window", "12h"], "'--window': '12h' is not a window that Groq accepts. Give hours"),
        (["--window", "7d", "--max-attempts", "10"], "can take 72 days"),
        (["--canary", "10001"], "'--canary': 10001 is not in the range"),
        (["--canary-max-failed-percent", "101"], "101 is not in the range"),
        (["--deadline", "30s"], "'--deadline': '30s' is not a deadline. Give minutes"),
        (
            ["--deadline-max-usd", "0.0000000001"],
            "The smallest amount is 0.000000001; 0 means no ordinary calls.",
        ),
    ],
)
def test_option_that_the_stack_would_refuse(
    arguments: list[str], expected: str, world: World, capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))
    assert run(["run", path, "--no-wait", *arguments]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert "metadata" not in said
    assert "Upload the file again" not in said
    assert list(world.storage.objects("")) == []


def test_two_files_cannot_have_one_key(world: World, capsys: Said) -> None:
    files = [world.file(name, request_line("a")) for name in ("x.jsonl", "sub/x.jsonl")]
    assert run(["run", *files, "--no-wait"]) == 2
    assert "would both be uploaded to input/x.jsonl" in capsys.readouterr().err


def test_results_never_replace_a_file_that_is_to_run(world: World, capsys: Said) -> None:
    files = [world.file("x.jsonl", request_line("a"))]
    files.append(world.file("x.failed.jsonl", request_line("b")))
    world.denied = "PutObject"
    assert run(["run", *files, "--out", f"{world.folder}/../{world.folder.name}"]) == 2
    assert f"a result of {files[0]}, would overwrite {files[1]}" in capsys.readouterr().err
    world.denied = None
    assert run(["run", *files, "--no-wait"]) == 0, "nothing is fetched, and so nothing replaced"


def test_results_of_two_files_never_replace_each_other(world: World, capsys: Said) -> None:
    files = [world.file(name, request_line("a")) for name in ("x.jsonl", "x.jsonl.gz")]
    assert run(["run", *files]) == 2
    assert f"x.report.json would hold results of {files[0]} and of {files[1]}." in (
        capsys.readouterr().err
    )
    assert list(world.storage.objects("")) == []


@pytest.mark.parametrize(
    "arguments",
    [["run", "x.jsonl"], ["start", "recurring/x.jsonl"], ["retry", "x.jsonl"]],
    ids=["run", "start", "retry"],
)
def test_folder_that_cannot_hold_the_results_is_said_before_anything_is_paid_for(
    arguments: list[str], world: World, capsys: Said
) -> None:
    world.file("x.jsonl", request_line("a"))
    assert run([*arguments, "--out", "x.jsonl/results"]) == 2
    assert "x.jsonl/results cannot hold the results: Not a directory." in capsys.readouterr().err
    assert list(world.storage.objects("")) == []


def test_results_that_cannot_be_written_leave_the_others_and_the_way_back(
    world: World, capsys: Said
) -> None:
    for name in ("a/x.jsonl", "b/x.jsonl"):
        world.file(f"many/{name}", request_line("a"))
    assert run(["run", "many", "--no-wait"]) == 0
    for name in ("a/x.jsonl", "b/x.jsonl"):
        world.succeed(name)
    world.file("results/a", b"in the way")
    capsys.readouterr()
    assert run(["run", "many", "--out", "results"]) == 1
    said = capsys.readouterr()
    assert "a/x.jsonl: results/a: File exists. Fetch its results again: " in said.err
    assert "groq-batch results a/x.jsonl --out results/a" in said.err
    assert Path("results/b/x.results.jsonl").exists()


def test_file_that_changes_while_it_is_uploaded(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))
    upload = uploads.upload

    def change(*arguments: Any, **options: Any) -> Any:
        world.file("x.jsonl", request_line("b"))
        return upload(*arguments, **options)

    monkeypatch.setattr("groq_batch_cli.file_run.upload", change)
    assert run(["run", path, "--no-wait"]) == 1
    assert "was changed after it had been checked" in capsys.readouterr().err
    assert list(world.storage.objects("")) == []
    assert "Uploads" not in world.s3.list_multipart_uploads(Bucket=world.bucket)


@pytest.mark.parametrize(
    ("code", "invalid", "is_offered"),
    [("canary_failed", 0, False), (None, 0, True), (None, 1, True), (None, 2, False)],
)
def test_retry_is_offered_unless_all_failed_requests_must_be_corrected(
    code: str | None, invalid: int, is_offered: bool, world: World, capsys: Said
) -> None:
    world.upload("x.jsonl")
    rows = [bad_row("a"), bad_row("b")]
    world.end("x.jsonl", "partial", results=rows, code=code, invalid=invalid)
    assert run(["results", "x.jsonl", "--out", "results"]) == 0
    assert ("groq-batch retry x.jsonl" in capsys.readouterr().out) == is_offered


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_file_that_has_run_is_not_paid_for_again(ending: str, world: World, capsys: Said) -> None:
    path = f"x{ending}"
    job = world.run_to_partial(path)
    assert run(["run", path, "--out", "results"]) == 1
    said = capsys.readouterr()
    assert f"{path} has run already, as {job.job_id}." in said.err
    assert said.out.splitlines()[1:] == [
        f"{path}: partial, 1 of 2 requests answered, 1 not",
        "  not answered: 1 missing",
        f"  results/x.results{ending}",
        f"  results/x.failed{ending}",
        "  results/x.report.json",
        f"  to run the failed ones again: groq-batch retry {path}",
    ]
    data = Path(f"results/x.results{ending}").read_bytes()
    rows = gzip.decompress(data) if ending.endswith("gz") else data
    assert rows == good_row("a") + bad_row("b")
    assert json.loads(Path("results/x.report.json").read_text())["job_id"] == job.job_id
    assert world.job_of(path) == job, "it was uploaded again"
    assert run(["run", path, "--no-wait", "--again"]) == 0
    assert world.job_of(path) != job


def test_file_without_an_answer_is_run_again(world: World) -> None:
    world.upload()
    job = world.end("x.jsonl", "failed", results=[bad_row("a")])
    assert run(["run", "x.jsonl", "--no-wait"]) == 0
    assert world.job_of("x.jsonl") != job


def test_other_content_is_another_job(world: World) -> None:
    job = world.run_to_success()
    assert run(["run", world.file("x.jsonl", request_line("b")), "--no-wait"]) == 0
    assert world.job_of("x.jsonl") != job


def test_several_files_as_json(world: World, capsys: Said) -> None:
    files = ["x.jsonl", "y.jsonl"]
    jobs = [world.run_to_success(name) for name in files]
    assert run(["run", *files, "--json"]) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["job_id"] for one in reports] == [job.job_id for job in jobs]


def test_folder_runs_with_the_names_that_its_files_have(world: World, capsys: Said) -> None:
    files = ["many/x.jsonl", "many/deep/x.jsonl.gz", "many/._x.jsonl", "many/deep/notes.txt"]
    for name in files:
        world.file(name, request_line("a"))
    assert run(["run", "many", "--to", "team", "--no-wait"]) == 0
    assert [one.key for one in world.storage.objects("input/")] == [
        "input/team/deep/x.jsonl.gz",
        "input/team/x.jsonl",
    ]
    said = capsys.readouterr()
    assert said.err == "Skipped, as hidden: many/._x.jsonl\n"
    assert "deep/x.jsonl.gz: uploaded as s3://bucket/input/team/deep/x.jsonl.gz" in said.out
    assert "  fetch its results: groq-batch results team/deep/x.jsonl.gz --out deep" in said.out


def test_folder_that_has_run_is_not_run_with_its_results(world: World, capsys: Said) -> None:
    for name in ("x.jsonl", "deep/x.jsonl"):
        world.file(f"many/{name}", request_line("a"), request_line("b"))
    assert run(["run", "many", "--no-wait"]) == 0
    for name in ("x.jsonl", "deep/x.jsonl"):
        rows = [good_row("a", name), bad_row("b")]
        world.end(name, "partial", results=rows)
    for _ in range(2):
        assert run(["run", "many", "--out", "many"]) == 1
        assert (
            Path("many/deep/x.results.jsonl").read_bytes().startswith(good_row("a", "deep/x.jsonl"))
        )
        assert Path("many/x.results.jsonl").read_bytes().startswith(good_row("a", "x.jsonl"))
    said = capsys.readouterr().err
    assert "Skipped, as fetched by an earlier run: many/x.failed.jsonl, many/x.results" in said
    assert [one.key for one in world.storage.objects("input/")] == [
        "input/deep/x.jsonl",
        "input/x.jsonl",
    ]


def test_upload_over_a_running_job_warns(world: World, capsys: Said) -> None:
    world.upload("team/x.jsonl")
    job = world.start("team/x.jsonl", progress={"completed": 1, "total": 2})
    path = world.file("x.jsonl", request_line("b"))
    assert run(["run", path, "--to", "team", "--no-wait"]) == 0
    assert capsys.readouterr().err == (
        f"Warning: An earlier upload of team/x.jsonl is still running, as {job['job_id']} (1 of 2 "
        f"requests done (50 %)). This one replaces it; the results of the earlier one will be "
        f"in output/superseded/{job['job_id']}/team/x.jsonl. To stop it: groq-batch cancel "
        f"{job['job_id']}\n"
    )
    world.end("team/x.jsonl", "succeeded", results=[good_row("b")])
    assert run(["run", path, "--to", "team", "--no-wait", "--again"]) == 0
    assert capsys.readouterr().err == ""


def test_upload_that_starts_no_job_is_started_by_hand(
    world: World, chapters: Chapters, capsys: Said
) -> None:
    assert follow(world, chapters) == 0
    assert world.payloads == [{"key": "input/x.jsonl"}]
    assert "so this command started the job" in capsys.readouterr().err


def test_start_by_hand_that_is_denied_is_no_end(
    world: World, chapters: Chapters, capsys: Said
) -> None:
    world.denied = "Invoke"
    assert follow(world, chapters) == 0
    said = capsys.readouterr().err
    assert "The upload of x.jsonl has not started a job yet. AWS denies Invoke" in said


def test_schedule_is_not_forestalled(world: World, chapters: Chapters, capsys: Said) -> None:
    world.deploy("nightly", TriggerMode="schedule")
    assert follow(world, chapters, "--stack-name", "nightly", pauses=2) == 0
    assert world.payloads == []
    assert "on its schedule: rate(1 hour). --now starts them" in capsys.readouterr().err


def test_network_that_fails_for_a_while_is_no_end(
    world: World, chapters: Chapters, capsys: Said
) -> None:
    def cut() -> None:
        world.failure = EndpointConnectionError(endpoint_url="https://s3")

    def mend() -> None:
        world.failure = None

    chapters += [cut, mend]
    assert follow(world, chapters) == 0
    said = capsys.readouterr().err
    assert said.count("AWS cannot be reached at the moment. Trying again") == 1
    assert "AWS can be reached again." in said


def test_credentials_that_expire_leave_the_way_back(
    world: World, chapters: Chapters, capsys: Said
) -> None:
    path = world.file("x.jsonl", request_line("a"))

    def expire() -> None:
        error = {"Code": "ExpiredToken", "Message": "The token has expired"}
        world.failure = ClientError({"Error": error}, "GetObject")

    chapters += [expire]
    assert run(["run", path]) == 1
    said = capsys.readouterr().err
    assert "x.jsonl continues without this terminal." in said
    assert "follow it: groq-batch status x.jsonl --watch" in said
    assert "fetch its results when it has ended: groq-batch results x.jsonl" in said
    assert "Error: The AWS credentials have expired." in said
