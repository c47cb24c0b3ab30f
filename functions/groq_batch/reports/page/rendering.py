"""Render the page of a report. Importing this module loads Jinja."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.templates import fill_in
from groq_batch.reports.page.view import view_of


def render(
    report: Mapping[str, Any], page_data: PageData, *, report_key: str, as_of: datetime
) -> str:
    """Return the page of a report.

    Args:
        report: The stored report.
        page_data: Data that the report does not contain.
        report_key: Key of the report.
        as_of: When the page is made.
    """
    view = view_of(report, page_data, report_key=report_key, as_of=as_of)
    return fill_in("page.html.j2", view, styles=("page.css",))
