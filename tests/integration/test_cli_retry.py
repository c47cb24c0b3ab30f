"""``groq-batch retry``: what is sent again, and how its answers come to the others."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from groq_batch.bucket.storage import JOB_METADATA
from groq_batch.domain import object_keys
from groq_batch.domain.input_key import check_key
from groq_batch.domain.result_row import pipeline_row
from groq_batch.records import stored
from groq_batch_cli.main import run
from tests.integration.cli_world import (
    FIRING,
    Said,
    World,
    bad_row,
    good_row,
    refused_row,
    request_line,
    unknown_row,
)


def a_job_with_final_errors(world: World, path: str = "x.jsonl") -> None:
    """Run a job of five requests: answered, refused for good, missing, unknown, missing."""
    world.upload(path, "abcde")
    rows = [good_row("a"), refused_row("b"), bad_row("c"), unknown_row("d"), bad_row("e")]
    world.end(path, "partial", results=rows)


def test_retry_runs_what_has_failed_and_merges(world: World, capsys: Said) -> None:
    world.run_to_partial()
    assert run(["retry", "x.jsonl", "--no-wait", "--window", "48h"]) == 0
    assert world.read("input/x.retry.jsonl") == request_line("b")
    assert world.metadata("input/x.retry.jsonl") == {"completion-window": "48h"}
    said = capsys.readouterr()
    assert "x.retry.jsonl: 1 failed request of x.jsonl" in said.out
    assert "come back with: groq-batch retry x.jsonl" in said.err
    job = world.end("x.retry.jsonl", "succeeded", results=[good_row("b", "at last")])
    assert run(["retry", "x.jsonl", "--out", "results"]) == 0
    said = capsys.readouterr()
    assert "A retry has run already: x.retry.jsonl." in said.err
    assert "results/x.merged.jsonl: 2 rows, 1 new answers" in said.out
    merged = Path("results/x.merged.jsonl").read_bytes()
    assert merged == good_row("a") + good_row("b", "at last")
    assert world.job_of("x.retry.jsonl") == job
    assert run(["retry", "x.jsonl", "--no-wait", "--again"]) == 0
    assert world.read("input/x.retry-2.jsonl") == request_line("b")


def test_retry_of_a_retry_merges_into_the_original(world: World) -> None:
    world.run_to_partial("x.jsonl.gz")
    assert run(["retry", "x.jsonl.gz", "--no-wait"]) == 0
    world.end("x.retry.jsonl.gz", "partial", results=[bad_row("b")])
    assert run(["retry", "x.retry.jsonl.gz", "--no-wait"]) == 0
    world.end("x.retry.retry.jsonl.gz", "succeeded", results=[good_row("b")])
    assert run(["retry", "x.retry.jsonl.gz"]) == 0
    merged = gzip.decompress(Path("x.merged.jsonl.gz").read_bytes())
    assert merged == good_row("a") + good_row("b")


def test_retry_without_an_answer_is_no_obstacle_to_another(world: World) -> None:
    world.run_to_partial()
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    world.end("x.retry.jsonl", "failed", results=[bad_row("b")])
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    assert world.read("input/x.retry-2.jsonl") == request_line("b")


def test_bad_lines_do_not_keep_the_others_from_a_retry(world: World) -> None:
    file = world.file("x.jsonl", request_line("b"), b"1\n")
    assert run(["run", file, "--no-wait", "--skip-invalid"]) == 0
    world.end(
        "x.jsonl",
        "partial",
        results=[bad_row("b"), pipeline_row(None, code="not_an_object", message="No.")],
        failed=[request_line("b"), b"1\n"],
        invalid=1,
    )
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    assert world.read("input/x.retry.jsonl") == request_line("b")
    assert run(["retry", "x.jsonl", "--no-wait", "--again", "--all"]) == 0
    assert world.read("input/x.retry-2.jsonl") == request_line("b") + b"1\n"
    assert world.metadata("input/x.retry-2.jsonl") == {"on-invalid-line": "skip"}


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_retry_leaves_out_what_would_fail_again_or_may_have_been_answered(
    ending: str, world: World, capsys: Said
) -> None:
    a_job_with_final_errors(world, f"x{ending}")
    assert run(["retry", f"x{ending}", "--no-wait", "--window", "48h"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"x.retry{ending}: 2 failed requests of x{ending}",
        (
            "  skipped: 1 whose error is final (1 context_length_exceeded), 1 whose outcome is "
            "not known (they may have been answered and paid for)"
        ),
    ]
    assert f"to send them too: groq-batch retry x{ending} --all" in said.err
    data = world.read(f"input/x.retry{ending}")
    sent = gzip.decompress(data) if ending.endswith("gz") else data
    assert sent == request_line("c") + request_line("e")
    assert world.metadata(f"input/x.retry{ending}")["completion-window"] == "48h"
    world.end(f"x.retry{ending}", "succeeded", results=[good_row("c"), good_row("e")])
    assert run(["retry", f"x{ending}"]) == 0
    assert "5 rows, 2 new answers, 2 still without a success" in capsys.readouterr().out
    merged = Path(f"x.merged{ending}").read_bytes()
    assert (gzip.decompress(merged) if ending.endswith("gz") else merged) == b"".join(
        [good_row("a"), refused_row("b"), good_row("c"), unknown_row("d"), good_row("e")]
    )


def test_retry_of_all_after_a_retry_sends_nothing_that_was_answered(
    world: World, capsys: Said
) -> None:
    a_job_with_final_errors(world)
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    world.start("x.retry.jsonl")
    assert run(["retry", "x.jsonl", "--no-wait", "--all"]) == 0
    assert "It skips 2 lines; use --all when it has ended." in capsys.readouterr().err
    rows = [good_row("c"), bad_row("e")]
    world.end("x.retry.jsonl", "partial", results=rows)
    assert run(["retry", "x.jsonl", "--no-wait", "--all"]) == 0
    assert world.read("input/x.retry-2.jsonl") == b"".join(map(request_line, "bde"))
    assert "x.retry-2.jsonl: 3 failed requests of x.jsonl\n" in capsys.readouterr().out
    rows = [refused_row("b"), good_row("d"), good_row("e")]
    world.end("x.retry-2.jsonl", "partial", results=rows)
    # The same command comes back to it, and merges the answers of both.
    assert run(["retry", "x.jsonl", "--all"]) == 1
    said = capsys.readouterr()
    assert "A retry has run already: x.retry-2.jsonl." in said.err
    assert "x.merged.jsonl: 5 rows, 3 new answers, 1 still without a success" in said.out
    assert Path("x.merged.jsonl").read_bytes() == b"".join(
        [good_row("a"), refused_row("b"), good_row("c"), good_row("d"), good_row("e")]
    )


def test_retry_of_all_is_a_copy_within_s3(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    a_job_with_final_errors(world)
    world.denied = "PutObject"
    assert run(["retry", "x.jsonl", "--no-wait"]) == 1
    assert run(["retry", "x.jsonl", "--no-wait", "--all"]) == 0
    assert world.read("input/x.retry.jsonl") == b"".join(map(request_line, "bcde"))
    assert "left out" not in capsys.readouterr().out


def test_retry_of_final_errors_alone_sends_nothing(world: World, capsys: Said) -> None:
    world.upload("x.jsonl", "b")
    world.end("x.jsonl", "partial", results=[refused_row("b")])
    assert run(["retry", "x.jsonl", "--no-wait"]) == 1
    assert (
        "No failed request of x.jsonl is worth sending again: 1 whose error is final (1 "
        "context_length_exceeded). To send them anyway: groq-batch retry x.jsonl --all"
    ) in capsys.readouterr().err
    assert world.storage.head("input/x.retry.jsonl") is None


def test_retry_of_files_that_do_not_belong_together_sends_nothing(
    world: World, capsys: Said
) -> None:
    a_job_with_final_errors(world)
    metadata = {JOB_METADATA: world.job_of("x.jsonl").job_id}
    world.storage.put_bytes("failed/x.jsonl", request_line("b"), metadata=metadata)
    assert run(["retry", "x.jsonl", "--no-wait"]) == 1
    assert "do not match the failures in the job's results" in capsys.readouterr().err
    assert world.storage.head("input/x.retry.jsonl") is None
    assert "Uploads" not in world.s3.list_multipart_uploads(Bucket=world.bucket)


def test_retry_of_a_firing_goes_where_uploads_may_go(world: World) -> None:
    world.storage.put_json(object_keys.job_key(FIRING.job_id), stored.to_record(FIRING))
    world.deliver(FIRING, "partial", results=[good_row("a"), bad_row("b")])
    assert run(["retry", FIRING.key, "--no-wait"]) == 0
    retried = "retries/recurring/evals/2026-03-01T12-00-00Z.retry.jsonl"
    assert world.read(f"input/{retried}") == request_line("b")
    assert check_key(f"input/{retried}") is None
    world.end(retried, "succeeded", results=[good_row("b")])
    assert run(["retry", FIRING.key]) == 0
    assert Path("2026-03-01T12-00-00Z.merged.jsonl").read_bytes() == good_row("a") + good_row("b")


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda world: world.start("x.jsonl"), "x.jsonl has not ended yet."),
        (lambda world: world.succeed(), "Nothing of x.jsonl has failed; it ended as succeeded."),
        (lambda world: world.end("x.jsonl", "rejected", results=[]), "x.jsonl was rejected,"),
        (
            lambda world: world.end("x.jsonl", "failed", results=[], code="invalid_api_key"),
            "When the cause is repaired, run the file again: groq-batch start x.jsonl --again",
        ),
        (
            lambda world: world.end("x.jsonl", "partial", results=[bad_row("a")], invalid=1),
            "The only failures of x.jsonl are 1 bad line, which would fail again.",
        ),
    ],
    ids=["running", "succeeded", "rejected", "failed", "bad lines"],
)
def test_nothing_to_retry(
    end: Callable[[World], object], expected: str, world: World, capsys: Said
) -> None:
    world.upload()
    end(world)
    assert run(["retry", "x.jsonl"]) == 1
    assert expected in capsys.readouterr().err
