"""batchwizard: what its command ``process`` does, without the display."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

from driver import POLL_SECONDS, Task, drive

os.environ.setdefault("OPENAI_API_KEY", "set in run")

from batchwizard.processor import BatchOrchestrator
from batchwizard.providers.openai import OpenAIBatchProvider
from batchwizard.store import JobStore
from openai import AsyncOpenAI, DefaultAioHttpClient


def run(task: Task) -> None:
    """Do the task."""
    asyncio.run(_process(task))


async def _process(task: Task) -> None:
    # Its own client, but for the address, which it takes from OPENAI_BASE_URL.
    client = AsyncOpenAI(
        api_key=task.api_key,
        base_url=task.base_url,
        http_client=DefaultAioHttpClient(),
        max_retries=0,
    )
    provider = OpenAIBatchProvider(client)
    folder = Path(tempfile.mkdtemp(dir=task.target.parent))
    orchestrator = BatchOrchestrator(
        provider, JobStore(folder / "jobs.db"), check_interval=POLL_SECONDS
    )
    try:
        jobs = await orchestrator.process([task.source], folder)
    finally:
        await provider.close()
    job = jobs[0]
    if job.output_path is None:
        raise RuntimeError(f"no results: {job.error_summary or job.last_local_error or job.state}")
    Path(job.output_path).rename(task.target)
    shutil.rmtree(folder)


if __name__ == "__main__":
    drive(run)
