"""Part (e): what a million requests cost at AWS, from counted calls.

A million requests are not sent here. What depends on the number of shards is counted on a job of
as many shards with few requests each; what depends on their size on one shard of full size; what
depends on the waiting on two jobs that differ in nothing but the number of status checks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bench import cadence, cost, prices
from bench.account import Account
from bench.cost import Size, Work
from bench.functions_runner import Run, Use
from bench.inputs import request_file
from local.environment import PROJECT_ROOT

REQUESTS = 1_000_000
SHARD_REQUESTS = 50_000
LINE_BYTES = 3_990
"""So that 50,000 of them are just below Groq's limit of 200 MB for a file."""

SHARDS = REQUESTS // SHARD_REQUESTS
DAYS = 1
_OF_NO_SIZE = ("start_job", "check_status")
"""What these do depends on the number of shards, and on how long they take, but not on bytes."""

_SMALL_LINES = 50
_SMALL_BYTES = 200

Progress = Callable[[str], None]


def measure(progress: Progress) -> dict[str, Any]:
    """Count the jobs; returns the bill and what it was made of."""
    small = request_file(SHARDS * _SMALL_LINES, _SMALL_BYTES)
    one_small = request_file(_SMALL_LINES, _SMALL_BYTES)
    full = request_file(SHARD_REQUESTS, LINE_BYTES)
    input_bytes = full.stat().st_size * SHARDS
    # The large file is prepared in four ranges; so is the small one that stands for it.
    ranges = {"MAX_BYTES_PER_RANGE": str(small.stat().st_size // 4 + 1)}
    many, many_run = _count(small, 0.5, MAX_REQUESTS_PER_BATCH=str(_SMALL_LINES), **ranges)
    slow, slow_run = _count(small, 4.0, MAX_REQUESTS_PER_BATCH=str(_SMALL_LINES), **ranges)
    progress(f"{SHARDS} shards: {many_run.transitions} transitions, {many_run.polls} checks")
    one, _ = _count(one_small, 0.5)
    large, _ = _count(full, 0.5, MAX_BYTES_PER_BATCH="200000000")
    progress("One shard of full size counted")
    polls = cadence.outcome(None, cadence.batches([cadence.DAY])).polls
    work = _scaled(many, slow, slow_run.polls - many_run.polls, polls - many_run.polls, one, large)
    transitions = many_run.transitions + cadence.TRANSITIONS_OF_A_POLL * (polls - many_run.polls)
    answers = large["download_results"].groq_bytes * SHARDS
    # While a job waits its input and its shards stand there; the answers come at its end.
    stored = 2 * input_bytes
    bill = cost.bill(
        work,
        template_sizes(),
        transitions=transitions,
        maps=many_run.maps,
        stored_bytes=stored,
        days=DAYS,
        removed_bytes=input_bytes + answers,
    )
    total = sum(part.usd for part in bill)
    progress(f"A million requests: {total:.4f} USD")
    return {
        "requests": REQUESTS,
        "shards": SHARDS,
        "input_bytes": input_bytes,
        "answer_bytes": answers,
        "polls": polls,
        "parts": [[part.name, part.amount, part.usd] for part in bill],
        "total_usd": total,
        "egress_usd": input_bytes / cost.GB * prices.EGRESS_GB_USD,
        "work_bytes": input_bytes + answers,
        "kept_usd": cost.storage_usd(input_bytes + answers, 30),
        "calls": {name: _whole(item.calls) for name, item in work.items()},
    }


def _whole(calls: dict[str, float]) -> dict[str, int]:
    return {name: round(count) for name, count in sorted(calls.items())}


def _count(source: Path, batch_seconds: float, **settings: str) -> tuple[dict[str, Work], Run]:
    with Account() as account:
        account.simulator.control.configure(batch_seconds=batch_seconds)
        version = account.upload(source, "input/bench.jsonl")
        with account.functions(**settings) as functions:
            run = account.machine(functions).run(
                "input/bench.jsonl", version["version_id"], version["etag"]
            )
            uses = functions.uses
        head = account.s3.head_object(Bucket="bench", Key="output/bench.jsonl")
    work = {name: _work(use) for name, use in uses.items()}
    work["submit_batch"].groq_bytes = source.stat().st_size
    work["download_results"].groq_bytes = head["ContentLength"]
    return work, run


def _work(use: Use) -> Work:
    return Work(
        invocations=use.invocations,
        cpu_seconds=use.cpu_seconds,
        calls=use.calls,
        s3_bytes=sum(use.bytes.values()),
        log_bytes=use.log_bytes,
    )


def _scaled(
    many: dict[str, Work],
    slow: dict[str, Work],
    counted_polls: int,
    more_polls: float,
    one: dict[str, Work],
    large: dict[str, Work],
) -> dict[str, Work]:
    """Put the counts together: many small shards, the size of full ones, and the waiting."""
    work = {}
    for name, base in many.items():
        size = Work() if name in _OF_NO_SIZE else large[name].plus(one[name], -1)
        # A file that is prepared in ranges is read twice: to be checked, and to be cut.
        reads = 2 if name == "prepare_input" else 1
        total = base.plus(Work(calls=size.calls, s3_bytes=size.s3_bytes), SHARDS)
        total.cpu_seconds += size.cpu_seconds * SHARDS * reads
        total.s3_bytes += _extra_read(name, large) * SHARDS
        total.groq_bytes = large[name].groq_bytes * SHARDS
        if name == "check_status" and counted_polls > 0:
            poll = slow[name].plus(base, -1)
            total = total.plus(poll, more_polls / counted_polls)
        work[name] = total
    return work


def _extra_read(name: str, large: dict[str, Work]) -> float:
    """Return the bytes of a shard that are read once more when a file is prepared in ranges."""
    return large["submit_batch"].groq_bytes if name == "prepare_input" else 0.0


# -- the template ----------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Reads a template; the intrinsic functions in it do not matter here."""


_Loader.add_multi_constructor("!", lambda *_: None)


def template_sizes() -> dict[str, Size]:
    """Return what the template gives each function, by the name of its folder."""
    text = (PROJECT_ROOT / "template.yaml").read_text(encoding="utf-8")
    template = yaml.load(text, Loader=_Loader)
    usual = template["Globals"]["Function"]["MemorySize"]
    sizes = {}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            properties = resource["Properties"]
            disk = properties.get("EphemeralStorage", {}).get("Size", 512)
            sizes[properties["Handler"].split(".")[0]] = Size(
                properties.get("MemorySize", usual), disk / 1024
            )
    return sizes
