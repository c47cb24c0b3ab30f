"""An account with a pipeline that answers every upload at once, for tests of the client."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from groq_batch.domain.result_row import pipeline_row
from tests.integration.cli_world import World, bad_row
from tests.samples import chat_request

Answer = Callable[[dict[str, Any]], str | bytes | None]


def echo(request: dict[str, Any]) -> str:
    """Answer with the last message, so that a test knows what was asked."""
    return f"Answer to {request['body']['messages'][-1]['content']}"


class ClientWorld(World):
    """Answers uploads.

    Attributes:
        answer: What a request gets: a text, a whole row, or None for no answer.
        is_running: Whether jobs stay where they are until ``finish``.
        uploads: The keys that were uploaded to ``input/``, in order.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.answer: Answer = echo
        self.is_running = False
        self.starts_jobs = True
        self.uploads: list[str] = []

    def call(self, client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        answer = super().call(client, operation, parameters)
        key = str(parameters.get("Key", ""))
        writes = operation in ("PutObject", "CompleteMultipartUpload", "CopyObject")
        if writes and key.startswith("input/"):
            self.uploads.append(key)
            path = key.removeprefix("input/")
            if self.starts_jobs:
                if self.is_running:
                    self.start(path, hour=self.hour)
                else:
                    self.finish(path)
        return answer

    @property
    def hour(self) -> int:
        """The hour of the next job: each upload has one of its own."""
        return 10 + len(self.uploads)

    def requests(self, path: str) -> list[dict[str, Any]]:
        """Return the requests that were uploaded to a path."""
        data = self.read(f"input/{path}")
        if path.endswith(".gz"):
            data = gzip.decompress(data)
        return [json.loads(line) for line in data.splitlines()]

    def finish(self, path: str, status: str | None = None) -> None:
        """Let the job of a path come to its end."""
        results, failed = [], []
        for request in self.requests(path):
            found = self.answer(request)
            if found is None:
                results.append(bad_row(request["custom_id"]))
            elif isinstance(found, bytes):
                results.append(found)
            else:
                results.append(row(request["custom_id"], found))
            if b'"status_code": 200' not in results[-1]:
                failed.append(json.dumps(request).encode() + b"\n")
        status = status or ("partial" if failed else "succeeded")
        self.end(path, status, results=results, failed=failed, hour=self.hour)

    def reject(self, path: str) -> None:
        """Let the job of a path be rejected."""
        error = {"line": 2, "custom_id": "b", "code": "invalid_url", "message": "No such URL."}
        self.report(self.job_of(path, hour=self.hour), "rejected", errors=[error], errors_total=1)


def row(custom_id: str, text: str) -> bytes:
    """Return the row of an answer."""
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    response = {"status_code": 200, "body": {"choices": [choice]}}
    return (
        json.dumps({"id": "r", "custom_id": custom_id, "response": response, "error": None}) + "\n"
    ).encode()


def final_row(custom_id: str) -> bytes:
    """Return the row of a request that would fail again."""
    return pipeline_row(custom_id, code="invalid_url", message="No.")


def request_dicts(*texts: str) -> Iterator[dict[str, Any]]:
    """Yield requests with the ids a, b, c, …"""
    for number, text in enumerate(texts):
        yield chat_request(chr(ord("a") + number), text)
