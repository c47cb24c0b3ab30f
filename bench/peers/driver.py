"""What every driver shares: the way from and to S3, the clock, and what the process has used.

It runs in the environments of the other tools, so it has nothing but the standard library and
boto3, whose transfer manager moves the files: what a user of these tools would choose.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

POLL_SECONDS = 0.25
"""Seconds that every tool waits between two polls of a batch. More polls would take time from
the simulator, which has the same cores."""

MODEL = "openai/gpt-oss-20b"


@dataclass(frozen=True)
class Task:
    """What a tool is to do: run the requests of a file, leave the answers in another one.

    Attributes:
        source: The requests, in the Batch API's own form.
        target: Where the answers go, one JSON object in a line: rows of the API, or ``custom_id``
            and ``text``.
        base_url: The API, ending in ``/openai/v1``.
        api_key: The key.
    """

    source: Path
    target: Path
    base_url: str
    api_key: str

    def requests(self) -> list[dict[str, Any]]:
        """Read the requests, for tools that take objects."""
        with self.source.open(encoding="utf-8", newline="\n") as lines:
            return [json.loads(line) for line in lines]


def drive(run: Callable[[Task], None]) -> None:
    """Report that everything is loaded, wait for the signal, run, report time, CPU and peak memory.

    A run begins and ends with objects: the requests are downloaded, the answers uploaded.
    """
    bucket, source_key, target_key, base_url, api_key = sys.argv[1:6]
    source, target = Path("requests.jsonl").resolve(), Path("answers.jsonl").resolve()
    s3 = boto3.client("s3")
    answers = sys.stdout
    sys.stdout = sys.stderr
    answers.write("ready\n")
    answers.flush()
    sys.stdin.readline()
    begun, cpu_before = time.perf_counter(), _cpu_seconds()
    error = None
    try:
        s3.download_file(bucket, source_key, str(source))
        run(Task(source, target, base_url, api_key))
        s3.upload_file(str(target), bucket, target_key)
    except Exception as problem:  # noqa: BLE001
        error = f"{type(problem).__name__}: {problem}".replace(api_key, "...")[:300]
    answers.write(
        json.dumps(
            {
                "seconds": time.perf_counter() - begun,
                "cpu_seconds": _cpu_seconds() - cpu_before,
                "peak_bytes": peak_bytes(),
                "error": error,
            }
        )
        + "\n"
    )
    answers.flush()


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_bytes() -> int:
    """Return the most resident memory that this process has had, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM; the benchmark needs Linux")
