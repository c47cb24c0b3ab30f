"""Makes the index of all jobs. Importing this costs what Jinja and the SVG library cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from groq_batch.records.usage_sums import UsageSums
from groq_batch.reports.page.index_view import index_view
from groq_batch.reports.page.templates import fill_in
from groq_batch.reports.running_jobs import RunningJob


def render_index(
    sums: UsageSums,
    running: Sequence[RunningJob],
    *,
    running_total: int,
    as_of: datetime,
    is_whole: bool = True,
    is_live: bool = False,
) -> str:
    """Return the page of all jobs.

    Args:
        sums: What the usage records come to.
        running: The jobs that have run for the longest time, the oldest first.
        running_total: How many jobs run.
        as_of: When the page is made.
        is_whole: Whether all usage records were counted.
        is_live: Whether the page was made for somebody who asked, and will not be made anew.
    """
    view = index_view(
        sums, running, running_total=running_total, as_of=as_of, is_whole=is_whole, is_live=is_live
    )
    return fill_in("index.html.j2", view, styles=("page.css", "index.css"))
