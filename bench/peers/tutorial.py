"""The script of Groq's tutorial on batches, rewritten: upload, create, poll, save.

It posts the whole file with ``files=``, creates the batch, retrieves it (here every 0.25 s, there
every 3 s) up to 100 times there, and as often as needed here, until it is completed, and writes
``response.content``. No checks, no order, no second try.
"""

from __future__ import annotations

import time

import requests
from driver import POLL_SECONDS, Task, drive


def run(task: Task) -> None:
    """Do the task."""
    headers = {"Authorization": f"Bearer {task.api_key}"}
    with task.source.open("rb") as file:
        answer = requests.post(
            f"{task.base_url}/files",
            headers=headers,
            files={"file": ("batch_file.jsonl", file)},
            data={"purpose": "batch"},
            timeout=600,
        )
    answer = requests.post(
        f"{task.base_url}/batches",
        headers=headers,
        json={
            "input_file_id": answer.json()["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        },
        timeout=60,
    )
    batch_id = answer.json()["id"]
    while True:
        batch = requests.get(
            f"{task.base_url}/batches/{batch_id}", headers=headers, timeout=120
        ).json()
        if batch["status"] == "completed":
            break
        if batch["status"] in ("failed", "expired", "cancelled"):
            raise RuntimeError(f"the batch {batch['status']}: {_first_error(batch)}")
        time.sleep(POLL_SECONDS)
    response = requests.get(
        f"{task.base_url}/files/{batch['output_file_id']}/content", headers=headers, timeout=600
    )
    task.target.write_bytes(response.content)


def _first_error(batch: dict) -> str:
    errors = (batch.get("errors") or {}).get("data") or [{}]
    return errors[0].get("message", "no text")


if __name__ == "__main__":
    drive(run)
