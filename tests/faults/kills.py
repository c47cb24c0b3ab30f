"""``make kills``: jobs of twenty shards while the functions' processes are killed at random.

A whole run of twenty jobs writes its figures into ``docs/faults.md``.

Exit status: 0 when every job has its rows, in order, and nothing was paid twice.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.stack import LocalStack
from tests.e2e.conftest import deploy
from tests.e2e.pipeline import Pipeline
from tests.faults.scenario import Scenario
from tests.faults.table import TABLE, Kills, write_kills
from tests.faults.trial import try_scenario
from tests.faults.workers import worker_processes

FUNCTIONS = ("PrepareInput", "SubmitBatch", "CheckStatus", "DownloadResults", "FinishJob")
SHARDS = 20
JOBS = 20
_AT_ONCE = 2
_STEPS = (10, 25)
"""How many steps the jobs get on between two kills; a job of twenty shards has about seventy. With
a process the emulator throws away all others of the function, so that each kill costs many cold
starts; on a busy machine kills by the clock alone never let a process come to its first line."""

_LOOK_SECONDS = (0.1, 0.5)
"""Seconds between two looks at how far the jobs are; on a fast machine a job takes some six, and
longer pauses would let most of it pass without a kill."""
_MAX_SECONDS = 1200.0


def main() -> int:
    """Run the jobs; print what came of each."""
    parser = argparse.ArgumentParser(prog="make kills", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--logs", type=Path, help="folder for the logs of the emulator")
    options = parser.parse_args()
    begun = time.monotonic()
    with LocalStack(wait_scale=0.02, log_dir=options.logs) as stack:
        pipeline = deploy(stack, "kills", MaxRequestsPerBatch="10")
        pipeline.simulator.configure(batch_seconds=3)
        names = [pipeline.function(f"{name}Function") for name in FUNCTIONS]
        killer = _Killer(names, random.Random(options.seed), lambda: _progress(pipeline))
        scenarios = [
            Scenario(
                name=f"killed-{number}",
                group="",
                fault=f"job {number}",
                batches=SHARDS,
                requests=10 * SHARDS,
                seconds=_MAX_SECONDS,
            )
            for number in range(1, options.jobs + 1)
        ]
        failed = batches = rows = 0
        with killer, ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            results = pool.map(lambda one: (one, try_scenario(pipeline, one)), scenarios)
            for scenario, seen in results:
                failed += bool(seen.problems)
                batches += seen.batches
                rows += seen.rows
                if seen.problems:
                    print(pipeline.describe(f"{scenario.name}.jsonl"), flush=True)
                word = "; ".join(seen.problems) or f"{seen.rows} rows, {seen.batches} batches"
                print(f"{scenario.fault}: {word}", flush=True)
    right = options.jobs - failed
    print(f"{killer.kills} processes killed, {right} of {options.jobs} jobs right.")
    if options.jobs == JOBS:
        minutes = (time.monotonic() - begun) / 60
        write_kills(TABLE, Kills(options.jobs, right, SHARDS, killer.kills, batches, rows, minutes))
    return 1 if failed else 0


def _progress(pipeline: Pipeline) -> int:
    """Return a number that grows with all that the jobs have done for good."""
    keys = pipeline.keys("work/") + pipeline.keys("output/")
    return len(keys) + len(pipeline.simulator.batches())


class _Killer:
    """Kills a process of a function each time that the jobs have got on a little."""

    def __init__(
        self, functions: list[str], choice: random.Random, progress: Callable[[], int]
    ) -> None:
        self.kills = 0
        self._functions = functions
        self._choice = choice
        self._progress = progress
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        due = 0
        while not self._ended.wait(self._choice.uniform(*_LOOK_SECONDS)):
            done = self._progress()
            if done < due:
                continue
            due = done + self._choice.randint(*_STEPS)
            processes = worker_processes(self._functions)
            if processes:
                try:
                    os.kill(self._choice.choice(processes), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.kills += 1


if __name__ == "__main__":
    sys.exit(main())
