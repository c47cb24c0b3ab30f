"""openai-batch: its ``Batch`` class on a file that is there already, as its command line does.

Given a path it would read the file into memory and upload it under a name that Groq refuses (it
does not end in ``.jsonl``); if it gets an open file, as here, it uploads that file.
"""

from __future__ import annotations

import time

from driver import POLL_SECONDS, Task, drive
from openai_batch import Batch
from openai_batch.providers import Provider


def run(task: Task) -> None:
    """Do the task."""
    provider = Provider(name="groq", base_url=task.base_url, api_key=task.api_key)
    with (
        task.source.open("rb") as source,
        Batch(
            submission_input_file=source,
            output_file=str(task.target),
            error_file=str(task.target) + ".errors",
            provider=provider,
        ) as batch,
    ):
        batch.submit()
        while (state := batch.status()).status not in (
            "failed",
            "completed",
            "expired",
            "cancelled",
        ):
            time.sleep(POLL_SECONDS)
        if state.status != "completed":
            errors = state.errors.data if state.errors and state.errors.data else []
            raise RuntimeError(
                f"the batch {state.status}: {errors[0].message if errors else 'no text'}"
            )
        batch.download()


if __name__ == "__main__":
    drive(run)
