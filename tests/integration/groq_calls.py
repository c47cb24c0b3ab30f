"""Calls of the Groq API's client, and the errors that they may end with."""

from __future__ import annotations

import io
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from groq_batch.domain.batch import Batch
from groq_batch.groq.calls import Timeouts
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import GroqApiError
from local.groq_simulator import DEFAULT_KEY, GroqSimulator
from tests.integration.simulator_api import request_lines

ENDPOINT = "/v1/chat/completions"
METADATA = {"job": "j-1", "shard": "1", "attempt": "1"}
PATIENT = Timeouts(connect=10.0, read=10.0, transfer=10.0, pause=0.0)
HASTY = replace(PATIENT, read=0.2, transfer=0.2)
MIB = 1024 * 1024


class Keys:
    """Hands out keys in turn: the first one until it is asked for the newest."""

    def __init__(self, *keys: str) -> None:
        self._keys = list(keys)
        self.refreshes = 0

    def __call__(self, *, refresh: bool = False) -> str:
        self.refreshes += refresh
        if refresh and len(self._keys) > 1:
            self._keys.pop(0)
        return self._keys[0]


def make_client(url: str, keys: Keys | None = None, timeouts: Timeouts = PATIENT) -> GroqClient:
    return GroqClient(base_url=url, api_key=keys or Keys(DEFAULT_KEY), timeouts=timeouts)


def failure(call: Callable[[], Any]) -> GroqApiError:
    """Return the error of a call; it must be ours alone, and must not show the key."""
    with pytest.raises(GroqApiError) as raised:
        call()
    error: BaseException | None = raised.value
    while error is not None:
        assert isinstance(error, GroqApiError)
        assert DEFAULT_KEY not in repr(error) + repr(vars(error))
        error = error.__cause__ or error.__context__
    assert DEFAULT_KEY not in "".join(traceback.format_exception(raised.value))
    return raised.value


def upload(client: GroqClient, data: bytes, filename: str = "part-1.jsonl") -> Any:
    return client.upload_file(
        filename=filename, open_stream=lambda: io.BytesIO(data), size=len(data)
    )


def create(client: GroqClient, file_id: str = "file_1") -> Batch:
    return client.create_batch(
        input_file_id=file_id,
        endpoint=ENDPOINT,
        completion_window="24h",
        metadata=METADATA,
    )


def submit(client: GroqClient, count: int = 2) -> Batch:
    return create(client, upload(client, request_lines(count)).id)


def wait_for_end(client: GroqClient, batch: Batch) -> Batch:
    for _ in range(1000):
        batch = client.retrieve_batch(batch.id)
        if batch.is_terminal:
            return batch
        threading.Event().wait(0.005)
    raise AssertionError(batch)


def batch_json(batch_id: str = "batch_1", **changes: Any) -> dict[str, Any]:
    return {"id": batch_id, "object": "batch", "status": "in_progress", **changes}


CALLS: dict[str, Callable[[GroqClient], Any]] = {
    "upload": lambda client: upload(client, b"{}\n"),
    "files_list": lambda client: client.list_files(),
    "file_delete": lambda client: client.delete_file("file_1"),
    "content": lambda client: client.download_file("file_1", io.BytesIO()),
    "create": create,
    "retrieve": lambda client: client.retrieve_batch("batch_1"),
    "list": lambda client: list(client.all_batches()),
    "list_by_ids": lambda client: client.batches_by_id(["batch_1"]),
}
ACTING = ("upload", "create")
HTML = "<!DOCTYPE html><html><head><title>503</title></head></html>"


def calls_of(simulator: GroqSimulator, route: str) -> int:
    return int(simulator.control.stats()["calls"].get(route, 0))
