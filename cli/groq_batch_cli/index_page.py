"""Build the index of all jobs from the current contents of the bucket."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records.usage_sums import UsageSums, update_sums


def make_index(storage: Storage, *, on_progress: Callable[[int], None]) -> bytes:
    """Return the page of all jobs, without writing to the bucket.

    It continues from the totals that the stack keeps, so it reads only the records of the last
    minutes.

    Args:
        storage: The bucket.
        on_progress: Called with the number of jobs counted so far.
    """
    # The page's libraries are slow to import, and no other command needs them.
    from groq_batch.reports.page.index_rendering import index_page  # noqa: PLC0415

    now = datetime.now(UTC)
    open_jobs = sorted(
        (item.modified_at, item.key.removeprefix(object_keys.OPEN_JOBS_PREFIX))
        for item in storage.objects(object_keys.OPEN_JOBS_PREFIX)
    )
    sums = UsageSums.load(storage).sums
    update_sums(storage, sums, now=now, on_progress=lambda some: on_progress(_jobs(some)))
    oldest_first = [name for _, name in open_jobs]
    return index_page(storage, sums, oldest_first, as_of=now, is_live=True)


def _jobs(sums: UsageSums) -> int:
    return sum(one.jobs for day in sums.days.values() for one in day.folders.values())
