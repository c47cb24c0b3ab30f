"""batchlane: its ``run``, which splits by the provider's limits, waits and joins."""

from __future__ import annotations

import dataclasses
import json

import batchlane
from batchlane.adapters import openai_shaped
from driver import MODEL, POLL_SECONDS, Task, drive


def run(task: Task) -> None:
    """Do the task."""
    # It has no option for the address.
    openai_shaped.ROWS["groq"] = dataclasses.replace(
        openai_shaped.ROWS["groq"], base_url=task.base_url
    )
    lines = [
        batchlane.BatchLine(
            line["custom_id"],
            f"groq/{MODEL}",
            line["body"]["messages"],
            {"max_completion_tokens": line["body"]["max_completion_tokens"]},
        )
        for line in task.requests()
    ]
    answers = batchlane.run(lines, poll_interval=POLL_SECONDS, api_key=task.api_key)
    with task.target.open("w", encoding="utf-8") as target:
        for line, result in answers:
            row = {"custom_id": line.custom_id, "text": batchlane.answer_text(result)}
            target.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    drive(run)
