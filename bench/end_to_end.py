"""Part "jobs": one job from S3 to S3, compared with other tools on the same simulator."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bench.account import BUCKET, Account
from bench.field import TOOLS, NotRunnableError, Tool, run_tool
from bench.inputs import request_file
from bench.rows import check_rows

OURS = "this pipeline"
ROUNDS = 3
REQUESTS, REQUEST_BYTES = 45_000, 4066
BEYOND_REQUESTS, BEYOND_REQUEST_BYTES = 60_000, 200
"""A file of more requests than a batch takes; whether a tool gets through with it is all that is
asked."""

_SLOW_SECONDS = 30
"""A tool that takes longer is run once."""

_SOURCE = "input/bench.jsonl"
_OURS_TARGET = "output/bench.jsonl"
_THEIR_TARGET = "answers/bench.jsonl"

Progress = Callable[[str], None]


def measure(progress: Progress, *, rounds: int = ROUNDS) -> dict[str, Any]:
    """Run everything in turn, round by round; returns the figures by tool."""
    entries: dict[str, list[dict[str, Any]]] = {}
    with Account() as account:
        source = request_file(REQUESTS, REQUEST_BYTES)
        for number in range(1, rounds + 1):
            _round(account, source, entries, f"round {number}", progress)
        beyond: dict[str, list[dict[str, Any]]] = {}
        many = request_file(BEYOND_REQUESTS, BEYOND_REQUEST_BYTES)
        _round(account, many, beyond, f"{BEYOND_REQUESTS:,} requests", progress)
    return {
        "requests": REQUESTS,
        "bytes": source.stat().st_size,
        "rounds": rounds,
        "entries": {name: _summed(runs) for name, runs in entries.items()},
        "beyond": {
            "requests": BEYOND_REQUESTS,
            "right": {
                name: runs[-1]["check"]["right"] if runs[-1]["check"] else 0
                for name, runs in beyond.items()
            },
        },
    }


def _round(
    account: Account,
    source: Path,
    entries: dict[str, list[dict[str, Any]]],
    title: str,
    progress: Progress,
) -> None:
    contestants = {OURS: partial(_run_ours, account, source)}
    contestants |= {tool.title: partial(_run_tool, account, source, tool) for tool in TOOLS}
    for name, run in contestants.items():
        runs = entries.setdefault(name, [])
        if runs and (runs[0]["note"] or runs[0]["seconds"] > _SLOW_SECONDS):
            continue
        runs.append(run())
        progress(f"{title}: {name} {runs[-1]['note'] or format(runs[-1]['seconds'], '.1f') + ' s'}")


def _run_ours(account: Account, source: Path) -> dict[str, Any]:
    account.clear()
    version = account.upload(source, _SOURCE)
    with account.functions() as functions:
        run = account.machine(functions).run(_SOURCE, version["version_id"], version["etag"])
        uses = functions.uses
    result = {
        "seconds": run.seconds,
        "cpu_seconds": sum(use.cpu_seconds for use in uses.values()),
        "peak_bytes": max(use.peak_bytes for use in uses.values()),
        "check": _checked(account, source, _OURS_TARGET),
        "note": "",
        "functions": {name: use.to_json() for name, use in uses.items()},
    }
    account.clear()
    return result


def _run_tool(account: Account, source: Path, tool: Tool) -> dict[str, Any]:
    account.clear()
    account.upload(source, _SOURCE)
    try:
        result = run_tool(tool, account, _SOURCE, _THEIR_TARGET)
    except NotRunnableError as error:
        result = {"error": str(error)}
    note = result.pop("error") or ""
    check = None if note else _checked(account, source, _THEIR_TARGET)
    account.clear()
    return {**result, "note": note, "check": check}


def _checked(account: Account, source: Path, key: str) -> dict[str, Any]:
    body = account.s3.get_object(Bucket=BUCKET, Key=key)["Body"]
    return asdict(check_rows(source, body.iter_lines(chunk_size=1024 * 1024)))


def _summed(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of some runs, and the rest of the last one."""
    last = dict(runs[-1])
    if last["note"]:
        return last
    for name in ("seconds", "cpu_seconds"):
        last[name] = statistics.median(run[name] for run in runs)
    last["all_seconds"] = sorted(run["seconds"] for run in runs)
    last["peak_bytes"] = max(run["peak_bytes"] for run in runs)
    return last
