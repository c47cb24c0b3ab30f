"""Make the index of all jobs. Importing this module loads Jinja."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from groq_batch.bucket.storage import Storage
from groq_batch.records.usage_sums import UsageSums
from groq_batch.reports.page.index_view import IndexView, index_view
from groq_batch.reports.page.templates import fill_in
from groq_batch.reports.running_jobs import MAX_SHOWN, read_running_jobs


def index_page(
    storage: Storage,
    sums: UsageSums,
    open_jobs: Iterable[str],
    *,
    as_of: datetime,
    is_whole: bool = True,
    is_live: bool = False,
) -> bytes:
    """Return the page of all jobs, with the reports of the running ones as stored now.

    Args:
        storage: The bucket.
        sums: Totals of the usage records.
        open_jobs: Jobs that are not closed, oldest first; some may have ended.
        as_of: When the page is made.
        is_whole: Whether all usage records were counted.
        is_live: Whether the page was made on request, and will not be updated.
    """
    ended = {record.job_id for record in sums.ended}
    running = [job_id for job_id in open_jobs if job_id not in ended]
    view = index_view(
        sums,
        read_running_jobs(storage, running[:MAX_SHOWN]),
        running_total=len(running),
        as_of=as_of,
        is_whole=is_whole,
        is_live=is_live,
    )
    return render_index(view).encode("utf-8", "replace")


def render_index(view: IndexView) -> str:
    """Return the page of a view."""
    return fill_in("index.html.j2", view, styles=("page.css", "index.css"))
