"""Part "aws" of the benchmark: everything that the model says, as it is kept with the figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from bench import store
from bench.aws_model import bursts, counts, latency, upkeep
from bench.aws_model.bill import bill, total_usd
from bench.sizes import template_sizes

SMALL = "1"
TEN_MINUTES = "10 min"
GROQ_SECONDS = 5.0
"""Seconds that the batch takes in the job whose timeline is shown hop by hop."""

BURSTS = tuple((jobs, most) for jobs in (1_000, 10_000) for most in (10, 100, 1_000))
OPEN_SECONDS = 700.0
"""How long a job is open whose batch takes ten minutes."""

Progress = Callable[[str], None]


def measure(progress: Progress) -> dict[str, Any]:
    """Work out all tables."""
    found = tables()
    progress(f"One request in 10 minutes: {found['costs'][SMALL][TEN_MINUTES]['alone']:.5f} USD")
    memory = _memory()
    small = counts.load()[SMALL][TEN_MINUTES]
    found["bursts"] = []
    for jobs, most in BURSTS:
        one = bursts.burst(
            small, memory, jobs=jobs, concurrency=most, batch_seconds=counts.DURATIONS[TEN_MINUTES]
        )
        progress(f"{jobs:,} uploads at {most:,} functions: {one.throttles:,} throttles")
        found["bursts"].append(asdict(one))
    return found


def tables() -> dict[str, Any]:
    """Return what needs no simulation: costs, ways and upkeep."""
    memory = _memory()
    jobs = counts.load()
    small = jobs[SMALL]
    open_jobs = round(upkeep.FILES_OF_A_DAY * OPEN_SECONDS / 86_400)
    return {
        "costs": {
            name: {
                duration: {
                    "transitions": job.transitions,
                    "looks": job.looks,
                    "map_runs": job.map_runs,
                    "alone": total_usd(_bill(job, memory, duration, alone=True)),
                    "busy": total_usd(_bill(job, memory, duration, alone=False)),
                }
                for duration, job in found.items()
            }
            for name, found in jobs.items()
        },
        "bill": [
            [part.name, part.amount, part.unit, part.usd]
            for part in _bill(small[TEN_MINUTES], memory, TEN_MINUTES, alone=True)
        ],
        "hops": {
            name: [
                [hop.name, hop.seconds, hop.cold_seconds]
                for hop in latency.hops(
                    small["5 s"], memory, batch_seconds=GROQ_SECONDS, cold=name == "cold"
                )
            ]
            for name in ("warm", "cold")
        },
        "upkeep": [
            [task.name, task.runs, task.writes, task.reads, task.seconds, task.usd]
            for task in upkeep.tasks(store.load()["sweep"], memory, open_jobs=open_jobs)
        ],
        "open_jobs": open_jobs,
    }


def _memory() -> dict[str, int]:
    return {name: size.memory_mb for name, size in template_sizes().items()}


def _bill(job: counts.Counted, memory: dict[str, int], duration: str, *, alone: bool) -> Any:
    return bill(job, memory, batch_seconds=counts.DURATIONS[duration], alone=alone)
