"""Part (c): whole jobs, beside the tools of the field, against the same simulator."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.account import BUCKET, Account
from bench.field import TOOLS, NotRunnableError, Tool, run_tool
from bench.inputs import request_file
from bench.rows import check_rows

OURS = "this pipeline"
ROUNDS = 3
WORKLOADS = (("large", 45_000, 4066), ("short", 60_000, 200))
"""Name, requests, bytes of a request."""

_SLOW_SECONDS = 30
"""A tool that takes longer is run once."""

Progress = Callable[[str], None]


def measure(progress: Progress, *, rounds: int = ROUNDS) -> dict[str, Any]:
    """Run everything in turn, round by round; returns the figures by workload and tool."""
    found: dict[str, Any] = {}
    with Account() as account:
        for name, count, size in WORKLOADS:
            source = request_file(count, size)
            entries: dict[str, Any] = {}
            for number in range(1, rounds + 1):
                _round(account, source, entries, number, progress)
            found[name] = {
                "requests": count,
                "bytes": source.stat().st_size,
                "rounds": rounds,
                "entries": {tool: _summed(runs) for tool, runs in entries.items()},
            }
    return found


def _round(
    account: Account, source: Path, entries: dict[str, Any], number: int, progress: Progress
) -> None:
    runs = entries.setdefault(OURS, [])
    runs.append(_run_ours(account, source))
    progress(f"{source.stem} {number}: {OURS} {runs[-1]['seconds']:.1f} s")
    for tool in TOOLS:
        runs = entries.setdefault(tool.title, [])
        if runs and (runs[0]["note"] or runs[0]["seconds"] > _SLOW_SECONDS):
            continue
        runs.append(_run_tool(account, source, tool))
        progress(f"{source.stem} {number}: {tool.title} {_told(runs[-1])}")


def _told(run: dict[str, Any]) -> str:
    return run["note"] or f"{run['seconds']:.1f} s"


def _run_ours(account: Account, source: Path) -> dict[str, Any]:
    key = "input/bench.jsonl"
    account.clear()
    version = account.upload(source, key)
    with account.functions() as functions:
        cold = sum(functions.cold_start_seconds.values())
        run = account.machine(functions).run(key, version["version_id"], version["etag"])
        uses = functions.uses
    body = account.s3.get_object(Bucket=BUCKET, Key="output/bench.jsonl")["Body"]
    check = check_rows(source, body.iter_lines(chunk_size=1024 * 1024))
    result = {
        "seconds": run.seconds,
        "cpu_seconds": sum(use.cpu_seconds for use in uses.values()),
        "peak_bytes": max(use.peak_bytes for use in uses.values()),
        "batches": len(account.simulator.control.batches()),
        "check": asdict(check),
        "note": "",
        "cold_start_seconds": cold,
        "steps": run.steps,
        "functions": {name: use.to_json() for name, use in uses.items()},
    }
    account.clear()
    return result


def _run_tool(account: Account, source: Path, tool: Tool) -> dict[str, Any]:
    target = account.folder / f"{tool.name}.answers"
    account.simulator.control.reset()
    try:
        result = run_tool(
            tool,
            source,
            target,
            base_url=account.simulator.groq_base_url,
            api_key=account.simulator.api_key,
            log_file=account.folder / f"{tool.name}.log",
        )
        note = result.pop("error") or ""
        check = None
        if not note:
            with target.open("rb") as lines:
                check = asdict(check_rows(source, lines))
    except NotRunnableError as error:
        return {"note": str(error), "batches": 0, "check": None}
    finally:
        target.unlink(missing_ok=True)
    return {
        **result,
        "note": note,
        "batches": len(account.simulator.control.batches()),
        "check": check,
    }


def _summed(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of some runs, and the rest of the last one."""
    last = dict(runs[-1])
    if last["note"]:
        return last
    for name in ("seconds", "cpu_seconds", "cold_start_seconds"):
        if name in last:
            last[name] = statistics.median(run[name] for run in runs)
    last["all_seconds"] = sorted(run["seconds"] for run in runs)
    last["peak_bytes"] = max(run["peak_bytes"] for run in runs)
    if "steps" in last:
        last["steps"] = {
            step: statistics.median(run["steps"][step] for run in runs) for step in last["steps"]
        }
    return last
