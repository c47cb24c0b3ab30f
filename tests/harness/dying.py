"""Runs a handler in this process until it comes to a call, and ends the process there.

``python -m tests.harness.dying`` reads from its input what to run, as JSON. Everything is real:
the handler, what ``bootstrap`` builds for it, the threads, and the end, which no code sees coming.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import threading
import time
from collections import Counter
from typing import Any

EXIT_CODE = 137


class Deathbed:
    """Counts the calls to the outside by label and ends the process at one of them."""

    def __init__(self, label: str, *, after: bool) -> None:
        self._label = label
        self._after = after
        self._made: Counter[str] = Counter()
        self._lock = threading.Lock()

    def before(self, name: str) -> str:
        """Take note of a call that is about to be made; returns its label."""
        with self._lock:
            label = f"{name} #{self._made[name]}"
            self._made[name] += 1
        if label == self._label and not self._after:
            os._exit(EXIT_CODE)
        return label

    def behind(self, label: str) -> None:
        """Take note of a call that has been answered."""
        if label == self._label and self._after:
            os._exit(EXIT_CODE)


def watch_aws(deathbed: Deathbed) -> None:
    """Let every call of boto3 pass by the deathbed."""
    from botocore.client import BaseClient  # noqa: PLC0415 (imported when time is set)

    make = BaseClient._make_api_call

    def watched(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower().replace("_v2", "")
        target = arguments.get("Key", arguments.get("Prefix", ""))
        label = deathbed.before(f"{self.meta.service_model.service_name}.{name} {target}".rstrip())
        answer = make(self, operation, arguments)
        deathbed.behind(label)
        return answer

    BaseClient._make_api_call = watched  # type: ignore[method-assign]


def watch_groq(deathbed: Deathbed) -> None:
    """Let every request to Groq pass by the deathbed."""
    from groq_batch.groq.http import Transport  # noqa: PLC0415
    from local.groq_simulator.routes import find_route  # noqa: PLC0415

    exchange = Transport.exchange

    def watched(self: Any, request: Any, **named: Any) -> Any:
        path, _, query = request.url.partition("/openai/v1")[2].partition("?")
        found = find_route(request.method, path, {"id": []} if "id=" in query else {})
        label = deathbed.before(f"groq.{found[0] if found else 'unknown'}")
        answer = exchange(self, request, **named)
        deathbed.behind(label)
        return answer

    Transport.exchange = watched  # type: ignore[method-assign]


class Context:
    """What Lambda tells of the invocation."""

    aws_request_id = "dying"
    function_name = "groq-batch"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:groq-batch"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 300_000


def main() -> None:
    """Run what the input says; the process does not end well unless the call never comes."""
    order = json.load(sys.stdin)
    ahead, real = float(order["seconds_ahead"]), time.time
    time.time = lambda: real() + ahead
    deathbed = Deathbed(order["label"], after=order["after"])
    watch_aws(deathbed)
    watch_groq(deathbed)
    app = importlib.import_module(f"{order['function']}.app")
    app.lambda_handler(order["payload"], Context())


if __name__ == "__main__":
    main()
