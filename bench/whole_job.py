"""Part "whole": the time of each step of a job, compared with the minimum that its bytes need."""

# ruff: noqa: E501 (sentences with figures in them; they are wrapped when they are written)

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.account import DEFAULTS, Account
from bench.aws_model import assumptions
from bench.cost import GROQ_BYTES_PER_SECOND
from bench.functions_runner import Functions, Use
from bench.inputs import request_file
from bench.tables import Table, digits
from local.environment import PROJECT_ROOT, aws_environment
from local.process_memory import tree

REQUESTS, REQUEST_BYTES = 45_000, 4066
ROUNDS = 3
_SOURCE = "input/whole.jsonl"
_TICKS = os.sysconf("SC_CLK_TCK")
_SEARCH_BYTES = 1024 * 1024

_STEPS = {
    "start": "find out what is to be done",
    "prepare": "read, check, cut",
    "send": "from S3 to Groq",
    "wait": "Groq works",
    "fetch": "from Groq to S3, in order",
    "finish": "join, report, tidy up",
}
_FUNCTIONS = {
    "start": "start_job",
    "prepare": "prepare_input",
    "send": "submit_batch",
    "wait": "check_status",
    "fetch": "download_results",
    "finish": "finish_job",
}
"""The function of each step."""

Progress = Callable[[str], None]


class TimedFunctions(Functions):
    """Functions that note when each invocation began and ended."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Describe them; the ``with`` block starts and ends them."""
        super().__init__(environment)
        self.intervals: list[tuple[str, float, float]] = []

    def call(self, module: str, event: Mapping[str, Any], *place: int) -> Any:
        """Call a function and note its time; returns what it returned."""
        begun = time.perf_counter()
        try:
            return super().call(module, event, *place)
        finally:
            name = "read_models" if event.get("read_models") else module
            self.intervals.append((name, begun, time.perf_counter()))


def measure(progress: Progress, *, rounds: int = ROUNDS) -> dict[str, Any]:
    """Run the job and the script in turn; returns the medians by step."""
    source = request_file(REQUESTS, REQUEST_BYTES)
    jobs, scripts = [], []
    with Account() as account:
        for number in range(1, rounds + 1):
            jobs.append(_run_job(account, source))
            scripts.append(_run_script(account, source))
            taken = [sum(one[-1]["seconds"].values()) for one in (jobs, scripts)]
            progress(f"round {number}: job {taken[0]:.1f} s, script {taken[1]:.1f} s")
    return {
        "requests": REQUESTS,
        "bytes": source.stat().st_size,
        "job": _medians(jobs),
        "script": _medians(scripts),
    }


def _run_job(account: Account, source: Path) -> dict[str, Any]:
    account.clear()
    version = account.upload(source, _SOURCE)
    with TimedFunctions(account.environment()) as functions:
        before, begun = _cpu_seconds(), time.perf_counter()
        run = account.machine(functions).run(_SOURCE, version["version_id"], version["etag"])
        ended, after = time.perf_counter(), _cpu_seconds()
        uses = functions.uses
    account.clear()
    return {
        "seconds": steps(functions.intervals, begun, ended),
        "checks": {"number": run.polls, "seconds": _sum(functions.intervals, "check_status")},
        "cpu": {
            "program": sum(use.cpu_seconds for use in uses.values()),
            **{name: after[name] - before[name] for name in before},
        },
        "memory": {"peak_bytes": max(use.peak_bytes for use in uses.values())},
        "s3": {
            f"{step} {what}": number
            for step, module in _FUNCTIONS.items()
            for what, number in _at_s3(uses[module]).items()
        },
    }


def _at_s3(use: Use) -> dict[str, int]:
    calls = sum(number for name, number in use.calls.items() if name.startswith("s3."))
    return {"read": use.bytes["read"], "written": use.bytes["written"], "calls": calls}


def steps(
    intervals: list[tuple[str, float, float]], begun: float, ended: float
) -> dict[str, float]:
    """Divide the time of a job among its steps, without gaps and without overlaps.

    Args:
        intervals: Function, begin and end of each invocation.
        begun: When the job began.
        ended: When it ended.
    """

    def first(name: str) -> float:
        return min(start for one, start, _ in intervals if one == name)

    sent = max(end for name, _, end in intervals if name == "submit_batch")
    marks = [
        ("start", begun, first("prepare_input")),
        ("prepare", first("prepare_input"), first("submit_batch")),
        ("send", first("submit_batch"), sent),
        ("wait", sent, first("download_results")),
        ("fetch", first("download_results"), first("finish_job")),
        ("finish", first("finish_job"), ended),
    ]
    return {name: end - start for name, start, end in marks}


def _sum(intervals: list[tuple[str, float, float]], module: str) -> float:
    return sum(end - begin for name, begin, end in intervals if name == module)


def _run_script(account: Account, source: Path) -> dict[str, Any]:
    account.clear()
    account.upload(source, _SOURCE)
    environment = account.environment()
    task = {
        "bucket": environment["BUCKET_NAME"],
        "source": _SOURCE,
        "target": "answers",
        "ranges": byte_ranges(source, int(DEFAULTS["MAX_BYTES_PER_BATCH"])),
        "base_url": account.simulator.groq_base_url,
        "api_key": account.simulator.api_key,
    }
    before, own = _cpu_seconds(), os.times()
    answer = subprocess.run(
        [sys.executable, "-m", "bench.mover"],
        input=json.dumps(task),
        capture_output=True,
        check=True,
        cwd=PROJECT_ROOT,
        env=environment | aws_environment(environment["AWS_ENDPOINT_URL"]),
        text=True,
    )
    after, ended = _cpu_seconds(), os.times()
    account.clear()
    children = ended.children_user + ended.children_system
    return {
        "seconds": json.loads(answer.stdout),
        "cpu": {
            "program": children - own.children_user - own.children_system,
            **{name: after[name] - before[name] for name in before},
        },
    }


def byte_ranges(source: Path, most_bytes: int) -> list[tuple[int, int]]:
    """Divide a file at the ends of lines, as the pipeline does.

    Args:
        source: The file.
        most_bytes: Bytes of a part at most.

    Returns:
        The first byte of each part, and the one behind its last.
    """
    size, ranges, first = source.stat().st_size, [], 0
    with source.open("rb") as file:
        while size - first > most_bytes:
            file.seek(first + most_bytes - _SEARCH_BYTES)
            end = first + most_bytes - _SEARCH_BYTES
            end += file.read(_SEARCH_BYTES).rindex(b"\n") + 1
            ranges.append((first, end))
            first = end
    return [*ranges, (first, size)]


def _cpu_seconds() -> dict[str, float]:
    """Return what emulator and simulator have taken of the cores so far, with their children."""
    commands = {process: _read(process, "cmdline") for process in tree(os.getpid())}
    found = {}
    for name, program in (("s3", "local.emulator_main"), ("groq", "local.groq_simulator")):
        # A set, because the program is below its leash, whose arguments name it as well.
        processes = {
            child
            for process, command in commands.items()
            if program in command
            for child in tree(process)
        }
        found[name] = sum(map(_cpu_of, processes))
    return found


def _cpu_of(process: int) -> float:
    """Return the user and system time of a process and of its children that have ended."""
    fields = _read(process, "stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def _read(process: int, name: str) -> str:
    try:
        return Path(f"/proc/{process}/{name}").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        group: {
            name: statistics.median(run[group][name] for run in runs) for name in runs[0][group]
        }
        for group in runs[0]
    }


def section(part: dict[str, Any]) -> str:
    """Return the section of the page of measurements."""
    job, script, aws = part["job"], part["script"], at_aws(part["bytes"])
    rows = []
    for name, title in _STEPS.items():
        s3 = [job["s3"][f"{name} {what}"] for what in ("read", "written", "calls")]
        rows.append(
            [
                title,
                digits(job["seconds"][name]),
                _or_dash(script["seconds"].get(name)),
                *(_or_dash(one) for one in aws.get(name, (None, None))),
                f"{s3[0] / 1e6:.0f}",
                f"{s3[1] / 1e6:.0f}",
                f"{s3[2]:.0f}",
            ]
        )
    here = [sum(one["seconds"].values()) for one in (job, script)]
    there = [sum(one[place] or 0.0 for one in aws.values()) for place in (0, 1)]
    rows.append(["**together**", *(f"**{digits(one)}**" for one in (*here, *there)), "", "", ""])
    heads = ["step", "s here", "script", "s at AWS", "script", "MB from S3", "MB to S3", "S3 calls"]
    cpu = ", ".join(
        f"{title} {digits(job['cpu'][name])} ({digits(script['cpu'][name])})"
        for name, title in (
            ("program", "functions"),
            ("s3", "the emulated S3"),
            ("groq", "the simulated Groq"),
        )
    )
    return f"""{part["requests"]:,} requests, {part["bytes"] / 1e6:.0f} MB, in two batches, from S3 to S3. The script is the minimum for these
bytes: it reads each batch's part of the input and sends it, waits, and writes the answers as they
arrive, both batches in parallel. It checks nothing and leaves the answers in Groq's order. Seconds at AWS
come from the model: the time to transfer the bytes, and the two Maps, without Groq's own time.

{Table(heads, rows).markdown()}

CPU seconds, in brackets those of the script: {cpu}. S3 and Groq share the cores with the functions here, so
the time of a step depends on the other work of the machine. {job["checks"]["number"]:.0f} status checks took
{job["checks"]["seconds"]:.2f} s of Groq's time. The largest function had {job["memory"]["peak_bytes"] / 1e6:.0f} MB.

Only the input is read twice: nothing is sent before the last line has been checked. S3 itself copies
requests into shards and rows into the output; no function writes a byte twice.
"""


def at_aws(input_bytes: int) -> dict[str, tuple[float, float | None]]:
    """Return the modelled seconds of each step at AWS, for the job and for the script.

    Args:
        input_bytes: Size of the input, which has two shards; the larger one takes longest.
    """
    shard = int(DEFAULTS["MAX_BYTES_PER_BATCH"])
    answers = shard * assumptions.ANSWER_SHARE
    a_map = assumptions.MAP_START_SECONDS + assumptions.MAP_END_SECONDS
    rates = assumptions.RATES
    return {
        "prepare": (rates["prepare_input"].seconds(input_bytes, 1.0), None),
        "send": (a_map + rates["submit_batch"].seconds(shard, 1.0), shard / GROQ_BYTES_PER_SECOND),
        "fetch": (
            a_map + rates["download_results"].seconds(answers, 1.0),
            answers / GROQ_BYTES_PER_SECOND,
        ),
    }


def _or_dash(seconds: float | None) -> str:
    return "-" if seconds is None else digits(seconds)
