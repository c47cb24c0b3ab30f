"""One function in its own warm process, as in Lambda; counts its calls.

``python -m bench.worker MODULE`` reads an event from each line of standard input and answers with
a line: what the handler returned or how it failed, and the counts. The environment is the
function's.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from bench.peers.driver import peak_bytes

_REMAINING_MILLISECONDS = 800_000


class _Context:
    """The Lambda context object."""

    function_name = "bench"
    function_version = "$LATEST"
    memory_limit_in_mb = 1769
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:bench"
    log_group_name = log_stream_name = "bench"

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())

    def get_remaining_time_in_millis(self) -> int:
        """Return a time that never runs out here."""
        return _REMAINING_MILLISECONDS


class _Counts:
    """Counts calls to AWS as they go out, by service and operation, and the bytes of objects."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def watch(self, session: Any) -> None:
        """Count the calls of all clients that a botocore session makes."""
        session.register("before-send", self._sent)
        session.register("after-call.s3.GetObject", self._read)

    def _sent(self, request: Any, event_name: str, **_: Any) -> None:
        _, service, operation = event_name.split(".", 2)
        length = request.headers.get("Content-Length")
        with self._lock:
            self._calls[f"{service}.{operation}"] += 1
            if service == "s3" and operation in ("PutObject", "UploadPart"):
                self._bytes["written"] += int(length or 0)

    def _read(self, parsed: dict[str, Any], **_: Any) -> None:
        with self._lock:
            self._bytes["read"] += int(parsed.get("ContentLength") or 0)

    def take(self) -> dict[str, dict[str, int]]:
        """Return the counts since the last time."""
        with self._lock:
            taken = {"calls": dict(self._calls), "bytes": dict(self._bytes)}
            self._calls.clear()
            self._bytes.clear()
        return taken


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Load the function, say so, and answer events until there are no more."""
    # Standard output is where the function logs.
    answers = os.fdopen(os.dup(1), "w")
    log = Path(os.environ["BENCH_LOG"]).open("a", encoding="utf-8")  # noqa: SIM115
    os.dup2(log.fileno(), 1)
    sys.path.insert(0, str(Path(__file__).parents[1] / "functions"))
    # Before the handler's module builds the clients, which copy what the session knows.
    bootstrap = importlib.import_module("groq_batch.bootstrap")
    counts = _Counts()
    counts.watch(bootstrap._session())
    handler = importlib.import_module(sys.argv[1]).lambda_handler
    answers.write('{"ready": true}\n')
    answers.flush()
    for line in sys.stdin:
        before, cpu_before = time.perf_counter(), _cpu_seconds()
        answer: dict[str, Any] = {}
        try:
            answer["result"] = handler(json.loads(line), _Context())
        except Exception as error:  # noqa: BLE001
            answer["error"] = f"{type(error).__name__}: {error}"
        answer["seconds"] = time.perf_counter() - before
        answer["cpu_seconds"] = _cpu_seconds() - cpu_before
        answer["peak_bytes"] = peak_bytes()
        sys.stdout.flush()
        answer.update(counts.take())
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
