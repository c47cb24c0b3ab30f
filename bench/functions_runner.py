"""The functions in their processes, and the shipped state machine that calls them."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.peers.driver import POLL_SECONDS
from local.asl import MACHINE as DEFINITION
from local.environment import PROJECT_ROOT
from local.state_machine.definition import Machine
from local.state_machine.machine import Execution

MODULES = ("start_job", "prepare_input", "submit_batch", "check_status", "download_results")
MODULES += ("finish_job",)
SHARDS_AT_ONCE = 2
"""Processes for each function that a Map calls; this machine has no use for Lambda's ten."""

_LOOK_SECONDS = 0.002
"""How often running functions are looked at."""


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
    """

    invocations: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Mapping[str, Any]) -> None:
        """Count an invocation."""
        self.invocations += 1
        self.seconds += answer["seconds"]
        self.cpu_seconds += answer["cpu_seconds"]
        self.peak_bytes = max(self.peak_bytes, answer["peak_bytes"])
        self.calls.update(answer["calls"])
        self.bytes.update(answer["bytes"])

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        counters = {"calls": self.calls, "bytes": self.bytes}
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            **{name: dict(sorted(counter.items())) for name, counter in counters.items()},
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

    def wait(self) -> None:
        """Wait until the function is loaded."""
        self._answer()

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
    """All functions, warm.

    Attributes:
        uses: What each has used, by name.
    """

    def __init__(self, environment: Mapping[str, str], *, shards_at_once: int = SHARDS_AT_ONCE):
        """Describe them; the ``with`` block starts and ends them."""
        self._environment = environment
        self._shards_at_once = shards_at_once
        self._processes: dict[str, list[Process]] = {}
        self._free: dict[str, queue.SimpleQueue[Process]] = {}
        self._lock = threading.Lock()
        self.uses: dict[str, Use] = {}

    def __enter__(self) -> Self:
        for module in MODULES:
            many = module in ("submit_batch", "download_results")
            self._processes[module] = [
                Process(module, self._environment)
                for _ in range(self._shards_at_once if many else 1)
            ]
        for module, processes in self._processes.items():
            self._free[module] = queue.SimpleQueue()
            for process in processes:
                process.wait()
                self._free[module].put(process)
        return self

    def __exit__(self, *_: object) -> None:
        for processes in self._processes.values():
            for process in processes:
                process.stop()

    def call(self, module: str, event: Mapping[str, Any]) -> Any:
        """Call a function in a free process of it; returns what it returned.

        Raises:
            FunctionError: It raised, its process ended, or it is not measured here.
        """
        if module not in self._free:
            raise FunctionError(f"{module} is not measured, and was called with {event}")
        process = self._free[module].get()
        try:
            answer = process.invoke(event)
        finally:
            self._free[module].put(process)
        with self._lock:
            self.uses.setdefault(module, Use()).add(answer)
        return answer["result"]


@dataclass(slots=True)
class Run:
    """A job that was driven to its end.

    Attributes:
        job_id: The job.
        seconds: From the upload's event to the end of the execution.
        visits: How often the execution and its children entered each state.
    """

    job_id: str
    seconds: float
    visits: Counter[str]

    @property
    def polls(self) -> int:
        """Number of status checks."""
        return self.visits["CheckStatus"]


class StateMachine:
    """Runs the shipped state machine over the functions, in real time.

    Its waits take ``POLL_SECONDS``, as those of the other tools do.
    """

    def __init__(self, functions: Functions, *, s3: Any, states: Any, arn: str, bucket: str):
        """Run jobs of a bucket.

        Args:
            functions: What the machine calls.
            s3: A client of S3.
            states: A client of Step Functions, where ``start_job`` starts the execution.
            arn: The machine there.
            bucket: The bucket.
        """
        self._functions = functions
        self._s3 = s3
        self._states = states
        self._bucket = bucket
        text = DEFINITION.read_text(encoding="utf-8")
        names = set(re.findall(r"\$\{([A-Za-z]+)FunctionArn\}", text))
        substitutions = {f"{name}FunctionArn": _module(name) for name in names}
        self._machine = Machine.load(DEFINITION, {"Partition": "aws", **substitutions}, arn=arn)

    def run(self, key: str, version_id: str, etag: str) -> Run:
        """Take an uploaded object through all steps.

        Raises:
            FunctionError: The execution failed.
        """
        begun = time.perf_counter()
        event = {
            "detail-type": "Object Created",
            "detail": {
                "bucket": {"name": self._bucket},
                "object": {"key": key, "version-id": version_id, "etag": etag},
            },
        }
        job_id = self._functions.call("start_job", event)["jobs"][0]["job_id"]
        arn = f"{self._machine.arn.replace(':stateMachine:', ':execution:')}:{job_id}"
        started = self._states.describe_execution(executionArn=arn)
        visits: Counter[str] = Counter()
        with ThreadPoolExecutor() as threads:
            around = _RealTime(self._functions, self._s3, threads)
            execution = Execution.begin(
                self._machine, around, name=job_id, arn=arn, given=json.loads(started["input"])
            )
            execution.on_visit = lambda name: visits.update([name])
            for moment in execution.run():
                around.sleep_until(moment)
        if execution.status != "SUCCEEDED":
            raise FunctionError(
                f"The job {job_id} ended {execution.status}: {execution.error} {execution.cause}"
            )
        return Run(job_id, time.perf_counter() - begun, visits)


def _module(name: str) -> str:
    """Return the folder of a function's handler: ``check_status`` for ``CheckStatus``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class _RealTime:
    """What the state machine needs around it: functions, a bucket, and a clock that skips waits."""

    def __init__(self, functions: Functions, s3: Any, threads: ThreadPoolExecutor) -> None:
        self._functions = functions
        self._s3 = s3
        self._threads = threads
        self._running = 0
        self._skipped = 0.0

    def now(self) -> float:
        return time.time() + self._skipped

    def sleep_until(self, moment: float) -> None:
        """Sleep until a moment, but of a wait of the machine ``POLL_SECONDS`` at most."""
        seconds = max(moment - self.now(), 0.0)
        if not self._running and seconds > POLL_SECONDS:
            self._skipped += seconds - POLL_SECONDS
            seconds = POLL_SECONDS
        time.sleep(seconds)

    def jitter(self, seconds: float) -> float:
        return seconds

    def invoke(self, function: str, payload: Any) -> Iterator[float]:
        self._running += 1
        try:
            answer = self._threads.submit(self._functions.call, function, payload)
            while not answer.done():
                yield self.now() + _LOOK_SECONDS
        finally:
            self._running -= 1
        # A failure ends the measurement: a repetition would be measured with it.
        return answer.result()

    def list_objects(self, bucket: str, prefix: str) -> list[dict[str, Any]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [{"Key": entry["Key"]} for page in pages for entry in page.get("Contents", [])]

    def write_object(self, bucket: str, key: str, data: bytes) -> None:
        self._s3.put_object(Bucket=bucket, Key=key, Body=data)


def log_file(folder: Path) -> Path:
    """Return where the functions log."""
    return folder / "functions.log"
