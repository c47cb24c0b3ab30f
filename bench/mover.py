"""Moves the bytes of a job and does nothing else: the least that the same batches need.

``python -m bench.mover`` reads what to move from its standard input, as JSON. Each range of the
input goes from S3 to Groq as it comes, becomes a batch, and its answers go back to S3 as they come,
all ranges side by side. Nothing is checked, nothing is put in order, nothing is written down.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import requests

from bench.peers.driver import POLL_SECONDS

_CHUNK_BYTES = 1024 * 1024
_BOUNDARY = "least"
_HEAD = (
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x.jsonl"\r\n\r\n'
).encode()
_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode()


class _Form:
    """A multipart form with a streamed file; it has a known length and can be read once."""

    def __init__(self, body: Any, size: int) -> None:
        self._pieces = self._all(body)
        self._size = len(_HEAD) + size + len(_TAIL)

    def _all(self, body: Any) -> Iterator[bytes]:
        yield _HEAD
        yield from body.iter_chunks(_CHUNK_BYTES)
        yield _TAIL

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


class _Mover:
    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self._s3 = boto3.client("s3")
        self._url = task["base_url"]
        self._headers = {"Authorization": f"Bearer {task['api_key']}"}

    def send(self, place: tuple[int, int]) -> str:
        """Move a range of the input to Groq; returns its batch."""
        first, end = place
        body = self._s3.get_object(
            Bucket=self._task["bucket"],
            Key=self._task["source"],
            Range=f"bytes={first}-{end - 1}",
        )["Body"]
        answer = requests.post(
            f"{self._url}/files",
            headers={
                **self._headers,
                "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
                "Content-Length": str(len(_Form(body, end - first))),
            },
            data=_Form(body, end - first),
            timeout=600,
        )
        answer.raise_for_status()
        batch = requests.post(
            f"{self._url}/batches",
            headers=self._headers,
            json={
                "input_file_id": answer.json()["id"],
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
            },
            timeout=60,
        )
        batch.raise_for_status()
        return str(batch.json()["id"])

    def wait(self, batch_id: str) -> str:
        """Wait for a batch; returns the file of its answers."""
        while True:
            batch = requests.get(
                f"{self._url}/batches/{batch_id}", headers=self._headers, timeout=60
            ).json()
            if batch["status"] == "completed":
                return str(batch["output_file_id"])
            time.sleep(POLL_SECONDS)

    def fetch(self, file_id: str) -> None:
        """Move answers to S3."""
        answers = requests.get(
            f"{self._url}/files/{file_id}/content",
            headers=self._headers,
            timeout=600,
            stream=True,
        )
        self._s3.upload_fileobj(
            answers.raw, self._task["bucket"], f"{self._task['target']}/{file_id}"
        )


def main() -> None:
    """Move everything, and report the seconds of each direction."""
    mover = _Mover(json.load(sys.stdin))
    places = mover._task["ranges"]
    taken = []
    with ThreadPoolExecutor(max_workers=len(places)) as pool:
        items: list[Any] = places
        for step in (mover.send, mover.wait, mover.fetch):
            begun = time.perf_counter()
            items = list(pool.map(step, items))
            taken.append(time.perf_counter() - begun)
    json.dump(dict(zip(("send", "wait", "fetch"), taken, strict=True)), sys.stdout)


if __name__ == "__main__":
    main()
