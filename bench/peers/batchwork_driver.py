"""batchwork-ai: has its own classes for requests and answers."""

from __future__ import annotations

import asyncio
import json

from batchwork import BatchRequest, Batchwork
from driver import MODEL, POLL_SECONDS, Task, drive


def run(task: Task) -> None:
    """Do the task."""
    asyncio.run(_run(task))


async def _run(task: Task) -> None:
    requests = [
        BatchRequest(
            custom_id=line["custom_id"],
            prompt=line["body"]["messages"][0]["content"],
            max_output_tokens=line["body"]["max_completion_tokens"],
        )
        for line in task.requests()
    ]
    credentials = {"groq": {"api_key": task.api_key, "base_url": task.base_url}}
    async with Batchwork(credentials=credentials) as client:
        job = await client.batch(model=f"groq/{MODEL}", requests=requests)
        await job.wait(poll_interval=POLL_SECONDS)
        with task.target.open("w", encoding="utf-8") as target:
            async for result in job.results():
                row = {"custom_id": result.custom_id, "text": result.text}
                target.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    drive(run)
