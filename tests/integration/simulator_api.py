"""A client of the simulator's routes without any retry, and the lines of its request files."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from local.groq_simulator import DEFAULT_KEY
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.samples import chat_line

ENDPOINT = "/v1/chat/completions"
BOUNDARY = "----simulator-test"


@dataclass
class Answer:
    status: int
    data: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def code(self) -> Any:
        return self.json["error"].get("code")

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.data.split(b"\n") if line]


class Api:
    """A small HTTP client without any retry."""

    def __init__(self, url: str, key: str = DEFAULT_KEY) -> None:
        address = urlsplit(url)
        self.host, self.port = address.hostname or "", address.port
        self.prefix = address.path
        self.headers = {"Authorization": f"Bearer {key}", "User-Agent": "simulator-test/1"}

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_SECONDS)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            sent = self.headers | (headers or {})
            connection.request(method, self.prefix + path, data, sent)
            response = connection.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        finally:
            connection.close()

    def upload(self, data: bytes, name: str = "a.jsonl", purpose: str = "batch") -> Answer:
        body = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        body += data + f"\r\n--{BOUNDARY}--\r\n".encode()
        return self.call(
            "POST", "/files", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        )

    def create(self, file_id: str, metadata: Any = None, **changes: Any) -> Answer:
        body = {
            "input_file_id": file_id,
            "endpoint": ENDPOINT,
            "completion_window": "24h",
            "metadata": metadata,
        }
        return self.call("POST", "/batches", body | changes)

    def submit(self, data: bytes, metadata: Any = None) -> str:
        created = self.create(self.upload(data).json["id"], metadata)
        assert created.status == 200, created.data
        assert created.json["status"] == "validating"
        return str(created.json["id"])

    def batch(self, batch_id: str) -> Any:
        return self.call("GET", f"/batches/{batch_id}").json

    def wait(self, batch_id: str, status: str = "completed") -> Any:
        batch: Any = None

        def arrived() -> bool:
            nonlocal batch
            batch = self.batch(batch_id)
            return bool(batch["status"] == status)

        wait_until(arrived, lambda: str(batch))
        return batch

    def rows(self, file_id: str | None) -> list[Any]:
        assert file_id is not None
        return self.call("GET", f"/files/{file_id}/content").rows


def request_line(custom_id: str, content: str = "hello", **body: Any) -> bytes:
    return chat_line(custom_id, content, **body) + b"\n"


def request_lines(count: int, content: str = "hello") -> bytes:
    return b"".join(request_line(f"r-{number}", content) for number in range(count))


@contextlib.contextmanager
def in_background(work: Any, *arguments: Any) -> Iterator[list[Any]]:
    """Runs a call in a thread; its result (or exception) is in the list after the block."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work(*arguments))
        except (OSError, http.client.HTTPException) as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield results
    finally:
        thread.join(10)
