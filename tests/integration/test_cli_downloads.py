"""Results that do not arrive as they stand in the bucket are never passed off as results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from groq_batch_cli.main import run
from tests.integration.cli_world import Said, World, bad_row, good_row

ROWS = [good_row("a", "x" * 5_000_000), good_row("b", "y" * 5_000_000)]
"""More than one part of a download."""

Change = Callable[[dict[str, Any]], None]


def change_fetches(world: World, change: Change) -> None:
    """Have S3 answer GETs of results as if it had been asked otherwise."""
    call = world.call

    def changed(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if operation == "GetObject" and parameters["Key"].startswith("output/"):
            change(parameters)
        return call(client, operation, parameters)

    world.call = changed  # type: ignore[method-assign]


def without_range(parameters: dict[str, Any]) -> None:
    """Answer with the whole object, whatever part of it is wanted."""
    parameters.pop("Range", None)


def jobs(world: World, *names: str) -> None:
    """Run files; the results of each are ``ROWS``."""
    for name in names:
        world.upload(name, "ab")
        world.end(name, "succeeded", results=ROWS)


@pytest.mark.parametrize("verb", ["run", "results"])
def test_range_that_is_answered_with_all_is_fetched_in_one_piece(
    verb: str, world: World, capsys: Said
) -> None:
    jobs(world, "x.jsonl")
    change_fetches(world, without_range)

    assert run([verb, "x.jsonl"]) == 0

    out, err = capsys.readouterr()
    assert Path("x.results.jsonl").read_bytes() == b"".join(ROWS)
    assert "x.jsonl: succeeded" in out
    assert "x.results.jsonl has 18,388,850 bytes instead of 10,000,242." in err
    assert "Fetching it again, in one piece." in err


def test_result_that_never_arrives_whole_is_no_success_and_stops_no_other(
    world: World, capsys: Said
) -> None:
    jobs(world, "x.jsonl", "y.jsonl")

    def shorter(parameters: dict[str, Any]) -> None:
        if parameters["Key"] == "output/x.jsonl":
            parameters["Range"] = "bytes=0-99"

    change_fetches(world, shorter)

    assert run(["run", "x.jsonl", "y.jsonl"]) == 1

    out, err = capsys.readouterr()
    assert "x.jsonl: succeeded" not in out
    assert "Error: x.jsonl: s3://bucket/output/x.jsonl could not be fetched" in err
    assert not Path("x.results.jsonl").exists()
    assert "y.jsonl: succeeded" in out
    assert Path("y.results.jsonl").read_bytes() == b"".join(ROWS)
    assert not list(Path().glob(".groq-batch-*"))


def test_results_that_are_fewer_than_the_report_tells(world: World, capsys: Said) -> None:
    jobs(world, "x.jsonl")
    job = world.job_of("x.jsonl")
    metadata = world.metadata("output/x.jsonl")
    world.storage.put_bytes("output/x.jsonl", ROWS[0], metadata=metadata)

    assert run(["results", job.job_id]) == 1

    assert "has 1 row instead of 2, twice" in capsys.readouterr().err
    assert not Path("x.results.jsonl").exists()


def test_rows_that_are_merged_are_all_there(world: World, capsys: Said) -> None:
    world.upload("x.jsonl", "abc")
    results = [good_row("a"), bad_row("b"), good_row("c")]
    world.end("x.jsonl", "partial", results=results)
    assert run(["retry", "x.jsonl", "--no-wait"]) == 0
    world.end("x.retry.jsonl", "succeeded", results=[good_row("b")])
    metadata = world.metadata("output/x.jsonl")
    world.storage.put_bytes("output/x.jsonl", b"".join(results[:2]), metadata=metadata)
    capsys.readouterr()

    assert run(["retry", "x.jsonl"]) == 1

    assert "s3://bucket/output/x.jsonl came with 2 rows instead of 3" in capsys.readouterr().err
    assert not Path("x.merged.jsonl").exists()
