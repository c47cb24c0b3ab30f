"""The functions in their processes, and a job driven through them as the state machine does it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from groq_batch.domain.machine_version import READS_MODELS
from local.environment import PROJECT_ROOT

MODULES = ("start_job", "prepare_input", "submit_batch", "check_status", "download_results")
MODULES += ("finish_job",)
SHARDS_AT_ONCE = 2
"""Processes for each function that a Map calls; the machine has no use for Lambda's ten."""

_STATES_OF_A_CHILD = 3
_CARRIED = ("attempt", "polls", "resume_in", "outcome", "wait_seconds", "tries")
"""What the state machine passes from step to status check."""
_POLL_SECONDS = 0.05
_MOST_ROUNDS = 2000


class FunctionError(Exception):
    """A handler raised, or its process ended."""


@dataclass(slots=True)
class Use:
    """What the invocations of one function have used, all processes of it together.

    Attributes:
        invocations: How many there were.
        seconds: Their durations, summed.
        cpu_seconds: Their CPU time, summed.
        peak_bytes: The most memory that one process has had since it was started.
        calls: Calls to AWS by service and operation.
        bytes: Bytes of objects, ``read`` and ``written``.
        log_bytes: What was logged.
    """

    invocations: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    log_bytes: int = 0

    def add(self, answer: Mapping[str, Any]) -> None:
        """Count an invocation."""
        self.invocations += 1
        self.seconds += answer["seconds"]
        self.cpu_seconds += answer["cpu_seconds"]
        self.peak_bytes = max(self.peak_bytes, answer["peak_bytes"])
        self.calls.update(answer["calls"])
        self.bytes.update(answer["bytes"])
        self.log_bytes += answer["log_bytes"]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {
            "invocations": self.invocations,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_bytes": self.peak_bytes,
            "calls": dict(sorted(self.calls.items())),
            "bytes": dict(sorted(self.bytes.items())),
            "log_bytes": self.log_bytes,
        }


class Process:
    """One execution environment of a function."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        """Start it; ``wait`` returns when it has loaded the function."""
        self.module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", f"{module}.app"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT_ROOT,
            env=dict(environment),
            text=True,
        )

    def wait(self) -> float:
        """Wait until the function is loaded; returns how long that took, in seconds."""
        return float(self._answer()["import_seconds"])

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Call the function.

        Raises:
            FunctionError: It raised, or the process ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(event) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise FunctionError(f"{self.module}: {answer['error']}")
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise FunctionError(f"The process of {self.module} ended ({self._process.wait()})")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Functions(AbstractContextManager["Functions"]):
    """All functions, warm."""

    def __init__(self, environment: Mapping[str, str], *, shards_at_once: int = SHARDS_AT_ONCE):
        """Describe them; the ``with`` block starts and ends them."""
        self._environment = environment
        self._shards_at_once = shards_at_once
        self._processes: dict[str, list[Process]] = {}
        self.uses: dict[str, Use] = {}
        self.cold_start_seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        for module in MODULES:
            many = module in ("submit_batch", "download_results")
            self._processes[module] = [
                Process(module, self._environment)
                for _ in range(self._shards_at_once if many else 1)
            ]
        for module, processes in self._processes.items():
            self.cold_start_seconds[module] = max(process.wait() for process in processes)
        return self

    def __exit__(self, *_: object) -> None:
        for processes in self._processes.values():
            for process in processes:
                process.stop()

    def call(self, module: str, event: Mapping[str, Any], place: int = 0) -> Any:
        """Call a function in one of its processes; returns what it returned."""
        answer = self._processes[module][place].invoke(event)
        self.uses.setdefault(module, Use()).add(answer)
        return answer["result"]

    def call_each(self, module: str, events: list[dict[str, Any]]) -> list[Any]:
        """Call a function for each event, some at once as a Map does."""
        waiting: Iterator[tuple[int, dict[str, Any]]] = iter(list(enumerate(events)))
        results: dict[int, Any] = {}

        def work(place: int) -> None:
            for number, event in waiting:
                results[number] = self.call(module, event, place)

        with ThreadPoolExecutor(max_workers=self._shards_at_once) as pool:
            list(pool.map(work, range(self._shards_at_once)))
        return [results[number] for number in range(len(events))]


@dataclass(slots=True)
class Run:
    """A job that was driven to its end.

    Attributes:
        job_id: The job.
        seconds: From its start to its end.
        transitions: States that the execution and its children entered.
        polls: Status checks.
        maps: Distributed Maps that were run.
        steps: Seconds by step.
    """

    job_id: str
    seconds: float = 0.0
    transitions: int = 0
    polls: int = 0
    maps: int = 0
    steps: dict[str, float] = field(default_factory=dict)


class StateMachine:
    """Calls the functions in the order of ``statemachine/batch_job.asl.json``.

    Its waits are not slept: batches are looked at every 0.05 s. What the real machine would add to
    the time is waiting; what it adds to the cost is counted here, state by state.
    """

    def __init__(self, functions: Functions, s3: Any, bucket: str) -> None:
        """Drive jobs of a bucket."""
        self._functions = functions
        self._s3 = s3
        self._bucket = bucket

    def run(self, key: str, version_id: str, etag: str) -> Run:
        """Take an uploaded object through all steps.

        Raises:
            FunctionError: A step failed.
        """
        begun = time.perf_counter()
        call = self._functions.call
        event = {
            "detail-type": "Object Created",
            "detail": {
                "bucket": {"name": self._bucket},
                "object": {"key": key, "version-id": version_id, "etag": etag},
            },
        }
        started = call("start_job", event)
        run = Run(job_id=started["jobs"][0]["job_id"])
        state = {"job_id": run.job_id, "machine": READS_MODELS}
        # ChooseMode, ReadModels, AreModelsRead, PrepareInput, IsAccepted.
        run.transitions += 5
        asking = state | {"read_models": True}
        self._timed(run, "read_models", lambda: call("check_status", asking))
        prepared = self._timed(run, "prepare_input", lambda: call("prepare_input", state))
        while prepared.get("tasks_prefix"):
            prepared = self._fan_out(run, prepared["tasks_prefix"], state)
        decision: dict[str, Any] = prepared | {
            "decision": "submit" if prepared["accepted"] else "finish"
        }
        for _ in range(_MOST_ROUNDS):
            if decision["decision"] in ("submit", "download"):
                decision |= self._shards(run, decision)
            elif decision["decision"] == "wait":
                run.transitions += 1
                time.sleep(_POLL_SECONDS)
            else:
                break
            # CheckStatus, NextStep.
            run.transitions += 2
            run.polls += 1
            event = {name: decision[name] for name in _CARRIED if name in decision} | state
            decision = self._timed(run, "check_status", lambda e=event: call("check_status", e))
        else:
            raise FunctionError(f"The job {run.job_id} does not end")
        # FinishJob, IsTidy, JobDone; and the waits between them.
        finished = {"outcome": "wait", "tries": 0}
        while finished["outcome"] == "wait":
            event = state | {"tries": finished["tries"]}
            finished = self._timed(run, "finish_job", lambda e=event: call("finish_job", e))
            run.transitions += 3
        run.seconds = time.perf_counter() - begun
        return run

    def _timed(self, run: Run, step: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = work()
        run.steps[step] = run.steps.get(step, 0.0) + time.perf_counter() - begun
        return result

    def _keys(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        )
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def _fan_out(self, run: Run, prefix: str, state: dict[str, Any]) -> Any:
        call = self._functions.call
        for key in self._keys(prefix):
            event = state | {"task_key": key}
            self._timed(run, "prepare_input", lambda e=event: call("prepare_input", e))
            run.transitions += 2
        run.transitions += 3
        run.maps += 1
        return self._timed(run, "prepare_input", lambda: call("prepare_input", state))

    def _shards(self, run: Run, decision: Mapping[str, Any]) -> dict[str, Any]:
        """Send or collect shards; returns what the status check is told of an only one."""
        module = "submit_batch" if decision["decision"] == "submit" else "download_results"
        if not decision["shard_key"]:
            self._map(run, module, decision)
            return {}
        event = {"job_id": run.job_id, "machine": READS_MODELS}
        event |= {name: decision[name] for name in ("shard_key", "tries")}
        run.transitions += 1
        outcome: dict[str, Any] = self._timed(
            run, module, lambda: self._functions.call(module, event)
        )
        if module == "submit_batch":
            # WaitForBatches.
            run.transitions += 1
            time.sleep(_POLL_SECONDS)
        return outcome

    def _map(self, run: Run, module: str, decision: Mapping[str, Any]) -> None:
        run.transitions += 1
        run.maps += 1
        waiting = [
            {"job_id": run.job_id, "shard_key": key, "tries": 0}
            for key in self._keys(decision["shards_prefix"])
        ]
        while waiting:
            events = waiting
            outcomes = self._timed(
                run, module, lambda e=events: self._functions.call_each(module, e)
            )
            # The task, the choice behind it, and success or a wait.
            run.transitions += _STATES_OF_A_CHILD * len(events)
            waiting = [
                event | {"tries": event["tries"] + 1}
                for event, outcome in zip(events, outcomes, strict=True)
                if outcome["outcome"] == "wait"
            ]
            if waiting:
                time.sleep(_POLL_SECONDS)


def log_file(folder: Path) -> Path:
    """Return where the functions log."""
    return folder / "functions.log"
