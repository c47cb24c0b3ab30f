"""Render the index of all jobs. Importing this module loads Jinja and the SVG library."""

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
        sums: Totals of the usage records.
        running: The jobs that have run longest, oldest first.
        running_total: Number of running jobs.
        as_of: When the page is made.
        is_whole: Whether all usage records were counted.
        is_live: Whether the page was made on request, and will not be updated.
    """
    view = index_view(
        sums, running, running_total=running_total, as_of=as_of, is_whole=is_whole, is_live=is_live
    )
    return fill_in("index.html.j2", view, styles=("page.css", "index.css"))
