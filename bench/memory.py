"""Part "memory": the most memory that each function has, by the size of the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.account import Account
from bench.inputs import request_file

MEGABYTES = (10, 100, 1000)
_LINE_BYTES = 4066
_ANSWER_PADDING = 1400
"""Bytes that make an answer about as long as its request."""

_LONG_ANSWER_PADDING = 19_200
_LONG_ANSWER_BYTES = 20_000
_SHORT_LINE_BYTES = 200

NO_FUNCTIONS = frozenset({"lines", "input_bytes", "answer_bytes"})
"""Entries in a job's figures that are not functions."""

Progress = Callable[[str], None]


def measure(progress: Progress, *, megabytes: tuple[int, ...] = MEGABYTES) -> dict[str, Any]:
    """Run jobs of growing size, each with its own functions.

    Returns:
        ``job``: by size of input (and output) the peak of each function in bytes; ``shard``: that
        of ``download_results`` by the size of one shard's result file; the lines of each.
    """
    jobs: dict[str, Any] = {}
    shards: dict[str, Any] = {}
    for size in megabytes:
        count = size * 1_000_000 // _LINE_BYTES
        jobs[str(size)] = _peaks(count, _LINE_BYTES, _ANSWER_PADDING)
        progress(f"{size} MB: {_told(jobs[str(size)])}")
    for size in megabytes:
        count = size * 1_000_000 // _LONG_ANSWER_BYTES
        peaks = _peaks(count, _SHORT_LINE_BYTES, _LONG_ANSWER_PADDING)
        shards[str(size)] = {
            "lines": count,
            "answer_bytes": peaks["answer_bytes"],
            "download_results": peaks["download_results"],
        }
        progress(f"{size} MB of answers to one shard: {_told(shards[str(size)])}")
    return {"job": jobs, "shard": shards}


def _told(peaks: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value / 1e6:.0f} MB" for name, value in peaks.items() if name not in NO_FUNCTIONS
    )


def _peaks(count: int, line_bytes: int, padding: int) -> dict[str, Any]:
    source = request_file(count, line_bytes)
    with Account() as account:
        account.simulator.control.add_rule({"kind": "padding", "bytes": padding})
        version = account.upload(source, "input/bench.jsonl")
        with account.functions() as functions:
            machine = account.machine(functions)
            machine.run("input/bench.jsonl", version["version_id"], version["etag"])
            uses = functions.uses
        head = account.s3.head_object(Bucket="bench", Key="output/bench.jsonl")
    return {
        "lines": count,
        "input_bytes": source.stat().st_size,
        "answer_bytes": head["ContentLength"],
        **{name: use.peak_bytes for name, use in uses.items()},
    }
